"""`gridscribe picture`: look at a result."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("picture")
@click.argument("output")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--image", metavar="ID", help="Image id, a unique beginning of it, or its source; default: the first image done."
)
@click.option(
    "--size", type=click.IntRange(64, 4096), default=768, show_default=True, help="Pixels a side of each panel."
)
@click.option("--product", metavar="ID", help="Which product, where OUTPUT holds several.")
def command(output: str, file: Path, image: str | None, size: int, product: str | None) -> None:
    """Draw RGB, height and mask of one image of OUTPUT side by side into the PNG FILE.

    The RGB is read from the job's own input, which must still be where it was.

    \b
      gridscribe picture out picture.png --image tile_12
    """
    from gridscribe.workers.look import picture

    file.write_bytes(picture(output, image=image, size=size, product=product))
    click.echo(f"wrote {file}")
