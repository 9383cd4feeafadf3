"""Embeddings as they are stored: unit vectors, as int8 with one float16 scale each, or as float16.

Symmetric quantisation per vector: `scale = max|v| / 127`, `q = round(v / scale)`, `v ~ q * scale`. Two things are not
left to chance: the scale is rounded *up* to float16, so that no component is clipped and the error stays within half a
step; and a zero vector has a meaning: zeros with scale 0, which read back as zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["int8", "float16"]
KINDS: tuple[Kind, ...] = ("int8", "float16")
LEVELS = 127
"""Steps to either side of zero; -128 is never used, so that negation is exact."""


def normalised(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Rows scaled to Euclidean length 1, float64 [n, D]; rows of zeros stay zeros.

    Each row's bits depend on that row alone, whatever else stands in the array. Raises ValueError for what is not a
    finite [n, D] array of numbers.
    """
    rows = _checked(vectors)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    rows = rows / np.where(largest > 0, largest, 1.0)[:, None]  # first, so that squares neither overflow nor vanish
    length = np.sqrt(np.square(rows).sum(axis=1))
    return rows / np.where(length > 0, length, 1.0)[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """Stored vectors: `values` int8 or float16 [n, D] and `scale` float16 [n]; both read only.

    The scale of a float16 vector is 1, so that `values * scale` is right for both kinds. Raises ValueError for other
    dtypes, shapes, negative or non-finite scales.
    """

    values: NDArray[Any]
    scale: NDArray[np.float16]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype not in (np.int8, np.float16):
            raise ValueError(
                f"quantised vectors need int8 or float16 [n, D], got {self.values.dtype} {list(self.values.shape)}"
            )
        if self.scale.dtype != np.float16 or self.scale.shape != self.values.shape[:1]:
            raise ValueError(
                f"{len(self.values)} quantised vectors need float16 scales [{len(self.values)}], got {self.scale.dtype} "
                f"{list(self.scale.shape)}"
            )
        if not (np.isfinite(self.scale) & (self.scale >= 0)).all():
            raise ValueError("scales of quantised vectors must be finite and >= 0: the vectors are damaged")
        for name in ("values", "scale"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @property
    def kind(self) -> Kind:
        """How they are stored."""
        return "int8" if self.values.dtype == np.int8 else "float16"

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self.values.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantised):
            return NotImplemented
        return (
            self.kind == other.kind
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.scale, other.scale)
        )

    __hash__ = None  # type: ignore[assignment]

    def take(self, rows: Any) -> Quantised:
        """Some of them: `rows` is a slice, or integers or booleans as NumPy indexes rows with."""
        return Quantised(self.values[rows], self.scale[rows])

    def dequantised(self) -> NDArray[np.float32]:
        """The vectors, float32 [n, D]: exact products of stored value and scale (both fit a float32's 24 bits)."""
        return self.values.astype(np.float32) * self.scale.astype(np.float32)[:, None]

    @classmethod
    def concatenate(cls, parts: list[Quantised]) -> Quantised:
        """All of them one after another; ValueError where kind or dimension differ, or `parts` is empty."""
        kinds = sorted({(part.kind, part.dim) for part in parts})
        if len(kinds) != 1:
            raise ValueError(f"vectors of kind and dimension {kinds} cannot stand in one array")
        return cls(np.concatenate([p.values for p in parts]), np.concatenate([p.scale for p in parts]))


def quantise(vectors: NDArray[Any], kind: Kind = "int8") -> Quantised:
    """L2-normalise float vectors [n, D] and store them as `kind`.

    With u the unit vector, promised (and tested) of the values read back: int8: every component is within
    `scale / 2` of u's and |value| <= 127, where `scale` is the smallest float16 not below max|u| / 127; float16: every
    component is u's rounded to float16, so within 2**-11 of its size, or 2**-25. The result has no unit length of its own.
    Equal vectors give equal bytes whatever stands beside them. Raises ValueError for NaN, infinity, other shapes, kinds.
    """
    unit = normalised(vectors)
    if kind == "float16":
        return Quantised(unit.astype(np.float16), np.ones(len(unit), np.float16))
    if kind != "int8":
        raise ValueError(f"embeddings are stored as {' or '.join(KINDS)}, not {kind!r}")
    step = np.abs(unit).max(axis=1, initial=0.0) / LEVELS
    scale = step.astype(np.float16)
    scale = np.where(scale < step, np.nextafter(scale, np.float16(np.inf)), scale)
    divisor = np.where(scale > 0, scale, 1).astype(np.float64)
    return Quantised(np.rint(unit / divisor[:, None]).astype(np.int8), scale)


def _checked(vectors: NDArray[Any]) -> NDArray[np.float64]:
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise ValueError(f"vectors need to be numbers [n, D], got {vectors.dtype} {list(vectors.shape)}")
    rows = np.ascontiguousarray(vectors, np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(rows)} vectors hold NaN or infinity, the first is row {bad[0]}: drop their tokens first"
        )
    return rows
