"""Blending the probabilities of overlapping windows, in memory bounded by the overlap of two rows of windows.

Every window's softmax probabilities are added under a strictly positive taper, in float32 and always in row-major order of
windows, so a pixel's sum has the same terms in the same order whatever box of the image is worked on. The mask is the
argmax of the sum; the confidence is its maximum over the sum of the tapers there, which is a function of position alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.lattice import Axis, Lattice
from gridscribe.values import Window

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


class Blender:
    """Blends the windows of one box, given in row-major order; each call decides the pixels that no later window reaches.

    Those are the window's own cell of the lattice (`Axis.owner`). What later windows add to waits in two strips: the columns
    that the next window shares, and, as wide as the box, the rows that the next row of windows shares. One class at a time
    is summed, so sums stay in a core's cache; nothing grows with the height of the box.
    """

    def __init__(self, lattice: Lattice, box: Window, classes: int) -> None:
        self._lattice, self._box, self._classes = lattice, box, classes
        self._rows, self._cols = lattice.rows, lattice.cols
        self._first_row = self._rows.meeting(box.row, box.row1)[0]
        met = self._cols.meeting(box.col, box.col1)
        self._first_col, self._last_col = met[0], met[-1]
        weights = taper(lattice.window, lattice.stride)
        self._taper = np.outer(weights, weights)  # one float32 product per pixel, the same for every window
        self._sum = np.empty((lattice.window, lattice.window), np.float32)
        shared = lattice.window - lattice.stride
        self._right = np.empty((classes, lattice.window, shared), np.float32)
        self._below = np.empty((classes, shared, box.width), np.float32)

    def add(
        self, k_row: int, k_col: int, probabilities: Float32 | None
    ) -> tuple[Window, NDArray[np.uint8], NDArray[np.uint8]]:
        """Add window `(k_row, k_col)`: float32 [classes, window, window], or None for one that was not predicted.

        Every window that meets the box must come, row-major. Returns the window's own cell within the box (it may be empty),
        and the cell's mask and confidence, uint8.
        """
        window = self._lattice.at(k_row, k_col)
        part = window.intersection(self._box)
        cell = self._own(k_row, k_col)
        inner, at = part.slices(window), cell.slices(part)
        weights, total = self._taper[inner], self._sum[: part.height, : part.width]
        # The strips, cut to the box. What comes from the left holds what came from above there; the rest of the row above:
        shared = self._lattice.window - self._lattice.stride
        left = max(0, min(window.col + shared, part.col1) - part.col) if k_col > self._first_col else 0
        above = max(0, min(window.row + shared, part.row1) - part.row) if k_row > self._first_row else 0
        right = slice(max(0, window.col + self._lattice.stride - part.col), part.width)
        below = slice(max(0, window.row + self._lattice.stride - part.row), part.height)
        here = slice(part.col - self._box.col, part.col1 - self._box.col)
        settled = part.width if k_col == self._last_col else right.start
        best = np.zeros(cell.shape, np.float32)
        mask = np.zeros(cell.shape, np.uint8)
        larger = np.empty(cell.shape, np.bool_)
        for k in range(self._classes):
            if probabilities is None:
                total[:] = 0
            else:
                np.multiply(probabilities[k][inner], weights, out=total)
            total[:, :left] += self._right[k, : part.height, :left]
            total[:above, left:] += self._below[k, :above, here][:, left:]
            if right.start < right.stop:
                self._right[k, : part.height, : right.stop - right.start] = total[:, right]
            if below.start < below.stop:
                self._below[k, : below.stop - below.start, here][:, :settled] = total[below, :settled]
            if k == 0:
                best[:] = total[at]
            else:  # only a larger sum replaces: ties go to the lowest class, as in argmax
                np.greater(total[at], best, out=larger)
                np.maximum(mask, larger.view(np.uint8) * np.uint8(k), out=mask)
                np.maximum(best, total[at], out=best)
        return cell, mask, self._confidence(cell, best)

    def _own(self, k_row: int, k_col: int) -> Window:
        row, row1 = self._rows.owner(k_row)
        col, col1 = self._cols.owner(k_col)
        return Window(row, col, row1 - row, col1 - col).intersection(self._box)

    def _confidence(self, cell: Window, best: Float32) -> NDArray[np.uint8]:
        best /= taper_sum(self._rows, cell.row, cell.row1)[:, None]
        best /= taper_sum(self._cols, cell.col, cell.col1)
        np.multiply(best, np.float32(CONFIDENCE_LEVELS), out=best)
        np.rint(best, out=best)
        np.clip(best, 0, CONFIDENCE_LEVELS, out=best)
        return best.astype(np.uint8)
