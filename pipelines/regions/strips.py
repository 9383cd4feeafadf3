"""Connected components over a whole image, a row of cells at a time, two rows in memory.

When a row of cells and the next are known, everything about the first row is decided. A component that reaches from it
past the end of the next is higher than a cell, so that it is cut whatever else belongs to it; every other one is known
whole. A piece of a component that is cut is a region of its own, known as soon as its cell is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.regions.cells import NODATA, PIECE, Cell, components
from gridscribe.regions import CELL
from gridscribe.values import Window

OPEN, CUT, SETTLED = range(3)

REGION = np.dtype([("value", np.int64), *((name, PIECE[name]) for name in PIECE.names or () if name != "first")])
"""A region: the value of its pixels (index of its first pixel plus one), and as in `PIECE`."""

Edges = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass
class Strip:
    """A row of cells, from left to right, and what is decided of their pieces."""

    cells: list[Cell]
    pieces: NDArray[Any] = field(init=False)
    """`PIECE` of all cells, one cell's after another's."""
    values: NDArray[np.int64] = field(init=False)
    """The region's value of each piece; 0 for none, and while it is not settled."""
    state: NDArray[np.int8] = field(init=False)
    """`OPEN`; `CUT`: known to be a region of its own; `SETTLED`."""

    def __post_init__(self) -> None:
        self.pieces = np.concatenate([cell.pieces for cell in self.cells])
        self.values = np.zeros(len(self.pieces), np.int64)
        self.state = np.full(len(self.pieces), OPEN, np.int8)

    @property
    def window(self) -> Window:
        """The pixels of all cells."""
        first, last = self.cells[0].window, self.cells[-1].window
        return Window(first.row, first.col, first.height, last.col1 - first.col)

    @cached_property
    def offsets(self) -> list[int]:
        """Where each cell's pieces begin in `pieces`."""
        return [0, *np.cumsum([len(cell.pieces) for cell in self.cells]).tolist()]

    def of_cell(self, number: int) -> slice:
        """Where the pieces of a cell stand in `pieces`."""
        return slice(self.offsets[number], self.offsets[number + 1])

    @cached_property
    def joins(self) -> Edges:
        """Pieces of neighbouring cells that touch and are of one class."""
        sides = [
            (left.side("right") + at, right.side("left") + after)
            for (left, right), (at, after) in zip(pairwise(self.cells), pairwise(self.offsets[:-1]), strict=True)
        ]
        return _same_class(sides, self.pieces, self.pieces)

    def joins_below(self, below: Strip) -> Edges:
        """(pieces of this, pieces of `below`) that touch and are of one class."""
        sides = [
            (upper.side("bottom") + at, lower.side("top") + after)
            for upper, lower, at, after in zip(
                self.cells, below.cells, self.offsets[:-1], below.offsets[:-1], strict=True
            )
        ]
        return _same_class(sides, self.pieces, below.pieces)

    def parts(self, row: int, row1: int, dtype: str) -> Iterator[NDArray[Any]]:
        """The value at each pixel of the image's rows [row, row1), 0 where no region is, a cell at a time: [rows, its width]."""
        for number, cell in enumerate(self.cells):
            yield cell.rows(self.values[self.of_cell(number)].astype(dtype), row, row1)


def settled(strips: Iterable[Strip], min_pixels: int, cell: int = CELL) -> Iterator[tuple[list[Strip], NDArray[Any]]]:
    """For each strip, in order: [it, and the next where there is one], and `REGION` of all regions that begin in it.

    Regions stand by their first pixel. The pixels of each are in the two strips, which hold its value at them. A component
    of fewer than `min_pixels` is no region; `min_pixels` is at most `cell`, so that one that is cut (more than `cell`
    pixels) always is.
    """
    above: Strip | None = None
    for strip in strips:
        if above is not None:
            yield [above, strip], _settle(above, strip, min_pixels, cell)
        above = strip
    if above is not None:
        yield [above], _settle(above, None, min_pixels, cell)


def _settle(strip: Strip, below: Strip | None, min_pixels: int, cell: int) -> NDArray[Any]:
    """Decide on every piece of `strip` and on those of `below` that touch them; returns the regions that begin in `strip`."""
    count = len(strip.pieces)
    one, other = strip.joins
    pieces, state = strip.pieces, strip.state
    if below is not None:
        (upper, lower), (left, right) = strip.joins_below(below), below.joins
        one = np.concatenate([one, upper, left + count])
        other = np.concatenate([other, lower + count, right + count])
        pieces, state = np.concatenate([pieces, below.pieces]), np.concatenate([state, below.state])
    found, component = components(len(pieces), one, other)

    top, bottom, left_edge, right_edge = _bounds(pieces, component, found)
    cut = (bottom - top > cell) | (right_edge - left_edge > cell)
    cut[component[state == CUT]] = True
    area = np.bincount(component, pieces["area"], found)
    first = np.full(found, np.iinfo(np.int64).max)
    np.minimum.at(first, component, pieces["first"])

    unsettled = state != SETTLED
    begun = np.zeros(found, np.bool_)  # components of which this strip holds something that is not decided yet
    begun[component[:count][unsettled[:count]]] = True
    mine = unsettled & begun[component] & (pieces["class_id"] != NODATA)
    whole = mine & ~cut[component]
    values = np.zeros(len(pieces), np.int64)
    values[whole] = np.where(area[component] >= min_pixels, first[component] + 1, 0)[whole]
    own = mine & cut[component]
    own[count:] = False  # those of the next strip become regions with it
    values[own] = pieces["first"][own] + 1

    new = values > 0
    strip.values[unsettled[:count]] = values[:count][unsettled[:count]]
    strip.state[:] = SETTLED
    if below is not None:
        below.values[whole[count:]] = values[count:][whole[count:]]
        below.state[whole[count:]] = SETTLED
        below.state[(mine & cut[component])[count:]] = CUT
    return _regions(pieces[new], values[new])


def _regions(pieces: NDArray[Any], values: NDArray[np.int64]) -> NDArray[Any]:
    """`REGION` of the pieces that share a value, by value."""
    known, which = np.unique(values, return_inverse=True)
    regions = np.zeros(len(known), REGION)
    regions["value"] = known
    regions["class_id"][which] = pieces["class_id"]
    regions["area"] = np.bincount(which, pieces["area"], len(known))
    for name, bound in zip(("top", "bottom", "left", "right"), _bounds(pieces, which, len(known)), strict=True):
        regions[name] = bound
    return regions


def _bounds(pieces: NDArray[Any], which: NDArray[Any], count: int) -> tuple[NDArray[np.int32], ...]:
    """Top, bottom, left and right of the boxes of pieces with the same `which`."""
    highest = np.iinfo(np.int32).max
    bounds = []
    for name, ufunc, start in (
        ("top", np.minimum, highest),
        ("bottom", np.maximum, -1),
        ("left", np.minimum, highest),
        ("right", np.maximum, -1),
    ):
        bound = np.full(count, start, np.int32)
        ufunc.at(bound, which, pieces[name])
        bounds.append(bound)
    return tuple(bounds)


def _same_class(sides: list[tuple[NDArray[Any], NDArray[Any]]], pieces: NDArray[Any], others: NDArray[Any]) -> Edges:
    """The different pairs of pieces along the sides that are of one class."""
    if not sides:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    one, other = (np.concatenate(side).astype(np.int64) for side in zip(*sides, strict=True))
    same = pieces["class_id"][one] == others["class_id"][other]
    pairs = np.unique(one[same] * len(others) + other[same])
    return pairs // max(len(others), 1), pairs % max(len(others), 1)
