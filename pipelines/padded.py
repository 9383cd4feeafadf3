"""A window of an image as a network sees it: where it sticks out beyond the far edge, the image goes on reflected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.lattice import reflect
from gridscribe.values import Window


@dataclass(frozen=True, slots=True)
class Padding:
    """What to read for a window, and how it is laid out in the window.

    What is read is a function of the window and the image's size alone: the warp of a height raster depends on the box that
    it is asked for.
    """

    window: Window
    inside: Window
    """The pixels of the window that the image has."""
    source: Window
    """What to read: `inside`, and what is reflected from before it."""
    rows: NDArray[np.intp] | None
    """The row of `source` at each row of the window; None where the window is all inside."""
    cols: NDArray[np.intp] | None

    @classmethod
    def of(cls, window: Window, whole: Window) -> Padding:
        """For a window that begins inside `whole`, the pixels of the image."""
        inside = window.intersection(whole)
        if inside == window:
            return cls(window, inside, inside, None, None)
        rows = reflect(window.row, window.height, whole.height)
        cols = reflect(window.col, window.width, whole.width)
        row, col = int(rows.min()), int(cols.min())
        source = Window(row, col, int(rows.max()) + 1 - row, int(cols.max()) + 1 - col)
        return cls(window, inside, source, rows - row, cols - col)

    def fill(self, read: NDArray[Any]) -> NDArray[Any]:
        """[..., height, width] of the window, of what was read of `source`."""
        if self.rows is None or self.cols is None:
            return read
        return read[..., self.rows[:, None], self.cols]
