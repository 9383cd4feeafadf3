"""TokenFLEX: as many tokens as are asked for, by averaging rectangles of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection
from gridscribe.models.pruning.blocks import BLOCK, cells_by_block, check_block, grid_of, means, medoids
from gridscribe.quantise import normalised


@dataclass(frozen=True, slots=True)
class FlexiblePooling(Settings):
    """Each block as `side` x `side` rectangles, the mean of whose valid tokens stands for them.

    Rectangle i begins at row floor(i * rows / side), as adaptive pooling has it; none shares a token with another. The index is
    that of the token nearest to the mean; a rectangle of one token keeps its vector bit for bit. Raises UsageError for settings
    out of range.
    """

    name: ClassVar[str] = "flexible"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    source: ClassVar[str] = "TokenFLEX (arXiv 2504.03154)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "no projector is trained for a number of tokens that changes; vectors are L2-normalised first; blocks of the grid"
    )
    block: int = BLOCK
    side: int = 16

    def __post_init__(self) -> None:
        check_block(self.name, self.block)
        if not 1 <= self.side <= self.block:
            raise UsageError(f"pruner 'flexible': side is {self.side}, allowed are 1 to the block's {self.block}")

    @property
    def placement(self) -> Placement:
        """After the encoder: it needs the finished vectors."""
        return "after"

    def select(self, candidates: Candidates) -> TokenSelection:
        """Means and the source map; needs `vectors`."""
        frame, vectors, usable = candidates.frame, candidates.need_vectors(self.name), candidates.usable
        parent = np.full(frame.cells, -1, np.int64)
        out = np.zeros_like(vectors)
        for cells in cells_by_block(frame, self.block):
            rows, cols = (_rectangle(size, min(self.side, size)) for size in cells.shape)
            group = (rows[:, None] * self.side + cols[None, :]).ravel()
            members = cells.ravel()[usable[cells.ravel()]]
            if not len(members):
                continue
            _, group = np.unique(group[usable[cells.ravel()]], return_inverse=True)
            count = int(group.max()) + 1
            points = normalised(vectors[members])
            centres = means(points, group, count)
            kept = members[medoids(points, group, centres)]
            parent[members] = kept[group]
            alone = np.bincount(group, minlength=count) == 1
            out[kept] = np.where(alone[:, None], vectors[kept], centres)
        return TokenSelection(grid_of(frame, parent, out), self.placement)


def _rectangle(size: int, side: int) -> np.ndarray:
    """Of each of `size` rows the rectangle that it is in: the last that begins at or before it."""
    starts = np.arange(side) * size // side
    return np.searchsorted(starts, np.arange(size), side="right") - 1
