"""`gridscribe cancel`: stop a submission."""

from __future__ import annotations

import click


@click.command("cancel")
@click.argument("submission")
@click.option(
    "--address", metavar="URL", help="The cluster's dashboard, http://host:8265; default: RAY_API_SERVER_ADDRESS."
)
def command(submission: str, address: str | None) -> None:
    """Stop SUBMISSION (as `gridscribe submit` names it). What it committed stays; submitted again it goes on."""
    from gridscribe.workers.submit import cancel

    found = cancel(submission, address)
    click.echo(f"{found.id}  {found.status}")
