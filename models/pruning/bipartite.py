"""Bipartite soft matching with a source map, on finished tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection, check_keep
from gridscribe.models.pruning.blocks import BLOCK, Groups, check_block, means, medoids, merge_by_block
from gridscribe.quantise import normalised


@dataclass(frozen=True, slots=True)
class BipartiteMerging(Settings):
    """Repeat until `keep` of the tokens are left: of the tokens in order, the even ones each find the most similar odd one,
    and the `step` best pairs merge into their odd token; vectors are means weighted by size.

    Source: token merging (Bolya et al., ICLR 2023, arXiv 2210.09461, "bipartite soft matching"): similarity is the cosine,
    merged = (s_a x_a + s_b x_b) / (s_a + s_b), s the number of patches inside. Applied to finished tokens until a ratio is
    reached as in AIM (arXiv 2412.03248), whose steps merge half of what is left: `step=None`; a number is ToMe's r.

    Differs from the papers: the metric is the token itself, not a layer's keys; the order of tokens stays that of the grid
    (theirs is by similarity, which changes what even and odd mean in the next step); sources are recorded; the member nearest to
    the mean is the kept index; blocks of the image's grid (`blocks.py`). Means are not renormalised (storage does that).
    float64 without BLAS; ties go to the lowest index. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "bipartite"
    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    source: ClassVar[str] = "ToMe (ICLR 2023), repeated as in AIM (ICCV 2025)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = "after the encoder, not inside it; sources and sizes kept; blocks of the grid"
    keep: float = 0.25
    block: int = BLOCK
    step: int | None = None

    def __post_init__(self) -> None:
        check_keep(self.name, self.keep)
        check_block(self.name, self.block)
        if self.step is not None and self.step < 1:
            raise UsageError(
                f"pruner 'bipartite': step is {self.step} pairs, allowed are >= 1, or None for half of the tokens"
            )

    @property
    def placement(self) -> Placement:
        """After the encoder: it needs the finished vectors."""
        return "after"

    def select(self, candidates: Candidates) -> TokenSelection:
        """Merged vectors, kept indices and the source map; needs `vectors`."""
        return merge_by_block(candidates, self.name, self.block, self.keep, self._merge)

    def _merge(self, vectors: NDArray[np.float32], significance: NDArray[np.float32] | None, count: int) -> Groups:  # noqa: ARG002
        from scipy.spatial.distance import cdist

        points = vectors.astype(np.float64)
        group = np.arange(len(points))
        merged = points
        while (left := len(merged)) > count:
            unit = normalised(merged)
            distance = cdist(unit[::2], unit[1::2], "sqeuclidean")  # 2 - 2 cos, without BLAS
            best = distance.argmin(axis=1)
            pairs = min(left - count, left // 2, self.step or left)
            taken = np.argsort(distance[np.arange(len(best)), best], kind="stable")[:pairs]
            target = np.arange(left)
            target[2 * taken] = 2 * best[taken] + 1
            remaining = np.flatnonzero(target == np.arange(left))
            group = np.searchsorted(remaining, target)[group]
            merged = means(points, group, len(remaining))  # from the sources: nothing accumulates over steps
        return Groups(group, medoids(points, group, merged), merged)
