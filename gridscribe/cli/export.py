"""`gridscribe export`: one image's mask as a file of its own."""

from __future__ import annotations

import json
from pathlib import Path

import click

FORMATS = ("cog", "gpkg", "fgb", "parquet")


@click.command("export")
@click.argument("output")
@click.option(
    "--image", required=True, metavar="ID", help="Image id, the beginning of one, or the input that it came from."
)
@click.option("--format", "format_", required=True, type=click.Choice(FORMATS), help="What to write.")
@click.option(
    "--to", "out", type=click.Path(path_type=Path), help="The new file.  [default: ID with the format's suffix]"
)
@click.option("--product", metavar="ID", help="Which product, where OUTPUT holds several.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(output: str, image: str, format_: str, out: Path | None, product: str | None, as_json: bool) -> None:
    """Write the mask of one image as a single GeoTIFF, or its regions as polygons.

    \b
      gridscribe export out --image tile_12 --format cog --to tile_12.tif
      gridscribe export out --image tile_12 --format gpkg

    Polygons are in the CRS of the image: its regions with region_id, class, confidence, areas and heights; where regions were
    not made, every connected area of a class with class_id, class_name, area_px and area_m2.
    """
    from gridscribe.client.objects import ObjectsBackend
    from gridscribe.export import FORMATS as SUFFIXES
    from gridscribe.export import export
    from gridscribe.store import open_store

    store = open_store(output)
    if out is None:
        index = ObjectsBackend(store).index(product)
        image = index.ids[index.resolve(image)]
        out = Path(f"{image}{SUFFIXES[format_]}")
    done = export(store, image, format_, out, product=product)
    if as_json:
        value = {"path": str(done.path), "image": done.image, "product": done.product, "features": done.features}
        click.echo(json.dumps({**value, "complete": done.complete}, indent=2))
        return
    what = "" if done.features is None else f", {done.features} polygons"
    click.echo(f"{done.path}: {done.image}{what}" + ("" if done.complete else "; parts of the image are not committed"))
