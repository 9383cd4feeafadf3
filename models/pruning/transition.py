"""TransPrune: tokens that the encoder's layers change most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.models.pruning.base import Candidates, Fidelity, Signal, TokenSelection
from gridscribe.models.pruning.choosing import BlockBudget, most_significant


@dataclass(frozen=True, slots=True)
class TransitionTokens(BlockBudget):
    """The `keep` of each block whose significance, here the token's transition, is greatest; ties go to the lowest index.

    Transition of a module (attention or feed-forward): softmax over the tokens of 1 - cos(input, output), times |output| /
    |input|; summed over both modules of the middle layers (`models.document.signals`). Raises UsageError for settings out of
    range.
    """

    name: ClassVar[str] = "transition"
    signal: ClassVar[Signal] = "transition"
    needs: ClassVar[frozenset[str]] = frozenset({"significance"})
    source: ClassVar[str] = "TransPrune (CVPR 2026, arXiv 2507.20630)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "layers of our encoder and not of a language model, and no attention from a question beside it; kept at once, not in "
        "three steps; indices are kept, the released code renumbers; blocks of the grid"
    )

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `significance`."""
        scores = candidates.need_significance(self.name, "transition").astype(np.float64)
        return most_significant(candidates, scores, self.block, self.keep, self.placement)
