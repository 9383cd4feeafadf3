"""The explicit preprocessor of RGB + height input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from mmseg.registry import MODELS
from torch import Tensor

RAW_CHANNELS = 4
NETWORK_CHANNELS = 5
MODALITIES = ("rgb", "height")


@MODELS.register_module()
class RGBHPreprocessor(BaseDataPreprocessor):
    """Turns raw R, G, B, height into the five channels that the networks see.

    In: float [B, 4, H, W], channels R, G, B in 0..255 (in this order: nothing is ever swapped) and height in metres
    above ground, NaN where it is missing. Out: float [B, 5, H, W]:

    - 0..2: `(value - mean) / std` per channel;
    - 3: height clamped to `height_range` (infinite values too), then `(height - height_mean) / height_std`; `height_missing`
      (already in these normalised units) where height is NaN;
    - 4: 1 where height is known, -1 where it is missing. Besides telling the two apart, this channel keeps flat areas of
      different heights distinct: the layer norm right after the first embedding would cancel the size of one constant
      channel. It is never 0, so that no area is all zeros, where that norm would multiply gradients by a thousand.

    MMSegmentation's own preprocessor converts BGR to RGB only for three channels and skips that silently for four; hence
    this class, which converts nothing. `use` leaves out a modality for comparisons: without "height" all height is
    taken as missing, without "rgb" the image is black.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        height_mean: float,
        height_std: float,
        height_range: tuple[float, float] = (-2.0, 60.0),
        height_missing: float = 0.0,
        use: Sequence[str] = MODALITIES,
        non_blocking: bool | None = False,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or height_std <= 0:
            raise ValueError(
                f"needs 3 means and 3 positive stds, and a positive height_std; got {mean}, {std}, {height_std}"
            )
        if height_range[0] >= height_range[1]:
            raise ValueError(f"height_range must rise, got {tuple(height_range)}")
        if not use or set(use) - set(MODALITIES):
            raise ValueError(f"use must name one or both of {MODALITIES}, got {tuple(use)}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.height_mean, self.height_std = float(height_mean), float(height_std)
        self.height_range = float(height_range[0]), float(height_range[1])
        self.height_missing = float(height_missing)
        self.use = tuple(use)

    def normalise(self, raw: Tensor) -> Tensor:
        """Raw float [B, 4, H, W] -> network input float [B, 5, H, W], as the class says."""
        rgb, height = raw[:, :3], raw[:, 3:]
        rgb = ((rgb if "rgb" in self.use else torch.zeros_like(rgb)) - self.mean) / self.std
        missing = torch.isnan(height) if "height" in self.use else torch.ones_like(height, dtype=torch.bool)
        # NaN is replaced before it meets arithmetic: compiled engines may not carry it through a clamp.
        known = torch.where(missing, torch.zeros_like(height), height).clamp(*self.height_range)
        known = (known - self.height_mean) / self.height_std
        known = torch.where(missing, torch.full_like(known, self.height_missing), known)
        return torch.cat([rgb, known, 1 - 2 * missing.to(known.dtype)], dim=1)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:  # noqa: ARG002
        """MMEngine's hook: stacks `data["inputs"]` (tensors [4, H, W] of one size) and normalises them."""
        data = self.cast_data(data)
        inputs = data["inputs"]
        batch = inputs if isinstance(inputs, Tensor) else torch.stack(list(inputs))
        if batch.ndim != 4 or batch.shape[1] != RAW_CHANNELS:
            raise ValueError(f"inputs must be [B, 4, H, W] (R, G, B, height), got {tuple(batch.shape)}")
        return {"inputs": self.normalise(batch.float()), "data_samples": data.get("data_samples")}
