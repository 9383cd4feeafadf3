"""`gridscribe pages`: generated documents with text masks and the place of every token, to try and to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from gridscribe.progress import reporter


@click.command("pages")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many documents.")
@click.option("--seed", type=click.IntRange(min=0), required=True, help="The same seed gives the same bytes.")
@click.option(
    "--fonts",
    type=click.Choice(["shipped", "standard", "system"]),
    default="shipped",
    show_default=True,
    help="Those of matplotlib and Pillow; also PDF's standard faces; also the machine's (bytes are then this machine's own).",
)
@click.option(
    "--words",
    type=click.Choice(["stems", "vocabulary"]),
    default="stems",
    show_default=True,
    help="Running text of our few hundred words, or mostly of all the words that the tokenizer knows.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
def command(
    folder: Path,
    count: int,
    seed: int,
    fonts: Literal["shipped", "standard", "system"],
    words: Literal["stems", "vocabulary"],
    workers: int,
) -> None:
    """Write COUNT generated documents into FOLDER: images of their pages, text masks, tokens.

    A document is <id>_p000.png or .jpg for each page, or one <id>.tif with a frame per page. Beside it, for each page:
    <id>_p000_text.png (1 where text is) and <id>_p000_tokens.json (words, BPE tokens with their outlines, facts).

    \b
      gridscribe pages pages --count 24 --seed 7
    """
    from gridscribe.ingest.paperwork import write_pages

    report = reporter()
    report.start(count, "documents")
    try:
        write_pages(folder, count, seed, fonts, words, workers=workers, progress=lambda done, _: report.advance(done))
    finally:
        report.finish()
    click.echo(f"wrote {count} documents to {folder}")
