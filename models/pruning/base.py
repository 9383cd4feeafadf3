"""What a pruner is: which tokens of a grid stay, and what stands for those that do not.

Indices are never renumbered. A pruner decides about a box of an image's tokens such that the answer does not depend on
how the image was cut into boxes: by each token alone, or inside blocks of the image's own grid (`blocks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.tokens import TokenFrame, TokenGrid

Fidelity = Literal["as published", "adapted", "ours"]
"""How near a method is to its source."""
Placement = Literal["before", "within", "after"]
"""Before the encoder (dropped patches are never computed: saves time; kept rows equal a full run's in which the dropped keys
are masked out), within it (the others pass some of its layers by, and the grid stays whole), or after it (saves storage; kept
rows of a selection equal the full run's exactly)."""
Signal = Literal["text", "attention", "transition", "sensitivity"]
"""What `significance` is: how probable text is; the attention that a token receives in the encoder's last layer; how much its
layers change it; how much the last projection moves with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The tokens of a box that a pruner chooses from, row-major; it uses what its method needs.

    - `vectors`: float32 [cells, D], the encoder's output;
    - `pixels`: [rows * patch, cols * patch, bands] of any real dtype, padded to whole patches;
    - `valid`: bool [cells], false for cells without data: no method ever keeps or absorbs one of them;
    - `significance`: float32 [cells] >= 0: the `Signal` that the method asks for;
    - `keys`: float32 [cells, K], what the encoder's last layer compares tokens by; `shallow`: float32 [cells] >= 0, the attention
      that each receives in its first;
    - `earlier`: as `pixels`, of another date;
    - `digest`: of the image's content, for methods that draw lots.

    Raises ValueError, naming what is wrong, for other shapes, dtypes, non-finite vectors of valid tokens or negative weights.
    """

    frame: TokenFrame
    vectors: NDArray[np.float32] | None = None
    pixels: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None
    significance: NDArray[np.float32] | None = None
    digest: str = ""
    keys: NDArray[np.float32] | None = None
    shallow: NDArray[np.float32] | None = None
    earlier: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        cells, box, patch = self.frame.cells, self.frame.box, self.frame.patch
        if self.valid is not None and (self.valid.dtype != np.bool_ or self.valid.shape != (cells,)):
            raise ValueError(f"valid needs bool [{cells}], got {self.valid.dtype} {list(self.valid.shape)}")
        for name, scores in (("significance", self.significance), ("shallow", self.shallow)):
            if scores is None:
                continue
            if scores.dtype != np.float32 or scores.shape != (cells,):
                raise ValueError(f"{name} needs float32 [{cells}], got {scores.dtype} {list(scores.shape)}")
            if not (np.isfinite(scores) & (scores >= 0)).all():
                raise ValueError(f"{name} must be finite and >= 0")
        for name, rows in (("vectors", self.vectors), ("keys", self.keys)):
            if rows is not None and (rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != cells):
                raise ValueError(f"{name} need float32 [{cells}, D], got {rows.dtype} {list(rows.shape)}")
        if self.vectors is not None:
            bad = np.flatnonzero(self.usable & ~np.isfinite(self.vectors).all(axis=1))
            if len(bad):
                raise ValueError(
                    f"{len(bad)} of {cells} tokens have NaN or infinite vectors, the first is {self.frame.indices()[bad[0]]}: "
                    "mark tokens without data in `valid`"
                )
        shape = box.height * patch, box.width * patch
        for name, image in (("pixels", self.pixels), ("earlier", self.earlier)):
            if image is not None and (image.ndim != 3 or image.shape[:2] != shape):
                raise ValueError(
                    f"{name} need [{shape[0]}, {shape[1]}, bands] for {box.height} x {box.width} patches of {patch}, got "
                    f"{list(image.shape)}: pad the image to whole patches"
                )

    @property
    def usable(self) -> NDArray[np.bool_]:
        """bool [cells]: `valid`, or all."""
        return np.ones(self.frame.cells, np.bool_) if self.valid is None else self.valid

    def need_vectors(self, method: str) -> NDArray[np.float32]:
        """The vectors; ValueError where there are none."""
        if self.vectors is None:
            raise ValueError(f"pruner {method!r} works on vectors, and none were given: place it after the encoder")
        return self.vectors

    def need_pixels(self, method: str) -> NDArray[Any]:
        """The pixels; ValueError where there are none."""
        if self.pixels is None:
            raise ValueError(f"pruner {method!r} works on pixels, and none were given")
        return self.pixels

    def need_significance(self, method: str, what: str) -> NDArray[np.float32]:
        """The significance; ValueError, saying `what` it should be, where there is none."""
        if self.significance is None:
            raise ValueError(f"pruner {method!r} works on {what}, and none was given")
        return self.significance


@dataclass(frozen=True, slots=True)
class TokenSelection:
    """What a pruner decided.

    `grid.index` are the kept tokens, `grid.parent` who absorbed the others (None where they are just dropped);
    `grid.vectors` float32 [n, D] only where the method makes vectors of its own, as merging does.
    """

    grid: TokenGrid
    placement: Placement

    def tokens(self, vectors: NDArray[np.float32]) -> TokenGrid:
        """The kept tokens with their vectors, given those of all cells of the box (float32 [cells, D]): the method's own
        where it made some, else the rows of `vectors`, bit for bit."""
        if self.grid.vectors is not None:
            return self.grid
        frame = self.grid.frame
        if vectors.ndim != 2 or len(vectors) != frame.cells:
            raise ValueError(f"vectors need float32 [{frame.cells}, D], a row per cell, got {list(vectors.shape)}")
        return self.grid.with_vectors(vectors[frame.local(self.grid.index)])


class Pruner(Protocol):
    """A method with its settings. Equal settings and candidates give equal bytes, on any number of threads."""

    name: ClassVar[str]
    signal: ClassVar[Signal]
    """What it takes as `significance`, where it takes any."""
    needs: ClassVar[frozenset[str]]
    """The fields of `Candidates` that it cannot do without."""

    @property
    def placement(self) -> Placement:
        """Where in the pipeline it stands; recorded with the output."""

    def select(self, candidates: Candidates) -> TokenSelection:
        """Choose. Never keeps, nor absorbs, a token that is not `valid`; a box without valid tokens has none kept."""

    def to_json(self) -> dict[str, Any]:
        """Method and settings as plain data: part of the product. `pruner_from_json` reads it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Base of the methods: frozen dataclasses whose fields are their settings."""

    name: ClassVar[str] = ""
    signal: ClassVar[Signal] = "text"
    needs: ClassVar[frozenset[str]] = frozenset()
    source: ClassVar[str] = ""
    """Whose method it is."""
    fidelity: ClassVar[Fidelity] = "ours"
    differs: ClassVar[str] = ""
    """What differs from the source, in a few words; tables show it."""

    def to_json(self) -> dict[str, Any]:
        """`{"method": name, <setting>: <value>, ...}`."""
        return {"method": self.name, **{field.name: getattr(self, field.name) for field in fields(self)}}


def check_keep(method: str, keep: float) -> None:
    """Raise UsageError where `keep` is no share of tokens."""
    if not 0 < keep <= 1:
        raise UsageError(f"pruner {method!r}: keep is {keep}, allowed is a share of tokens above 0 and up to 1")


def check_placement(method: str, placement: str) -> None:
    """Raise UsageError for anything but "before" and "after"."""
    if placement not in ("before", "after"):
        raise UsageError(f"pruner {method!r}: placement is {placement!r}, allowed are 'before' and 'after' the encoder")


def budget(count: int, keep: float) -> int:
    """How many of `count` tokens a share of them is: rounded down, at least 1 of any (0 of none)."""
    return min(count, max(1, int(count * keep + 1e-9)))
