"""Token pooling: weighted k-means or k-medoids of token vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection, check_keep
from gridscribe.models.pruning.blocks import BLOCK, Floats, Groups, Ints, check_block, means, medoids, merge_by_block
from gridscribe.quantise import normalised

Centres = Literal["medoids", "means"]


@dataclass(frozen=True, slots=True)
class TokenPooling(Settings):
    """Choose K centres that lessen sum_i w_i min_j |f_i - c_j|**2, the weighted asymmetric Chamfer distance to centres.

    Source: Token Pooling in Vision Transformers (Marin et al., arXiv 2110.03860: the objective; K-Means, K-Medoids
    and their weighted forms; w_i the significance of a token, the attention it receives; first centres the K most significant
    tokens). `centres="medoids"` keeps real tokens, so vectors are rows of the input bit for bit; `"means"` keeps weighted means,
    renormalised, and the member nearest to each as its index.

    Differs from the paper: f are L2-normalised; without significance all w are 1 and the first centres are spread evenly over the
    block (the K "most significant" would be its first rows); a mean that lost all its tokens restarts at the token with
    the largest share of the objective, so that K centres stay K; `steps` is fixed, not until convergence; source map; blocks
    of the image's grid (`blocks.py`). float64 without BLAS; ties go to the lowest index. Raises UsageError for settings out
    of range.
    """

    name: ClassVar[str] = "pooling"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    source: ClassVar[str] = "Token Pooling (Marin et al., arXiv 2110.03860)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = "after the encoder, not after each attention; a fixed number of steps; blocks of the grid"
    keep: float = 0.25
    block: int = BLOCK
    centres: Centres = "medoids"
    steps: int = 5

    def __post_init__(self) -> None:
        check_keep(self.name, self.keep)
        check_block(self.name, self.block)
        if self.centres not in ("medoids", "means"):
            raise UsageError(f"pruner 'pooling': centres is {self.centres!r}, allowed are 'medoids' and 'means'")
        if self.steps < 1:
            raise UsageError(f"pruner 'pooling': steps is {self.steps}, at least 1 is needed")

    @property
    def placement(self) -> Placement:
        """After the encoder: it needs the finished vectors."""
        return "after"

    def select(self, candidates: Candidates) -> TokenSelection:
        """Centres and the source map; needs `vectors`, uses `significance` where it is given."""
        return merge_by_block(candidates, self.name, self.block, self.keep, self._merge)

    def _merge(self, vectors: NDArray[np.float32], significance: NDArray[np.float32] | None, count: int) -> Groups:
        points = normalised(vectors)
        weights = np.ones(len(points)) if significance is None else significance.astype(np.float64)
        if significance is None:
            chosen = np.arange(count) * len(points) // count
        else:
            chosen = np.sort(np.argsort(-weights, kind="stable")[:count])
        if self.centres == "medoids":
            for _ in range(self.steps):
                group = _nearest(points, points[chosen])[0]
                group[chosen] = np.arange(count)  # of equal tokens each centre keeps itself
                chosen = medoids(points, group, means(points, group, count, weights))
            return Groups(group, chosen, vectors[chosen].astype(np.float64))
        centres = points[chosen]
        for _ in range(self.steps):
            group, distance = _nearest(points, centres)
            _restart_empty(group, distance * weights, count)
            centres = means(points, group, count, weights)
        return Groups(group, medoids(points, group, centres), normalised(centres))


def _nearest(points: Floats, centres: Floats) -> tuple[Ints, Floats]:
    """(group, squared distance) of the nearest centre of each point, the first of equals."""
    from scipy.spatial.distance import cdist

    distance = cdist(points, centres, "sqeuclidean")
    group = distance.argmin(axis=1)
    return group, distance[np.arange(len(points)), group]


def _restart_empty(group: Ints, cost: Floats, count: int) -> None:
    """Give each empty group the costliest token of the groups of two and more; changes `group` in place."""
    for empty in np.flatnonzero(np.bincount(group, minlength=count) == 0):
        shared = np.bincount(group, minlength=count)[group] > 1
        taken = int(np.where(shared, cost, -1.0).argmax())
        group[taken], cost[taken] = empty, 0.0
