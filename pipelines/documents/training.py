"""Training the document encoder with MMEngine's Runner, and turning it into a document package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gridscribe.models.document.aligner import PageAligner
from gridscribe.models.document.package import (
    DocumentPackage,
    assemble,
    gram_vectors,
    load_document_model,
    write,
)
from gridscribe.models.weights import fill, network_state, read_weights
from gridscribe.pipelines.curve import draw_curve, read_curve
from gridscribe.pipelines.packaging import config_digest
from gridscribe.pipelines.precision import training_precision
from gridscribe.pipelines.recipes import config_path
from gridscribe.pipelines.training import load_recipe, open_runner

ROOM = "documents"  # of the configs


def train_documents(
    config_name: str | Path,
    work_dir: Path,
    *,
    data: Path,
    pretrained: str | Path | None = None,
    threads: int | None = None,
    **options: Any,
) -> DocumentPackage:
    """Train and package: returns the package written to `work_dir/package`. `options` are those of `load_recipe`.

    `pretrained` is a document package of the same sizes that training begins with. Goes on from the last checkpoint in
    `work_dir` if there is one; the course of the loss is drawn in `work_dir/curve.png`. Raises UsageError for a config that
    cannot be used or a package in `work_dir` already, InputError for data, ModelError for weights.
    """
    folder = work_dir / "package"
    config = load_recipe(config_name, ROOM, data=data, work_dir=work_dir, **options)
    first = None if pretrained is None else load_document_model(pretrained)
    digest = config_digest(config)
    runner = open_runner(config, folder, threads)
    aligner = runner.model
    assert isinstance(aligner, PageAligner)
    if first is not None:
        start_from(aligner, first)  # a checkpoint to go on from is loaded later, over it
    runner.train()
    crops = runner.train_dataloader.dataset
    facts = {
        "config": config_path(config_name, ROOM).stem,
        "config_digest": digest,
        "data": {"pages": len(crops.found)},
        "steps": config.train_cfg.max_iters,
        "seed": config.randomness.seed,
        "precision": training_precision(
            config.optim_wrapper.get("precision", "float32"), next(aligner.parameters()).device.type
        ),
        "batch": config.train_dataloader.batch_size * crops.each,
        "crop": crops.plan.side,
        "weights": dict(aligner.weights),
        "initial_weights": "random" if first is None else {"name": first.name, "digest": first.digest},
    }
    package, described = assemble(
        network_state(aligner.encoder),
        aligner.space.grams.weight.detach().cpu().float().numpy(),
        name=config.package.name,
        description=config.package.description,
        architecture=aligner.architecture,
        crop=config.package.crop,
        dpi=crops.plan.dpi,
        mean=aligner.mean,
        std=aligner.std,
        scale=float(aligner.logit_scale.detach().exp()),
        bias=float(aligner.logit_bias.detach()),
        source={"training": facts},
    )
    write(folder, package, described)
    (work_dir / "curve.png").write_bytes(draw_curve(read_curve(work_dir), f"{package.name}, seed {runner.seed}"))
    return replace(package, uri=str(folder))


def start_from(aligner: PageAligner, package: DocumentPackage) -> None:
    """Fill encoder and space of tokens from `package`. Raises ModelError where the sizes differ."""
    if package.page is None:
        raise ValueError("the package was read without its encoder")
    grams = torch.from_numpy(gram_vectors(package))
    with torch.no_grad():
        fill(aligner.encoder, read_weights(package.page, f"{package.uri} (page)"), f"{package.uri} (page)")
        fill(aligner.space, {"grams.weight": grams.numpy()}, f"{package.uri} (tokens)")
        aligner.logit_scale.fill_(float(torch.log(torch.tensor(package.scale))))
        aligner.logit_bias.fill_(package.bias)
