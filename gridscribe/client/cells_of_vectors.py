"""Cells of vectors: the centres that they are grouped about, by spherical k-means (Dhillon and Modha 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.search import Float32, Rows
from gridscribe.quantise import Quantised

MOST_CELLS = 4096
SAMPLED = 64
"""Vectors a cell that the centres are found from."""
ROUNDS = 10
ROWS = 4096
"""Vectors compared with all centres at once."""


def centres_of(vectors: Quantised) -> Float32:
    """Unit centres, float32 [cells, D], for about the square root of `n` cells; the same for the same vectors."""
    cells = int(np.clip(round(np.sqrt(len(vectors))), 1, min(MOST_CELLS, len(vectors))))
    rng = np.random.default_rng(0)
    picked = np.sort(rng.choice(len(vectors), min(len(vectors), SAMPLED * cells), replace=False))
    values = np.asarray(vectors.values[picked])
    sample = _unit(values.astype(np.float32))
    centres = sample[rng.choice(len(sample), cells, replace=False)]
    for _ in range(ROUNDS):
        cell = nearest(values, centres)
        order = np.argsort(cell, kind="stable")
        held, starts = np.unique(cell[order], return_index=True)
        empty = np.setdiff1d(np.arange(cells), held)
        centres[held] = _unit(np.add.reduceat(sample[order], starts, axis=0))
        centres[empty] = sample[rng.choice(len(sample), len(empty), replace=False)]
    return centres


def nearest(values: NDArray[Any], centres: Float32) -> Rows:
    """Which centre each stored vector (int8 [n, D]; its scale does not count) has the largest cosine with: int64 [n]."""
    found = np.empty(len(values), np.int64)
    columns = np.ascontiguousarray(centres.T)
    for start in range(0, len(values), ROWS):
        found[start : start + ROWS] = (values[start : start + ROWS].astype(np.float32) @ columns).argmax(axis=1)
    return found


def _unit(rows: Float32) -> Float32:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)
