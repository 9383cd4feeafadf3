"""The square that an object or a region is looked at in, and its pixels as the alignment's image tower is given them.

One place for it: what a tower was trained to see, what it is examined on, and what regions of a job are embedded from are the
same crops. No torch is needed here.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.values import Grid, Window

UInt8 = NDArray[np.uint8]

LEAST = 32
"""Pixels of the smallest crop: a car of 0.2 m pixels is 22 long, and means little without the ground that it stands on."""
MARGIN = 0.1
"""What is added around an object on each side, as a share of its longer side."""


class ColorReader(Protocol):
    """What gives an image's colours by window: `ingest.raster.RasterReader`."""

    @property
    def grid(self) -> Grid:
        """The image's own."""
        ...

    def read_color(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [3, h, w] and which pixels are valid, of a window inside the image."""
        ...


def square_around(box: Window, least: int = LEAST) -> Window:
    """The square that an object is looked at in: `MARGIN` around its longer side, at least `least`; it may leave the image.

    FarSLIP cuts the box itself, of at least 64 px, and stretches it; objects of a few pixels would be all blur so.
    """
    side = max(least, round(max(box.height, box.width) * (1 + 2 * MARGIN)))
    return Window(box.row + (box.height - side) // 2, box.col + (box.width - side) // 2, side, side)


def cut(pixels: UInt8, window: Window) -> UInt8:
    """`window` of an image uint8 [3, H, W]; beyond the image its edge goes on."""
    rows, cols = _indices(window, *pixels.shape[1:])
    inside = pixels[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    if inside.shape[1:] != (window.height, window.width):
        inside = inside[:, (rows - rows[0])[:, None], cols - cols[0]]
    return np.ascontiguousarray(inside)


def crop_of(image: UInt8 | ColorReader, box: Window, side: int) -> UInt8:
    """What a tower of `side` pixels is given of the object in `box`: uint8 [3, side, side].

    The square around the box (`square_around`), the image's edge going on beyond it, antialiased bilinear to `side`. `image` is
    uint8 [3, H, W] or a reader of it, which is asked for no more than the square. A box that has no pixel in the image is
    looked at from the image's edge. Raises ValueError for an empty box or image, and what the reader raises.
    """
    if not box or side < 1:
        raise ValueError(f"box {box}, side {side}: a crop of at least one pixel is needed")
    square = square_around(box)
    if isinstance(image, np.ndarray):
        return shrunk(cut(image, square), side)
    rows, cols = _indices(square, *image.grid.shape)
    row, col = int(rows[0]), int(cols[0])
    rgb, _ = image.read_color(Window(row, col, int(rows[-1]) + 1 - row, int(cols[-1]) + 1 - col))
    return shrunk(np.ascontiguousarray(rgb[:, (rows - row)[:, None], cols - col]), side)


def shrunk(rgb: UInt8, side: int) -> UInt8:
    """uint8 [3, h, w] to [3, side, side], antialiased bilinear: what training does in float32, rounded."""
    from PIL import Image

    if rgb.shape[1:] == (side, side):
        return rgb
    small = Image.fromarray(np.ascontiguousarray(rgb.transpose(1, 2, 0))).resize(
        (side, side), Image.Resampling.BILINEAR
    )
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def _indices(window: Window, height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The image's row and column at each of the window's: the nearest there is."""
    rows = np.clip(np.arange(window.row, window.row1), 0, height - 1)
    cols = np.clip(np.arange(window.col, window.col1), 0, width - 1)
    return rows, cols
