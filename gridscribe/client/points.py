"""A heat map turned into a few points: where a phrase surely is, and where it surely is not.

Similarity as points (READ, CVPR 2025): the map is halved, which smooths it, and brought to 0..1; cells of at least 0.8 become
positive points, cells of at most 0.2 negative ones, the surest first. A point then moves off its cell's centre, to the mean
of the cells about it weighted by nearness, exp(-distance^2), and by the softmax of their similarity, so that its place is
finer than a cell. READ has 30 points for its one window of 24 x 24 cells, positive ones first; here there are 30 of each sort for
every 576 cells, negative points are drawn by the map with its sign turned, and similarities are divided by their standard
deviation before the softmax (READ's dot products have a scale of their own, cosines have another with every model).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SURE, SURELY_NOT = 0.8, 0.2
PER_CELLS = 30 / 576
REACH = 3
"""Cells about a point that move it: beyond, exp(-distance^2) is less than 0.0002."""


@dataclass(frozen=True, slots=True)
class Points:
    """Points of a map, positive ones first, the surest first."""

    row: Float64
    """In cells, from the map's upper edge: the centre of the first row is 0.5."""
    col: Float64
    positive: NDArray[np.bool_]
    level: Float32
    """Of the halved map, in 0..1."""

    def __len__(self) -> int:
        return len(self.row)


def points_of(heat: Float32, count: int | None = None) -> Points:
    """Points of a map [rows, cols], NaN where nothing is known; at most `count` of each sort (see above where None).

    None where the map is level. Takes memory in proportion to the map.
    """
    coarse = halved(heat)
    known = np.isfinite(coarse)
    low, high = (float(part(coarse[known])) for part in (np.min, np.max)) if known.any() else (0.0, 0.0)
    if not high > low:
        none = np.empty(0)
        return Points(none, none, none.astype(np.bool_), none.astype(np.float32))
    level = np.where(known, (coarse - low) / (high - low), np.nan).astype(np.float32).ravel()
    most = max(1, round(heat.size * PER_CELLS)) if count is None else count
    with np.errstate(invalid="ignore"):
        sure, not_at_all = np.flatnonzero(level >= SURE), np.flatnonzero(level <= SURELY_NOT)
    sure = sure[np.argsort(-level[sure], kind="stable")][:most]
    not_at_all = not_at_all[np.argsort(level[not_at_all], kind="stable")][:most]
    places = [
        _moved(heat, *np.divmod(cells, coarse.shape[1]), sign) for cells, sign in ((sure, 1.0), (not_at_all, -1.0))
    ]
    cells = np.concatenate([sure, not_at_all])
    row, col = np.concatenate(places, axis=1)
    return Points(row, col, np.arange(len(cells)) < len(sure), level[cells])


def halved(heat: Float32) -> Float32:
    """Means of 2 x 2 cells as far as they are known; NaN where none is. An odd last row or column stands for itself."""
    rows, cols = heat.shape
    padded = np.full((rows + rows % 2, cols + cols % 2), np.nan, np.float32)
    padded[:rows, :cols] = heat
    known = np.isfinite(padded)
    total = _sums(np.where(known, padded, np.float32(0)))
    count = _sums(known.astype(np.float32))
    with np.errstate(invalid="ignore"):
        result: Float32 = total / count
    return result


def _sums(values: Float32) -> Float32:
    rows, cols = values.shape
    total: Float32 = values.reshape(rows // 2, 2, cols // 2, 2).sum(axis=(1, 3))
    return total


def _moved(heat: Float32, row: NDArray[np.intp], col: NDArray[np.intp], sign: float) -> Float64:
    """Places [2, n], in cells of the map, of cells of the halved map."""
    rows, cols = heat.shape
    centre = np.minimum(2.0 * row + 1, rows), np.minimum(2.0 * col + 1, cols)
    spread = float(np.nanstd(heat)) or 1.0
    steps = np.arange(-REACH, REACH)  # the centre lies between cells
    down, across = (
        axis[None] + np.floor(middle).astype(np.intp)[:, None, None]
        for axis, middle in zip(np.meshgrid(steps, steps, indexing="ij"), centre, strict=True)
    )
    inside = (down >= 0) & (down < rows) & (across >= 0) & (across < cols)
    value = np.where(inside, heat[np.clip(down, 0, rows - 1), np.clip(across, 0, cols - 1)], np.nan)
    inside &= np.isfinite(value)
    likeness = np.where(inside, sign * value / spread, -np.inf)
    likeness -= likeness.max(axis=(1, 2), keepdims=True)
    y, x = down + 0.5, across + 0.5
    near = (y - centre[0][:, None, None]) ** 2 + (x - centre[1][:, None, None]) ** 2
    weight = np.exp(likeness - near)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    return np.stack([(weight * y).sum(axis=(1, 2)), (weight * x).sum(axis=(1, 2))])
