"""The command line. Each command imports what it needs when it runs, so `--help` and pixel queries start at once."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import click

from gridscribe import __version__
from gridscribe.errors import GridscribeError, UsageError

COMMANDS = {
    "scenes": "gridscribe.cli.scenes",
    "pages": "gridscribe.cli.pages",
    "run": "gridscribe.cli.run",
    "submit": "gridscribe.cli.submit",
    "cancel": "gridscribe.cli.cancel",
    "status": "gridscribe.cli.status",
    "report": "gridscribe.cli.report",
    "at": "gridscribe.cli.at",
    "match": "gridscribe.cli.match",
    "page": "gridscribe.cli.page",
    "similar": "gridscribe.cli.similar",
    "segment": "gridscribe.cli.segment",
    "serve": "gridscribe.cli.serve",
    "picture": "gridscribe.cli.picture",
    "export": "gridscribe.cli.export",
    "catalog": "gridscribe.cli.catalog",
    "gc": "gridscribe.cli.gc",
    "train": "gridscribe.cli.train",
    "evaluate": "gridscribe.cli.evaluate",
    "package": "gridscribe.cli.package",
    "compare": "gridscribe.cli.compare",
    "package-clip": "gridscribe.cli.package_clip",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command object `command` of the module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gridscribe")
def cli() -> None:
    """Masks and pixel answers from archives of RGB + height rasters.

    \b
    Try it:
      gridscribe scenes scenes --count 4 --seed 1             make four scenes to play with
      gridscribe run raster --input scenes --output out       classify every pixel of them
      gridscribe at out 3.0012 45.0003                        what is at this longitude, latitude?

    Inputs and outputs are paths or s3://, gs://, az:// URIs. Credentials come from the environment (AWS_..., GOOGLE_...,
    AZURE_...). Exit status: 0 done; 3 done, but some inputs failed (each is named); 2 wrong usage; 1 anything else.
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line; never returns. An error that gridscribe understands is one line, not a traceback."""
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `gridscribe ... | head` ends quietly
        status: Any = cli.main(args=argv, prog_name="gridscribe", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        status = 1
    except click.ClickException as error:
        error.show()
        status = 2
    except UsageError as error:
        click.echo(f"gridscribe: {error}", err=True)
        status = 2
    except GridscribeError as error:
        click.echo(f"gridscribe: {error}", err=True)
        status = 1
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)
