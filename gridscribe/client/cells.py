"""Boxes sorted into the cells of a regular grid, so that the boxes near many points are found without a tree.

A tree of geometries needs a geometry per point, which costs more than the rest of a query.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELLS_PER_BOX = 4
ENTRIES_PER_BOX = 16

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Cells:
    """Boxes (west, south, east, north), [n, 4], n > 0. Memory: at most about 16 entries a box, whatever their sizes."""

    def __init__(self, boxes: Floats) -> None:
        self._origin = boxes[:, :2].min(axis=0)
        span = np.maximum(boxes[:, 2:].max(axis=0) - self._origin, np.finfo(np.float64).tiny)
        edge = np.maximum(np.median(boxes[:, 2:] - boxes[:, :2], axis=0), span / 4096)
        while True:
            self._edge = edge
            self._shape = np.floor(span / edge).astype(np.int64) + 1
            first, last = self._cell(boxes[:, :2]), self._cell(boxes[:, 2:])
            wide, tall = (last - first + 1).T
            few = self._shape.prod() <= max(16, CELLS_PER_BOX * len(boxes))
            if few and (wide * tall).sum() <= ENTRIES_PER_BOX * len(boxes):
                break
            edge = edge * 2
        box, nth = _spread(wide * tall)
        cell = (first[box, 1] + nth // wide[box]) * self._shape[0] + first[box, 0] + nth % wide[box]
        order = np.argsort(cell, kind="stable")
        self._members = box[order]
        self._starts = np.searchsorted(cell[order], np.arange(self._shape.prod() + 1))

    def near(self, x: Floats, y: Floats) -> tuple[Ints, Ints]:
        """Pairs (point, box), in order of points: every box that holds the point, and some that do not."""
        cell = self._cell(np.stack([x, y], axis=1), clip=False)
        inside = np.flatnonzero(((cell >= 0) & (cell < self._shape)).all(axis=1))
        number = cell[inside, 1] * self._shape[0] + cell[inside, 0]
        start = self._starts[number]
        point, nth = _spread(self._starts[number + 1] - start)
        return inside[point], self._members[start[point] + nth]

    def _cell(self, points: Floats, *, clip: bool = True) -> Ints:
        """(column, row) of the cell of each point [n, 2]; of points far outside, some cell outside."""
        cell = np.floor((points - self._origin) / self._edge)
        limits = (0, self._shape - 1) if clip else (-1, self._shape)
        return np.clip(cell, *limits).astype(np.int64)


def _spread(counts: Ints) -> tuple[Ints, Ints]:
    """For counts 2, 0, 3: (0, 0, 2, 2, 2) and (0, 1, 0, 1, 2)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    ends = np.cumsum(counts)
    return owner, np.arange(len(owner)) - np.repeat(ends - counts, counts)
