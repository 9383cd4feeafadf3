"""`gridscribe evaluate`: how good a model is on labelled images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

ALIGNMENT_FORMAT = "gridscribe-alignment/"
CALIBRATION_FILE = "offsets.json"


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
    help="Leave evaluation.json, .md and .png, and samples.png (alignment models: offsets.json), in this folder.",
)
@click.option(
    "--fit-temperature",
    is_flag=True,
    help="First fit the temperature of the confidences on these images and write it into MODEL, a folder.",
)
@click.option(
    "--train-data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Alignment models: the generated scenes trained on; their captions, colours and labels are what is compared with.",
)
@click.option(
    "--classes", help="Alignment models: class file of the segmentation, or a shipped one's name; default: gamus."
)
@click.option(
    "--offsets",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Alignment models: an offsets.json of an earlier evaluation, in place of fitting on --train-data.",
)
@click.option(
    "--variant",
    help="Alignment models: the encoder's last block: segearth, vanilla, maskclip, sclip, clearclip; default: as trained.",
)
@click.option("--seed", type=int, help="Alignment models: what is drawn depends on it; default: 0.")
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
    train_data: Path | None,
    classes: str | None,
    offsets: Path | None,
    variant: str | None,
    seed: int | None,
    as_json: bool,
) -> None:
    """Score MODEL (a shipped one, or a package's folder or URI) by the very masks that a job would write.

    \b
      gridscribe evaluate scenes --data held-out-scenes --output report
      gridscribe evaluate work/package --kind gamus --data GAMUS --split test --json

    Prints IoU, F1 and boundary IoU by class, overall accuracy and the calibration error (ECE) of the confidences.

    A model that aligns images with words is examined on generated scenes: regions named and found by phrases (those too that
    training never says), views and captions, masks by words alone; each beside chance, colours and a mask's class names.

    \b
      gridscribe evaluate work/package --data held-out-scenes --train-data train-scenes --output report
    """
    given = {
        "--train-data": train_data,
        "--classes": classes,
        "--offsets": offsets,
        "--variant": variant,
        "--seed": seed,
    }
    if _aligns(model):
        refused = {"--kind": kind != "scenes", "--split": split, "--data-options": data_options}
        _refuse({**refused, "--fit-temperature": fit_temperature}, "for a model that aligns images with words")
        _evaluate_alignment(model, data, engine, output, given, as_json=as_json)
        return
    _refuse(given, "for a segmentation model")
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


def _aligns(model: str) -> bool:
    from gridscribe.models.package_files import stated_format

    return (stated_format(model) or "").startswith(ALIGNMENT_FORMAT)


def _refuse(options: dict[str, Any], why: str) -> None:
    from gridscribe.errors import UsageError

    given = [name for name, value in options.items() if value not in (None, False, ())]
    if given:
        raise UsageError(f"{', '.join(given)}: not {why}")


def _evaluate_alignment(
    model: str, data: Path, engine: str, output: Path | None, given: dict[str, Any], *, as_json: bool
) -> None:
    from gridscribe.cli.results import stdout_for_results
    from gridscribe.errors import UsageError
    from gridscribe.models.clip.concepts import concepts_path
    from gridscribe.models.clip.package import load_alignment
    from gridscribe.pipelines.alignment.evaluation import Examination, evaluate_alignment
    from gridscribe.pipelines.alignment.evaluation_report import markdown
    from gridscribe.progress import reporter

    if given["--train-data"] is None:
        raise UsageError(
            "--train-data: needed for a model that aligns images with words: the scenes that it was trained on"
        )
    how = Examination(
        data,
        given["--train-data"],
        concepts_path(given["--classes"] or "gamus"),
        engine=engine,
        variant=given["--variant"],
        seed=given["--seed"] or 0,
        offsets=given["--offsets"],
    )
    with stdout_for_results():
        scores = evaluate_alignment(load_alignment(model), how, reporter())
    document, text = scores.to_json(), markdown(scores)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "evaluation.json").write_text(json.dumps(document, indent=1) + "\n")
        (output / "evaluation.md").write_text(text)
        (output / CALIBRATION_FILE).write_text(json.dumps(document["segmentation"]["offsets"], indent=1) + "\n")
    click.echo(json.dumps(document) if as_json else text, nl=as_json)
