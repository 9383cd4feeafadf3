"""Adaptive latents for a document package, trained on what its encoder says of generated pages.

    python -m gridscribe.pipelines.documents.latent_training PACKAGE PAGES HELD_OUT OUT [--steps 600] [--crops 400]

Writes a package with the latents to OUT, and tells the mean difference on pages of HELD_OUT after each pass.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from gridscribe.models.document.encoder import CropEncoder, open_page_encoder, resolve_page_engine
from gridscribe.models.document.latents import AdaptiveLatents, LatentSettings, pooled
from gridscribe.models.document.package import (
    DocumentPackage,
    build_classifier,
    extended,
    load_document_model,
    write,
)
from gridscribe.models.weights import network_state
from gridscribe.pipelines.documents.page_crops_data import CropPlan, PageCrops

BATCH = 8


def crop_tokens(
    encoder: CropEncoder, package: DocumentPackage, data: Path, side: int, count: int, seed: int
) -> torch.Tensor:
    """float32 [count, side ** 2, D]: the averaged vectors of `count` crops of the pages in `data`."""
    plan = CropPlan(package.crop, package.crop // package.architecture.cell, package.dpi)
    crops = PageCrops(str(data), plan.side, plan.cells, plan.dpi, seed, each=1, zoom=plan.zoom, most=1)
    found = []
    for index in range(count):
        (crop,) = crops[index]
        found.append(pooled(encoder.encode(np.ascontiguousarray(crop.pixels.transpose(1, 2, 0))), side))
    return torch.from_numpy(np.stack(found))


def train_latents(
    tokens: torch.Tensor, settings: LatentSettings, *, steps: int = 600, seed: int = 0, lr: float = 1e-3
) -> AdaptiveLatents:
    """A network from random weights: AdamW with a cosine, batches drawn from `tokens` [crops, side ** 2, D]."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = AdaptiveLatents(settings)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = network.loss(tokens[rng.integers(len(tokens), size=min(BATCH, len(tokens)))])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def examine_latents(network: AdaptiveLatents, tokens: torch.Tensor) -> list[float]:
    """The mean difference between tokens and rebuilt ones after each pass."""
    with torch.inference_mode():
        return [float((one.rebuilt - tokens).abs().mean()) for one in network.passes(tokens)]


def main() -> None:
    """The command line of this module (see above)."""
    parser = argparse.ArgumentParser(prog="python -m gridscribe.pipelines.documents.latent_training")
    for name in ("package", "pages", "held_out", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--crops", type=int, default=400)
    options = parser.parse_args()
    package = load_document_model(options.package)
    errors = with_latents(
        package, options.pages, options.held_out, options.out, steps=options.steps, crops=options.crops
    )
    sys.stdout.write(json.dumps(errors) + "\n")


def with_latents(
    package: DocumentPackage,
    pages: Path,
    held_out: Path,
    out: Path,
    *,
    steps: int = 600,
    crops: int = 400,
    seed: int = 0,
) -> list[float]:
    """Train latents for `package` and write it with them to `out`; returns what `examine_latents` finds on `held_out`."""
    settings = LatentSettings(package.architecture.embed_dim)
    encoder = open_page_encoder(
        resolve_page_engine("torch", package, precision="float32", threads=os.cpu_count()), package
    )
    try:
        tokens = crop_tokens(encoder, package, pages, settings.side, crops, seed)
        others = crop_tokens(encoder, package, held_out, settings.side, max(2, crops // 8), seed)
    finally:
        encoder.close()
    network = train_latents(tokens, settings, steps=steps, seed=seed)
    errors = [round(error, 5) for error in examine_latents(network, others)]
    made, described = extended(
        package,
        {"latents": {"steps": steps, "crops": crops, "seed": seed, "held_out": errors}},
        classifier=network_state(build_classifier(package)) if package.classifies else None,
        latents=(settings.to_json(), network_state(network)),
    )
    write(out, made, described)
    return errors


if __name__ == "__main__":
    main()
