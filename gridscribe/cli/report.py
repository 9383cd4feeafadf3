"""`gridscribe report`: what a job did, as one HTML file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from gridscribe.progress import byte_size


@click.command("report")
@click.argument("output")
@click.option(
    "--to", "file", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"), show_default=True,
    metavar="FILE", help="The HTML file; replaced where it is there.",
)  # fmt: skip
@click.option(
    "--product", metavar="ID", help="Which product, where OUTPUT holds several; the beginning of an id is enough."
)
@click.option("--job", metavar="ID", help="This job alone.  [default: all jobs of the product]")
@click.option("--samples", type=click.IntRange(0, 24), default=3, show_default=True, help="Sample pictures.")
def command(output: str, file: Path, product: str | None, job: str | None, samples: int) -> None:
    """Write a report of OUTPUT into one HTML file that needs nothing else: no network, no script, no folder beside it.

    It tells what ran, what became of every input and why, how fast, the area of each class, and shows samples. A job that is
    still running, or was killed, can be reported too. Samples are drawn from the job's own inputs, where these are still there.

    \b
      gridscribe report out --to report.html
      gridscribe report s3://bucket/run1 --job 714ceb --samples 6
    """
    from gridscribe.errors import UsageError
    from gridscribe.report.facts import gather
    from gridscribe.report.page import report_html
    from gridscribe.store import open_store

    if not file.parent.is_dir():
        raise UsageError(f"--to {file}: there is no folder {file.parent}; make it, or choose another place")
    facts = gather(open_store(output), product=product, job=job, samples=samples)
    pictures = []
    if facts.tally.samples:
        from gridscribe.workers.report_pictures import draw_samples

        pictures = draw_samples(facts)
    data = report_html(facts, pictures, datetime.now(UTC)).encode()
    try:
        file.write_bytes(data)
    except OSError as error:
        raise UsageError(f"--to {file}: cannot be written ({error.strerror}); choose another place") from error
    click.echo(f"wrote {file}, {byte_size(len(data))}")
