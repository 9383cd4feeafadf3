"""Choosing real tokens in each block of the image's grid: what methods of selection have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gridscribe.models.pruning.base import Candidates, Placement, Settings, TokenSelection, budget, check_keep
from gridscribe.models.pruning.blocks import BLOCK, Floats, Ints, cells_by_block, check_block
from gridscribe.quantise import normalised
from gridscribe.tokens import TokenGrid


@dataclass(frozen=True, slots=True)
class BlockBudget(Settings):
    """Base of methods that keep a share of each block's tokens by what the encoder gives; checks the two settings."""

    keep: float = 0.25
    block: int = BLOCK

    def __post_init__(self) -> None:
        check_keep(self.name, self.keep)
        check_block(self.name, self.block)

    @property
    def placement(self) -> Placement:
        """After the encoder, which gives what the method works on."""
        return "after"


class Choose(Protocol):
    """Chooses `count` of m >= 1 tokens, 1 <= count <= m; a method with a rule of its own for how many may choose others."""

    def __call__(self, points: Floats, significance: Floats | None, count: int) -> Ints:
        """`points` float64 [m, D], unit length or 0, in row-major order of tokens; `significance` float64 [m] or None.

        Returns places among them, each once.
        """


def choose_by_block(candidates: Candidates, method: str, block: int, keep: float, choose: Choose) -> TokenSelection:
    """The valid tokens that `choose` takes of each block, `budget(valid, keep)` of them where it heeds that."""
    frame, vectors, usable = candidates.frame, candidates.need_vectors(method), candidates.usable
    kept = np.zeros(frame.cells, np.bool_)
    for cells in cells_by_block(frame, block):
        members = cells[usable[cells]]  # row-major
        if len(members):
            weights = None if candidates.significance is None else candidates.significance[members].astype(np.float64)
            kept[members[choose(normalised(vectors[members]), weights, budget(len(members), keep))]] = True
    return TokenSelection(TokenGrid(frame, frame.indices()[kept]), "after")


def most_significant(
    candidates: Candidates, scores: Floats, block: int, keep: float, placement: Placement
) -> TokenSelection:
    """The `budget(valid, keep)` valid tokens of each block with the greatest scores [cells]; ties go to the lowest index."""
    frame, usable = candidates.frame, candidates.usable
    kept = np.zeros(frame.cells, np.bool_)
    for cells in cells_by_block(frame, block):
        members = cells[usable[cells]]  # row-major
        if len(members):
            kept[members[best_first(scores[members])[: budget(len(members), keep)]]] = True
    return TokenSelection(TokenGrid(frame, frame.indices()[kept]), placement)


def best_first(scores: Floats) -> Ints:
    """Places in order of falling score; of equal ones the lowest first."""
    return np.argsort(-scores, kind="stable")


def spread(values: Floats) -> Floats:
    """Values from 0, the least, to 1, the greatest; all 1 where they are equal."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def products(points: Floats) -> Floats:
    """Cosines [m, m] of unit rows, float64 without BLAS: the same bits on every machine and for every number of threads."""
    result: Floats = np.einsum("id,jd->ij", points, points, optimize=False)
    return result
