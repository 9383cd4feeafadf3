"""How matches on pages are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gridscribe.client import PageMatch


def show_pages(output: str, query: str, matches: Sequence[PageMatch], *, picture: Path | None, as_json: bool) -> None:
    """Print matches, and draw the best one's page where that is asked for. With `as_json` stdout has the document alone."""
    if picture is not None:
        if matches:
            from gridscribe.workers.look_pages import page_picture

            picture.write_bytes(page_picture(output, matches, query))
            click.echo(f"wrote {picture}", err=as_json)
        else:
            click.echo(f"nothing was found, {picture} is not written", err=True)
    if as_json:
        click.echo(json.dumps({"query": query, "matches": [asdict(match) for match in matches]}, indent=2))
        return
    if not matches:
        click.echo("nothing is near enough")
    for match in matches:
        x0, y0, x1, y1 = match.box
        place = f"x {x0:.0f}-{x1:.0f} y {y0:.0f}-{y1:.0f} pt"
        click.echo(f"{match.score:+.4f}  page {match.page + 1}  {place}  {match.document}  {match.source}")
