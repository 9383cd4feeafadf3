"""`gridscribe submit`: a batch job on a Ray cluster, through Ray Jobs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridscribe.cli.job_options import job_options, request_of

if TYPE_CHECKING:
    from gridscribe.workers.submit import Submission

EXITS = {"SUCCEEDED": 0, "STOPPED": 1, "FAILED": 1}


@click.command("submit")
@click.argument("job")
@job_options
@click.option(
    "--address", metavar="URL", help="The cluster's dashboard, http://host:8265; default: RAY_API_SERVER_ADDRESS."
)
@click.option(
    "--wait", "waiting", is_flag=True, help="Show its log and wait for its end; exits as `gridscribe run` would."
)
@click.option("--env", multiple=True, metavar="NAME", help="A further variable of this shell that travels (AWS_* do).")
@click.option(
    "--wheel",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A wheel of gridscribe to install for this job; default: the version that the cluster has.",
)
@click.option("--python", metavar="PATH", help="The interpreter on the cluster; default: the path of this one.")
@click.option("--again", is_flag=True, help="Submit it even where it is done: its inputs may have grown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_context
def command(
    ctx: click.Context,
    job: str,
    address: str | None,
    waiting: bool,
    env: tuple[str, ...],
    wheel: Path | None,
    python: str | None,
    again: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Submit JOB (a config file, or a shipped one: raster, documents) to a Ray cluster.

    \b
      gridscribe submit raster --input s3://in/tiles.tar --output s3://out/run1 --address http://head:8265 --wait
      gridscribe cancel gridscribe-0123456789abcdef --address http://head:8265

    Config, local models and the area of interest travel; inputs and outputs are URIs, or paths that all nodes share. The same job
    is submitted once: while it waits, runs or is done, its submission is named again. One that failed or was stopped goes on.
    """
    from gridscribe.workers.submit import submit, wait

    found = submit(request_of(job, options), address, env=env, wheel=wheel, python=python, again=again)
    if waiting:
        created = found.created
        found = wait(found.id, address, say=lambda text: click.echo(text, err=True, nl=False))
        found = type(found)(found.id, found.status, found.exit_code, found.message, created)
    _show(found, as_json)
    if waiting:
        ctx.exit(EXITS[found.status] if found.exit_code is None else found.exit_code)


def _show(found: Submission, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({key: value for key, value in asdict(found).items() if key != "message"}, indent=2))
        return
    there = "submitted" if found.created else "was submitted before"
    click.echo(f"{found.id}  {found.status}  ({there})")
