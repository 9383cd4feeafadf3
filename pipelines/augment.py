"""What a training crop goes through, so that the network meets more sensors, seasons and faults than there are scenes.

Pixels are float32: RGB [3, H, W] in 0..255, height [H, W] in metres with NaN = missing, labels uint8 [H, W].
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gridscribe.pipelines.datasets.legends import IGNORE

Float32 = NDArray[np.float32]
Rng = np.random.Generator


def resize(
    rgb: Float32, height: Float32, labels: NDArray[np.uint8], size: int
) -> tuple[Float32, Float32, NDArray[np.uint8]]:
    """A square crop at another scale. NaN heights spread to every pixel that would mix them in."""
    if labels.shape == (size, size):
        return rgb, height, labels
    colour = F.interpolate(torch.from_numpy(rgb)[None], (size, size), mode="bilinear", antialias=True)[0]
    metres = F.interpolate(torch.from_numpy(height)[None, None], (size, size), mode="bilinear")[0, 0]
    classes = F.interpolate(torch.from_numpy(labels)[None, None], (size, size), mode="nearest-exact")[0, 0]
    return colour.numpy(), metres.numpy(), classes.numpy()


def turn(rng: Rng, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """One of the eight symmetries of the square, the same for all arrays (last two axes)."""
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    turned = (np.rot90(a, turns, axes=(-2, -1)) for a in arrays)
    return [np.ascontiguousarray(a[..., ::-1] if flip else a) for a in turned]


def recolour(rng: Rng, rgb: NDArray[np.uint8]) -> Float32:
    """Exposure, white balance, contrast, gamma and saturation of an uint8 crop [3, H, W]; float32 in 0..255."""
    level = np.arange(256, dtype=np.float64)
    gain = np.exp(rng.normal(0, 0.06, (3, 1)) + rng.normal(0, 0.18))
    contrast, shift, gamma = rng.uniform(0.75, 1.3), rng.normal(0, 6), np.exp(rng.normal(0, 0.15))
    table = 110 + (level * gain - 110) * contrast + shift
    table = (255 * (np.clip(table, 0, 255) / 255) ** gamma).astype(np.float32)
    colour = np.stack([table[k][band] for k, band in enumerate(rgb)])
    saturation = np.float32(rng.uniform(0.6, 1.5))
    colour = colour * saturation + colour.mean(axis=0) * (1 - saturation)
    return np.clip(colour, 0, 255, out=colour)


def blur_or_grain(rng: Rng, rgb: Float32) -> Float32:
    """Sensor noise, a soft lens, or neither."""
    kind = rng.random()
    if kind < 0.3:
        rgb = rgb + rng.standard_normal(rgb.shape, np.float32) * np.float32(rng.uniform(1, 8))
        return np.clip(rgb, 0, 255, out=rgb)
    if kind < 0.45:
        return F.avg_pool2d(F.pad(torch.from_numpy(rgb)[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0].numpy()
    return rgb


def missing_modality(rng: Rng, drop_height: float, drop_rgb: float) -> Literal["height", "rgb"] | None:
    """What a crop goes without, with these probabilities: one of the two or neither, never both (so one draw for both)."""
    drawn = rng.random()
    if drawn < drop_height:
        return "height"
    return "rgb" if drawn >= 1 - drop_rgb else None


def disturb_height(rng: Rng, height: Float32) -> Float32:
    """Offset, scale, noise, a coarser grid, holes."""
    height = height * np.float32(rng.normal(1, 0.04)) + np.float32(rng.normal(0, 0.2))
    rows, cols = height.shape
    kind = rng.random()
    if kind < 0.25:
        height = height + rng.standard_normal(height.shape, np.float32) * np.float32(rng.uniform(0.02, 0.25))
    elif kind < 0.45:
        step = int(rng.integers(2, 6))
        coarse = torch.from_numpy(height[step // 2 :: step, step // 2 :: step].copy())[None, None]
        height = F.interpolate(coarse, (rows, cols), mode="bilinear")[0, 0].numpy()
    if rng.random() < 0.2:
        for _ in range(int(rng.integers(1, 6))):
            r, c = int(rng.integers(rows)), int(rng.integers(cols))
            h, w = (int(rng.integers(2, side // 3)) for side in (rows, cols))
            height[r : r + h, c : c + w] = np.nan
    return height


def blank_border(rng: Rng, rgb: Float32, height: Float32, labels: NDArray[np.uint8]) -> None:
    """The edge of an image: one side without data, in place (RGB 0, height missing, labels ignored)."""
    size = labels.shape[0]
    depth = int(rng.integers(size // 8, size // 2))
    side = (slice(None), slice(0, depth)) if rng.random() < 0.5 else (slice(0, depth), slice(None))
    rgb[(slice(None), *side)] = 0
    height[side] = np.nan
    labels[side] = IGNORE
