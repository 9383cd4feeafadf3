"""TokenCorrCompressor: how many tokens, from how alike they are; which, from two layers' attention; the rest summed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, Signal, TokenSelection, budget
from gridscribe.models.pruning.blocks import BLOCK, Floats, Ints, cells_by_block, check_block, grid_of, means
from gridscribe.models.pruning.choosing import products
from gridscribe.models.pruning.lots import lots
from gridscribe.quantise import normalised


@dataclass(frozen=True, slots=True)
class CorrelationGuided(Settings):
    """A block's budget from its redundancy, filled by attention.

    A token is redundant when more than `beta` (a share of the block's others) have keys of a cosine above `alpha` with its own;
    the share d that is not redundant is the block's information density. Kept are the upper outliers of attention in the last
    layer (above the third quartile + `factor` x the distance of the quartiles), and `budget(n, d)` tokens drawn without return
    in proportion to the attention in the first layer. Every other token is absorbed by the kept one whose key is nearest to its
    own; a vector is the mean of its group's, weighted by first-layer attention. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "correlation"
    signal: ClassVar[Signal] = "attention"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "significance", "keys", "shallow", "digest"})
    source: ClassVar[str] = "TokenCorrCompressor (arXiv 2407.14439)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "no code is out, and thresholds, the outliers' factor and the weights of sums are our reading; attention received from "
        "all patches in the place of a class token's; lots come from the page's digest; blocks of the grid for cropped images"
    )
    alpha: float = 0.9
    beta: float = 0.05
    factor: float = 1.5
    block: int = BLOCK

    def __post_init__(self) -> None:
        check_block(self.name, self.block)
        if not -1 <= self.alpha <= 1 or not 0 <= self.beta < 1 or not self.factor >= 0:
            raise UsageError(
                f"pruner 'correlation': alpha {self.alpha} is a cosine, beta {self.beta} a share from 0 to below 1, factor "
                f"{self.factor} at least 0"
            )

    @property
    def placement(self) -> Placement:
        """After the encoder, whose keys and attention it needs."""
        return "after"

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `vectors`, `keys`, `significance`, `shallow` and `digest`; ValueError says so where one is missing."""
        frame, vectors, usable = candidates.frame, candidates.need_vectors(self.name), candidates.usable
        deep = candidates.need_significance(self.name, "attention received").astype(np.float64)
        if candidates.keys is None or candidates.shallow is None or not candidates.digest:
            raise ValueError(
                "pruner 'correlation' works on keys, first-layer attention and a digest, and one was not given"
            )
        shallow, drawn = candidates.shallow.astype(np.float64), lots(candidates.digest, frame.indices())
        parent = np.full(frame.cells, -1, np.int64)
        out = np.zeros_like(vectors)
        for cells in cells_by_block(frame, self.block):
            members = cells[usable[cells]]  # row-major
            if not len(members):
                continue
            similar = products(normalised(candidates.keys[members]))
            kept = outliers(deep[members], self.factor)
            count = budget(len(members), density(similar, self.alpha, self.beta))
            kept[sample(shallow[members], drawn[members], count)] = True
            chosen = np.flatnonzero(kept)
            group = similar[:, chosen].argmax(axis=1)
            group[chosen] = np.arange(len(chosen))
            parent[members] = members[chosen[group]]
            summed = means(normalised(vectors[members]), group, len(chosen), shallow[members])
            alone = np.bincount(group, minlength=len(chosen)) == 1
            out[members[chosen]] = np.where(alone[:, None], vectors[members[chosen]], summed)
        return TokenSelection(grid_of(frame, parent, out), self.placement)


def density(similar: Floats, alpha: float, beta: float) -> float:
    """The share of tokens, cosines [m, m], that are not redundant (see `CorrelationGuided`)."""
    alike = (similar > alpha).sum(axis=1) - (np.diag(similar) > alpha)
    return float((alike <= beta * (len(similar) - 1)).mean())


def outliers(scores: Floats, factor: float) -> np.ndarray:
    """bool [m]: those above the third quartile + `factor` x (third - first quartile)."""
    first, third = np.quantile(scores, [0.25, 0.75])
    found: np.ndarray = scores > third + factor * (third - first)
    return found


def sample(weights: Floats, drawn: np.ndarray, count: int) -> Ints:
    """`count` places without return, in proportion to weights: the greatest u ** (1 / w) (Efraimidis and Spirakis 2006), u the
    lots uint64 [m] as shares; those of weight 0 come last."""
    u = (drawn.astype(np.float64) + 0.5) / 2.0**64
    with np.errstate(divide="ignore"):
        waiting = np.where(weights > 0, -np.log(u) / np.where(weights > 0, weights, 1.0), np.inf)
    return np.argsort(waiting, kind="stable")[:count]
