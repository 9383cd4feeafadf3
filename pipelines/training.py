"""Training a segmentor on generated scenes with MMEngine's Runner, and turning the result into a model package.

    python -m gridscribe.pipelines.training CONFIG --data SCENES --work-dir DIR [--held-out SCENES] [--steps N] [--seed S]

`CONFIG` is a file or the name of one in `configs/segmentation/`. Running the command again with the same folder goes on
from the last checkpoint. On a CPU, start it with the variables of `gridscribe.models.engines.malloc_environment`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from gridscribe.errors import UsageError
from gridscribe.models.architecture import inference_architecture
from gridscribe.models.package import ClassInfo, ModelPackage, save_package, with_metrics
from gridscribe.models.weights import network_state, read_checkpoint
from gridscribe.pipelines.datasets.recipe import with_data
from gridscribe.pipelines.initial_weights import InitialWeights
from gridscribe.pipelines.precision import training_precision
from gridscribe.pipelines.recipes import config_path, with_encoders


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


class _Progress(logging.Filter):
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
    if cfg_options:
        config.merge_from_dict(dict(cfg_options))
    if steps is not None:
        _set_steps(config, steps)
    if seed is not None:
        config.randomness.seed = seed
    config.work_dir = str(work_dir)
    crops = config.train_dataloader.dataset
    crops.data_root, crops.cache, crops.seed = str(data), str(cache or work_dir / "cache"), config.randomness.seed
    return config


def train(
    config_name: str | Path,
    work_dir: Path,
    *,
    data: Path,
    held_out: Path | None = None,
    threads: int | None = None,
    pretrained: Mapping[str, Path] | None = None,
    **options: Any,
) -> ModelPackage:
    """Train and package: returns the package written to `work_dir/package`. `options` are those of `load_config`.

    `pretrained` maps `rgb`, `height` or `all` to a checkpoint that the first weights come from (see `InitialWeights`).
    Goes on from the last checkpoint in `work_dir` if there is one. With `held_out` (a folder of scenes), the package is read
    back as stored (float16) and scored there; the scores stand in its `metrics`. Raises UsageError for a config that cannot
    be found or used, InputError for a folder without scenes, ModelError for a checkpoint that is not plain data.
    """
    config = load_config(config_name, data=data, work_dir=work_dir, **options)
    kind = config.train_dataloader.dataset.kind
    if held_out is not None and kind != "scenes":  # said now, not after hours of training
        raise UsageError(
            f"held_out={held_out}: scoring is of generated scenes only, and the data are {kind!r}; leave it out"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    config.resume = True
    initial = InitialWeights(pretrained or {}, config, options.get("cfg_options"))
    runner = CheckedRunner.from_cfg(config)
    runner.register_hook(initial)
    runner.logger.addFilter(_Progress())
    runner.train()
    package = package_network(
        config,
        runner.model,
        work_dir / "package",
        {
            "config": config_path(config_name).stem,
            "steps": config.train_cfg.max_iters,
            "seed": config.randomness.seed,
            "precision": training_precision(
                config.optim_wrapper.get("precision", "float32"), next(runner.model.parameters()).device.type
            ),
            "batch": config.train_dataloader.batch_size,
            "crop": config.train_dataloader.dataset.crop,
            "scenes": len(runner.train_dataloader.dataset.scenes),
            "initial_weights": initial.description,
        },
    )
    if held_out is not None:
        from gridscribe.pipelines.evaluation import evaluate

        package = with_metrics(package, work_dir / "package", evaluate(package, held_out).to_json())
    return package


def package_network(config: Config, network: nn.Module, folder: Path, training: Mapping[str, Any]) -> ModelPackage:
    """Write `network`, built from `config.model`, as a package into `folder`, with what the config says of it."""
    facts = config.package
    return save_package(
        folder,
        network_state(network),
        name=facts.name,
        description=facts.description,
        architecture=inference_architecture(config.model.to_dict()),
        classes=tuple(
            ClassInfo(k, name, tuple(color))
            for k, (name, color) in enumerate(zip(config.classes, config.palette, strict=True))
        ),
        gsd=tuple(facts.gsd),
        window=facts.window,
        stride=facts.stride,
        patch=facts.patch,
        metrics={},
        training=training,
    )


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


def main() -> None:
    """The command line of this module (see above)."""
    import argparse

    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        prog="python -m gridscribe.pipelines.training", description=__doc__.splitlines()[0]
    )
    parser.add_argument("config", help="a .py file, or the name of one in configs/segmentation/")
    parser.add_argument("--data", type=Path, required=True, help="folder of generated scenes to train on")
    parser.add_argument("--work-dir", type=Path, required=True, help="checkpoints, logs and the package go here")
    parser.add_argument("--held-out", type=Path, help="folder of other scenes to score the package on")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="key=value pairs merged into the config")
    options = parser.parse_args()
    package = train(
        options.config,
        options.work_dir,
        data=options.data,
        held_out=options.held_out,
        steps=options.steps,
        seed=options.seed,
        threads=options.threads,
        cfg_options=options.cfg_options,
    )
    logging.getLogger("gridscribe").warning("package %s in %s: %s", package.name, package.uri, package.metrics)


if __name__ == "__main__":
    main()
