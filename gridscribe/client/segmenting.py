"""Which pixels of an image a phrase means: a threshold on its heat map, or regions found from its points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.blocks import MAX_PIXELS, strips
from gridscribe.client.found import Heatmap, TextMask
from gridscribe.client.index import ImageIndex
from gridscribe.client.phrases import QueryVector
from gridscribe.client.prototypes import Prototypes
from gridscribe.client.search import Float32
from gridscribe.client.text_mask import text_mask
from gridscribe.client.tiles import TileReader
from gridscribe.errors import QueryError
from gridscribe.store import Store
from gridscribe.values import Window

METHODS = ("heatmap", "regions")
LEVEL = 0.66
"""How far from the least to the greatest value of its heat map a pixel must be, where no threshold is given: the best one for
all phrases together on scenes that are not those which the README's figures are of (`tests/bench/text_to_mask.py` prints it)."""


@dataclass(frozen=True, slots=True)
class Segmenting:
    """How pixels are told."""

    method: str = "heatmap"
    """"heatmap": pixels above the threshold. "regions": see `text_mask`."""
    threshold: float | None = None
    """A similarity, of "heatmap" alone; None: `LEVEL` of the way from the map's least value to its greatest."""
    bias: float = 0.3
    """See `Client.heatmap`."""
    memory: Prototypes | None = None
    """Of "regions" alone."""

    def __post_init__(self) -> None:
        """Raises `QueryError` for what does not go together."""
        if self.method not in METHODS:
            raise QueryError(f"method={self.method!r}: must be one of {', '.join(METHODS)}")
        if self.method != "heatmap" and self.threshold is not None:
            raise QueryError(
                f"threshold={self.threshold} is of method='heatmap'; method='regions' has none: leave it out"
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise QueryError(f"threshold={self.threshold}: must be a finite similarity, such as 0.1, or None")
        if self.method != "regions" and self.memory is not None:
            raise QueryError("a memory is of method='regions': ask with it, or leave the memory out")


def segment(
    store: Store,
    index: ImageIndex,
    tiles: TileReader,
    image: int,
    query: QueryVector,
    heat: Heatmap,
    how: Segmenting,
    most: int = MAX_PIXELS,
) -> TextMask:
    """The answer for the part of the image that `heat` covers.

    Memory: a byte for each pixel of the answer. Raises `QueryError` where that is more than `most`, and for "regions"
    where regions are not embedded.
    """
    height, width = index.shapes[image].tolist()
    window = pixels_of(heat, height, width)
    if window.area > most:
        raise QueryError(
            f"the mask of image {index.ids[image]} has {window.height} x {window.width} px, more than {most} in all: ask "
            "for a part of it with bbox"
        )
    if how.method == "regions":
        return text_mask(store, index, tiles, image, query, heat, window, how.memory)
    grid = index.grid(image)
    threshold = level_of(heat.array) if how.threshold is None else how.threshold
    return TextMask(
        array=above(heat, window, threshold),
        window=window,
        transform=grid.window_transform(window) if grid.georeferenced else None,
        crs=grid.crs if grid.georeferenced else None,
        method=how.method,
        threshold=threshold,
        query=heat.query,
        image=heat.image,
        product=heat.product,
        alignment=heat.alignment,
    )


def level_of(heat: Float32, level: float = LEVEL) -> float:
    """The similarity at `level` of the way from the least to the greatest value; infinite where no cell has one."""
    known = heat[np.isfinite(heat)]
    return float(known.min() + np.float32(level) * (known.max() - known.min())) if len(known) else math.inf


def above(heat: Heatmap, window: Window, threshold: float) -> NDArray[np.bool_]:
    """Which pixels of `window` have a heat of at least `threshold`; the part of the image without values has none."""
    out = np.zeros(window.shape, np.bool_)
    for strip in strips(window):
        # Comparing with NaN, which is what a pixel far from any known cell has, is false.
        out[strip.slices(window)] = heat_at(heat, strip) >= np.float32(threshold)
    return out


def heat_at(heat: Heatmap, window: Window) -> Float32:
    """The heat at the centres of pixels, float32 [rows, cols]: bilinear between the centres of cells, of those that have a value.

    A pixel whose own cell has none has none: what was dropped or is not committed is not answered from its neighbours.
    """
    a, b, c, d, e, f = heat.pixel_transform
    det = a * e - b * d
    x = np.arange(window.col, window.col1)[None, :] + (0.5 - c)
    y = np.arange(window.row, window.row1)[:, None] + (0.5 - f)
    down, across = ((a * y - d * x) / det).astype(np.float32), ((e * x - b * y) / det).astype(np.float32)
    rows, cols = heat.array.shape
    total, weights = np.zeros(window.shape, np.float32), np.zeros(window.shape, np.float32)
    top, left = np.floor(down - np.float32(0.5)), np.floor(across - np.float32(0.5))
    tall, wide = down - np.float32(0.5) - top, across - np.float32(0.5) - left
    for step_down, share_down in ((0, 1 - tall), (1, tall)):
        for step_across, share_across in ((0, 1 - wide), (1, wide)):
            cells = heat.array[
                np.clip(top + step_down, 0, rows - 1).astype(np.int64),
                np.clip(left + step_across, 0, cols - 1).astype(np.int64),
            ]
            share = np.where(np.isfinite(cells), share_down * share_across, np.float32(0))
            total += share * np.nan_to_num(cells, nan=0.0, copy=False)
            weights += share
    own = heat.array[
        np.clip(np.floor(down), 0, rows - 1).astype(np.int64), np.clip(np.floor(across), 0, cols - 1).astype(np.int64)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Float32 = np.where(np.isfinite(own), total / weights, np.float32(np.nan))
    return result


def pixels_of(heat: Heatmap, height: int, width: int) -> Window:
    """The pixels under the cells of a heat map."""
    a, b, c, d, e, f = heat.pixel_transform
    rows, cols = heat.array.shape
    xs, ys = (np.array([p * x + q * y + r for x in (0, cols) for y in (0, rows)]) for p, q, r in ((a, b, c), (d, e, f)))
    row, col = int(np.floor(ys.min() + 1e-6)), int(np.floor(xs.min() + 1e-6))
    box = Window(row, col, int(np.ceil(ys.max() - 1e-6)) - row, int(np.ceil(xs.max() - 1e-6)) - col)
    return box.intersection(Window(0, 0, height, width))
