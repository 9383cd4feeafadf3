"""Training the patch classifier on generated pages, and examining it on pages that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gridscribe.models.document.patch_classifier import PatchClassifier, blocks_of
from gridscribe.pipelines.documents.page_crops_data import CropPlan, PageCrops

TOUCHED = 2
"""Points of a block that text must cover for the block to be text: fewer are the corner of one letter's box."""


@dataclass(frozen=True, slots=True)
class PatchScores:
    """How a classifier does, before its answer is dilated."""

    average_precision: float
    recall: float
    """Of blocks with text, at logit 0."""
    kept: float
    """Share of all blocks, at logit 0."""
    text: float
    """Share of all blocks that have text."""


def blocks_with_truth(crops: PageCrops, index: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(blocks uint8 [n, 3, side, side], whether text is on each) of the crops of item `index`."""
    pixels, truth = [], []
    for crop in crops[index]:
        grid = crops.plan.side // side
        cells = crops.plan.cells // grid
        covered = crop.covered.reshape(grid, cells, grid, cells).sum(axis=(1, 3))
        pixels.append(blocks_of(np.ascontiguousarray(crop.pixels.transpose(1, 2, 0)), side))
        truth.append(covered.ravel() >= TOUCHED)
    return np.concatenate(pixels), np.concatenate(truth)


def train_classifier(
    data: Path, plan: CropPlan, side: int, *, steps: int = 400, seed: int = 0, lr: float = 1e-3
) -> PatchClassifier:
    """A classifier of blocks of `side` px, from random weights: AdamW with a cosine, binary cross-entropy.

    As published but for the length of training and its rate; classes count equally by their weights, where the paper draws
    blocks evenly; noise and blur are those of the generated scans. Raises InputError for data that cannot be read.
    """
    torch.manual_seed(seed)
    crops = PageCrops(str(data), plan.side, plan.cells, plan.dpi, seed, each=4, zoom=plan.zoom, most=1)
    network = PatchClassifier(side)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        blocks, text = blocks_with_truth(crops, step, side)
        target = torch.from_numpy(text).float()
        share = float(target.mean().clamp(0.05, 0.95))
        weight = target * (0.5 / share) + (1 - target) * (0.5 / (1 - share))
        logits = network(torch.from_numpy(blocks).float() / 255)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target, weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def examine_classifier(
    network: PatchClassifier, data: Path, plan: CropPlan, side: int, *, items: int = 60
) -> PatchScores:
    """Its scores on crops of the pages in `data`."""
    crops = PageCrops(str(data), plan.side, plan.cells, plan.dpi, 1, each=2, zoom=plan.zoom, most=1)
    logits, truth = [], []
    for index in range(items):
        blocks, text = blocks_with_truth(crops, index, side)
        with torch.inference_mode():
            logits.append(network(torch.from_numpy(blocks).float() / 255).numpy())
        truth.append(text)
    return scores_of(np.concatenate(logits), np.concatenate(truth))


def scores_of(logits: NDArray[np.float32], truth: NDArray[np.bool_]) -> PatchScores:
    """From logits and truth of blocks; average precision is the mean of the precision at each block that has text."""
    order = np.argsort(-logits, kind="stable")
    hits = np.cumsum(truth[order])
    precision = hits / np.arange(1, len(order) + 1)
    text = truth.sum()
    return PatchScores(
        average_precision=float(precision[truth[order]].mean()) if text else 0.0,
        recall=float((logits[truth] > 0).mean()) if text else 0.0,
        kept=float((logits > 0).mean()),
        text=float(truth.mean()),
    )
