"""Blending the probabilities of overlapping windows, in memory bounded by one band of the item.

Every window's softmax probabilities are added under a strictly positive taper, in float32 and always in row-major order of
windows, so a pixel's sum has the same terms in the same order whatever box of the image is worked on. The mask is the
argmax of the sum; the confidence is its maximum over the sum of the tapers there, which is a function of position alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.lattice import Axis, Lattice
from gridscribe.values import Window

CACHED = 1 << 16  # pixels decided at a time, so that their sums stay in a core's cache
CONFIDENCE_LEVELS = 254  # uint8 0..254 stands for 0..1; 255 is nodata

Float32 = NDArray[np.float32]


def taper(window: int, stride: int) -> Float32:
    """One axis of the taper, float32 [window]: 1 in the middle, a raised-cosine ramp over the overlap at both ends.

    Strictly positive, and ramps of neighbouring windows add up to 1. Where two overlaps would meet (stride below half the
    window) the ramp is half the window long and neighbours no longer add up to 1; sums are divided out in any case.
    """
    overlap = min(window - stride, window // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(overlap) + 0.5) / overlap) if overlap else np.empty(0)
    flat = np.ones(window - 2 * overlap)
    return np.concatenate([ramp, flat, ramp[::-1]]).astype(np.float32)


def taper_sum(axis: Axis, start: int, stop: int) -> Float32:
    """Sum of the tapers of all windows over each pixel of `[start, stop)`, float32 [stop - start]."""
    weights = taper(axis.window, axis.stride)
    total = np.zeros(stop - start, np.float32)
    for k in axis.meeting(start, stop):
        first, last = max(start, k * axis.stride), min(stop, k * axis.stride + axis.window)
        total[first - start : last - start] += weights[first - k * axis.stride : last - k * axis.stride]
    return total


class BandBlender:
    """Blends the windows of one box, given in row-major order, and yields finished rows from the top.

    Holds `classes x window x box width` float32 and nothing that grows with the box's height.
    """

    def __init__(self, lattice: Lattice, box: Window, classes: int) -> None:
        self._lattice, self._box = lattice, box
        weights = taper(lattice.window, lattice.stride)
        self._taper = np.outer(weights, weights)  # one float32 product per pixel, the same for every window
        self._row = box.row  # first row that is not finished; the buffer's row 0
        self._sum = np.zeros((classes, min(lattice.window, box.height), box.width), np.float32)
        self._col_taper = taper_sum(lattice.cols, box.col, box.col1)
        self._term = np.empty((lattice.window, lattice.window), np.float32)
        self._before: Window | None = None  # the window that was added last
        self._seen_row = box.row  # rows above it hold terms of earlier rows of windows

    def add(self, window: Window, probabilities: Float32) -> None:
        """Add float32 [classes, window, window]; windows must come row-major, each after `advance` to its row."""
        part = window.intersection(self._box)
        seen_col = part.col  # columns left of it hold terms of this row of windows
        if self._before is not None and self._before.row == window.row:
            seen_col = self._before.col1
        elif self._before is not None:
            self._seen_row = self._before.row1
        self._before = window
        for cell in _cells(part, self._seen_row, seen_col):
            fresh = cell.row >= self._seen_row and cell.col >= seen_col
            rows, cols = cell.slices(window)
            weights = self._taper[rows, cols]
            term = self._term[: cell.height, : cell.width]
            band = cell.slices(Window(self._row, self._box.col, *self._box.shape))
            for given, total in zip(probabilities, self._sum, strict=True):
                if fresh:  # 0 + x is x, bit for bit: a pass over memory is saved
                    np.multiply(given[rows, cols], weights, out=total[band])
                else:
                    np.multiply(given[rows, cols], weights, out=term)
                    total[band] += term

    def advance(self, row: int) -> Iterator[tuple[Window, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Finish all rows of the box above image row `row`: yields (rows, mask uint8, confidence uint8) at most once."""
        row = min(row, self._box.row1)
        done = row - self._row
        if done <= 0:
            return
        part = Window(self._row, self._box.col, done, self._box.width)
        yield part, *self._decide(part)
        kept = self._sum.shape[1] - done
        # An overlapping copy within one array: numpy handles it, and it is a fraction of a band.
        self._sum[:, :kept] = self._sum[:, done:]
        self._sum[:, kept:] = 0
        self._row = row

    def _decide(self, part: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        mask = np.zeros(part.shape, np.uint8)
        confidence = np.empty(part.shape, np.uint8)
        weights = taper_sum(self._lattice.rows, part.row, part.row1)
        step = max(1, CACHED // part.width)
        for row in range(0, part.height, step):
            rows = slice(row, min(row + step, part.height))
            best = self._sum[0, rows].copy()
            for k in range(1, len(self._sum)):  # only a larger sum replaces: ties go to the lowest class, as in argmax
                larger = self._sum[k, rows] > best
                np.maximum(mask[rows], larger.view(np.uint8) * np.uint8(k), out=mask[rows])
                np.maximum(best, self._sum[k, rows], out=best)
            best /= weights[rows, None]
            best /= self._col_taper
            np.multiply(best, np.float32(CONFIDENCE_LEVELS), out=best)
            np.rint(best, out=best)
            np.clip(best, 0, CONFIDENCE_LEVELS, out=best)
            confidence[rows] = best
        return mask, confidence


def _cells(part: Window, row: int, col: int) -> Iterator[Window]:
    """`part` cut at image row `row` and, below that, at column `col`; empty cells are left out."""
    row, col = min(max(row, part.row), part.row1), min(max(col, part.col), part.col1)
    cells = (
        Window(part.row, part.col, row - part.row, part.width),
        Window(row, part.col, part.row1 - row, col - part.col),
        Window(row, col, part.row1 - row, part.col1 - col),
    )
    return (cell for cell in cells if cell)
