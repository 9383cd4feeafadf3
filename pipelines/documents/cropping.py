"""Crops of a page: a grid of squares that fits its shape, on which the page is resampled whole, and a thumbnail.

As InternVL and TokenFD cut pages, a page becomes `rows x cols` crops of one size, at most so many, without overlap. They choose
the grid whose shape is nearest the page's, of whatever size; here nearness of scale counts as well, so that text keeps the size
that the encoder was trained for as long as the limit allows. A thumbnail is a page as one crop, its shape not kept, and has a
grid of its own: no token of it has a place among the page's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gridscribe.errors import UsageError
from gridscribe.token_frame import TokenFrame

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PageCrops:
    """How a page of `height x width` pixels is cut: `rows x cols` crops of `crop` pixels a side."""

    height: int
    width: int
    crop: int
    rows: int
    cols: int

    @property
    def scale(self) -> tuple[float, float]:
        """What the page's height and width are multiplied by."""
        return self.rows * self.crop / self.height, self.cols * self.crop / self.width

    def frame(self, patch: int) -> TokenFrame:
        """The grid of tokens of `patch` (resampled) pixels over the whole page, and its way back to the page's own pixels."""
        down, along = self.scale
        step = (patch / along, 0.0, 0.0, 0.0, patch / down, 0.0)
        return TokenFrame(self.rows * self.crop // patch, self.cols * self.crop // patch, patch, transform=step)


def page_crops(height: int, width: int, crop: int, most: int) -> PageCrops:
    """The grid of at most `most` crops under which the page's height and width change least.

    Least is the sum of the squares of log2 of both factors; of equal ones the grid of fewer crops, then of fewer rows. Raises
    UsageError for sizes or limits below 1.
    """
    if min(height, width, crop, most) < 1:
        raise UsageError(
            f"a page of {height} x {width} px in at most {most} crops of {crop} px: all must be at least 1"
        )

    def change(rows: int, cols: int) -> float:
        return round(math.log2(rows * crop / height) ** 2 + math.log2(cols * crop / width) ** 2, 12)

    grids = [(rows, cols) for rows in range(1, most + 1) for cols in range(1, most // rows + 1)]
    rows, cols = min(grids, key=lambda grid: (change(*grid), grid[0] * grid[1], grid[0]))
    return PageCrops(height, width, crop, rows, cols)


def cut_page(page: Pixels, crops: PageCrops) -> Pixels:
    """The crops of a page uint8 [height, width, 3], row by row: uint8 [rows * cols, crop, crop, 3].

    Resampled with Lanczos' filter, which keeps thin strokes where a page gets smaller; a page of the grid's size stays as it is.
    """
    if page.shape != (crops.height, crops.width, 3):
        raise UsageError(f"the page is {list(page.shape)}, these crops are of {crops.height} x {crops.width} x 3")
    side = crops.crop
    whole = resampled(page, crops.rows * side, crops.cols * side)
    cut = whole.reshape(crops.rows, side, crops.cols, side, 3).swapaxes(1, 2)
    return np.ascontiguousarray(cut.reshape(crops.rows * crops.cols, side, side, 3))


def joined(crops: PageCrops, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Values of crops [rows * cols, h, w, ...] laid together on the page's grid: [rows * h, cols * w, ...]."""
    count, h, w, *rest = values.shape
    if count != crops.rows * crops.cols:
        raise UsageError(f"values of {count} crops, the page has {crops.rows} x {crops.cols}")
    laid = values.reshape(crops.rows, crops.cols, h, w, *rest).swapaxes(1, 2)
    return laid.reshape(crops.rows * h, crops.cols * w, *rest)


def resampled(page: Pixels, height: int, width: int) -> Pixels:
    """A page uint8 [H, W, 3] at another size."""
    if page.shape[:2] == (height, width):
        return page
    return np.asarray(Image.fromarray(page).resize((width, height), Image.Resampling.LANCZOS))
