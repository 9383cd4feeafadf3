"""Which image holds which place: all committed images of one product, in memory, asked for many points at once."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gridscribe.client.alignment import Alignment
from gridscribe.client.boxes import Ints, boxes_of
from gridscribe.client.crs_group import Bools, Bounds, Candidates, CrsGroup
from gridscribe.client.places import LONLAT, Floats, same_crs, transform
from gridscribe.client.regions import RegionIndex
from gridscribe.client.when import Interval
from gridscribe.commits import Commit
from gridscribe.errors import LayoutError, QueryError
from gridscribe.values import Grid

if TYPE_CHECKING:
    import pyarrow as pa
    from shapely.geometry.base import BaseGeometry

UNKNOWN_TIME = np.iinfo(np.int64).min
NAMED = 8  # ids that an error lists


@dataclass(frozen=True, slots=True)
class ProductInfo:
    """What a query says of the product that answers."""

    id: str
    model: str
    classes: dict[int, str]
    alignment: Alignment | None = None
    """The model of its embeddings; None where it has none."""


class ImageIndex:
    """The committed images of one product and the boxes of them that are committed.

    `images` (arrays of one entry per image, in order of id) and `boxes` (one entry per committed box, those of an image together)
    are read only. Build from a table with the columns of the images table, and `item`; `load_regions` gives the commits of
    regions.
    """

    def __init__(self, product: ProductInfo, table: pa.Table, load_regions: Callable[[], list[Commit]]) -> None:
        self.product, self._load_regions = product, load_regions
        table = table.filter(table["mask"].is_valid())
        table = table.sort_by([(name, "ascending") for name in ("image", "box_row", "box_col", "item")])
        names = table["image"].to_pylist()
        starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
        head = table.take(starts) if starts else table.slice(0, 0)
        self.ids: list[str] = head["image"].to_pylist()
        self.sources: list[str] = head["source"].to_pylist()
        self.gsd: list[float | None] = head["gsd"].to_pylist()
        self.flags: list[list[str]] = head["flags"].to_pylist()
        self.shapes: Ints = _columns(head, ("height", "width"))
        self.times: Ints = _ints(head["datetime"].cast("int64").fill_null(int(UNKNOWN_TIME)))
        self.crs: list[str | None] = head["crs"].to_pylist()
        self.transforms: Floats = _transforms(head["transform"].to_pylist())
        self.box_starts: Ints = np.array([*starts, len(names)], np.int64)
        self.boxes: Ints = _columns(table, ("box_row", "box_col", "box_height", "box_width"))
        self.items: list[str] = table["item"].to_pylist()
        self.keys: dict[str, list[str | None]] = {
            "mask": table["mask"].to_pylist(),
            "confidence": table["confidence"].to_pylist(),
            "height": table["height_key"].to_pylist(),
        }
        self.height_codes: list[bytes | None] = table["height_code"].to_pylist()
        self._footprints = head["footprint"].to_pylist()
        self._places = {name: i for i, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def groups(self) -> list[CrsGroup]:
        """The georeferenced images by CRS."""
        members: dict[str, list[int]] = defaultdict(list)
        for i, crs in enumerate(self.crs):
            if crs is not None and np.isfinite(self.transforms[i]).all():
                members[crs].append(i)
        return [
            CrsGroup(crs, np.array(images), self.transforms[images], self.shapes[images], self._bounds(images))
            for crs, images in sorted(members.items())
        ]

    @cached_property
    def lonlat_bounds(self) -> Bounds:
        """A box (west, south, east, north) of longitudes and latitudes that holds all georeferenced images."""
        known = [group.lonlat_bounds for group in self.groups if group.lonlat_bounds is not None]
        if not known or len(known) < len(self.groups):
            return -180.0, -90.0, 180.0, 90.0
        west, south, east, north = zip(*known, strict=True)
        return max(min(west), -180.0), max(min(south), -90.0), min(max(east), 180.0), min(max(north), 90.0)

    @cached_property
    def footprint_bounds(self) -> Floats:
        """Longitudes and latitudes of each image's footprint, [n, 4]: west, south, east, north; NaN where there is none.

        Of one across the antimeridian they reach from -180 to 180.
        """
        import shapely

        return shapely.bounds(shapely.from_wkb(np.array(self._footprints, object))).reshape(-1, 4)

    def footprint(self, image: int) -> BaseGeometry | None:
        """The outline of an image in longitudes and latitudes; None where it has no place on Earth."""
        import shapely

        return shapely.from_wkb(self._footprints[image])

    def place_of(self, image: str) -> int | None:
        """Which image has this id; None where none has."""
        return self._places.get(image)

    def near(self, bbox: Bounds) -> set[str]:
        """The images whose footprint's bounds meet a box of longitudes and latitudes; west > east crosses the antimeridian."""
        west, south, east, north = self.footprint_bounds.T
        beside = (west <= bbox[2]) & (east >= bbox[0])
        across = (west <= bbox[2]) | (east >= bbox[0])
        meets = (beside if bbox[0] <= bbox[2] else across) & (south <= bbox[3]) & (north >= bbox[1])
        return {self.ids[i] for i in np.flatnonzero(meets).tolist()}

    def _bounds(self, images: list[int]) -> Floats | None:
        """Longitudes and latitudes of footprints, [n, 4]; None where one is missing."""
        bounds = self.footprint_bounds[images]
        return None if np.isnan(bounds).any() else bounds

    @cached_property
    def regions(self) -> RegionIndex:
        """The committed regions; their commits are read when this is first asked for."""
        return RegionIndex(self.ids, self.shapes, self._load_regions())

    @property
    def regions_known(self) -> bool:
        """Whether their commits have been read."""
        return "regions" in self.__dict__

    def grid(self, image: int) -> Grid:
        """The pixel grid of an image."""
        height, width = self.shapes[image].tolist()
        if not np.isfinite(self.transforms[image]).all():
            return Grid(height, width, None, self.crs[image])
        a, b, c, d, e, f = self.transforms[image].tolist()
        return Grid(height, width, (a, b, c, d, e, f), self.crs[image])

    def chosen(self, interval: Interval | None) -> Bools | None:
        """Which images were taken in `interval`; None for all."""
        if interval is None:
            return None
        known = self.times != UNKNOWN_TIME
        after = self.times >= interval.start if interval.start is not None else known
        before = self.times < interval.stop if interval.stop is not None else known
        return known & after & before

    def chosen_ids(self, interval: Interval | None, bbox: Bounds | None, image: str | None = None) -> list[str]:
        """Ids of the images taken in `interval` whose bounds meet a box of longitudes and latitudes, or of that one image."""
        chosen = self.chosen(interval)
        names = self.ids if chosen is None else [self.ids[i] for i in np.flatnonzero(chosen).tolist()]
        if image is not None:
            only = self.ids[self.resolve(image)]
            names = [name for name in names if name == only]
        if bbox is not None:
            near = self.near(bbox)
            names = [name for name in names if name in near]
        return names

    def candidates(self, x: Floats, y: Floats, crs: str, chosen: Bools | None) -> Candidates:
        """All images that hold each point, in order of points; images outside `chosen` are left out."""
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        lonlat: tuple[Floats, Floats] | None = None
        parts = []
        for group in self.groups:
            near = finite
            if not same_crs(crs, group.crs):
                lonlat = transform(crs, LONLAT, x[finite], y[finite]) if lonlat is None else lonlat
                near = finite[group.near(*lonlat)]
            if len(near):
                part = group.candidates(*transform(crs, group.crs, x[near], y[near]))
                parts.append(Candidates(near[part.point], part.image, part.row, part.col))
        if not parts:
            return Candidates(*(np.empty(0, np.int64),) * 4)
        point, image, row, col = (
            np.concatenate([getattr(part, name) for part in parts]) for name in Candidates.__slots__
        )
        if chosen is not None:
            keep = chosen[image]
            point, image, row, col = point[keep], image[keep], row[keep], col[keep]
        if len(parts) > 1 or (len(point) and (point[1:] < point[:-1]).any()):
            order = np.argsort(point, kind="stable")
            point, image, row, col = point[order], image[order], row[order], col[order]
        return Candidates(point, image, row, col)

    def boxes_of(self, image: Ints, row: Ints, col: Ints) -> Ints:
        """The committed box that holds each pixel, as an index into `boxes`; -1 where none does."""
        return boxes_of(self.box_starts, self.boxes, image, row, col)

    def resolve(self, image: str) -> int:
        """The image that an id, the only id that begins so, or a source names; else `QueryError` with near ones."""
        if image in self._places:
            return self._places[image]
        for what, found in (
            ("source", [i for i, source in enumerate(self.sources) if source == image]),
            ("prefix", [i for i, name in enumerate(self.ids) if image and name.startswith(image)]),
        ):
            if len(found) == 1:
                return found[0]
            if found:
                raise QueryError(f"image {image!r} is the {what} of {len(found)} images: {_some(self.ids, found)}")
        near = [name for name in self.ids if image and image.lower() in name.lower()][:NAMED]
        near = near or difflib.get_close_matches(image, self.ids[:20_000], n=NAMED, cutoff=0.4)
        hint = f"near ones: {', '.join(near)}" if near else f"it has {_some(self.ids, range(len(self.ids)))}"
        raise QueryError(f"product {self.product.id} has no image {image!r}; {hint}")


def _columns(table: pa.Table, names: tuple[str, ...]) -> Ints:
    return np.stack([_ints(table[name]) for name in names], axis=1)


def _ints(column: Any) -> Ints:
    values: Ints = column.to_numpy().astype(np.int64)
    return values


def _transforms(rows: list[list[float] | None]) -> Floats:
    """[n, 6]; NaN where there is none. `LayoutError` for one that is not six numbers or cannot be inverted."""
    out = np.full((len(rows), 6), np.nan)
    for i, row in enumerate(rows):
        if row is None:
            continue
        if len(row) != 6 or row[0] * row[4] == row[1] * row[3]:
            raise LayoutError(f"transform {row} in an images table: six terms of an invertible affine are expected")
        out[i] = row
    return out


def _some(names: list[str], which: Any) -> str:
    picked = [names[i] for i in which[:NAMED]]
    return ", ".join(picked) + (f" and {len(which) - NAMED} more" if len(which) > NAMED else "")
