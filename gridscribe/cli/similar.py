"""`gridscribe similar`: what else looks like this?"""

from __future__ import annotations

from typing import Any

import click

from gridscribe.cli.matches import search_arguments, search_options, show
from gridscribe.errors import UsageError


@click.command("similar", context_settings={"ignore_unknown_options": True})
@click.argument("output")
@click.argument("place", nargs=2, type=float, metavar="[LON LAT]", required=False)
@click.option("--region", metavar="ID", help="The region to resemble, instead of a place.")
@click.option("--crs", default="EPSG:4326", show_default=True, help="CRS of the two numbers, x before y.")
@search_options
def command(output: str, place: tuple[float, float] | None, region: str | None, crs: str, **given: Any) -> None:
    """Find the regions of OUTPUT that look most like the one at longitude LON, latitude LAT, or the one with an id.

    \b
      gridscribe similar out 3.87365 43.59368
      gridscribe similar out --region tile_12-1a2b3c4d-18023 --class building --top-k 50
    """
    from gridscribe.client import Client

    if bool(place) == (region is not None):
        raise UsageError("what to resemble is needed: either LON LAT, or --region ID")
    asked = search_arguments(given)
    client = Client(output)
    if place:
        lon, lat = place
        matches = list(client.similar(lon, lat, crs=crs, **asked))
        show(output, {"place": [lon, lat], "crs": crs}, f"like {lon:g} {lat:g}", matches, given)
    else:
        matches = list(client.similar(region=region, **asked))
        show(output, {"region": region}, f"like {region}", matches, given)
