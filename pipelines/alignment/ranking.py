"""Measures of rankings, exact where scores are tied.

A baseline that only tells "of this class" from "not" ties most of what it ranks; how it fares then must not depend on the order
that objects happen to lie in. So every measure here is its expectation over all orders of what is tied. All of it tied is chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

CUTS = (1, 5, 10)
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well right answers are ranked, in the mean over queries."""

    queries: int
    recall: dict[int, float]
    """Share of queries with at least one right answer among the first 1, 5, 10: R@K as image-text retrieval counts it."""
    mean_average_precision: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        recall = {f"recall@{k}": round(value, DIGITS) for k, value in self.recall.items()}
        return {"queries": self.queries, **recall, "map": round(self.mean_average_precision, DIGITS)}


def retrieval(ranked: Iterable[tuple[Floats, Bools]]) -> Retrieval:
    """Of queries, each with its scores [n] and which of the n are right: at least one must be (ValueError)."""
    found = [
        (*(hit_within(scores, right, k) for k in CUTS), average_precision(scores, right)) for scores, right in ranked
    ]
    if not found:
        return Retrieval(0, dict.fromkeys(CUTS, float("nan")), float("nan"))
    *recall, precision = np.mean(found, axis=0).tolist()
    return Retrieval(len(found), dict(zip(CUTS, recall, strict=True)), precision)


def mean_of(several: Sequence[Retrieval]) -> Retrieval:
    """The mean of measures over the same queries."""
    recall = {k: float(np.mean([one.recall[k] for one in several])) for k in CUTS}
    return Retrieval(several[0].queries, recall, float(np.mean([one.mean_average_precision for one in several])))


def hit_within(scores: Floats, right: Bools, k: int) -> float:
    """The chance that one of the `k` best is right.

    Scores that are equal come in any order, all alike; so it is 0 or 1 unless the k-th best is tied.
    """
    _check(scores, right)
    if k >= len(scores):
        return 1.0
    edge = np.partition(scores, len(scores) - k)[len(scores) - k]
    above, tied = scores > edge, scores == edge
    if (right & above).any():
        return 1.0
    places, count, rights = k - int(above.sum()), int(tied.sum()), int((right & tied).sum())
    wrong = count - rights
    if places > wrong:
        return 1.0
    # drawn without replacement: none of `places` is right
    steps = np.arange(places)
    return float(1 - np.prod((wrong - steps) / (count - steps)))


def average_precision(scores: Floats, right: Bools) -> float:
    """The mean, over right answers, of the share of right ones up to and with each.

    Its expectation over the orders of equal scores (McSherry and Najork, ECIR 2008, section 3): of a group of m with r right
    ones, t places down and after R right ones, place t + i is right with chance r / m, and then R + 1 + (i - 1)(r - 1) / (m - 1)
    are expected up to it.
    """
    _check(scores, right)
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], right[order].astype(np.float64)
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    size = np.diff(np.append(first, len(ranked)))
    rights = np.add.reduceat(hits, first)
    before = np.cumsum(rights) - rights
    group = np.repeat(np.arange(len(first)), size)
    within = np.arange(len(ranked)) - first[group]
    more = within * (rights[group] - 1) / np.maximum(size[group] - 1, 1)
    expected = rights[group] / size[group] * (before[group] + 1 + more) / np.arange(1, len(ranked) + 1)
    return float(expected.sum() / hits.sum())


def _check(scores: Floats, right: Bools) -> None:
    if scores.shape != right.shape or scores.ndim != 1 or not right.any():
        raise ValueError(f"scores {scores.shape}, right {right.shape}: as many of both, and a right one, are needed")
    if not np.isfinite(scores).all():
        raise ValueError("a score is no number")
