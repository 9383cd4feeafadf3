"""Items: the unit of work and of commit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from gridscribe.ingest.images import InputOptions, RasterImage
from gridscribe.values import Window


@dataclass(frozen=True, slots=True)
class Part:
    """A box of one image."""

    image: RasterImage
    box: Window

    @property
    def whole(self) -> bool:
        """Whether the box is all of the image."""
        return self.box == self.image.grid.window


@dataclass(frozen=True, slots=True)
class Item:
    """One or more parts that are committed together. Its id is a digest of image ids and boxes."""

    parts: tuple[Part, ...]

    @property
    def id(self) -> str:
        """16 hex digits; the same for the same images and boxes, wherever and whenever."""
        names = [[part.image.image_id, part.box.to_list()] for part in self.parts]
        return hashlib.sha256(json.dumps(names, separators=(",", ":")).encode()).hexdigest()[:16]

    @property
    def pixels(self) -> int:
        """Pixels in all parts."""
        return sum(part.box.area for part in self.parts)

    def singles(self) -> list[Item]:
        """One item per part: how a bundle is taken apart when one of its images fails."""
        return [Item((part,)) for part in self.parts]

    def to_json(self, *, options: bool = True) -> list[dict[str, Any]]:
        """Plain data that `Item.from_json` reads; `options=False` for plans that state the input options once."""
        return [{"image": part.image.to_json(options=options), "box": part.box.to_list()} for part in self.parts]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]], options: InputOptions | None = None) -> Item:
        """The inverse of `to_json`; `options` stand in for options that were left out."""
        return cls(tuple(Part(RasterImage.from_json(p["image"], options), Window(*p["box"])) for p in data))
