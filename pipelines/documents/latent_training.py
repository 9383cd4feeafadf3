"""Training adaptive latents on what a page encoder says of generated pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gridscribe.models.document.encoder import CropEncoder
from gridscribe.models.document.latents import AdaptiveLatents, LatentSettings, pooled
from gridscribe.models.document.package import DocumentPackage
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
