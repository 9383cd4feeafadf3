"""`gridscribe at`: what is at this pixel?"""

from __future__ import annotations

import json
from typing import Any

import click

from gridscribe.errors import UsageError


@click.command("at", context_settings={"ignore_unknown_options": True})
@click.argument("output")
@click.argument("place", nargs=2, type=float, metavar="LON LAT")
@click.option("--image", metavar="ID", help="Ask one image: the two numbers are then ROW COL of a pixel.")
@click.option("--crs", default="EPSG:4326", show_default=True, help="CRS of the two numbers, x before y.")
@click.option("--datetime", "when", metavar="ISO8601", help="Only images of that time: 2021, 2021-06, or START/END.")
@click.option("--product", metavar="ID", help="Which product, where OUTPUT holds several.")
@click.option("--all", "every", is_flag=True, help="Every image that holds the place, best first.")
@click.option("--embedding", is_flag=True, help="With labels and embedding of the region (else the token) there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    output: str,
    place: tuple[float, float],
    image: str | None,
    crs: str,
    when: str | None,
    product: str | None,
    every: bool,
    embedding: bool,
    as_json: bool,
) -> None:
    """What is at longitude LON, latitude LAT (or at ROW COL of an image)?

    \b
      gridscribe at out 3.00123 45.10456
      gridscribe at out 500120.5 4990310.2 --crs EPSG:32631
      gridscribe at out --image tile_12 100 200
    """
    from gridscribe.client import Client

    client = Client(output)
    if image is not None:
        row, col = place
        if row != int(row) or col != int(col):
            raise UsageError(f"with --image the numbers are ROW COL of a pixel, whole numbers; got {row:g} {col:g}")
        if every or when:
            raise UsageError("--all and --datetime choose among images; with --image there is one")
        pixels = [client.at_pixel(image, int(row), int(col), product=product, embedding=embedding)]
    else:
        asked: dict[str, Any] = {"crs": crs, "datetime": when, "product": product, "embedding": embedding}
        pixels = list(client.at(*place, **asked, all=True)) if every else [client.at(*place, **asked)]
    if as_json:
        found = [pixel.to_json() for pixel in pixels]
        click.echo(json.dumps({"pixels": found} if every else found[0], indent=2))
        return
    for pixel in pixels:
        if pixel.class_name is None:
            click.echo(f"no class: {pixel.reason} (status {pixel.status}, product {pixel.product})")
            continue
        height = "height unknown" if pixel.height is None else f"{pixel.height:.2f} m above ground"
        centre = "" if pixel.lon is None else f", centre {pixel.lon:.7f} {pixel.lat:.7f}"
        click.echo(
            f"{pixel.class_name} (confidence {pixel.confidence:.2f}), {height}; "
            f"{pixel.image} row {pixel.row} col {pixel.col}{centre}; "
            f"{pixel.source}; product {pixel.product}, model {pixel.model}"
            + "".join(f"; {label.text} {label.score:.2f}" for label in pixel.labels or ())
        )
