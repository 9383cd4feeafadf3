"""What can be told from one pixel alone: the measure of how much context a segmentor uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gridscribe.pipelines.scene_files import Scene, find_scenes, read_scene

_MISSING = -1.0  # stands for a missing height, beside a flag that says so


@dataclass(frozen=True, slots=True)
class PixelClassifier:
    """A small network on (R, G, B, height) of one pixel; call it on a scene for a mask, uint8 [H, W]."""

    network: nn.Module

    def __call__(self, scene: Scene) -> NDArray[np.uint8]:
        values = _features(scene.rgb.reshape(3, -1).T, scene.height.reshape(-1))
        with torch.inference_mode():
            found = [self.network(part).argmax(dim=1).to(torch.uint8) for part in values.split(1 << 18)]
        return torch.cat(found).numpy().reshape(scene.labels.shape)


def train_pixel_classifier(
    folder: Path, classes: int, *, steps: int = 3000, pixels_per_scene: int = 20_000, seed: int = 0
) -> PixelClassifier:
    """Fit on pixels drawn evenly from every scene of `folder`, in the proportions that classes have there.

    Three hidden layers of 64 on seven values (R, G, B, height, its logarithm, whether it is missing, greenness): in
    practice as good as the histogram of all four values allows.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    colours, heights, labels = [], [], []
    for files in find_scenes(folder):
        scene = read_scene(files)
        known = np.flatnonzero(scene.labels.reshape(-1) < classes)
        pick = rng.choice(known, min(pixels_per_scene, known.size), replace=False)
        colours.append(scene.rgb.reshape(3, -1)[:, pick].T)
        heights.append(scene.height.reshape(-1)[pick])
        labels.append(scene.labels.reshape(-1)[pick])
    values = _features(np.concatenate(colours), np.concatenate(heights))
    targets = torch.from_numpy(np.concatenate(labels).astype(np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            *(nn.Linear(values.shape[1], 64), nn.GELU(), nn.Linear(64, 64), nn.GELU()),
            *(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, classes)),
        )
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
    for _ in range(steps):
        drawn = torch.randint(len(targets), (4096,), generator=generator)
        loss = nn.functional.cross_entropy(network(values[drawn]), targets[drawn])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return PixelClassifier(network.eval())


def _features(rgb: NDArray[np.uint8], height: NDArray[np.floating]) -> Tensor:
    """Uint8 [N, 3] and float [N] -> float32 [N, 7]."""
    colour = rgb.astype(np.float32) / 128 - 1
    missing = np.isnan(height)
    metres = np.where(missing, _MISSING, height).astype(np.float32).clip(-2, 60)
    green = (2 * colour[:, 1] - colour[:, 0] - colour[:, 2])[:, None]
    parts = [colour, green, (metres / 8)[:, None], np.log1p(metres.clip(0))[:, None], missing[:, None]]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))
