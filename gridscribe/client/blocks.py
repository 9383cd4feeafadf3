"""A window of an image put together from the blocks of its stored rasters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.tiles import TileReader
from gridscribe.tiff import BLOCK
from gridscribe.values import Window


def joined_window(
    tiles: TileReader, parts: Iterable[tuple[Window, str | None]], empty: Any, window: Window
) -> NDArray[Any]:
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
