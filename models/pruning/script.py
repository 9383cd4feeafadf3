"""Script: tokens that many others resemble, and among them a diverse set by a determinantal point process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, TokenSelection
from gridscribe.models.pruning.blocks import Floats, Ints
from gridscribe.models.pruning.choosing import BlockBudget, best_first, choose_by_block, products, spread

FEW = 4
"""Edges below which a token's score is softened."""
LEAST = 1e-10
"""Gain below which a token adds nothing to the determinant."""


@dataclass(frozen=True, slots=True)
class GraphDPP(BlockBudget):
    """The best `keep` by a graph of similar tokens and by a DPP, then more of the DPP's until there are as many as asked for.

    Graph: tokens with a cosine of at least `edge` are joined; a score is the degree times exp(mean cosine of the edges -
    `edge`), times degree / 4 below four edges. DPP: kernel relevance x cosine x relevance, maximised greedily (Chen, Zhang and
    Zhou, NeurIPS 2018). Ties go to the lowest index. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "script"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    source: ClassVar[str] = "Script (TMLR 2025, arXiv 2512.01949)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "relevance to a question is replaced by a token's significance, or by 1; how scores of few edges are softened is our "
        "reading; blocks of the grid"
    )
    edge: float = 0.2

    def __post_init__(self) -> None:
        BlockBudget.__post_init__(self)
        if not -1 <= self.edge < 1:
            raise UsageError(f"pruner 'script': edge is {self.edge}, allowed is a cosine from -1 to below 1")

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `vectors`, uses `significance` where it is given."""
        return choose_by_block(candidates, self.name, self.block, self.keep, self._choose)

    def _choose(self, points: Floats, significance: Floats | None, count: int) -> Ints:
        similar = products(points)
        relevance = np.ones(len(points)) if significance is None else spread(significance)
        diverse = greedy_map(relevance[:, None] * similar * relevance[None, :], count)
        central = best_first(graph_scores(similar, self.edge))[:count]
        both = diverse[np.isin(diverse, central)]
        rest = diverse[~np.isin(diverse, central)]
        chosen: Ints = np.concatenate([both, rest])[:count]
        return chosen


def graph_scores(similar: Floats, edge: float) -> Floats:
    """See `GraphDPP`; 0 for a token without an edge."""
    joined = similar >= edge
    np.fill_diagonal(joined, val=False)
    degree = joined.sum(axis=1)
    mean = np.where(joined, similar, 0).sum(axis=1) / np.maximum(degree, 1)
    scores: Floats = np.where(degree > 0, degree * np.exp(mean - edge) * np.minimum(1, degree / FEW), 0.0)
    return scores


def greedy_map(kernel: Floats, count: int) -> Ints:
    """`count` places, one after another the one that makes the determinant of the chosen part of `kernel` [m, m] greatest.

    Fast greedy inference (Chen et al. 2018, algorithm 1): O(m count) memory. Where nothing adds to the determinant any more
    (equal tokens), the lowest places that are left follow.
    """
    m = len(kernel)
    gain = np.diag(kernel).copy()
    rows = np.zeros((count, m))
    chosen: list[int] = []
    open_ = np.ones(m, np.bool_)
    while len(chosen) < count:
        best = int(np.where(open_, gain, -np.inf).argmax())
        if gain[best] <= LEAST:
            chosen += np.flatnonzero(open_)[: count - len(chosen)].tolist()
            break
        number = len(chosen)
        before = rows[:number]
        row = (kernel[best] - np.einsum("k,km->m", before[:, best], before)) / np.sqrt(gain[best])
        rows[number] = row
        gain -= row**2
        open_[best] = False
        chosen.append(best)
    return np.array(chosen, np.int64)
