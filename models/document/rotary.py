"""Rotary positions in two dimensions (RoFormer, arXiv 2104.09864, in its axial form: Heo et al., ECCV 2024, section 3).

The first half of a head's channels turns with the row of a token, the second with its column. Only differences of positions
reach the attention, so a page may have any size, and a token keeps its row and column when its neighbours are dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor

THETA = 100.0
"""The longest wavelength is about 2 pi times this many patches: the axial form's value for grids of tens of patches."""


def turns(position: Tensor, head_width: int, theta: float = THETA) -> tuple[Tensor, Tensor]:
    """Cosines and sines, float32 [..., head_width / 2], of tokens at `position` [..., 2] (row, col).

    Raises ValueError where `head_width` is no multiple of 4: each axis turns pairs of channels.
    """
    if head_width % 4:
        raise ValueError(
            f"head_width is {head_width}: positions of two axes turn pairs of channels, it must be a multiple of 4"
        )
    pairs = head_width // 4
    speed = theta ** (-torch.arange(pairs, device=position.device, dtype=torch.float32) / pairs)
    angle = (position.float()[..., None] * speed).flatten(-2)  # [..., 2 * pairs]: rows first
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` [..., head_width] with each pair of channels (2 j, 2 j + 1) turned by the j-th angle; `cos` and `sin` as `turns` gives
    them, broadcast over leading axes. The dtype of `x` stays."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).to(x.dtype)
