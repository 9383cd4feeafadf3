"""Exact search among stored vectors: the best k of a query by brute force, in one pass over int8 rows.

A score is the dot product of the query (a float32 unit vector) and a stored vector (`values * scale`, a unit vector up to the
rounding of `quantise`): the cosine, within that rounding. It is defined in float64, row by row, so that it and every order made
of it are the same whatever else is searched beside it, in blocks of whatever size, by however many threads.

float64 for all rows would cost eight times the traffic. So float32 products come first, in blocks that are converted from
int8 in a core's cache (NumPy has no int8 product that is as fast: measured on a matrix of 400,000 x 512, this takes 1; einsum
over int16 3, pyarrow's cast 3, torch's `_int_mm` 3). Their rounding is bounded, and only rows that it leaves in doubt are scored
again in float64.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridscribe.quantise import LEVELS, Quantised

CACHE = 256 << 10
"""Bytes of a converted block: half of a small second-level cache."""
AT_ONCE = 1 << 16
"""Rows whose float32 scores are held at once."""
EXACT_AT_ONCE = 1 << 10

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Rows = NDArray[np.int64]


def dots(values: NDArray[Any], query: Float32) -> Float32:
    """Products of stored values, int8 or float16 [n, D], and queries, float32: [n] for one [D], [n, Q] for [D, Q]."""
    out = np.empty((len(values), *query.shape[1:]), np.float32)
    rows = max(1, CACHE // (4 * max(1, values.shape[1])))
    block = np.empty((rows, values.shape[1]), np.float32)
    for start in range(0, len(values), rows):
        some = values[start : start + rows]
        part = block[: len(some)]
        np.copyto(part, some)
        np.matmul(part, query, out=out[start : start + rows])
    return out


def scores(vectors: Quantised, query: Float32) -> Float64:
    """The scores of all rows, float64 [n], as they are defined: each row's bits depend on that row and the query alone."""
    out = np.empty(len(vectors), np.float64)
    wide = query.astype(np.float64)
    for start in range(0, len(out), EXACT_AT_ONCE):
        part = slice(start, start + EXACT_AT_ONCE)
        out[part] = (vectors.values[part].astype(np.float64) * wide).sum(axis=1)
    return out * vectors.scale.astype(np.float64)


def doubt(vectors: Quantised) -> Float32:
    """By how much `dots * scale` of each int8 row may miss its score, for a query no longer than 1: float32 [n].

    A float32 sum of D products is off by at most D / (2**24 - D) of the sum of their sizes (Higham 2002, section 3.1), and that
    by Cauchy and Schwarz at most the length of the row, itself at most 127 sqrt(D). Some is added for the scale's product.
    """
    dim = vectors.dim
    slip = (dim + 8) / (2**24 - dim - 8)
    return (vectors.scale.astype(np.float32) * np.float32(1.001 * slip * LEVELS * np.sqrt(dim))).astype(np.float32)


def contenders(rough: Float32, slack: Float32, k: int, bar: float) -> Rows:
    """Rows that may be among the best `k`, or tie with the last of them, and reach `bar`.

    `rough` misses each score by at most `slack`; whoever is left out is certain to be behind `k` others, or below the bar.
    """
    high = rough + slack
    if len(rough) > k:
        bar = max(bar, float(np.partition(rough - slack, len(rough) - k)[len(rough) - k]))
    return np.flatnonzero(high >= bar)


def top_k(vectors: Quantised, queries: Float32, k: int) -> tuple[Rows, Float64]:
    """(rows, scores) of the best `k` for each query, [Q, min(k, n)] each, best first, equal scores by row.

    `vectors` are int8, `queries` float32 [Q, D] of length 1. Memory beside the vectors: `AT_ONCE` scores a query.
    """
    count = min(k, len(vectors))
    best = [(np.empty(0, np.int64), np.empty(0, np.float64)) for _ in queries]
    for start in range(0, len(vectors), AT_ONCE):
        part = vectors.take(slice(start, start + AT_ONCE))
        slack = doubt(part)
        rough = dots(part.values, np.ascontiguousarray(queries.T)) * part.scale.astype(np.float32)[:, None]
        for number, query in enumerate(queries):
            rows, held = best[number]
            bar = held[-1] if len(held) == count else -np.inf
            found = contenders(np.ascontiguousarray(rough[:, number]), slack, count, bar)
            rows = np.concatenate([rows, found + start])
            held = np.concatenate([held, scores(part.take(found), query)])
            order = np.lexsort((rows, -held))[:count]
            best[number] = rows[order], held[order]
    shape = (len(best), count)
    return (
        np.array([rows for rows, _ in best], np.int64).reshape(shape),
        np.array([held for _, held in best], np.float64).reshape(shape),
    )


class Place(NamedTuple):
    """Where a region's row lies."""

    table: int
    group: int
    """Row group of the table's file."""
    row: int
    """Row of the row group."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A region among the best."""

    score: float
    region_id: str
    place: Place


class Best:
    """The best `k` hits at or above a threshold, whatever the order in which they are added. Safe to use from many threads.

    Best first, equal scores by id; of one id only the better, or the earlier place, counts.
    """

    def __init__(self, k: int, threshold: float | None = None, without: str | None = None) -> None:
        """`without`: an id that does not count."""
        self._k, self._threshold, self._without = k, -np.inf if threshold is None else threshold, without
        self._held: list[tuple[float, str, Place]] = []
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether as many hits are held as are kept."""
        return len(self._held) == self._k

    @property
    def room(self) -> int:
        """How many of some hits must be added at most: those that are kept, and the one that does not count."""
        return self._k + (self._without is not None)

    @property
    def bar(self) -> float:
        """What a score must reach, or exceed, to count; it only ever rises."""
        held = self._held  # replaced, never changed
        return max(self._threshold, -held[-1][0]) if len(held) == self._k else self._threshold

    def add(self, hits: list[tuple[float, str, Place]]) -> None:
        """More of them, as (score, id, place)."""
        entries = [(-s, name, place) for s, name, place in hits if s >= self._threshold and name != self._without]
        if not entries:
            return
        with self._lock:
            seen: set[str] = set()
            kept = []
            for entry in sorted([*self._held, *entries]):
                if entry[1] not in seen:
                    seen.add(entry[1])
                    kept.append(entry)
                    if len(kept) == self._k:
                        break
            self._held = kept

    def hits(self) -> list[Hit]:
        """All that count so far."""
        return [Hit(-score, name, place) for score, name, place in self._held]
