"""PageRank importance: tokens that those attend to which are attended to themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, TokenSelection
from gridscribe.models.pruning.blocks import Floats, Ints
from gridscribe.models.pruning.choosing import BlockBudget, best_first, choose_by_block, products


@dataclass(frozen=True, slots=True)
class PageRankTokens(BlockBudget):
    """The `keep` most important tokens: a uniform distribution after `steps` steps of the chain softmax(cosine / `temperature`).

    Ties go to the lowest index. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "pagerank"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    source: ClassVar[str] = "AIM (ICCV 2025, arXiv 2412.03248)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "the attention of a language model's layers is replaced by cosines of finished vectors, one head; kept at once and not "
        "layer by layer; blocks of the grid"
    )
    temperature: float = 0.1
    steps: int = 5

    def __post_init__(self) -> None:
        BlockBudget.__post_init__(self)
        if not self.temperature > 0 or self.steps < 1:
            raise UsageError(
                f"pruner 'pagerank': temperature {self.temperature} must be above 0, steps {self.steps} at least 1"
            )

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `vectors`."""
        return choose_by_block(candidates, self.name, self.block, self.keep, self._choose)

    def _choose(self, points: Floats, significance: Floats | None, count: int) -> Ints:  # noqa: ARG002 - see `Choose`
        return best_first(importance(products(points), self.temperature, self.steps))[:count]


def importance(similar: Floats, temperature: float, steps: int) -> Floats:
    """float64 [m], summing to 1: where a walk stands that begins anywhere."""
    weights = np.exp((similar - similar.max(axis=1, keepdims=True)) / temperature)
    chain = weights / weights.sum(axis=1, keepdims=True)
    at = np.full(len(chain), 1 / len(chain))
    for _ in range(steps):
        at = np.einsum("i,ij->j", at, chain)
    return at
