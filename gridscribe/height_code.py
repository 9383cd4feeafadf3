"""A coded height layer: at most 100 tokens for each box of an image, enough to say which of two places is higher.

Perception tokens (Aurora, 2024) code a depth map as 10 x 10 tokens of a vocabulary of 128, so that a question about it needs no
depth map. There a VQ-VAE learns what a token stands for. Here a token is the mean height of its cell on a fixed scale, whose
steps grow with the square root of the height: it needs no decoder, and two tokens compare as the heights do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridscribe.values import Window

SIDE = 10
"""Cells along a side of a box; fewer where it has fewer pixels."""
CODES = 128
UNKNOWN = 0
"""The code of a cell where no pixel has a height."""
HIGHEST = 200.0
"""Metres of the highest code; what is higher has it too. What lies below the ground has the lowest."""
_STEPS = CODES - 2


def cells(size: int) -> int:
    """How many cells there are along an axis of `size` pixels."""
    return min(SIDE, size)


def encode(metres: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Codes of heights; NaN is `UNKNOWN`. Steps are 0.1 m high near 0.2 m, 0.5 m near 5 m, 1 m near 20 m."""
    level = np.sqrt(np.clip(metres, 0.0, HIGHEST) / HIGHEST) * _STEPS
    return np.where(np.isnan(level), UNKNOWN, 1 + np.rint(np.nan_to_num(level))).astype(np.uint8)


def bounds(codes: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and greatest mean height, in metres, that each code stands for; NaN where it is `UNKNOWN`.

    Of the lowest code the least is minus infinity, of the highest the greatest is infinity.
    """
    level = codes.astype(np.float64) - 1
    low, high = ((np.clip(level + half, 0, _STEPS) / _STEPS) ** 2 * HIGHEST for half in (-0.5, 0.5))
    low[codes == 1], high[codes == CODES - 1] = -np.inf, np.inf
    low[codes == UNKNOWN] = high[codes == UNKNOWN] = np.nan
    return low, high


def cell_of(box: Window, row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cell of each pixel of `box`, row-major."""
    down = (row - box.row) * cells(box.height) // box.height
    result: NDArray[np.int64] = down * cells(box.width) + (col - box.col) * cells(box.width) // box.width
    return result


class HeightCoder:
    """The codes of a box whose rows come a few at a time."""

    def __init__(self, height: int, width: int) -> None:
        """Pixels of the box."""
        self._down, self._across = cells(height), cells(width)
        self._height = height
        self._edges = [-(-k * width // self._across) for k in range(self._across)]  # first column of each cell
        self._sums = np.zeros((self._down, self._across), np.int64)
        self._counts = np.zeros((self._down, self._across), np.int64)

    def add(self, first: int, centimetres: NDArray[np.int16], nodata: int) -> int:
        """Rows `first`, `first + 1`, ... of the box; returns how many pixels of them have a height."""
        known = centimetres != nodata
        sums = np.add.reduceat(np.where(known, centimetres, 0), self._edges, axis=1, dtype=np.int64)
        counts = np.add.reduceat(known, self._edges, axis=1, dtype=np.int64)
        rows = (first + np.arange(len(centimetres))) * self._down // self._height
        np.add.at(self._sums, rows, sums)
        np.add.at(self._counts, rows, counts)
        return int(counts.sum())

    def codes(self) -> bytes:
        """A byte for each cell, row-major."""
        with np.errstate(invalid="ignore"):
            return encode(self._sums / self._counts / 100).tobytes()
