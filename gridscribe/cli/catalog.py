"""`gridscribe catalog`: the STAC catalogue, made again from commits."""

from __future__ import annotations

import json

import click

from gridscribe.progress import reporter


@click.command("catalog")
@click.argument("output")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(output: str, as_json: bool) -> None:
    """Write catalog/collection.json, a STAC item per georeferenced image and catalog/images.parquet again.

    The catalogue is a cache of what is committed: run this when it is missing or was damaged. A job writes it at its end.
    """
    from gridscribe.catalog import build_catalog
    from gridscribe.store import open_store

    report = reporter(quiet=as_json)
    started = False

    def progress(done: int, total: int) -> None:
        nonlocal started
        if not started:
            report.start(total, "items")
            started = True
        report.advance(done)

    try:
        found = build_catalog(open_store(output), progress)
    finally:
        report.finish()
    value = {"images": found.images, "items": found.items, "written": found.written}
    text = f"{found.images} images, {found.items} STAC items; {found.written} objects written under {output}/catalog"
    click.echo(json.dumps(value, indent=2) if as_json else text)
