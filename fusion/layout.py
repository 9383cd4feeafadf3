"""Maps as lists of pixels and back."""

from __future__ import annotations

from torch import Tensor


def to_pixels(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, H * W, C], row-major."""
    batch, channels, rows, cols = x.shape
    return x.permute(0, 2, 3, 1).reshape(batch, rows * cols, channels)


def to_map(x: Tensor, rows: int, cols: int) -> Tensor:
    """[B, H * W, C] -> [B, C, H, W] (channels last in memory)."""
    batch, _, channels = x.shape
    return x.reshape(batch, rows, cols, channels).permute(0, 3, 1, 2)
