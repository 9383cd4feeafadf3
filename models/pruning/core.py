"""CoreMatching: tokens that share the components which the whole block shares, as many as an elbow says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection
from gridscribe.models.pruning.blocks import BLOCK, Floats, Ints, check_block
from gridscribe.models.pruning.choosing import best_first, choose_by_block


@dataclass(frozen=True, slots=True)
class CoreTokens(Settings):
    """Tokens above the elbow of their overlap with the core.

    A token's own core are its positive components at or above their `rho` quantile; the block's core the `beta` share of
    components that are in most tokens' cores; a score the size of the intersection; kept are those above the score at the elbow,
    the point of the sorted scores that is farthest from the chord between the first and the last; at least one is kept.
    Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "core"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    source: ClassVar[str] = "CoreMatching (ICML 2025, arXiv 2505.19235)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "the activations of a language model's feed-forward layers are replaced by the components of finished vectors (the "
        "released code compares tokens with one of the question's, which the paper does not say); blocks of the grid"
    )
    block: int = BLOCK
    rho: float = 0.5
    beta: float = 0.4

    def __post_init__(self) -> None:
        check_block(self.name, self.block)
        if not 0 <= self.rho <= 1 or not 0 < self.beta <= 1:
            raise UsageError(f"pruner 'core': rho is {self.rho}, beta {self.beta}; allowed are 0 to 1, beta above 0")

    @property
    def placement(self) -> Placement:
        """After the encoder: it needs the finished vectors."""
        return "after"

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `vectors`."""
        return choose_by_block(candidates, self.name, self.block, 1.0, self._choose)

    def _choose(self, points: Floats, significance: Floats | None, count: int) -> Ints:  # noqa: ARG002 - see `Choose`
        scores = overlap(points, self.rho, self.beta)
        order = best_first(scores)
        at = elbow(scores[order])
        above = order[scores[order] > scores[order][at]]
        return above if len(above) else order[:1]


def overlap(points: Floats, rho: float, beta: float) -> Floats:
    """float64 [m]: how many of the block's core components are in each token's."""
    active = points > 0
    least = np.array(
        [np.quantile(row[on], rho) if on.any() else np.inf for row, on in zip(points, active, strict=True)]
    )
    own = active & (points >= least[:, None])
    shared = best_first(own.sum(axis=0).astype(np.float64))[: max(1, round(beta * points.shape[1]))]
    scores: Floats = own[:, shared].sum(axis=1).astype(np.float64)
    return scores


def elbow(falling: Floats) -> int:
    """The place in falling values that lies farthest from the line between the first and the last; of equals the first."""
    steps = np.arange(len(falling), dtype=np.float64)
    drop, width = falling[-1] - falling[0], max(len(falling) - 1, 1)
    away = np.abs(drop * steps - width * (falling - falling[0]))
    return int(away.argmax())
