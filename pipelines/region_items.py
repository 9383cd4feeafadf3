"""Items of regions: images whose masks are all committed, and where these lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridscribe.commits import Commit
from gridscribe.coverage import Coverage, RegionCoverage, coverage_of
from gridscribe.ingest.images import RasterImage
from gridscribe.layout import REGIONS_ITEM, parse_product_key
from gridscribe.pipelines.config import ITEM_GRAIN
from gridscribe.pipelines.cutting import cut
from gridscribe.pipelines.items import Item
from gridscribe.values import Window

UNCUT = ITEM_GRAIN << 32  # an item size that no image has


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """Where the tokens of a committed box of an image lie."""

    tokens: str
    """Key of the token table, and its bytes."""
    size: int
    images: str
    """Key of the images table of the same item."""


@dataclass(frozen=True, slots=True)
class StoredBox:
    """A committed box of an image: the keys of its rasters."""

    box: Window
    mask: str
    confidence: str
    height: str
    tokens: StoredTokens | None = None


@dataclass(frozen=True, slots=True)
class RegionPart:
    """The box of an image whose regions are asked for (all of it, but for an area of interest), and what it is read from."""

    image: RasterImage
    box: Window
    stored: tuple[StoredBox, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the box is all of the image."""
        return self.box == self.image.grid.window


@dataclass(frozen=True, slots=True)
class RegionItem:
    """One or more images whose regions are committed together."""

    parts: tuple[RegionPart, ...]

    @property
    def id(self) -> str:
        """`regions-` and 16 hex digits of image ids and boxes; how their masks were cut into items is no part of it."""
        names = [[part.image.image_id, part.box.to_list()] for part in self.parts]
        digest = hashlib.sha256(json.dumps(names, separators=(",", ":")).encode()).hexdigest()
        return f"{REGIONS_ITEM}{digest[:16]}"

    @property
    def pixels(self) -> int:
        """Pixels in all parts."""
        return sum(part.box.area for part in self.parts)

    def singles(self) -> list[RegionItem]:
        """One item per image: how a bundle is taken apart."""
        return [RegionItem((part,)) for part in self.parts]


RasterWork = Item | RegionItem
"""What a worker of a raster job takes."""


def region_items(images: Sequence[RasterImage], boxes: Mapping[str, Window], bundle_pixels: int) -> list[RegionItem]:
    """The items of regions of a job: small images bundled as their masks are, every bigger one alone and whole.

    They do not depend on the size of mask items, so that neither do the objects written.
    """
    whole = cut(images, boxes, item_size=UNCUT, bundle_pixels=bundle_pixels)
    return [RegionItem(tuple(RegionPart(part.image, part.box) for part in item.parts)) for item in whole]


def remaining_regions(
    items: Sequence[RegionItem], commits: Sequence[Commit], failed: frozenset[str] = frozenset()
) -> list[RegionItem]:
    """The items of regions that can be made now: masks all committed, regions not, and no failure in `failed` (ids of singles).

    A bundle of which only some images can be, or are left, is taken apart.
    """
    masks, done = coverage_of(commits), RegionCoverage(commits)
    stored = _stored(commits)
    left: list[RegionItem] = []
    for item in items:
        ready = [
            RegionItem((_located(part, stored.get(part.image.image_id, [])),))
            for single in item.singles()
            for part in single.parts
            if single.id not in failed and _due(part, masks, done)
        ]
        if len(ready) == len(item.parts):
            left.append(RegionItem(tuple(part for single in ready for part in single.parts)))
        else:
            left.extend(ready)
    return left


def _due(part: RegionPart, masks: Coverage, done: RegionCoverage) -> bool:
    image = part.image.image_id
    return masks.covers(image, part.box) and not done.covers(image, part.box)


def _stored(commits: Iterable[Commit]) -> dict[str, list[StoredBox]]:
    stored: dict[str, list[StoredBox]] = {}
    for commit in commits:
        for entry in commit.images:
            mask, confidence, height = (entry[kind] for kind in ("mask", "confidence", "height"))
            box = StoredBox(Window(*entry["window"]), mask, confidence, height, _tokens(commit, entry))
            stored.setdefault(entry["image"], []).append(box)
    return stored


def _tokens(commit: Commit, entry: Mapping[str, Any]) -> StoredTokens | None:
    if "tokens" not in entry:
        return None
    (size,) = (record.size for record in commit.objects if record.key == entry["tokens"])
    (images,) = (record.key for record in commit.objects if parse_product_key(record.key).room == "images")
    return StoredTokens(entry["tokens"], size, images)


def _located(part: RegionPart, stored: Sequence[StoredBox]) -> RegionPart:
    """The part with the boxes that it is read from: none outside it, none inside another."""
    near = sorted((s for s in stored if s.box.intersection(part.box)), key=lambda s: (-s.box.area, s.box, s.mask))
    kept: list[StoredBox] = []
    for one in near:
        if not any(held.box.contains(one.box) for held in kept):
            kept.append(one)
    return RegionPart(part.image, part.box, tuple(sorted(kept, key=lambda s: s.box)))
