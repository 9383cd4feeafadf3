"""Where windows lie: a lattice anchored at the image's origin, so that no window depends on how work was cut up.

Along an axis of `n` pixels, window `k` starts at `k * stride`; there are just enough of them to reach the far edge. The
last one may stick out: what it sees there is the image reflected, repeatedly if need be, so even a 1-pixel image fills a
window. Nothing is ever shifted back to fit (a shifted window would make results depend on the image's size elsewhere).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.values import Window


@dataclass(frozen=True, slots=True)
class Axis:
    """The windows along one axis of `size` pixels."""

    size: int
    window: int
    stride: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"axis needs size >= 1, got {self.size}")
        if not 0 < self.stride <= self.window:
            raise ValueError(f"stride must lie in 1..window ({self.window}), got {self.stride}")

    @property
    def count(self) -> int:
        """Number of windows: the fewest whose union reaches the far edge."""
        return 1 if self.size <= self.window else -(-(self.size - self.window) // self.stride) + 1

    def meeting(self, start: int, stop: int) -> range:
        """Indices of the windows that hold a pixel of `[start, stop)`."""
        first = max(0, -(-(start - self.window + 1) // self.stride))
        last = min(self.count - 1, (stop - 1) // self.stride)
        return range(first, last + 1)

    def owner(self, k: int) -> tuple[int, int]:
        """The pixels `[start, stop)` that window `k` alone answers for where just one window can (height, validity)."""
        stop = self.size if k == self.count - 1 else (k + 1) * self.stride
        return k * self.stride, min(stop, self.size)


@dataclass(frozen=True, slots=True)
class Lattice:
    """All windows of an image of `height x width` pixels; row-major order everywhere."""

    height: int
    width: int
    window: int
    stride: int

    @property
    def rows(self) -> Axis:
        """The vertical axis."""
        return Axis(self.height, self.window, self.stride)

    @property
    def cols(self) -> Axis:
        """The horizontal axis."""
        return Axis(self.width, self.window, self.stride)

    def at(self, k_row: int, k_col: int) -> Window:
        """Window `(k_row, k_col)`; it may stick out at the far edges."""
        return Window(k_row * self.stride, k_col * self.stride, self.window, self.window)

    def meeting(self, box: Window) -> Iterator[tuple[int, int]]:
        """Row-major `(k_row, k_col)` of every window that holds a pixel of `box`."""
        for k_row in self.rows.meeting(box.row, box.row1):
            for k_col in self.cols.meeting(box.col, box.col1):
                yield k_row, k_col

    def count(self, box: Window) -> int:
        """How many windows hold a pixel of `box`."""
        return len(self.rows.meeting(box.row, box.row1)) * len(self.cols.meeting(box.col, box.col1))


def reflect(start: int, length: int, size: int) -> NDArray[np.intp]:
    """Image indices seen by positions `start .. start + length` of an axis of `size` pixels, mirrored at both edges.

    The edge pixel is not repeated (numpy's "reflect"), mirroring goes on as often as needed, and an axis of one pixel
    repeats it.
    """
    if size == 1:
        return np.zeros(length, np.intp)
    period = 2 * (size - 1)
    wave = np.arange(start, start + length, dtype=np.intp) % period
    return np.where(wave < size, wave, period - wave)
