"""`gridscribe serve`: answers over HTTP."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command("serve")
@click.argument("output")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free.")
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Requests must bear the token in FILE; else that in $GRIDSCRIBE_TOKEN, where it is set.",
)  # fmt: skip
@click.option("--cors", "origins", multiple=True, metavar="ORIGIN", help="Web pages from there may ask; * for all.")
@click.option("--alignment", metavar="PLACE", help="Folder or URI of the package that words are embedded with.")
@click.option("--max-body", type=int, default=64 << 20, show_default=True, help="Bytes of the largest request.")
@click.option("--max-points", type=int, default=1_000_000, show_default=True, help="Points of one question.")
@click.option("--max-pixels", type=int, default=1 << 26, show_default=True, help="Pixels of one answer.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds for one question.")
@click.option("--threads", type=int, default=8, show_default=True, help="Long questions answered at once.")
@click.option(
    "--refresh", type=float, default=30.0, show_default=True, help="Seconds after which new commits are seen."
)
@click.option("--no-pictures", is_flag=True, help="Do not show the jobs' own inputs.")
def command(
    output: str,
    host: str,
    port: int,
    token_file: Path | None,
    origins: tuple[str, ...],
    alignment: str | None,
    max_body: int,
    max_points: int,
    max_pixels: int,
    timeout: float,
    threads: int,
    refresh: float,
    no_pictures: bool,
) -> None:
    """Answer questions about OUTPUT over HTTP, and show it: points, masks, regions, words, pages, tiles, and a viewer at /.

    \b
      gridscribe serve out --port 8080
      GRIDSCRIBE_TOKEN=$(openssl rand -hex 32) gridscribe serve s3://bucket/out --host 0.0.0.0

    Nothing is written. The log has a JSON line for each request on stderr. Put TLS in front where others can listen.
    """
    from gridscribe.service.serving import serve
    from gridscribe.service.settings import Settings

    token = os.environ.get("GRIDSCRIBE_TOKEN") or None
    if token_file is not None:
        token = token_file.read_text().strip()
    settings = Settings(
        output=output, alignment=alignment, token=token, origins=origins, max_body=max_body, max_points=max_points,
        max_pixels=max_pixels, timeout=timeout, threads=threads, refresh=refresh, pictures=not no_pictures,
    )  # fmt: skip
    if token is None and host not in ("127.0.0.1", "::1", "localhost"):
        click.echo(f"no token is asked for: whoever reaches {host} can ask everything about {output}", err=True)
    serve(settings, host, port, lambda url: click.echo(f"serving {output} at {url}"))
