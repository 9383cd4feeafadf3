"""Training a segmentor with MMEngine's Runner, and turning the result into a model package (`gridscribe train`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from gridscribe.errors import UsageError
from gridscribe.models.package import ModelPackage, updated_package
from gridscribe.models.package_files import MODEL_FILE
from gridscribe.models.weights import read_checkpoint
from gridscribe.pipelines.curve import draw_curve, read_curve
from gridscribe.pipelines.datasets import LabelledImage, Legend, find_labelled
from gridscribe.pipelines.datasets.recipe import with_data
from gridscribe.pipelines.initial_weights import InitialWeights
from gridscribe.pipelines.packaging import config_digest, data_facts, package_network
from gridscribe.pipelines.precision import training_precision
from gridscribe.pipelines.recipes import config_path, with_encoders

SCORED_SPLITS = {"gamus": "val", "flair": "val", "isprs": "test"}
"""What is scored on unless told otherwise: labelled, and not trained on."""


class CheckedRunner(Runner):
    """MMEngine's Runner, except that a checkpoint is never unpickled as code: see `read_checkpoint`.

    The framework's own loader falls back to plain unpickling when a file is not made of weights alone.
    """

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable[..., Any] = "cpu",  # noqa: ARG002  (tensors are copied into place from the CPU)
        strict: bool = True,
        revise_keys: list[tuple[str, str]] | None = None,
    ) -> dict[str, Any]:
        """The checkpoint as data, its weights loaded into the model. Raises ModelError where it is not plain data."""
        if revise_keys:
            raise UsageError("revise_keys is not supported: checkpoints are loaded under the names they have")
        checkpoint = read_checkpoint(Path(filename))
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        self.model.load_state_dict(checkpoint["state_dict"], strict=strict)
        self._has_loaded = True
        return checkpoint


def load_recipe(
    name: str | Path,
    room: str,
    *,
    data: Path,
    work_dir: Path,
    steps: int | None = None,
    seed: int | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Config:
    """The config `name` (a file, or one of `configs/<room>/`) with data, folder, length and seed filled in; `cfg_options`
    (dotted keys) are merged before."""
    config = Config.fromfile(str(config_path(name, room)))
    settle(config, work_dir, steps=steps, seed=seed, cfg_options=cfg_options)
    views = config.train_dataloader.dataset
    views.data_root, views.seed = str(data), config.randomness.seed
    return config


def open_runner(config: Config, folder: Path, threads: int | None) -> CheckedRunner:
    """The runner of a config, which goes on from the last checkpoint in its work folder if there is one.

    Raises UsageError where `folder`, in which the package is to be written, holds one already.
    """
    if (folder / MODEL_FILE).exists():
        raise UsageError(f"{folder} holds a {MODEL_FILE} already; choose another work_dir")
    if threads is not None:
        torch.set_num_threads(threads)
    runner = CheckedRunner.from_cfg(config)
    runner.logger.addFilter(ProgressFilter())
    return runner


class ProgressFilter(logging.Filter):
    """Keeps progress, checkpoints and warnings; the framework else logs a line or more per parameter."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        return record.levelno > logging.INFO or "Iter(train)" in text or "checkpoint" in text


def load_config(
    name: str | Path,
    *,
    data: Path,
    work_dir: Path,
    kind: str | Path | None = None,
    encoders: Sequence[str] = (),
    cache: Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Config:
    """The config with data, encoders, folders, length and seed filled in; `cfg_options` (dotted keys) are merged before.

    `kind` of data (see `with_data`) and `encoders` (one name, or RGB's and height's; see `with_encoders`) are the config's own
    unless given. `cache` holds decoded images and may be shared by runs; default: in `work_dir`.
    """
    config = Config.fromfile(str(config_path(name)))
    if kind is not None:
        with_data(config, kind)
    if encoders:
        with_encoders(config, *encoders)
    settle(config, work_dir, steps=steps, seed=seed, cfg_options=cfg_options)
    if torch.cuda.is_available() and not config.train_dataloader.num_workers:
        # the device does not wait for the processor; crops are the same whoever makes them
        config.train_dataloader.num_workers = max(1, min(8, (os.cpu_count() or 2) - 1))
        config.train_dataloader.persistent_workers = True
    crops = config.train_dataloader.dataset
    crops.data_root, crops.cache, crops.seed = str(data), str(cache or work_dir / "cache"), config.randomness.seed
    return config


def train(
    config_name: str | Path,
    work_dir: Path,
    *,
    data: Path,
    held_out: Path | None = None,
    held_out_split: str | None = None,
    calibrate: bool = True,
    threads: int | None = None,
    pretrained: Mapping[str, Path] | None = None,
    **options: Any,
) -> ModelPackage:
    """Train and package: returns the package written to `work_dir/package`. `options` are those of `load_config`.

    `pretrained` maps `rgb`, `height` or `all` to a checkpoint that the first weights come from (see `InitialWeights`).
    Goes on from the last checkpoint in `work_dir` if there is one. The course of the loss is drawn in `work_dir/curve.png`. With
    `held_out` (a folder of the same kind of data), the package is read back as stored (float16), its temperature fitted there
    (unless not `calibrate`), and it is scored there as a job would run it: scores stand in its `metrics`, a report and
    predictions to look at in `work_dir/held-out/`. Raises UsageError for a config that cannot be found or used, InputError for
    data that cannot be, ModelError for a checkpoint that is not plain data.
    """
    config = load_config(config_name, data=data, work_dir=work_dir, **options)
    crops = config.train_dataloader.dataset
    unseen = None if held_out is None else held_out_images(config, held_out, held_out_split)
    if threads is not None:
        torch.set_num_threads(threads)
    initial = InitialWeights(pretrained or {}, config, options.get("cfg_options"))
    digest = config_digest(config)
    runner = CheckedRunner.from_cfg(config)
    runner.register_hook(initial)
    runner.logger.addFilter(ProgressFilter())
    runner.train()
    device = next(runner.model.parameters()).device.type
    package = package_network(
        config,
        runner.model,
        work_dir / "package",
        {
            "config": config_path(config_name).stem,
            "config_digest": digest,
            "data": data_facts(crops.kind, crops.get("split"), runner.train_dataloader.dataset.found),
            "steps": config.train_cfg.max_iters,
            "seed": config.randomness.seed,
            "precision": training_precision(config.optim_wrapper.get("precision", "float32"), device),
            "batch": config.train_dataloader.batch_size,
            "crop": crops.crop,
            "drop_height": runner.train_dataloader.dataset.drop_height,
            "initial_weights": initial.description,
        },
    )
    (work_dir / "curve.png").write_bytes(draw_curve(read_curve(work_dir), f"{package.name}, seed {runner.seed}"))
    return package if unseen is None else score_package(package, work_dir / "package", unseen, calibrate=calibrate)


def held_out_images(config: Config, folder: Path, split: str | None = None) -> list[LabelledImage]:
    """The images of `folder` to score on: of the kind of data that the config trains on, read with the same options.

    `split`: GAMUS's and FLAIR's "val" and ISPRS's "test" unless given. Raises UsageError or InputError as `find_labelled`.
    """
    crops = config.train_dataloader.dataset.to_dict()
    legend = Legend(tuple(crops["classes"]), tuple(crops["palette"]))
    split = split or SCORED_SPLITS.get(crops["kind"])
    return find_labelled(crops["kind"], folder, split, legend=legend, **crops.get("options", {}))


def score_package(
    package: ModelPackage, folder: Path, images: Sequence[LabelledImage], *, calibrate: bool = True
) -> ModelPackage:
    """Score the package in `folder` on `images` and write the scores into it; its temperature first, with `calibrate`.

    A report and predictions to look at are left in `held-out/` beside it.
    """
    from gridscribe.pipelines.evaluation import Evaluator
    from gridscribe.pipelines.evaluation_report import write_report
    from gridscribe.pipelines.samples import draw_samples

    if calibrate:
        with Evaluator(package) as evaluator:
            package = updated_package(package, folder, temperature=evaluator.fit_temperature(images))
    with Evaluator(package) as evaluator:
        scores = evaluator.score(images)
        report = folder.parent / "held-out"
        write_report(scores, report, {"model": package.name, "temperature": package.temperature})
        (report / "samples.png").write_bytes(draw_samples(evaluator, images))
    return updated_package(package, folder, metrics=scores.to_json())


def settle(
    config: Config,
    work_dir: Path,
    *,
    steps: int | None = None,
    seed: int | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> None:
    """Fill in what every training is told, in place: first `cfg_options` (dotted keys), then length, seed and folder."""
    if cfg_options:
        config.merge_from_dict(dict(cfg_options))
    if steps is not None:
        _set_steps(config, steps)
    if seed is not None:
        config.randomness.seed = seed
    config.work_dir = str(work_dir)
    config.resume = True  # what was stopped goes on from its last checkpoint


def _set_steps(config: Config, steps: int) -> None:
    """Another length of training: the schedule is stretched or squeezed to fit."""
    if steps < 2:
        raise UsageError(f"steps={steps}: at least 2 are needed (one to warm up)")
    warm_up = max(1, round(config.warm_up * steps / config.steps))
    config.steps, config.warm_up = steps, warm_up
    config.train_cfg.max_iters, config.train_cfg.val_interval = steps, steps + 1
    rising, falling = config.param_scheduler
    rising.end = falling.begin = warm_up
    falling.end = steps
