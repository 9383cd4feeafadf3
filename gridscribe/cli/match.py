"""`gridscribe match`: where is this?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gridscribe.cli.matches import search_arguments, search_options, show

if TYPE_CHECKING:
    from gridscribe.client import Client


@click.command("match")
@click.argument("output")
@click.argument("phrase")
@search_options
@click.option(
    "--alignment",
    metavar="PLACE",
    help="Folder or URI of the alignment (or document) package; default: where the product says it was.",
)
def command(output: str, phrase: str, alignment: str | None, **given: Any) -> None:
    """Find the regions of OUTPUT that look most like PHRASE, in words; of documents, the pages where PHRASE stands.

    \b
      gridscribe match out "swimming pool"
      gridscribe match out "parking lot" --bbox 3.87 43.59 3.88 43.60 --top-k 5 --picture found.png
      gridscribe match out "tennis court" --threshold 0.2 --geojson courts.geojson
      gridscribe match pages-out "total amount" --picture page.png
    """
    from gridscribe.client import Client

    client = Client(output, alignment=alignment)
    if client.asks_pages(product=given["product"]):
        _pages(client, output, phrase, given)
        return
    matches = list(client.match(phrase, **search_arguments(given)))
    show(output, phrase, phrase, matches, given)


def _pages(client: Client, output: str, phrase: str, given: dict[str, Any]) -> None:
    from gridscribe.cli.page_matches import show_pages
    from gridscribe.errors import UsageError

    refused = [name for name in ("bbox", "class_name", "when", "geojson") if given[name]]
    if refused:
        raise UsageError(f"--{refused[0].replace('class_name', 'class').replace('when', 'datetime')}: not for pages")
    if given["image"] is not None:
        raise UsageError(f"--image {given['image']}: for pages ask `gridscribe page OUTPUT DOCUMENT NUMBER PHRASE`")
    found = list(client.match_pages(phrase, given["top_k"], given["threshold"], product=given["product"]))
    show_pages(output, phrase, found, picture=given["picture"], as_json=given["as_json"])
