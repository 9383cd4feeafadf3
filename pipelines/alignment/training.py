"""Training the towers with MMEngine's Runner, and turning them into an alignment package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from gridscribe.models.clip.aligner import Aligner
from gridscribe.models.clip.package import AlignmentPackage, assemble, load_alignment, write
from gridscribe.models.weights import fill, network_state, read_weights
from gridscribe.pipelines.curve import draw_curve, read_curve
from gridscribe.pipelines.packaging import config_digest
from gridscribe.pipelines.precision import attention_for, training_precision
from gridscribe.pipelines.recipes import config_path
from gridscribe.pipelines.training import load_recipe, open_runner

ROOM = "alignment"  # of the configs


def load_alignment_config(name: str | Path, *, kind: str | None = None, **options: Any) -> Config:
    """See `load_recipe`, whose `options` these are; `kind` of data (`READERS`) is the config's own unless given."""
    config = load_recipe(name, ROOM, **options)
    if kind is not None:
        config.train_dataloader.dataset.kind = kind
    return config


def train_alignment(
    config_name: str | Path,
    work_dir: Path,
    *,
    data: Path,
    pretrained: str | Path | None = None,
    threads: int | None = None,
    **options: Any,
) -> AlignmentPackage:
    """Train and package: returns the package written to `work_dir/package`. `options` are those of `load_alignment_config`.

    `pretrained` is an alignment package whose towers, of the same architecture, training begins with. Goes on from the last
    checkpoint in `work_dir` if there is one; the course of the loss is drawn in `work_dir/curve.png`. Raises UsageError for a
    config that cannot be used or a package in `work_dir` already, InputError for data, ModelError for weights.
    """
    folder = work_dir / "package"
    config = load_alignment_config(config_name, data=data, work_dir=work_dir, **options)
    first = None if pretrained is None else load_alignment(pretrained)
    digest = config_digest(config)
    runner = open_runner(config, folder, threads)
    aligner = runner.model
    assert isinstance(aligner, Aligner)
    if first is not None:
        start_from(aligner, first)  # a checkpoint to go on from is loaded later, over it
    with attention_for(next(aligner.parameters()).device.type):
        runner.train()
    found = runner.train_dataloader.dataset.found
    facts = {
        "config": config_path(config_name, ROOM).stem,
        "config_digest": digest,
        "data": {
            "kind": runner.train_dataloader.dataset.kind,
            "images": len(found),
            "regions": sum(len(image.regions) for image in found),
        },
        "steps": config.train_cfg.max_iters,
        "seed": config.randomness.seed,
        "precision": training_precision(
            config.optim_wrapper.get("precision", "float32"), next(aligner.parameters()).device.type
        ),
        "batch": config.train_dataloader.batch_size,
        "weights": dict(aligner.weights),
        "teacher": aligner.teacher,
        "target": aligner.target,
        "variant": aligner.dense.variant,
        "initial_weights": "random" if first is None else {"name": first.name, "digest": first.digest},
    }
    package, described = assemble(
        network_state(aligner.dense.visual),
        network_state(aligner.text),
        name=config.package.name,
        description=config.package.description,
        architecture=aligner.architecture,
        mean=aligner.mean,
        std=aligner.std,
        logit_scale=float(aligner.logit_scale.detach().exp()),
        gsd=tuple(config.package.gsd) if config.package.get("gsd") else None,
        source={"training": facts},
    )
    write(folder, package, described)
    (work_dir / "curve.png").write_bytes(draw_curve(read_curve(work_dir), f"{package.name}, seed {runner.seed}"))
    return replace(package, uri=str(folder))


def start_from(aligner: Aligner, package: AlignmentPackage) -> None:
    """Fill the towers from `package`, and the teacher from them. Raises ModelError where the architectures differ."""
    if package.image is None or package.text is None:
        raise ValueError("both towers of the package are needed")
    with torch.no_grad():
        fill(aligner.dense.visual, read_weights(package.image, f"{package.uri} (image)"), f"{package.uri} (image)")
        fill(aligner.text, read_weights(package.text, f"{package.uri} (text)"), f"{package.uri} (text)")
        aligner.logit_scale.fill_(float(torch.log(torch.tensor(package.logit_scale))))
    aligner.begin_teaching()
