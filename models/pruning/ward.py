"""Hierarchical pooling with a source map: Ward's clustering of token vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection, check_keep
from gridscribe.models.pruning.blocks import BLOCK, Floats, Groups, Ints, check_block, means, medoids, merge_by_block
from gridscribe.quantise import normalised

Metric = Literal["euclidean", "cosine"]


@dataclass(frozen=True, slots=True)
class WardPooling(Settings):
    """Cut Ward's tree of the L2-normalised tokens at `keep` of them; a cluster's mean, renormalised, stands for it.

    Source: token pooling for multi-vector retrieval (Clavie, Chaffin, Adams; arXiv 2409.14683, "hierarchical
    pooling"): Ward linkage on cosine distance, N // factor clusters, mean pooling. `metric="cosine"` is that, with 1 - cos
    as condensed distances; the default `"euclidean"` is the distance for which Ward's recurrence means what its name says, the
    least growth of the sum of squares (of unit vectors, 1 - cos = d**2 / 2). Positions play no part, as published.

    Differs from the paper: clustered inside blocks of the image's grid (`blocks.py`); the medoid of a cluster is its kept
    index and every token's cluster is recorded; means are renormalised; exactly k clusters even where tokens are equal
    (the tree is cut by number of merges, not by height). A mean of exactly opposed vectors is the zero vector.
    Computed in float64 without BLAS, so that threads cannot change a bit. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "ward"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    source: ClassVar[str] = "hierarchical token pooling (Clavie et al., arXiv 2409.14683)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = "true condensed Ward and a source map; blocks of the grid"
    keep: float = 0.25
    block: int = BLOCK
    metric: Metric = "euclidean"

    def __post_init__(self) -> None:
        check_keep(self.name, self.keep)
        check_block(self.name, self.block)
        if self.metric not in ("euclidean", "cosine"):
            raise UsageError(f"pruner 'ward': metric is {self.metric!r}, allowed are 'euclidean' and 'cosine'")

    @property
    def placement(self) -> Placement:
        """After the encoder: it needs the finished vectors."""
        return "after"

    def select(self, candidates: Candidates) -> TokenSelection:
        """Merged vectors, kept medoids and the source map; needs `vectors`."""
        return merge_by_block(candidates, self.name, self.block, self.keep, self._merge)

    def _merge(self, vectors: NDArray[np.float32], significance: NDArray[np.float32] | None, count: int) -> Groups:  # noqa: ARG002
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import pdist

        unit = normalised(vectors)
        squares = pdist(unit, "sqeuclidean")
        tree = linkage(np.sqrt(squares) if self.metric == "euclidean" else squares / 2, "ward")
        group = cut(tree, len(unit), count)
        centres = means(unit, group, count)
        return Groups(group, medoids(unit, group, centres), normalised(centres))


def cut(tree: Floats, leaves: int, count: int) -> Ints:
    """The clusters left when `leaves - count` merges of a SciPy linkage were made: int64 [leaves], numbered by first member."""
    owner = np.arange(leaves)  # of each leaf, the node of the tree that holds it
    for step, (left, right) in enumerate(tree[: leaves - count, :2].astype(np.int64)):
        owner[(owner == left) | (owner == right)] = leaves + step
    _, first, group = np.unique(owner, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]
