"""What `gridscribe match` and `gridscribe similar` have in common: their options, and how matches are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from gridscribe.client import Match

F = TypeVar("F", bound=Callable[..., Any])

SHOWN = ("score", "region_id", "image", "class_name", "geometry", "bbox", "labels")
"""The keys of a match on stdout; a GeoJSON file has all that is known."""
LABELS = 3  # of a match, in the table

OPTIONS = (
    click.option(
        "--bbox", nargs=4, type=float, metavar="W S E N", help="Regions that meet a box of longitudes and latitudes."
    ),
    click.option("--top-k", type=click.IntRange(min=1), default=20, show_default=True, help="How many, best first."),
    click.option("--threshold", type=float, help="Least score; it depends on the model and the phrase."),
    click.option("--class", "class_name", metavar="NAME", help="Regions of one class."),
    click.option("--image", metavar="ID", help="Regions of one image: its id, a beginning of it, or its source."),
    click.option(
        "--datetime", "when", metavar="ISO8601", help="Only images of that time: 2021, 2021-06, or START/END."
    ),
    click.option("--product", metavar="ID", help="Which product, where OUTPUT holds several."),
    click.option(
        "--approximate", is_flag=True, help="Fast among very many: by a local index, made where there is none."
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
    click.option(
        "--geojson", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a FeatureCollection."
    ),
    click.option(
        "--picture",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Draw the best match, and others near it, into a PNG: over its image where that can be read, else over its mask.",
    ),
)


def search_options(command: F) -> F:
    """The options of a search, in order."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def search_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What `Client.match` and `Client.similar` are called with, of the options of `search_options`."""
    names = ("top_k", "threshold", "class_name", "image", "product")
    asked = {"bbox": given["bbox"] or None, "datetime": given["when"], "exact": not given["approximate"]}
    return {**asked, **{name: given[name] for name in names}}


def show(output: str, query: Any, title: str, matches: Sequence[Match], given: dict[str, Any]) -> None:
    """Print matches, and write the files that were asked for.

    `query` stands in the JSON, `title` above a picture. With `--json` stdout has the document and nothing else.
    """
    as_json: bool = given["as_json"]
    if given["geojson"] is not None:
        collection = {"type": "FeatureCollection", "features": [match.to_feature() for match in matches]}
        given["geojson"].write_text(json.dumps(collection) + "\n")
        click.echo(f"wrote {given['geojson']}", err=as_json)
    if given["picture"] is not None:
        if matches:
            from gridscribe.workers.look import matches_picture

            given["picture"].write_bytes(matches_picture(output, matches, title))
            click.echo(f"wrote {given['picture']}", err=as_json)
        else:
            click.echo(f"nothing was found, {given['picture']} is not written", err=True)
    if as_json:
        shown = [{name: value for name, value in match.to_json().items() if name in SHOWN} for match in matches]
        ordered = [{name: value[name] for name in SHOWN} for value in shown]
        click.echo(json.dumps({"query": query, "matches": ordered}, indent=2))
        return
    if not matches:
        click.echo("no region is near enough")
    wide = max((len(match.class_name) for match in matches), default=0)
    for match in matches:
        words = ", ".join(f"{label.text} {label.score:.2f}" for label in match.labels[:LABELS])
        area = f"{match.area_px} px" if match.area_m2 is None else f"{match.area_m2:.1f} m2"
        click.echo(
            f"{match.score:+.4f}  {match.class_name:{wide}}  {_place(match)}  {area:>12}  {match.region_id}"
            + (f"  {words}" if words else "")
        )


def _place(match: Match) -> str:
    """A point inside: longitude and latitude, or the row and column of the image."""
    shape = match.geometry_px if match.geometry is None else match.geometry
    point = shape.representative_point()
    if match.geometry is None:
        return f"row {point.y:.0f} col {point.x:.0f}"
    return f"{point.x:.7f} {point.y:.7f}"
