"""`gridscribe gc`: remove what no commit names."""

from __future__ import annotations

import json
from datetime import timedelta

import click

from gridscribe.progress import byte_size


@click.command("gc")
@click.argument("output")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Leave younger objects alone; below 24 only while no job runs.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(output: str, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Remove objects of killed workers and lost races: those under products/ that no commit names.

    Commits, jobs and the catalogue are never touched.
    """
    from gridscribe.gc import collect_garbage
    from gridscribe.store import open_store

    found = collect_garbage(open_store(output), timedelta(hours=older_than), dry_run=dry_run)
    gone = [info.key for info in (*found.removed, *found.leftovers)]
    value = {
        "dry_run": dry_run,
        "removed": gone,
        "bytes": found.bytes,
        "kept": found.kept,
        "young": found.young,
        "foreign": list(found.foreign),
    }
    verb = "would remove" if dry_run else "removed"
    lines = [
        *(f"{verb} {key}" for key in gone),
        f"{verb} {len(gone)} objects ({byte_size(found.bytes)}); {found.kept} are named by commits, {found.young} are too young",
    ]
    if found.foreign:
        lines.append(f"left alone, not written by gridscribe: {', '.join(found.foreign)}")
    click.echo(json.dumps(value, indent=2) if as_json else "\n".join(lines))
