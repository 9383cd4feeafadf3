"""Keeping what is text, as the encoder itself tells it from paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection
from gridscribe.tokens import TokenGrid


@dataclass(frozen=True, slots=True)
class TextPrior(Settings):
    """The tokens whose probability of being text, given as `significance`, is at least `threshold`.

    TokenFD (arXiv 2503.02304) asks its encoder with a blank for what is background; the page encoder's own answer to that is the
    probability. Every token is judged by itself, so no cut of an image changes the choice. Raises UsageError for a threshold
    that is no probability.
    """

    name: ClassVar[str] = "text-prior"
    needs: ClassVar[frozenset[str]] = frozenset({"significance"})
    source: ClassVar[str] = "TokenFD (ICCV 2025, arXiv 2503.02304)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = "the paper shows the map of a blank and prunes nothing with it"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(
                f"pruner {self.name!r}: threshold is {self.threshold}, allowed is a probability from 0 to 1"
            )

    @property
    def placement(self) -> Placement:
        """After the encoder, which gives the probability."""
        return "after"

    def select(self, candidates: Candidates) -> TokenSelection:
        """The valid tokens that are text; needs `significance`, and ValueError says so where there is none."""
        text = candidates.need_significance(self.name, "the probability of text, which pages have")
        kept = candidates.usable & (text >= self.threshold)
        return TokenSelection(TokenGrid(candidates.frame, candidates.frame.indices()[kept]), self.placement)
