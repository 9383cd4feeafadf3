"""A window of an image put together from the blocks of its stored rasters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.tiles import Tiles
from gridscribe.tiff import BLOCK
from gridscribe.values import Window

MAX_PIXELS = 1 << 28
"""Pixels of the largest answer that is put together in memory; larger ones are what `export` is for."""
AT_ONCE = 1 << 20
"""Pixels worked on at once."""


def strips(window: Window) -> Iterator[Window]:
    """Rows of `window`, about `AT_ONCE` pixels at a time."""
    rows = max(1, AT_ONCE // window.width // BLOCK * BLOCK or AT_ONCE // window.width)
    for row in range(window.row, window.row1, rows):
        yield Window(row, window.col, min(rows, window.row1 - row), window.width)


def joined_window(tiles: Tiles, parts: Iterable[tuple[Window, str | None]], empty: Any, window: Window) -> NDArray[Any]:
    """A window of an image whose boxes lie in rasters of their own, given as (box, key), copied block by block.

    `empty` (its dtype is the answer's) where no box is; a raster of another size or type raises `LayoutError`.
    """
    out = np.full(window.shape, empty)
    for held, key in parts:
        inside = held.intersection(window)
        if not inside or key is None:
            continue
        local = Window(inside.row - held.row, inside.col - held.col, inside.height, inside.width)
        pieces = {(piece.row // BLOCK, piece.col // BLOCK): piece for piece in local.split(BLOCK)}
        raster = tiles.fetch({key: pieces})[key]
        raster.header.check(held.shape, out.dtype)
        for (down, across), piece in pieces.items():
            pixels = raster.blocks[down, across][piece.slices(Window(down * BLOCK, across * BLOCK, 0, 0))]
            target = Window(piece.row + held.row, piece.col + held.col, piece.height, piece.width)
            out[target.slices(window)] = pixels
    return out
