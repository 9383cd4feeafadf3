"""Pyramid budgets: more tokens for tiles that say more, the most significant ones of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import (
    Candidates,
    Fidelity,
    Signal,
    TokenSelection,
    budget,
)
from gridscribe.models.pruning.blocks import Floats, Ints, cells_by_block
from gridscribe.models.pruning.choosing import BlockBudget, best_first
from gridscribe.tokens import TokenGrid


@dataclass(frozen=True, slots=True)
class PyramidBudgets(BlockBudget):
    """Of each block `keep`, shared out over its tiles of `tile` x `tile` tokens by their mean significance (largest remainders).

    Every tile with a valid token has at least one where the budget allows, none more than its valid tokens; in a tile the most
    significant stay, ties the lowest index. Needs `significance`. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "pyramid"
    signal: ClassVar[Signal] = "attention"
    needs: ClassVar[frozenset[str]] = frozenset({"significance"})
    source: ClassVar[str] = "Pyramid Token Pruning (arXiv 2509.15704)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "no attention from a question; tiles are parts of blocks of the grid, and not crops of an image"
    )
    tile: int = 8

    def __post_init__(self) -> None:
        BlockBudget.__post_init__(self)
        if not 1 <= self.tile <= self.block:
            raise UsageError(f"pruner 'pyramid': tile is {self.tile}, allowed are 1 to the block's {self.block}")

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `significance`; ValueError says so where there is none."""
        weights = candidates.need_significance(self.name, "attention received").astype(np.float64)
        frame, usable = candidates.frame, candidates.usable
        kept = np.zeros(frame.cells, np.bool_)
        for cells in cells_by_block(frame, self.block):
            tiles = [
                part[usable[part]]
                for row in range(0, cells.shape[0], self.tile)
                for col in range(0, cells.shape[1], self.tile)
                for part in (cells[row : row + self.tile, col : col + self.tile].ravel(),)
            ]
            sizes = np.array([len(tile) for tile in tiles])
            if not sizes.sum():
                continue
            saliency = np.array([weights[tile].mean() if len(tile) else 0.0 for tile in tiles])
            for tile, count in zip(tiles, shares(saliency, sizes, budget(int(sizes.sum()), self.keep)), strict=True):
                kept[tile[best_first(weights[tile])[:count]]] = True
        return TokenSelection(TokenGrid(frame, frame.indices()[kept]), self.placement)


def shares(saliency: Floats, sizes: Ints, total: int) -> Ints:
    """int64 [tiles], summing to `total` (at most the sum of `sizes`): in proportion to saliency by largest remainders.

    At least 1 of each tile that has a token while `total` allows, the most salient first; at most its size. What a full tile
    cannot take goes to the others, in proportion again. Ties go to the lowest place.
    """
    filled = sizes > 0
    out = np.zeros(len(sizes), np.int64)
    out[best_first(np.where(filled, saliency, -np.inf))[: min(total, int(filled.sum()))]] = 1
    while (left := total - int(out.sum())) > 0:
        room = sizes - out
        weight = np.where(room > 0, saliency, 0.0)
        if not weight.sum() > 0:
            weight = (room > 0).astype(np.float64)
        wanted = left * weight / weight.sum()
        whole = np.minimum(np.floor(wanted).astype(np.int64), room)
        if whole.sum():
            out += whole
            continue
        remainder = np.where(room > 0, wanted - np.floor(wanted), -1.0)
        out[best_first(remainder)[: min(left, int((room > 0).sum()))]] += 1
    return out
