"""Ground sampling distance: predict at a scale that the model was trained for, answer on the image's own grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import RefusedError
from gridscribe.values import Grid, Window

ANY_GSD = (1e-9, 1e9)
"""The range of a model that states none, in metres."""
TOLERANCE = 0.02  # a GSD this close to the model's range counts as inside: stated GSDs are rounded


@dataclass(frozen=True, slots=True)
class WorkGrid:
    """The grid that windows lie on: the image's own, or one resampled by `factor` (work pixels to an image pixel)."""

    image: Grid
    grid: Grid
    factor: float

    @property
    def resampled(self) -> bool:
        """Whether results have to be mapped back."""
        return self.factor != 1.0

    def box(self, box: Window) -> Window:
        """The work pixels that `box` of the image takes its answers from."""
        if not self.resampled:
            return box
        rows = self.index(box.row, box.row1, self.grid.height)
        cols = self.index(box.col, box.col1, self.grid.width)
        return Window(int(rows[0]), int(cols[0]), int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1)

    def index(self, start: int, stop: int, size: int) -> NDArray[np.intp]:
        """For image pixels `start .. stop` of one axis: the work pixel that holds each one's centre."""
        centres = (np.arange(start, stop) + 0.5) * self.factor
        return np.minimum(np.floor(centres).astype(np.intp), size - 1)


def work_grid(grid: Grid, gsd: float | None, model_gsd: tuple[float, float], *, strict: bool) -> WorkGrid:
    """Choose the scale: the image's own inside the model's range, else resampled to the nearest end of the range.

    An image without a stated GSD is taken to be in range (its row is flagged). With `strict` an image out of range is
    refused: raises `RefusedError` naming both.
    """
    low, high = model_gsd
    if gsd is None or low * (1 - TOLERANCE) <= gsd <= high * (1 + TOLERANCE):
        return WorkGrid(grid, grid, 1.0)
    if strict:
        raise RefusedError(
            f"ground sampling distance {gsd:g} m is outside the model's range {low:g}-{high:g} m and strict_gsd is on; "
            "resample the input, choose another model, or set strict_gsd=False"
        )
    factor = gsd / (low if gsd < low else high)
    return WorkGrid(grid, grid.resampled(factor), factor)
