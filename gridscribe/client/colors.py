"""Answers as colours: classes, similarities and phrases' pixels as RGBA, for pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

CLASSES: tuple[tuple[int, int, int], ...] = (
    (176, 60, 190), (206, 184, 146), (150, 214, 96), (226, 62, 50), (44, 112, 220), (96, 98, 108), (22, 116, 48),
    (244, 150, 30), (60, 190, 200), (120, 70, 30), (240, 130, 180), (250, 220, 60), (20, 60, 120), (130, 20, 50),
    (160, 160, 230), (110, 120, 20), (0, 150, 120), (250, 180, 150), (80, 20, 100), (190, 195, 200),
)  # fmt: skip
"""Red, green and blue of each class by its id, again from the start above 19. The first seven are those of the shipped model."""

FOUND = (255, 43, 214)
"""Of pixels and outlines that a question found, as in the pictures of `gridscribe match`."""

MOST = 1024
"""Rows or columns of a picture; of a larger array every n-th is drawn."""


def color_of(class_id: int) -> tuple[int, int, int]:
    """Red, green and blue of a class."""
    return CLASSES[class_id % len(CLASSES)]


def thinned(array: NDArray[Any], most: int = MOST) -> tuple[NDArray[Any], int]:
    """Every n-th row and column of an array [h, w], the centres of blocks, so that neither is more than `most`; and n."""
    step = max(1, -(-max(array.shape) // most))
    row, col = (max(0, min((step - 1) // 2, size - 1)) for size in array.shape)
    return array[row::step, col::step], step


def painted(array: NDArray[Any]) -> Bytes:
    """RGBA uint8 [h, w, 4] of classes (uint8; 255 is clear), a phrase's pixels (bool), or similarities (float; NaN is clear).

    Similarities are spread from their least to their greatest.
    """
    if array.dtype == np.bool_:
        return np.array([(0, 0, 0, 0), (*FOUND, 255)], np.uint8)[array.astype(np.uint8)]
    if np.issubdtype(array.dtype, np.floating):
        return _spread(array)
    table = np.array([(*color_of(value), 255) for value in range(256)], np.uint8)
    table[255] = 0
    return table[array]


def limits(array: NDArray[Any]) -> tuple[float, float] | None:
    """The least and the greatest finite value; None where there is none."""
    known = array[np.isfinite(array)]
    return (float(known.min()), float(known.max())) if known.size else None


def _spread(array: NDArray[Any]) -> Bytes:
    from matplotlib import colormaps

    low, high = limits(array) or (0.0, 1.0)
    share = (np.nan_to_num(array, nan=low, posinf=low, neginf=low) - low) / max(high - low, 1e-12)
    colors: Bytes = colormaps["viridis"](share, bytes=True)
    colors[~np.isfinite(array)] = 0
    return colors
