"""`gridscribe segment`: which pixels of an image does a phrase mean?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gridscribe.client import TextMask


@click.command("segment")
@click.argument("output")
@click.argument("phrase")
@click.option("--image", required=True, metavar="ID", help="An image's id, the beginning of one, or its source.")
@click.option("--bbox", nargs=4, type=float, metavar="W S E N", help="The part in a box of longitudes and latitudes.")
@click.option(
    "--to",
    "out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the pixels as a GeoTIFF: 1 meant, 0 not.",
)
@click.option(
    "--method",
    type=click.Choice(["heatmap", "regions"]),
    default="heatmap",
    show_default=True,
    help="Pixels above a threshold on the heat map, or whole regions found from its points.",
)
@click.option("--threshold", type=float, metavar="COSINE", help="Of the heat map; default: a share of its range.")
@click.option("--product", metavar="ID", help="Which product, where OUTPUT holds several.")
@click.option("--alignment", metavar="PLACE", help="Alignment package; default: where the product says it was.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    output: str,
    phrase: str,
    image: str,
    bbox: tuple[float, float, float, float] | None,
    out: Path | None,
    method: str,
    threshold: float | None,
    product: str | None,
    alignment: str | None,
    as_json: bool,
) -> None:
    """Find the pixels of one image of OUTPUT that PHRASE means.

    It always answers with something; whether there is any such thing is told by `match` and its scores.

    \b
      gridscribe segment out "swimming pool" --image tile_12 --to pools.tif
    """
    from gridscribe.client import Client

    found = Client(output, alignment=alignment).segment(
        phrase, image=image, bbox=bbox or None, method=method, threshold=threshold, product=product
    )
    if out is not None:
        _write(out, found)
        click.echo(f"wrote {out}", err=as_json)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "query": phrase,
                    "image": found.image,
                    "window": found.window.to_list(),
                    "method": found.method,
                    "threshold": found.threshold,
                    "pixels": int(found.array.sum()),
                    "regions": [
                        {"region_id": name, "score": score}
                        for name, score in zip(found.regions, found.scores, strict=True)
                    ],
                    "points": [
                        {"row": p.row, "col": p.col, "positive": p.positive, "level": p.level, "region_id": p.region}
                        for p in found.points
                    ],
                },
                indent=2,
            )
        )
        return
    share = f"{int(found.array.sum())} of {found.array.size} px"
    if found.threshold is not None:
        click.echo(f"{share} of {found.image} have a similarity of at least {found.threshold:.4f}")
        return
    sure = sum(point.positive for point in found.points)
    click.echo(
        f"{share} in {len(found.regions)} regions of {found.image}, from {sure} points "
        f"that it surely is and {len(found.points) - sure} that it is not"
    )
    for name, score in zip(found.regions, found.scores, strict=True):
        click.echo(f"{score:6.2f}  {name}")


def _write(path: Path, found: TextMask) -> None:
    import numpy as np
    import rasterio
    from rasterio.transform import Affine

    place = {} if found.transform is None else {"transform": Affine(*found.transform), "crs": found.crs}
    height, width = found.array.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", height=height, width=width, compress="deflate", tiled=True, **place
    ) as file:  # fmt: skip
        file.write(found.array.astype(np.uint8), 1)
