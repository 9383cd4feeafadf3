"""A coded height layer: at most 100 tokens for each box of an image, enough to say which of two places is higher.

Perception tokens (Aurora, 2024) code a depth map as 10 x 10 tokens of a vocabulary of 128, so that a question about it needs no
depth map. There a VQ-VAE learns what a token stands for. Here a token is the mean height of its cell (of every n-th pixel each
way, at least 32 of them) on a fixed scale, whose steps grow with the square root of the height: it needs no decoder, and two
tokens compare as the heights do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridscribe.values import Window

SIDE = 10
"""Cells along a side of a box; fewer where it has fewer pixels."""
SAMPLED = 32
"""Pixels along a side of a cell that are looked at, at least; all where it has fewer than twice as many."""
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
        self._row_step, self._col_step = (max(1, size // (cells(size) * SAMPLED)) for size in (height, width))
        cell = np.arange(0, width, self._col_step) * self._across // width
        self._first = np.searchsorted(cell, np.arange(self._across))  # sampled column of each cell
        self._sums = np.zeros((self._down, self._across), np.int64)
        self._counts = np.zeros((self._down, self._across), np.int64)

    def add(self, first: int, centimetres: NDArray[np.int16], nodata: int) -> None:
        """Rows `first`, `first + 1`, ... of the box."""
        rows = np.arange(first + -first % self._row_step, first + len(centimetres), self._row_step)
        seen = centimetres[rows - first, :: self._col_step]
        known = seen != nodata
        sums = np.add.reduceat(np.where(known, seen, 0).astype(np.int64), self._first, axis=1)
        np.add.at(self._sums, rows * self._down // self._height, sums)
        counts = np.add.reduceat(known.astype(np.int64), self._first, axis=1)
        np.add.at(self._counts, rows * self._down // self._height, counts)

    def codes(self) -> bytes:
        """A byte for each cell, row-major."""
        with np.errstate(invalid="ignore"):
            return encode(self._sums / self._counts / 100).tobytes()
