"""`gridscribe scenes`: generated RGB + height scenes to play with and to train on."""

from __future__ import annotations

from pathlib import Path

import click

from gridscribe.progress import reporter


@click.command("scenes")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(min=1), required=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), required=True, help="The same seed gives the same bytes.")
@click.option("--size", type=click.IntRange(min=64), default=1024, show_default=True, help="Pixels a side.")
@click.option("--gsd", type=click.FloatRange(0.05, 2.0), default=0.2, show_default=True, help="Metres to a pixel.")
def command(folder: Path, count: int, seed: int, size: int, gsd: float) -> None:
    """Write COUNT generated scenes into FOLDER: <id>_rgb.tif, <id>_ndsm.tif, <id>_labels.tif, <id>_objects.geojson.

    \b
      gridscribe scenes scenes --count 12 --seed 7
    """
    from gridscribe.ingest.scenes import write_scenes

    report = reporter()
    report.start(count, "scenes")
    try:
        write_scenes(folder, count, seed, size, gsd, progress=lambda done, _: report.advance(done))
    finally:
        report.finish()
    click.echo(f"wrote {count} scenes to {folder}")
