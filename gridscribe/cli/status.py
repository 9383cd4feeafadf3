"""`gridscribe status`: where the jobs of an output stand."""

from __future__ import annotations

import json

import click

from gridscribe.cli.watching import line_of, watch
from gridscribe.errors import UsageError

EVERY = 2.0  # seconds between two looks


@click.command("status")
@click.argument("output")
@click.option("--watch", "watched", is_flag=True, help="Go on showing it until every job is done; Ctrl-C ends it.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help=f"How often --watch looks.  [default: {EVERY:g}]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(output: str, watched: bool, interval: float | None, as_json: bool) -> None:
    """Show jobs, images done, failed and left, throughput and time left, read from OUTPUT alone.

    A job that is neither done nor running was stopped or killed: run the same command again and it goes on.

    \b
      gridscribe status out
      gridscribe status s3://bucket/run1 --watch --interval 10
    """
    from gridscribe.status import job_statuses
    from gridscribe.store import open_store

    if watched:
        if as_json:
            raise UsageError(
                "--watch shows many states and --json promises one document: ask `status --json` again and again"
            )
        watch(output, EVERY if interval is None else interval)
        return
    if interval is not None:
        raise UsageError(f"--interval {interval:g} says how often --watch looks: give --watch too")
    jobs = job_statuses(open_store(output))
    if as_json:
        click.echo(json.dumps({"output": output, "jobs": [job.to_json() for job in jobs]}, indent=2))
        return
    if not jobs:
        click.echo(f"{output}: no job was planned here")
    for job in jobs:
        click.echo(line_of(job))
