"""Means of stored tokens under the pixels of regions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import LayoutError
from gridscribe.pipelines.region_items import StoredBox, StoredTokens
from gridscribe.pipelines.regions.rows import Group
from gridscribe.quantise import Quantised
from gridscribe.store import Store
from gridscribe.tables import ImageRow, read_images
from gridscribe.token_frame import TokenFrame
from gridscribe.token_reader import open_tokens
from gridscribe.token_tables import frame_of
from gridscribe.tokens import TokenGrid
from gridscribe.values import Window

GRIDS = 4
"""Items whose tokens are held: those around a corner."""

Float32 = NDArray[np.float32]


def mean_by_counts(counts: NDArray[np.integer], vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """float64 [D]: the mean of vectors [N, D], each as often as `counts` [N] says; zero where nothing is counted.

    Summed one after another, without BLAS: the same bits however many threads there are.
    """
    used = np.flatnonzero(counts)
    weights, total = counts[used].astype(np.float64), int(counts[used].sum())
    summed: NDArray[np.float64] = np.einsum("c,cd->d", weights, vectors[used].astype(np.float64))
    return summed / max(1, total)


class TokenPool:
    """The stored tokens of one image, as far as they are needed; a few items of them are held."""

    def __init__(self, store: Store, image: str, stored: Sequence[StoredBox], dim: int) -> None:
        """`stored`: all committed boxes that may be asked about. Raises `LayoutError` where one has no tokens."""
        self._store, self._image, self._dim = store, image, dim
        self._grids: OrderedDict[Window, TokenGrid] = OrderedDict()
        self._stored = {one.box: _tokens_of(one) for one in stored}
        self._frames = {box: self._row(box).frame for box in self._stored}

    def means(self, group: Group) -> Float32:
        """[n, D]: of each region of the group, the mean of the tokens under its pixels, each as often as it has pixels there.

        A token that absorbed others stands for them. Zero where no pixel of a region has a token.
        """
        rows, cols, cells = self._cells(group.window)
        dense, held = self._dense(cells)
        out = np.zeros((len(group.regions), self._dim), np.float32)
        for number in range(len(group.regions)):
            r, c = group.pixels(number)
            place = rows[r - group.window.row] * cells.width + cols[c - group.window.col]
            out[number] = mean_by_counts(np.bincount(place, minlength=cells.area) * held, dense)
        return out

    def _cells(self, window: Window) -> tuple[NDArray[np.intp], NDArray[np.intp], Window]:
        """(the row of `cells` of each of the window's rows, the column of each of its columns, the cells that meet it)."""
        frame = next(iter(self._frames.values()))
        a, _, c, _, e, f = frame.transform or (frame.patch, 0.0, 0.0, 0.0, frame.patch, 0.0)
        rows = np.floor((np.arange(window.row, window.row1) + 0.5 - f) / e).astype(np.intp)
        cols = np.floor((np.arange(window.col, window.col1) + 0.5 - c) / a).astype(np.intp)
        cells = Window(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)
        return rows - cells.row, cols - cells.col, cells

    def _dense(self, cells: Window) -> tuple[Float32, NDArray[np.bool_]]:
        """(vectors [cells, D], whether there is one [cells]) of a box of tokens."""
        dense, held = np.zeros((*cells.shape, self._dim), np.float32), np.zeros(cells.shape, np.bool_)
        for box, frame in self._frames.items():
            part = frame.box.intersection(cells)
            if part:
                grid = self._grid(box)
                slots = grid.source_map.reshape(frame.box.shape)[part.slices(frame.box)]
                has = slots >= 0
                dense[part.slices(cells)][has] = (
                    _quantised(grid, self._stored[box].tokens).take(slots[has]).dequantised()
                )
                held[part.slices(cells)] = has
        return dense.reshape(cells.area, self._dim), held.ravel()

    def _grid(self, box: Window) -> TokenGrid:
        if box in self._grids:
            self._grids.move_to_end(box)
            return self._grids[box]
        stored = self._stored[box]
        table, read = open_tokens(self._store, stored.tokens, stored.size)
        grid = self._grids[box] = table.grid(read, self._row(box).row)
        while len(self._grids) > GRIDS:
            self._grids.popitem(last=False)
        return grid

    def _row(self, box: Window) -> _Row:
        key = self._stored[box].images
        found = [row for row in read_images(self._store.get(key), key) if row.image == self._image and row.box == box]
        frame = frame_of(found[0]) if len(found) == 1 else None
        if frame is None:
            raise LayoutError(f"{key}: tells of no tokens of image {self._image}, box {box.to_list()}")
        return _Row(found[0], frame)


class _Row(NamedTuple):
    row: ImageRow
    frame: TokenFrame


def _tokens_of(stored: StoredBox) -> StoredTokens:
    if stored.tokens is None:
        raise LayoutError(f"{stored.mask}: was committed without tokens, which regions are to be embedded from")
    return stored.tokens


def _quantised(grid: TokenGrid, key: str) -> Quantised:
    if not isinstance(grid.vectors, Quantised):
        raise LayoutError(f"{key}: holds no quantised vectors")
    return grid.vectors
