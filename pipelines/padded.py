"""A window of an image as a network sees it: the far edge reflected, whatever sticks out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridscribe.ingest.raster import RasterReader
from gridscribe.pipelines.lattice import reflect
from gridscribe.pipelines.scale import WorkGrid
from gridscribe.values import Window


def read_padded(reader: RasterReader, work: WorkGrid, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """R, G, B in 0..255, float32 [3, h, w], and bool [h, w]: which pixels of the image itself (not of the padding) are valid.

    `window` is in work pixels and begins inside the grid; beyond its far edge the image goes on reflected, repeatedly if need be.
    Raises `InputError` as reading does.
    """
    grid = work.grid
    inside = window.intersection(grid.window)
    valid = np.zeros(window.shape, np.bool_)
    if inside == window:
        rgb, known = reader.read_color(window, grid if work.resampled else None)
        valid[:] = known
        return rgb.astype(np.float32), valid
    rows = reflect(window.row, window.height, grid.height)
    cols = reflect(window.col, window.width, grid.width)
    source = Window(
        int(rows.min()), int(cols.min()), int(rows.max() - rows.min()) + 1, int(cols.max() - cols.min()) + 1
    )
    rgb, known = reader.read_color(source, grid if work.resampled else None)
    valid[inside.slices(window)] = known[inside.slices(source)]
    return rgb[:, (rows - source.row)[:, None], cols - source.col].astype(np.float32), valid
