"""`gridscribe evaluate`: how good a model is on labelled images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command("evaluate")
@click.argument("model")
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True, help="Labelled images."
)
@click.option(
    "--kind", default="scenes", show_default=True, help="scenes, gamus, isprs, flair, or a config file of data."
)
@click.option("--split", help="Default: val (gamus, flair), test (isprs).")
@click.option(
    "--data-options", multiple=True, metavar="K=V", help="How the data are read: eroded=True, metres_per_level=0.2, ..."
)
@click.option("--engine", type=click.Choice(["auto", "torch", "openvino"]), default="auto", show_default=True)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Leave evaluation.json, .md and .png, and samples.png, in this folder.",
)
@click.option(
    "--fit-temperature",
    is_flag=True,
    help="First fit the temperature of the confidences on these images and write it into MODEL, a folder.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    model: str,
    data: Path,
    kind: str,
    split: str | None,
    data_options: tuple[str, ...],
    engine: str,
    output: Path | None,
    fit_temperature: bool,
    as_json: bool,
) -> None:
    """Score MODEL (a shipped one, or a package's folder or URI) by the very masks that a job would write.

    \b
      gridscribe evaluate scenes --data held-out-scenes --output report
      gridscribe evaluate work/package --kind gamus --data GAMUS --split test --json

    Prints IoU, F1 and boundary IoU by class, overall accuracy and the calibration error (ECE) of the confidences.
    """
    from mmengine.config import Config

    from gridscribe.cli.overrides import parse_overrides
    from gridscribe.cli.results import stdout_for_results
    from gridscribe.errors import UsageError
    from gridscribe.models.package import load_package, updated_package
    from gridscribe.pipelines.datasets.recipe import with_data
    from gridscribe.pipelines.evaluation import Evaluator
    from gridscribe.pipelines.evaluation_report import markdown, write_report
    from gridscribe.pipelines.packaging import data_facts
    from gridscribe.pipelines.recipes import config_path
    from gridscribe.pipelines.samples import draw_samples
    from gridscribe.pipelines.training import held_out_images

    folder = Path(model)
    if fit_temperature and not (folder / "model.json").is_file():
        raise UsageError(f"--fit-temperature writes into the model: {model!r} is not a folder with a model.json")
    config = Config.fromfile(str(config_path("rgb")))
    with_data(config, kind)
    crops = config.train_dataloader.dataset
    crops.options = {**crops.get("options", {}), **parse_overrides(data_options)}
    with stdout_for_results():
        package = load_package(model)
        images = held_out_images(config, data, split)
        if fit_temperature:
            with Evaluator(package, engine) as evaluator:
                package = updated_package(package, folder, temperature=evaluator.fit_temperature(images))
        with Evaluator(package, engine) as evaluator:
            scores = evaluator.score(images)
            facts: dict[str, Any] = {
                "model": {"name": package.name, "digest": package.digest, "temperature": package.temperature},
                "engine": evaluator.spec.to_json(),
                "data": data_facts(crops.kind, split, images),
            }
            if output is not None:
                write_report(scores, output, facts)
                (output / "samples.png").write_bytes(draw_samples(evaluator, images))
    click.echo(json.dumps({**facts, **scores.to_json()}) if as_json else markdown(scores), nl=as_json)
