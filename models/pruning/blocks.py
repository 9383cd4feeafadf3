"""Merging inside blocks of the image's grid, so that neither memory nor the result depends on how an image was cut.

A full distance matrix of N tokens has N**2 / 2 entries: 8 GB for one 2048 x 2048 px tile at patch 8. Blocks of
`block x block` tokens, cut at multiples of `block` counted from the *image's* first token, bound that (1024 tokens: 4 MB),
and since every block is merged by itself, an item's box gives what the whole image gives as long as boxes do not cut
blocks. That is checked, not hoped for. What is lost: tokens on either side of a block's edge never merge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, TokenSelection, budget
from gridscribe.tokens import TokenFrame, TokenGrid

BLOCK = 32
"""Tokens a side of a block: 512 px at patch 16, the unit of item edges."""
MAX_BLOCK = 64  # 4096 tokens: 67 MB of distances

ROUNDING = 1e-9

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """A partition of m tokens into k groups, each with one of its own tokens and a vector to stand for it."""

    group: Ints
    """int64 [m]: the group of each token, 0..k-1; none is empty."""
    representative: Ints
    """int64 [k]: a member of each."""
    vectors: Floats
    """float64 [k, D]."""


class Merge(Protocol):
    """Partitions m >= 2 tokens into exactly `count` groups, 1 <= count < m."""

    def __call__(self, vectors: NDArray[np.float32], significance: NDArray[np.float32] | None, count: int) -> Groups:
        """`vectors` float32 [m, D] in row-major order of tokens; `significance` float32 [m] or None."""


def check_block(method: str, block: int) -> None:
    """Raise UsageError where blocks are not of 1 to `MAX_BLOCK` tokens a side."""
    if not 1 <= block <= MAX_BLOCK:
        raise UsageError(
            f"pruner {method!r}: block is {block} tokens a side, allowed are 1 to {MAX_BLOCK} (distances grow with its 4th power)"
        )


def cells_by_block(frame: TokenFrame, block: int) -> Iterator[Ints]:
    """For each block of the image's grid in the box, row-major: int64 [rows, cols], positions of its cells in the box.

    Raises ValueError where an edge of the box cuts a block (the image's own far edges may).
    """
    box = frame.box
    for what, start, stop, size in (
        ("rows", box.row, box.row1, frame.grid_h),
        ("columns", box.col, box.col1, frame.grid_w),
    ):
        for edge in (start, stop):
            if edge % block and edge != size:
                raise ValueError(
                    f"{what} {start} to {stop} of tokens cut a block of {block}: choose a block that divides {edge}, or items "
                    "whose edges are multiples of it, else the result would depend on where items end"
                )
    places = np.arange(frame.cells).reshape(box.shape)
    for window in box.split(block):
        yield places[window.slices(box)]


def merge_by_block(candidates: Candidates, method: str, block: int, keep: float, merge: Merge) -> TokenSelection:
    """Merge the valid tokens of each block down to `budget(valid, keep)`; a group of one keeps its vector bit for bit."""
    frame, vectors, usable = candidates.frame, candidates.need_vectors(method), candidates.usable
    parent = np.full(frame.cells, -1, np.int64)  # position of the token that absorbed each
    out = np.zeros_like(vectors)
    for cells in cells_by_block(frame, block):
        members = cells[usable[cells]]  # row-major
        count = budget(len(members), keep) if len(members) else 0
        if count == len(members):
            parent[members], out[members] = members, vectors[members]
            continue
        weights = None if candidates.significance is None else candidates.significance[members]
        groups = merge(vectors[members], weights, count)
        kept = members[groups.representative]
        parent[members] = kept[groups.group]
        alone = np.bincount(groups.group, minlength=count) == 1
        out[kept] = np.where(alone[:, None], vectors[kept], groups.vectors)
    return TokenSelection(grid_of(frame, parent, out), "after")


def grid_of(frame: TokenFrame, parent: Ints, vectors: NDArray[np.float32] | None = None) -> TokenGrid:
    """The grid in which each cell of the box was absorbed by the cell at position `parent` (its own where it was kept, -1
    dropped); `vectors` [cells, D] at the kept positions are taken."""
    kept = np.flatnonzero(parent == np.arange(frame.cells))
    slots = np.append(np.full(frame.cells, -1, np.int32), np.int32(-1))
    slots[kept] = np.arange(len(kept), dtype=np.int32)
    return TokenGrid(frame, frame.indices()[kept], slots[parent], None if vectors is None else vectors[kept])


def means(points: Floats, group: Ints, count: int, weights: Floats | None = None) -> Floats:
    """Weighted means of groups, float64 [count, D]; a group whose weights are all 0 has its plain mean."""
    weights = np.ones(len(points)) if weights is None else weights
    total = np.bincount(group, weights, count)
    weights = np.where(total[group] > 0, weights, 1.0)
    sums = np.zeros((count, points.shape[1]))
    np.add.at(sums, group, points * weights[:, None])
    return sums / np.bincount(group, weights, count)[:, None]


def medoids(points: Floats, group: Ints, centres: Floats) -> Ints:
    """The member of each group nearest to its centre, the first of equals: int64 [count].

    For (weighted) means as centres that is the (weighted) medoid in squared distance, as sum_i w_i |x_i - x_m|**2 =
    const + (sum_i w_i) |x_m - mean|**2. The two members of a pair are equally near to their mean, always: distances
    that differ by no more than rounding count as equal, else rounding would choose.
    """
    distance = np.square(points - centres[group]).sum(axis=1)
    least = np.full(len(centres), np.inf)
    np.minimum.at(least, group, distance)
    nearest = np.flatnonzero(distance <= least[group] * (1 + ROUNDING) + ROUNDING**2)
    _, first = np.unique(group[nearest], return_index=True)
    return nearest[first]
