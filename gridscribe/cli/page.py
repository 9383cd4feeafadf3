"""`gridscribe page`: what stands on one page, and where."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("page")
@click.argument("output")
@click.argument("document")
@click.argument("number", type=click.IntRange(min=1))
@click.argument("phrase", required=False)
@click.option(
    "--at", "point", nargs=2, type=float, metavar="X Y", help="The token at a place, points from the upper left."
)
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True, help="Places, best first.")
@click.option(
    "--picture", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw the places into a PNG."
)
@click.option("--product", metavar="ID", help="Which product, where OUTPUT holds several.")
@click.option("--alignment", metavar="PLACE", help="Document package; default: where the product says it was.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    output: str,
    document: str,
    number: int,
    phrase: str | None,
    point: tuple[float, float] | None,
    top_k: int,
    picture: Path | None,
    product: str | None,
    alignment: str | None,
    as_json: bool,
) -> None:
    """Ask about page NUMBER, counted from 1, of DOCUMENT (an id, the beginning of one, or its source).

    \b
      gridscribe page out invoice-7 1 "total amount" --picture total.png
      gridscribe page out invoice-7 1 --at 410 690
      gridscribe page out invoice-7 1
    """
    from gridscribe.cli.page_matches import show_pages
    from gridscribe.client import Client
    from gridscribe.errors import UsageError

    if phrase is not None and point:
        raise UsageError("a phrase and --at are two questions: ask one at a time")
    if picture is not None and phrase is None:
        raise UsageError(f"--picture {picture}: it shows where a phrase stands; give one")
    page = Client(output, alignment=alignment).page(document, number - 1, product=product)
    if phrase is not None:
        show_pages(output, phrase, page.match(phrase, top_k), picture=picture, as_json=as_json)
        return
    if point:
        token = page.at(*point)
        told = {name: getattr(token, name) for name in ("state", "index", "row", "col", "box", "product", "model")}
        x0, y0, x1, y1 = token.box
        text = f"{token.state}: token {token.index}, row {token.row}, col {token.col}, x {x0:.1f}-{x1:.1f} y {y0:.1f}-{y1:.1f} pt"
        click.echo(json.dumps(told, indent=2) if as_json else text)
        return
    names = (
        "document",
        "page",
        "source",
        "width",
        "height",
        "dpi",
        "grid_h",
        "grid_w",
        "kept",
        "flags",
        "text_mask",
        "product",
    )
    told = {name: getattr(page, name) for name in names}
    text = (
        f"{page.document} page {page.page + 1}: {page.width:.0f} x {page.height:.0f} points, {page.kept} of "
        f"{page.grid_h} x {page.grid_w} tokens kept{''.join(f', {flag}' for flag in page.flags)}"
    )
    click.echo(json.dumps(told, indent=2) if as_json else text)
