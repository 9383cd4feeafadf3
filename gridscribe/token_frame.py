"""Where the token cells of an image lie: the arithmetic between pixels, cells and indices, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.values import Window

MAX_INDEX = np.iinfo(np.int32).max
Affine = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class TokenFrame:
    """The token grid of a whole image, and the box of it that is spoken of.

    `grid_h x grid_w` cells of `patch` pixels a side cover the image; the last row and column may stick out. `transform`
    holds the affine terms (a, b, c, d, e, f) from corners of cells to pixels of the image, `x = a * col + b * row + c`,
    `y = d * col + e * row + f` (x to the right, y down); None means that cell (r, c) begins at pixel
    (r * patch, c * patch), else the encoder saw a resampled, shifted or rotated image. `box` is in tokens; None given means all.
    Raises ValueError for an empty grid, one of more than 2**31 - 1 cells, a singular transform, a box outside.
    """

    grid_h: int
    grid_w: int
    patch: int
    box: Window = None  # type: ignore[assignment]  # None is replaced by the whole grid
    transform: Affine | None = None

    def __post_init__(self) -> None:
        if min(self.grid_h, self.grid_w, self.patch) < 1:
            raise ValueError(
                f"a token grid needs at least 1 x 1 cells of 1 pixel, got {self.grid_h} x {self.grid_w} of {self.patch}"
            )
        if self.grid_h * self.grid_w > MAX_INDEX:
            raise ValueError(
                f"{self.grid_h} x {self.grid_w} tokens are more than an int32 index can count ({MAX_INDEX}): use a larger patch"
            )
        if self.transform is not None:
            a, b, _, d, e, _ = self.transform
            if not all(map(math.isfinite, self.transform)) or a * e == b * d:
                raise ValueError(f"transform {self.transform} from tokens to pixels cannot be inverted")
        if self.box is None:
            object.__setattr__(self, "box", self.whole)
        if not self.whole.contains(self.box):
            raise ValueError(
                f"box {self.box.to_list()} of tokens is not inside the grid of {self.grid_h} x {self.grid_w}"
            )

    @classmethod
    def of_image(cls, height: int, width: int, patch: int, transform: Affine | None = None) -> TokenFrame:
        """The whole grid of an image (as the encoder sees it) of `height x width` pixels."""
        return cls(-(-height // patch), -(-width // patch), patch, transform=transform)

    @property
    def whole(self) -> Window:
        """All cells."""
        return Window(0, 0, self.grid_h, self.grid_w)

    @property
    def cells(self) -> int:
        """Cells of the box."""
        return self.box.area

    def with_box(self, box: Window) -> TokenFrame:
        """The same grid, another box of it."""
        return replace(self, box=box)

    def indices(self) -> NDArray[np.int32]:
        """Indices of the box's cells on the whole grid, row-major: int32 [cells], strictly increasing."""
        rows = np.arange(self.box.row, self.box.row1, dtype=np.int64) * self.grid_w
        cols = np.arange(self.box.col, self.box.col1, dtype=np.int64)
        return np.add.outer(rows, cols).ravel().astype(np.int32)

    def local(self, index: NDArray[Any]) -> NDArray[np.int64]:
        """Positions in the box, row-major, of tokens given by index; ValueError naming the first that is not in the box."""
        rows, cols = np.divmod(index.astype(np.int64), self.grid_w)
        box = self.box
        outside = (rows < box.row) | (rows >= box.row1) | (cols < box.col) | (cols >= box.col1)
        if outside.any():
            raise ValueError(
                f"token {index[outside][0]} is not in the box {box.to_list()} of the grid of {self.grid_h} x {self.grid_w}"
            )
        return (rows - box.row) * box.width + cols - box.col

    def index_at(self, row: int, col: int) -> int:
        """Index of the cell that holds the centre of pixel (row, col); ValueError where that is outside the box."""
        if self.transform is None:
            down, across = row // self.patch, col // self.patch
        else:
            a, b, c, d, e, f = self.transform
            x, y = col + 0.5 - c, row + 0.5 - f
            det = a * e - b * d
            down, across = math.floor((a * y - d * x) / det), math.floor((e * x - b * y) / det)
        if not self.box.contains(Window(down, across, 1, 1)):
            raise ValueError(
                f"pixel row {row}, col {col} is in token row {down}, col {across}, outside the box {self.box.to_list()} of tokens"
            )
        return down * self.grid_w + across

    def corners(self, index: int) -> tuple[tuple[float, float], ...]:
        """The four corners (x, y) of a cell in pixels of the image: upper left, upper right, lower right, lower left."""
        row, col = divmod(index, self.grid_w)
        a, b, c, d, e, f = self.transform or (self.patch, 0.0, 0.0, 0.0, self.patch, 0.0)
        around = ((row, col), (row, col + 1), (row + 1, col + 1), (row + 1, col))
        return tuple((a * x + b * y + c, d * x + e * y + f) for y, x in around)
