"""Methods that look at pixels alone: cells without data, cells seen before, and cells that their neighbours predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection, check_placement
from gridscribe.models.pruning.blocks import BLOCK, cells_by_block, check_block, grid_of
from gridscribe.tokens import TokenGrid


@dataclass(frozen=True, slots=True)
class DropNodata(Settings):
    """Drops cells whose every value is `nodata` or NaN (and those that are not `valid`); nothing stands for them."""

    name: ClassVar[str] = "nodata"
    needs: ClassVar[frozenset[str]] = frozenset({"pixels"})
    nodata: float | None = None
    placement: Placement = "before"

    def __post_init__(self) -> None:
        check_placement(self.name, self.placement)

    def select(self, candidates: Candidates) -> TokenSelection:
        """The cells with data; needs `pixels`."""
        cells = _cells(candidates, self.name)
        empty = np.isnan(cells) if cells.dtype.kind == "f" else np.zeros(cells.shape, np.bool_)
        if self.nodata is not None:
            empty |= cells == self.nodata
        kept = candidates.usable & ~empty.all(axis=1)
        return TokenSelection(TokenGrid(candidates.frame, candidates.frame.indices()[kept]), self.placement)


@dataclass(frozen=True, slots=True)
class MergeDuplicates(Settings):
    """Of cells with equal pixels in a block of the image's grid the first stays and stands for the others.

    Equal is exactly equal; NaN equals NaN. Blocks as in `blocks.py`, so that the first is the same in every box.
    """

    name: ClassVar[str] = "duplicates"
    needs: ClassVar[frozenset[str]] = frozenset({"pixels"})
    block: int = BLOCK
    placement: Placement = "before"

    def __post_init__(self) -> None:
        check_block(self.name, self.block)
        check_placement(self.name, self.placement)

    def select(self, candidates: Candidates) -> TokenSelection:
        """The first of each, and the source map; needs `pixels`."""
        cells, usable = _cells(candidates, self.name), candidates.usable
        parent = np.full(candidates.frame.cells, -1, np.int64)
        for block in cells_by_block(candidates.frame, self.block):
            first: dict[bytes, int] = {}
            for place in block[usable[block]].tolist():
                parent[place] = first.setdefault(cells[place].tobytes(), place)
        return TokenSelection(grid_of(candidates.frame, parent), self.placement)


@dataclass(frozen=True, slots=True)
class PixelPrune(Settings):
    """Drops a cell that a neighbour predicts: kept exactly where max |X - prediction| > `tau`.

    Source: PixelPrune (arXiv 2604.00886), the LOCO-I predictor on patches. With A the left neighbour, B the upper and C the
    upper-left one, and P ~ Q for max |P - Q| <= tau: the prediction is B where C ~ A and not C ~ B, else A; in the first row
    it is A, in the first column B, and the first cell is kept. For tau > 0 neighbours count as what they would be rebuilt to
    (a dropped cell as its source's pixels), so that errors do not add up: every dropped cell is within tau of its source.

    Differs from the paper: runs inside blocks of the image's grid (`blocks.py`; "first" is the block's), so that item boxes do
    not matter; a neighbour that is not `valid` predicts nothing (B for A and the reverse); the cell whose pixels stand for a
    dropped one is recorded as its parent. NaN equals NaN and nothing else. Raises UsageError for a negative tau.
    """

    name: ClassVar[str] = "pixelprune"
    needs: ClassVar[frozenset[str]] = frozenset({"pixels"})
    source: ClassVar[str] = "PixelPrune (arXiv 2604.00886)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = "the prediction begins anew in every block of the grid"
    tau: float = 0.0
    block: int = BLOCK
    placement: Placement = "before"

    def __post_init__(self) -> None:
        check_block(self.name, self.block)
        check_placement(self.name, self.placement)
        if not self.tau >= 0:
            raise UsageError(f"pruner 'pixelprune': tau is {self.tau}, allowed is a difference of pixel values >= 0")

    def select(self, candidates: Candidates) -> TokenSelection:
        """The cells that nothing predicts, and the source map; needs `pixels`."""
        cells, usable, frame = _cells(candidates, self.name), candidates.usable, candidates.frame
        parent = np.full(frame.cells, -1, np.int64)
        for block in cells_by_block(frame, self.block):
            self._block(cells, usable, block, parent)
        return TokenSelection(grid_of(frame, parent), self.placement)

    def _block(
        self, values: NDArray[Any], usable: NDArray[np.bool_], block: NDArray[np.int64], parent: NDArray[np.int64]
    ) -> None:
        """Fill in `parent` of a block's cells, given as positions [rows, cols]."""

        def source(row: int, col: int) -> int:
            return int(parent[block[row, col]]) if row >= 0 and col >= 0 else -1

        for row, col in np.ndindex(block.shape):
            place = int(block[row, col])
            if not usable[place]:
                continue
            left, up, corner = source(row, col - 1), source(row - 1, col), source(row - 1, col - 1)
            predicted = left if left >= 0 else up
            if min(left, up, corner) >= 0 and self._like(values, corner, left) and not self._like(values, corner, up):
                predicted = up
            parent[place] = predicted if predicted >= 0 and self._like(values, place, predicted) else place

    def _like(self, values: NDArray[Any], one: int, other: int) -> bool:
        if one == other:
            return True
        a, b = values[one], values[other]
        if a.tobytes() == b.tobytes():
            return True
        if self.tau == 0:
            return False
        a, b = a.astype(np.float64), b.astype(np.float64)  # differences of unsigned values would wrap
        with np.errstate(invalid="ignore"):  # infinity less infinity
            return bool(((np.abs(a - b) <= self.tau) | (np.isnan(a) & np.isnan(b)) | (a == b)).all())


def _cells(candidates: Candidates, method: str) -> NDArray[Any]:
    """The values of each cell, [cells, patch * patch * bands], with one NaN and one zero."""
    pixels, frame = candidates.need_pixels(method), candidates.frame
    box, patch = frame.box, frame.patch
    split = pixels.reshape(box.height, patch, box.width, patch, pixels.shape[2]).swapaxes(1, 2)
    cells = np.ascontiguousarray(split).reshape(frame.cells, -1)
    if cells.dtype.kind != "f":
        return cells
    return np.where(np.isnan(cells), np.array(np.nan, cells.dtype), cells + np.array(0, cells.dtype))  # -0.0 + 0 is 0.0
