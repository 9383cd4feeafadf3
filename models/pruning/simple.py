"""The two methods that every other one is measured against: keep all tokens, or as many at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.models.pruning.base import (
    Candidates,
    Placement,
    Settings,
    TokenSelection,
    budget,
    check_keep,
    check_placement,
)
from gridscribe.models.pruning.blocks import BLOCK, cells_by_block, check_block
from gridscribe.models.pruning.lots import lots
from gridscribe.tokens import TokenGrid


@dataclass(frozen=True, slots=True)
class KeepAll(Settings):
    """Every valid token stays, its vector bit for bit."""

    name: ClassVar[str] = "all"
    placement: Placement = "after"

    def __post_init__(self) -> None:
        check_placement(self.name, self.placement)

    def select(self, candidates: Candidates) -> TokenSelection:
        """All valid tokens."""
        index = candidates.frame.indices()[candidates.usable]
        return TokenSelection(TokenGrid(candidates.frame, index), self.placement)


@dataclass(frozen=True, slots=True)
class RandomTokens(Settings):
    """As many tokens as the merging methods keep, drawn by lot in each block: the baseline at equal budget.

    The lot of a token is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of the image's digest, `seed` and its index: the
    same on every machine, in every box and at any time. (PixelPrune, arXiv 2604.00886, compares itself with such a baseline.)
    Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "random"
    needs: ClassVar[frozenset[str]] = frozenset({"digest"})
    keep: float = 0.25
    block: int = BLOCK
    seed: int = 0
    placement: Placement = "after"

    def __post_init__(self) -> None:
        check_keep(self.name, self.keep)
        check_block(self.name, self.block)
        check_placement(self.name, self.placement)

    def select(self, candidates: Candidates) -> TokenSelection:
        """The valid tokens with the lowest lots of each block; needs `digest`."""
        if not candidates.digest:
            raise ValueError("pruner 'random' draws lots from the image's digest, and none was given")
        frame, usable = candidates.frame, candidates.usable
        drawn = lots(f"{candidates.digest} {self.seed}", frame.indices())
        kept = np.zeros(frame.cells, np.bool_)
        for cells in cells_by_block(frame, self.block):
            members = cells[usable[cells]]
            if len(members):
                kept[members[np.argsort(drawn[members], kind="stable")[: budget(len(members), self.keep)]]] = True
        return TokenSelection(TokenGrid(frame, frame.indices()[kept]), self.placement)
