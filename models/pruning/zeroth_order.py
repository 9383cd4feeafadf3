"""ZOO-Prune: tokens to which the map behind them is sensitive, and which are unlike those already chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.pruning.base import Candidates, Fidelity, Signal, TokenSelection
from gridscribe.models.pruning.blocks import Floats, Ints
from gridscribe.models.pruning.choosing import BlockBudget, choose_by_block, products, spread

DIRECTIONS, STEP = 64, 0.01
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ZerothOrder(BlockBudget):
    """Greedily the token with the greatest sensitivity (0..1 over the block) x (1 - its greatest cosine with a chosen one).

    The first is the most sensitive. `significance` is the sensitivity, from `sensitivity`; it must be given. Ties go to the
    lowest index. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "zeroth-order"
    signal: ClassVar[Signal] = "sensitivity"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "significance"})
    source: ClassVar[str] = "ZOO-Prune (CVPR 2026, arXiv 2509.24837)"
    fidelity: ClassVar[Fidelity] = "as published"
    differs: ClassVar[str] = (
        "the map is our encoder's last projection, not one into a language model; blocks of the grid"
    )

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `vectors` and `significance`; ValueError says so where one is missing."""
        candidates.need_significance(self.name, "sensitivity")
        return choose_by_block(candidates, self.name, self.block, self.keep, self._choose)

    def _choose(self, points: Floats, significance: Floats | None, count: int) -> Ints:
        assert significance is not None
        similar, level = products(points), spread(significance)
        chosen = [int(significance.argmax())]
        near = similar[chosen[0]].copy()
        while len(chosen) < count:
            score = level * (1 - near)
            score[chosen] = -np.inf
            chosen.append(int(score.argmax()))
            near = np.maximum(near, similar[chosen[-1]])
        return np.array(chosen, np.int64)


def sensitivity(
    mapping: Callable[[Float32], Float32],
    inputs: Float32,
    key: str,
    *,
    directions: int = DIRECTIONS,
    step: float = STEP,
) -> Float32:
    """float32 [n]: how much `mapping` ([n, C] -> [n, D], in float32) moves with each input, over random directions.

    The mean over `directions` unit vectors u, drawn from `key`, of |M(x + h u) - M(x - h u)| / 2 h, h = `step`: no gradient is
    needed. float32 throughout: in bfloat16 a step of 0.01 is lost beside tokens of usual length.
    """
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    drawn = np.random.default_rng(seed).normal(size=(directions, inputs.shape[1]))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    total = np.zeros(len(inputs), np.float64)
    for direction in (step * drawn).astype(np.float32):
        moved = mapping(inputs + direction) - mapping(inputs - direction)
        total += np.linalg.norm(moved.astype(np.float64), axis=1) / (2 * step)
    result: Float32 = (total / directions).astype(np.float32)
    return result
