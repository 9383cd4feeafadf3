"""`gridscribe status`: where the jobs of an output stand."""

from __future__ import annotations

import json

import click

from gridscribe.progress import duration


@click.command("status")
@click.argument("output")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(output: str, as_json: bool) -> None:
    """Show jobs, images done, failed and left, throughput and time left, read from OUTPUT alone.

    A job that is neither done nor running was stopped or killed: run the same command again and it goes on.
    """
    from gridscribe.status import job_statuses
    from gridscribe.store import open_store

    jobs = job_statuses(open_store(output))
    if as_json:
        click.echo(json.dumps({"output": output, "jobs": [job.to_json() for job in jobs]}, indent=2))
        return
    if not jobs:
        click.echo(f"{output}: no job was planned here")
    for job in jobs:
        rate = f"{job.rate:.2f} megapixels/s" if job.rate else "rate unknown"
        left = f", {duration(job.seconds_left)} left" if job.seconds_left else ""
        click.echo(
            f"{job.job}  {job.state:<5} {job.done}/{job.images} images done, {job.failed} failed, {job.skipped} skipped, "
            f"{job.left} left; {rate}{left}; product {job.product}"
        )
