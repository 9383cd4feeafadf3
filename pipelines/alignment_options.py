"""What a job may say of embeddings: the model that aligns images with words, the vectors kept, the labels of regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gridscribe.errors import UsageError
from gridscribe.models.pruning import Pruner, check_given, pruner_from_json
from gridscribe.quantise import KINDS, Kind

Look = Literal["crop", "inside", "tokens", "both"]
"""How a region gets its vector; see `AlignmentOptions.regions`."""
WARD = {"method": "ward", "keep": 0.25}


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """How the dense tokens of images are stored."""

    pruner: Mapping[str, Any] = field(default_factory=lambda: dict(WARD))
    """A method of `models.pruning` that works on finished vectors, and its settings; settings alone are those of the default."""
    kind: Kind = "int8"
    """What a component is stored as; "int8" or "float16"."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"tokens.kind={self.kind!r}: allowed are {', '.join(KINDS)}")
        if not isinstance(self.pruner, Mapping):
            raise UsageError(f"tokens.pruner={self.pruner!r}: must be a dict with a method, such as {WARD}")
        if self.made.placement != "after":
            raise UsageError(
                f"tokens.pruner={dict(self.pruner)}: tokens of rasters are reduced after the encoder, this method works "
                f"{self.made.placement} it"
            )
        check_given(self.made, {"vectors", "digest"}, f"tokens.pruner={dict(self.pruner)}")

    @property
    def made(self) -> Pruner:
        """The pruner itself."""
        return pruner_from_json(dict(self.pruner) if "method" in self.pruner else {**WARD, **self.pruner})

    def to_json(self) -> dict[str, Any]:
        """Plain data with every setting, those that were left out too."""
        return {"pruner": self.made.to_json(), "kind": self.kind}


@dataclass(frozen=True, slots=True)
class VocabularyOptions:
    """Segmenting into classes that are only named, in place of a trained network; see `models.clip.open_vocabulary`."""

    model: str = "align"
    """A shipped alignment model's name, a folder, or a URI of an alignment package."""
    classes: str = "gamus"
    """A text file of classes with other words for them, or a shipped one's name."""
    offsets: str | None = None
    """The `offsets.json` of an evaluation of the same model and classes; None: all classes are as they come."""
    variant: str | None = None
    """What the encoder's last block does for dense tokens, see `models.clip.dense`; None: what the package was trained with,
    else segearth."""
    bias: float | None = None
    """Share of the window's own cosine that is taken off each token's; None: that of SegEarth-OV."""


@dataclass(frozen=True, slots=True)
class AlignmentOptions:
    """How images and regions are embedded in the space of a text tower."""

    model: str = "align"
    """A shipped alignment model's name, a folder, or a URI of an alignment package."""
    variant: str | None = None
    """What the encoder's last block does for dense tokens, see `models.clip.dense`; None: what the package was trained with,
    else segearth."""
    window: int | None = None
    """Pixels a side that the encoder sees at once; None: the package's own."""
    stride: int | None = None
    """Pixels from one window to the next; None: three quarters of the window, in whole patches."""
    regions: Look | None = "inside"
    """What a region's vector is: `crop`, the class vector of the square around it (what FarSLIP found best); `inside`, the mean
    of that and of what the square's own tokens say under the region's pixels, so that a terrace is not named after the pool in
    its square; `tokens`, the mean of the stored tokens of the image under its pixels; `both`, the mean of `crop` and `tokens`;
    None: regions have none."""
    concepts: str | None = "scenes"
    """The concept bank that regions are labelled from: a shipped one's name or a text file; None: no labels."""
    labels: int = 5
    """How many labels a region gets."""

    def __post_init__(self) -> None:
        if self.regions is not None and self.regions not in get_args(Look):
            raise UsageError(f"alignment.regions={self.regions!r}: allowed are {', '.join(get_args(Look))} and None")
        for name, value in (("window", self.window), ("stride", self.stride), ("labels", self.labels)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise UsageError(f"alignment.{name}={value!r}: must be a whole number of at least 1")
