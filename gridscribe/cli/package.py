"""`gridscribe package`: a checkpoint as a model package."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("package")
@click.argument("config")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the package."
)
@click.option("--kind", help="As it was trained: scenes, gamus, isprs, flair, or a config file of data.")
@click.option("--encoder", help="As it was trained: of both streams, or RGB+HEIGHT; default: what CONFIG says.")
@click.option(
    "--cfg-options", "overrides", multiple=True, metavar="K=V", help="As it was trained: overrides of CONFIG."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    config: str,
    checkpoint: Path,
    folder: Path,
    kind: str | None,
    encoder: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Turn CHECKPOINT, a whole .pth of CONFIG's network (a file, or a shipped strategy), into a model package.

    \b
      gridscribe package cmx work/iter_20000.pth --encoder resnet18 --kind gamus --to my-model
      gridscribe run raster --input tiles --output out --cfg-options model=my-model

    Weights must fit exactly; where they do not, names and shapes are told. Pickled objects in the file are refused.
    """
    from gridscribe.cli.overrides import parse_overrides
    from gridscribe.cli.results import stdout_for_results
    from gridscribe.pipelines.checkpoint_package import package_checkpoint

    with stdout_for_results():
        package = package_checkpoint(
            config,
            checkpoint,
            folder,
            kind=kind,
            encoders=encoder.split("+") if encoder else (),
            cfg_options=parse_overrides(overrides),
        )
    found = {"package": str(folder), "name": package.name, "digest": package.digest}
    click.echo(json.dumps(found) if as_json else f"package {folder}: {package.name}, {package.digest}")
