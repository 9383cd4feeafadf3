"""Tokens of an image or page: `TokenFrame` (where the cells lie) and `TokenGrid` (which of them are kept, and their vectors).

One value for rasters and documents. A token is a cell of the encoder's grid over the whole image; its index there,
`row * grid_w + col`, is its name for ever: pruning leaves holes and merging leaves a map, but nothing is renumbered.
Keep-all, keep-none and a grid of one cell are the same code as everything between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridscribe.quantise import Quantised
from gridscribe.token_frame import Affine, TokenFrame
from gridscribe.values import Window

__all__ = ["Affine", "TokenAt", "TokenFrame", "TokenGrid", "join"]

Ints = NDArray[np.int32]
Vectors = NDArray[np.float32] | Quantised
Status = Literal["kept", "merged", "dropped"]


@dataclass(frozen=True, slots=True)
class TokenAt:
    """What became of the token under a pixel."""

    status: Status
    """"kept": it has a vector of its own; "merged": another token's vector stands for it; "dropped": it has none."""
    index: int
    """The token's own index on the whole grid."""
    row: int
    col: int
    slot: int | None
    """Position of its vector among the kept ones; None where it was dropped."""
    source: int | None
    """Index of the token whose slot that is: its own where it was kept, None where it was dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenGrid:
    """The tokens of `frame` that survived, in order of index.

    - `index`: int32 [n], strictly increasing, inside the frame's box, counted on the *whole* image's grid;
    - `parent`: None, or int32 [cells of the box], row-major: for each original token the slot (0..n-1) that absorbed it,
      or -1 where it was dropped; `parent` of the j-th kept token is j. None: what is not in `index` was dropped;
    - `vectors`: None (not computed yet), float32 [n, D], or `Quantised` of n.

    Arrays are read only. Raises ValueError, naming the first offender, where one of this does not hold.
    """

    frame: TokenFrame
    index: Ints
    parent: Ints | None = None
    vectors: Vectors | None = None

    def __post_init__(self) -> None:
        if self.index.dtype != np.int32 or self.index.ndim != 1:
            raise ValueError(f"index needs int32 [n], got {self.index.dtype} {list(self.index.shape)}")
        falls = np.flatnonzero(self.index[1:] <= self.index[:-1])
        if len(falls):
            at = int(falls[0])
            raise ValueError(
                f"index must be strictly increasing, but {self.index[at]} is followed by {self.index[at + 1]} at "
                f"position {at + 1}: sort it, and give each token once"
            )
        local = self.frame.local(self.index)
        _check_parent(self.parent, local, self.frame.cells)
        if self.vectors is not None:
            _check_vectors(self.vectors, len(self.index))
        for name in ("index", "parent", "vectors"):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                view = value.view()
                view.flags.writeable = False
                object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.index)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenGrid):
            return NotImplemented
        return self.frame == other.frame and all(
            _same(getattr(self, name), getattr(other, name)) for name in ("index", "parent", "vectors")
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def n_total(self) -> int:
        """Tokens of the box before pruning."""
        return self.frame.cells

    @property
    def source_map(self) -> Ints:
        """int32 [cells of the box]: the slot whose vector stands for each original token, -1 for none.

        `parent` where there is one, else the slots of the kept tokens.
        """
        if self.parent is not None:
            return self.parent
        out = np.full(self.frame.cells, -1, np.int32)
        out[self.frame.local(self.index)] = np.arange(len(self.index), dtype=np.int32)
        return out

    def token_at(self, row: int, col: int) -> TokenAt:
        """The token under pixel (row, col) of the image, and what became of it; ValueError outside the box."""
        return self.token(self.frame.index_at(row, col))

    def token(self, index: int) -> TokenAt:
        """What became of the token with this index; ValueError where it is not in the box."""
        row, col = divmod(index, self.frame.grid_w)
        if self.parent is not None:
            slot = int(self.parent[self.frame.local(np.array([index], np.int32))[0]])
        else:
            self.frame.local(np.array([index], np.int32))
            slot = int(np.searchsorted(self.index, index))
            slot = slot if slot < len(self.index) and self.index[slot] == index else -1
        if slot < 0:
            return TokenAt("dropped", index, row, col, None, None)
        source = int(self.index[slot])
        return TokenAt("kept" if source == index else "merged", index, row, col, slot, source)

    def dense(self) -> NDArray[np.float32]:
        """The vectors as float32 [n, D]; ValueError where there are none."""
        if self.vectors is None:
            raise ValueError("these tokens have no vectors yet")
        return self.vectors.dequantised() if isinstance(self.vectors, Quantised) else self.vectors

    def scatter(
        self, values: NDArray[Any] | None = None, fill: float = np.nan, *, merged: bool = True
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A value per kept token laid out on the box: [rows, cols, ...] filled with `fill` where there is none, and bool
        [rows, cols], true where there is one.

        `values` is [n, ...] of any dtype that holds `fill`, by default the vectors as float32. With `merged`, absorbed
        tokens take the value of their slot; without, kept tokens alone have one. Raises ValueError for another length
        or where `fill` is NaN and the dtype has none.
        """
        values = self.dense() if values is None else values
        if len(values) != len(self.index):
            raise ValueError(f"{len(self.index)} kept tokens need as many values, got {len(values)}")
        if values.dtype.kind not in "fc" and np.isnan(fill):
            raise ValueError(f"values of {values.dtype} cannot be filled with NaN: give `fill`")
        shape = self.frame.box.shape
        out = np.full((self.frame.cells, *values.shape[1:]), fill, values.dtype)
        if merged:
            held = self.source_map >= 0
            out[held] = values[self.source_map[held]]
        else:
            held = np.zeros(self.frame.cells, np.bool_)
            held[self.frame.local(self.index)] = True
            out[held] = values
        return out.reshape(*shape, *values.shape[1:]), held.reshape(shape)

    def gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        """[n, ...]: of values [rows, cols, ...] on the box those of the kept tokens; ValueError for another shape."""
        if dense.shape[:2] != self.frame.box.shape:
            raise ValueError(f"values need a box of {self.frame.box.shape} tokens, got {dense.shape[:2]}")
        return dense.reshape(self.frame.cells, *dense.shape[2:])[self.frame.local(self.index)]

    def crop(self, box: Window) -> TokenGrid:
        """The tokens of a box of tokens inside this one; `index` still counts on the whole grid.

        Raises ValueError where `box` sticks out, or cuts a merged group: a token inside whose slot is outside.
        """
        if not self.frame.box.contains(box):
            raise ValueError(f"box {box.to_list()} of tokens is not inside {self.frame.box.to_list()}")
        frame = self.frame.with_box(box)
        rows, cols = self.index // frame.grid_w, self.index % frame.grid_w
        inside = (rows >= box.row) & (rows < box.row1) & (cols >= box.col) & (cols < box.col1)
        parent = None
        if self.parent is not None:
            parent = self.parent.reshape(self.frame.box.shape)[box.slices(self.frame.box)].ravel()
            slots = np.append(np.where(inside, np.cumsum(inside) - 1, -2), -1).astype(np.int32)
            parent = slots[parent]
            cut = np.flatnonzero(parent == -2)
            if len(cut):
                token = int(frame.indices()[cut[0]])
                raise ValueError(
                    f"box {box.to_list()} cuts a merged group: token {token} is inside, the one that absorbed it is not: "
                    "cut along the blocks that tokens were merged in"
                )
        return TokenGrid(frame, self.index[inside], parent, _take(self.vectors, inside))

    def with_vectors(self, vectors: Vectors | None) -> TokenGrid:
        """The same tokens with other vectors."""
        return TokenGrid(self.frame, self.index, self.parent, vectors)


def join(parts: Sequence[TokenGrid]) -> TokenGrid:
    """The whole grid of an image from the boxes that its items hold, in any order.

    The result has a `parent` where any part has one. Raises ValueError where parts are of different images' grids,
    overlap, leave cells out (their tokens would read as dropped, and they are unknown), or hold vectors of different kinds.
    """
    if not parts:
        raise ValueError("no boxes of tokens were given to join")
    frame = parts[0].frame.with_box(parts[0].frame.whole)
    part_of = np.full(frame.cells, -1, np.int32)
    for number, part in enumerate(parts):
        if part.frame.with_box(frame.whole) != frame:
            raise ValueError(f"boxes of different grids cannot be joined: {part.frame} beside {parts[0].frame}")
        cells = part.frame.indices()
        taken = np.flatnonzero(part_of[cells] >= 0)
        if len(taken):
            other = parts[int(part_of[cells[taken[0]]])]
            raise ValueError(
                f"boxes {other.frame.box.to_list()} and {part.frame.box.to_list()} both hold token {cells[taken[0]]}"
            )
        part_of[cells] = number
    missing = np.flatnonzero(part_of < 0)
    if len(missing):
        raise ValueError(
            f"{len(missing)} of {frame.cells} tokens are in none of {len(parts)} boxes, the first is {missing[0]}: "
            "join when all items of the image are committed"
        )
    order = np.argsort(np.concatenate([part.index for part in parts]))
    slots = np.argsort(order).astype(np.int32)  # where each slot of the parts, one after another, went
    parent = None
    if any(part.parent is not None for part in parts):
        parent = np.empty(frame.cells, np.int32)
        start = 0
        for part in parts:
            moved = np.append(slots[start : start + len(part)], np.int32(-1))
            parent[part.frame.indices()] = moved[part.source_map]
            start += len(part)
    vectors = _concatenate([part.vectors for part in parts])
    return TokenGrid(frame, np.concatenate([p.index for p in parts])[order], parent, _take(vectors, order))


def _check_parent(parent: Ints | None, local: NDArray[np.int64], cells: int) -> None:
    if parent is None:
        return
    if parent.dtype != np.int32 or parent.shape != (cells,):
        raise ValueError(
            f"parent needs int32 [{cells}], a slot for each token of the box, got {parent.dtype} {list(parent.shape)}"
        )
    if len(parent) and (parent.min() < -1 or parent.max() >= len(local)):
        bad = parent[(parent < -1) | (parent >= len(local))][0]
        raise ValueError(f"parent {bad} is no slot: allowed are -1 (dropped) and 0 to {len(local) - 1}")
    wrong = np.flatnonzero(parent[local] != np.arange(len(local)))
    if len(wrong):
        raise ValueError(
            f"the kept token in slot {wrong[0]} has parent {parent[local[wrong[0]]]}: a kept token is its own slot's"
        )


def _check_vectors(vectors: Vectors, count: int) -> None:
    if isinstance(vectors, np.ndarray) and (vectors.dtype != np.float32 or vectors.ndim != 2):
        raise ValueError(f"vectors need float32 [{count}, D], got {vectors.dtype} {list(vectors.shape)}")
    if len(vectors) != count:
        raise ValueError(f"{count} kept tokens need as many vectors, got {len(vectors)}")


def _same(mine: Any, other: Any) -> bool:
    if isinstance(mine, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(mine, other, equal_nan=mine.dtype.kind == "f")
    return bool(mine == other) if type(mine) is type(other) else False


def _take(vectors: Vectors | None, rows: Any) -> Vectors | None:
    if vectors is None:
        return None
    return vectors.take(rows) if isinstance(vectors, Quantised) else vectors[rows]


def _concatenate(parts: list[Vectors | None]) -> Vectors | None:
    quantised = [part for part in parts if isinstance(part, Quantised)]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(quantised) == len(parts):
        return Quantised.concatenate(quantised)
    if len(arrays) == len(parts):
        return np.concatenate(arrays)
    if quantised or arrays:
        raise ValueError("boxes with vectors of different kinds, or without, cannot be joined")
    return None
