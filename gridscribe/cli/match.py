"""`gridscribe match`: where is this?"""

from __future__ import annotations

from typing import Any

import click

from gridscribe.cli.matches import search_arguments, search_options, show


@click.command("match")
@click.argument("output")
@click.argument("phrase")
@search_options
@click.option(
    "--alignment",
    metavar="PLACE",
    help="Folder or URI of the alignment package; default: where the product says it was.",
)
def command(output: str, phrase: str, alignment: str | None, **given: Any) -> None:
    """Find the regions of OUTPUT that look most like PHRASE, in words.

    \b
      gridscribe match out "swimming pool"
      gridscribe match out "parking lot" --bbox 3.87 43.59 3.88 43.60 --top-k 5 --picture found.png
      gridscribe match out "tennis court" --threshold 0.2 --geojson courts.geojson
    """
    from gridscribe.client import Client

    matches = list(Client(output, alignment=alignment).match(phrase, **search_arguments(given)))
    show(output, phrase, phrase, matches, given)
