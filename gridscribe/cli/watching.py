"""`gridscribe status --watch`: looking at jobs until they are done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gridscribe.progress import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gridscribe.status import JobStatus

FRAME = 6  # lines of a terminal that are not rows of jobs


def line_of(job: JobStatus) -> str:
    """A job in one line."""
    rate = f"{job.rate:.2f} megapixels/s" if job.rate else "rate unknown"
    left = f", {duration(job.seconds_left)} left" if job.seconds_left else ""
    return (
        f"{job.job}  {job.state:<5} {job.done}/{job.images} images done, {job.failed} failed, {job.skipped} skipped, "
        f"{job.left} left; {rate}{left}; product {job.product}"
    )


def watch(output: str, interval: float) -> None:
    """Show the jobs of an output every `interval` seconds, until all are done or Ctrl-C is pressed, which is no error.

    On a terminal as a table that is kept up to date; elsewhere a line for each job that has changed. Where no job was planned
    there is nothing to wait for: that is said, and it ends.
    """
    from gridscribe.remembering import RememberingStore
    from gridscribe.status import job_statuses

    store = RememberingStore(output)
    try:
        if not (jobs := job_statuses(store)):
            click.echo(f"{output}: no job was planned here")
            return
        show = _table if sys.stdout.isatty() else _lines
        show(jobs, lambda: job_statuses(store), interval)
    except KeyboardInterrupt:
        return


def _lines(jobs: list[JobStatus], look: Callable[[], list[JobStatus]], interval: float) -> None:
    said: dict[str, str] = {}
    while True:
        for job in jobs:
            line = line_of(job)
            if said.get(job.job) != line:
                click.echo(line)
                sys.stdout.flush()  # a log, or what reads the pipe, has it now
                said[job.job] = line
        if all(job.state == "done" for job in jobs):
            return
        time.sleep(interval)
        jobs = look()


def _table(jobs: list[JobStatus], look: Callable[[], list[JobStatus]], interval: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(_drawn(jobs, console), console=console, auto_refresh=False) as live:
        while not all(job.state == "done" for job in jobs):
            time.sleep(interval)
            jobs = look()
            live.update(_drawn(jobs, console), refresh=True)


def _drawn(jobs: list[JobStatus], console: Console) -> Table:
    """The jobs as a table that fits the terminal: open ones first, then the latest that are done."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    ordered = [job for state in ("open", "done") for job in jobs[::-1] if job.state == state]
    shown = ordered[: max(1, console.height - FRAME)]
    more = f"{len(ordered) - len(shown)} more jobs; " if len(ordered) > len(shown) else ""
    ends = "all are done" if all(job.state == "done" for job in jobs) else "Ctrl-C ends"
    caption = f"{more}{datetime.now(UTC):%H:%M:%S} UTC; {ends}"
    table = Table(caption=caption, caption_justify="left", box=None, pad_edge=False, padding=(0, 1))
    for name in ("job", "state", "", "done", "failed", "skipped", "left", "MP/s", "time left"):
        left = name in ("job", "state", "")
        table.add_column(name, no_wrap=True, justify="left" if left else "right")
    for job in shown:
        table.add_row(
            job.job,
            job.state,
            ProgressBar(total=max(1, job.pixels), completed=job.pixels_done, width=12),
            f"{job.done:,}/{job.images:,}",
            f"{job.failed:,}",
            f"{job.skipped:,}",
            f"{job.left:,}",
            f"{job.rate:.2f}" if job.rate else "",
            duration(job.seconds_left) if job.seconds_left else "",
        )
    return table
