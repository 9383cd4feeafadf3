"""What a product says of the model that its embeddings come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gridscribe.errors import LayoutError

ROLE = "alignment"
"""The role of that model among a product's `models`."""
HOW = "run the job again with an alignment package (`--cfg-options alignment.model=PACKAGE`)"
"""How to come by embeddings; ends errors."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """The alignment model of a product, and what was embedded with it."""

    name: str
    uri: str
    """Where the package was when the job was planned."""
    digest: str
    """Vectors may be compared where this is equal, and nowhere else."""
    dim: int
    """Components of a vector."""
    window: int
    """Pixels a side that the encoder saw at once, and from one window to the next; both multiples of `patch`."""
    stride: int
    patch: int
    regions: bool
    """Whether regions are embedded."""
    tokens: bool
    """Whether tokens are stored."""
    concepts: str | None
    """Digest of the concept bank that labels come from; None where there is none."""

    @property
    def label(self) -> str:
        """Name and the first 12 hex of the digest, as a product's `model` is told."""
        return f"{self.name}@{self.digest[:12]}"


def read_alignment(product: dict[str, Any]) -> Alignment | None:
    """The alignment model of a product's description; None where it has none, `LayoutError` where it is not understood."""
    found = [model for model in product["models"] if model.get("role") == ROLE]
    if not found:
        return None
    try:
        (model,) = found
        settings = product["settings"]["alignment"]
        concepts = settings.get("concepts")
        return Alignment(
            name=str(model["name"]),
            uri=str(model["uri"]),
            digest=str(model["digest"]),
            dim=int(settings["embed_dim"]),
            window=int(settings["window"]),
            stride=int(settings["stride"]),
            patch=int(settings["patch"]),
            regions=settings.get("regions") is not None,
            tokens=settings.get("tokens") is not None,
            concepts=None if concepts is None else str(concepts["digest"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LayoutError(
            f"product {product.get('product')}: its alignment model or settings are not understood ({error!r})"
        ) from error
