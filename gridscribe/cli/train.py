"""`gridscribe train`: a model of one's own data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

ALIGNMENT, DOCUMENTS = "alignment/", "documents/"


@click.command("train")
@click.argument("config")
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Folder to train on."
)
@click.option(
    "--work-dir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Checkpoints, log and package."
)
@click.option("--kind", help="scenes, gamus, isprs, flair, mgrs, or a config file of data; default: what CONFIG says.")
@click.option(
    "--held-out",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the same kind of data to score on; may be --data's where splits tell them apart.",
)
@click.option("--held-out-split", help="Default: val (gamus, flair), test (isprs).")
@click.option("--encoder", help="Of both streams, or RGB+HEIGHT, as resnet18+mit-b0; default: what CONFIG says.")
@click.option(
    "--pretrained",
    multiple=True,
    metavar="INTO=FILE",
    help="First weights: rgb=FILE, height=FILE (MiT, ResNet, Swin), all=FILE (a segmentor); alignment/, documents/: all=PACKAGE.",
)
@click.option("--steps", type=click.IntRange(min=2), help="Length of training.")
@click.option("--seed", type=int, help="Everything drawn depends on it.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; default: all cores.")
@click.option(
    "--cfg-options",
    "overrides",
    multiple=True,
    metavar="K=V",
    help="Override CONFIG: train_dataloader.batch_size=4.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    config: str,
    data: Path,
    work_dir: Path,
    kind: str | None,
    held_out: Path | None,
    held_out_split: str | None,
    encoder: str | None,
    pretrained: tuple[str, ...],
    steps: int | None,
    seed: int | None,
    threads: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train CONFIG (a file, or a shipped one: timf, early, cmx, ..., alignment/stage1) and package the result.

    \b
      gridscribe train timf --data scenes --held-out other-scenes --work-dir work --steps 2000
      gridscribe train cmx --kind gamus --data GAMUS --held-out GAMUS --encoder resnet18 --work-dir work
      gridscribe train timf --data scenes --work-dir work --pretrained rgb=mit_b0.pth --pretrained height=mit_b0.pth
      gridscribe run raster --input tiles --output out --cfg-options model=work/package

    Images with words, in FarSLIP's two stages:

    \b
      gridscribe train alignment/stage1 --kind mgrs --data MGRS-200k --work-dir first
      gridscribe train alignment/stage2 --kind mgrs --data MGRS-200k --work-dir second --pretrained all=first/package

    A document model, of pages that `gridscribe pages` makes:

    \b
      gridscribe train documents/crops --data pages --work-dir first
      gridscribe train documents/pages --data pages --work-dir second --pretrained all=first/package

    Stopped, it goes on from its last checkpoint when it is run again. WORK_DIR holds the package, curve.png, MMEngine's log and,
    with --held-out, held-out/: a table by class, confusion and calibration, predictions to look at.
    """
    from gridscribe.cli.overrides import parse_overrides
    from gridscribe.cli.results import stdout_for_results
    from gridscribe.models.engines import restart_with_malloc_environment

    restart_with_malloc_environment()
    from gridscribe.pipelines.initial_weights import parse_pretrained

    options: dict[str, Any] = {"kind": kind, "steps": steps, "seed": seed}
    if config.startswith((ALIGNMENT, DOCUMENTS)):
        refused = {"--held-out": held_out, "--held-out-split": held_out_split, "--encoder": encoder}
        options |= {"cfg_options": parse_overrides(overrides), "threads": threads or os.cpu_count()}
        _train_other(config, data, work_dir, refused, pretrained, options, as_json=as_json)
        return
    from gridscribe.pipelines.training import train

    options["held_out_split"] = held_out_split
    options["encoders"] = encoder.split("+") if encoder else ()
    options["cfg_options"] = parse_overrides(overrides)
    options["pretrained"] = parse_pretrained(pretrained)
    with stdout_for_results():
        package = train(config, work_dir, data=data, held_out=held_out, threads=threads or os.cpu_count(), **options)
    found = {"package": str(work_dir / "package"), "digest": package.digest, "metrics": dict(package.metrics)}
    click.echo(json.dumps(found) if as_json else f"package {found['package']}: {json.dumps(found['metrics'])}")


def _train_other(
    config: str,
    data: Path,
    work_dir: Path,
    refused: dict[str, Any],
    pretrained: tuple[str, ...],
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from gridscribe.cli.results import stdout_for_results
    from gridscribe.errors import UsageError

    if config.startswith(DOCUMENTS):
        refused["--kind"] = options.pop("kind")
    given = [name for name, value in refused.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: not for {config}")
    if len(pretrained) > 1 or any(not one.startswith("all=") for one in pretrained):
        raise UsageError(f"--pretrained {' '.join(pretrained)}: {config} takes one all=PACKAGE")
    first = pretrained[0].removeprefix("all=") if pretrained else None
    package: Any
    with stdout_for_results():
        if config.startswith(DOCUMENTS):
            from gridscribe.pipelines.documents.training import train_documents

            name = config.removeprefix(DOCUMENTS)
            package = train_documents(name, work_dir, data=data, pretrained=first, **options)
        else:
            from gridscribe.pipelines.alignment.training import train_alignment

            name = config.removeprefix(ALIGNMENT)
            package = train_alignment(name, work_dir, data=data, pretrained=first, **options)
    found = {"package": package.uri, "digest": package.digest}
    click.echo(json.dumps(found) if as_json else f"package {package.uri}, digest {package.digest[:16]}")
