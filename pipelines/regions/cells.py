"""One cell of the lattice on which large areas are cut: its runs of equal pixels, and the pieces that they make.

A piece is a 4-connected area of one class within one cell. Everything later works on pieces: components are pieces that
touch, and a component that is too large falls back into them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.cog import MASK
from gridscribe.values import Window

NODATA = MASK.nodata

PIECE = np.dtype(
    [
        ("class_id", np.uint8),
        ("area", np.int64),
        ("first", np.int64),
        ("top", np.int32),
        ("bottom", np.int32),
        ("left", np.int32),
        ("right", np.int32),
    ]
)
"""A piece: its class (255: no class), pixels, row-major index of its first pixel in the whole image, and half-open box in
pixels of the image."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The pieces of one cell, kept as runs: a few bytes for each, where an array of pieces takes four for each pixel."""

    window: Window
    """In pixels of the image."""
    starts: NDArray[np.int32]
    """Where each run begins, row-major in the cell; runs end with their rows."""
    piece: NDArray[np.int32]
    """The piece that each run belongs to."""
    pieces: NDArray[Any]
    """`PIECE` for each piece."""

    def rows(self, values: NDArray[Any], row: int, row1: int) -> NDArray[Any]:
        """`values[piece]` at each pixel of the image's rows [row, row1), which must lie in the cell: [rows, width]."""
        width = self.window.width
        begin, end = (row - self.window.row) * width, (row1 - self.window.row) * width
        first, last = np.searchsorted(self.starts, (begin, end))
        lengths = np.diff(self.starts[first:last], append=np.int32(end))
        return np.repeat(values[self.piece[first:last]], lengths).reshape(row1 - row, width)

    def side(self, name: str) -> NDArray[np.int32]:
        """The piece at each pixel along the `top`, `bottom`, `left` or `right` side."""
        height, width = self.window.shape
        if name in ("top", "bottom"):
            row = self.window.row if name == "top" else self.window.row1 - 1
            side: NDArray[np.int32] = self.rows(np.arange(len(self.pieces), dtype=np.int32), row, row + 1)[0]
            return side
        column = np.arange(height) * width + (0 if name == "left" else width - 1)
        return self.piece[np.searchsorted(self.starts, column, side="right") - 1]


def cell_of(mask: NDArray[np.uint8], window: Window, image_width: int) -> Cell:
    """The pieces of `mask`, [height, width] of the cell at `window` of an image `image_width` pixels wide."""
    width = window.width
    flat = mask.ravel()
    begins = np.empty(flat.shape, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[::width] = True
    starts = np.flatnonzero(begins)
    classes = flat[starts]
    piece, count = _connected(starts, classes, width)
    return Cell(window, starts.astype(np.int32), piece, _described(starts, classes, piece, count, window, image_width))


def components(count: int, one: NDArray[Any], other: NDArray[Any]) -> tuple[int, NDArray[np.int32]]:
    """(number of components, the component of each of `count` nodes) of a graph with edges one[k] - other[k]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(count, count))
    found, labels = connected_components(graph, directed=False)
    return int(found), labels


def _connected(starts: NDArray[np.int64], classes: NDArray[np.uint8], width: int) -> tuple[NDArray[np.int32], int]:
    """The piece of each run, and the number of pieces.

    Two runs of neighbouring rows touch exactly where one of them begins above or below a pixel of the other.
    """
    runs = np.arange(len(starts))
    below = runs[np.searchsorted(starts, width) :]
    above = runs[: np.searchsorted(starts, starts[-1] // width * width)]
    over = np.searchsorted(starts, starts[below] - width, side="right") - 1
    under = np.searchsorted(starts, starts[above] + width, side="right") - 1
    one, other = np.concatenate([below, above]), np.concatenate([over, under])
    same = classes[one] == classes[other]
    count, labels = components(len(starts), one[same], other[same])
    return labels, count


def _described(
    starts: NDArray[np.int64],
    classes: NDArray[np.uint8],
    piece: NDArray[np.int32],
    count: int,
    window: Window,
    image_width: int,
) -> NDArray[Any]:
    lengths = np.diff(starts, append=window.area)
    row, col = np.divmod(starts, window.width)
    row, col = row + window.row, col + window.col
    first, last = np.empty(count, np.int64), np.empty(count, np.int64)
    runs = np.arange(len(starts))
    first[piece[::-1]] = runs[::-1]  # of several assignments the last one stays
    last[piece] = runs
    pieces = np.empty(count, PIECE)
    pieces["class_id"] = classes[first]
    pieces["area"] = np.bincount(piece, lengths, count)  # exact: sums of whole numbers below 2**53
    pieces["first"] = row[first] * image_width + col[first]
    pieces["top"], pieces["bottom"] = row[first], row[last] + 1
    pieces["left"], pieces["right"] = window.col1, window.col
    np.minimum.at(pieces["left"], piece, col.astype(np.int32))
    np.maximum.at(pieces["right"], piece, (col + lengths).astype(np.int32))
    return pieces
