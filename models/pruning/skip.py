"""SkipViT: tokens that pass some of the encoder's layers by, and come back: the grid stays whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, Signal, TokenSelection, check_keep
from gridscribe.models.pruning.choosing import best_first
from gridscribe.tokens import TokenGrid


@dataclass(frozen=True, slots=True)
class SkipTokens(Settings):
    """Which patches go through layers `first` to `last` (counted from 0, `last` not among them): the `keep` to which the layer
    before gave most attention. The others go from one to the other unchanged, and every patch has a vector in the end.

    `select` says which; `models.document.signals.skipping` does it. Ties go to the lowest index. A crop is judged as a whole, as
    the network sees it. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "skip"
    signal: ClassVar[Signal] = "attention"
    needs: ClassVar[frozenset[str]] = frozenset({"significance"})
    source: ClassVar[str] = "SkipViT (arXiv 2401.15293)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "the encoder was not trained with it (no code is out, the paper trains from scratch); attention received from all "
        "patches in the place of a class token's, which our encoder has not; the layers are a setting"
    )
    keep: float = 0.45
    first: int = 1
    last: int = 5

    def __post_init__(self) -> None:
        check_keep(self.name, self.keep)
        if not 1 <= self.first < self.last:
            raise UsageError(
                f"pruner 'skip': layers {self.first} to {self.last}; the first must be at least 1 (a layer before it gives the "
                "attention), the last more than the first"
            )

    @property
    def placement(self) -> Placement:
        """Within the encoder."""
        return "within"

    def select(self, candidates: Candidates) -> TokenSelection:
        """The patches that are not skipped; needs `significance`."""
        scores = candidates.need_significance(self.name, "attention received").astype(np.float64)
        usable = np.flatnonzero(candidates.usable)
        count = max(1, round(self.keep * len(usable))) if len(usable) else 0
        chosen = np.sort(usable[best_first(scores[usable])[:count]])
        return TokenSelection(TokenGrid(candidates.frame, candidates.frame.indices()[chosen]), self.placement)
