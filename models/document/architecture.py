"""Sizes of the document encoder, as data: what a package's `model.json` states; torch is not needed to read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gridscribe.errors import UsageError


@dataclass(frozen=True, slots=True)
class PageArchitecture:
    """Sizes of a `PageEncoder`, as data: what `model.json` states."""

    patch: int = 16
    """Pixels of a patch's side."""
    stem_width: int = 0
    """Channels between the two linear maps (GELU between them) that read a patch; 0: one map alone."""
    width: int = 192
    """Channels of the blocks."""
    layers: int = 6
    heads: int = 6
    mlp_ratio: float = 4.0
    doublings: int = 2
    """Transposed convolutions in the head, each of which doubles the grid: cells are `patch / 2 ** doublings` pixels."""
    head_width: int = 96
    """Channels of the head's finer grids."""
    embed_dim: int = 64
    """Components of a vector in the space of text tokens."""
    trunk: str = ""
    """Blocks of another library in the place of ours: `timm/NAME` or `open_clip/NAME`, a vision transformer with a table of
    positions. `patch` and `width` must be its own; stem_width, layers, heads and mlp_ratio then say nothing."""
    table: int = 0
    """Positions a side of a trunk's table: patches along a crop. 0 without a trunk."""

    def __post_init__(self) -> None:
        for name in ("patch", "width", "layers", "heads", "head_width", "embed_dim"):
            if getattr(self, name) < 1:
                raise UsageError(f"page architecture: {name} is {getattr(self, name)}, must be at least 1")
        if bool(self.trunk) != (self.table > 0) or self.table < 0:
            raise UsageError(
                f"page architecture: trunk {self.trunk!r} with a table of {self.table}: a trunk needs a table of as many "
                "positions as a crop has patches along a side, and nothing else has one"
            )
        if not self.trunk and self.width % (4 * self.heads):
            raise UsageError(
                f"page architecture: width {self.width} over {self.heads} heads must give heads of a multiple of 4 channels"
            )
        if self.stem_width < 0:
            raise UsageError(f"page architecture: stem_width is {self.stem_width}, must be at least 0")
        if self.doublings < 0 or self.patch % 2**self.doublings:
            raise UsageError(
                f"page architecture: {self.doublings} doublings do not divide a patch of {self.patch} px into whole pixels"
            )

    @property
    def cell(self) -> int:
        """Pixels of a cell's side on the finer grid."""
        return self.patch // 2**self.doublings

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PageArchitecture:
        """From plain data; UsageError for a key that is unknown."""
        unknown = sorted(set(data) - set(cls.__dataclass_fields__))
        if unknown:
            raise UsageError(f"page architecture has no {unknown[0]!r}: it has {', '.join(cls.__dataclass_fields__)}")
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Every size as plain data."""
        return asdict(self)
