"""Pixels of committed boxes, and the values stored there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.blocks import joined_window
from gridscribe.client.boxes import Ints
from gridscribe.client.crs_group import Candidates
from gridscribe.client.index import ImageIndex
from gridscribe.client.tiles import Places, Tiles, gather
from gridscribe.values import Window

CLASS_NODATA = np.uint8(255)
CONFIDENCE_NODATA = np.uint8(255)
HEIGHT_NODATA = np.int16(-32768)
CONFIDENCE_LEVELS = np.float32(254)
CENTIMETRES = np.float32(100)
EMPTY: dict[str, Any] = {"mask": CLASS_NODATA, "confidence": CONFIDENCE_NODATA, "height": HEIGHT_NODATA}


@dataclass(frozen=True)
class Located:
    """Pixels of images, each an answer to a point, and the committed boxes that hold them."""

    point: Ints
    """The point that is asked about, ascending."""
    image: Ints
    """-1 where no image is there; then all others are -1 too."""
    row: Ints
    col: Ints
    box: Ints
    """Index of the committed box; -1 where no box holds the pixel."""
    down: Ints
    """Row and column in the box."""
    across: Ints

    @classmethod
    def find(cls, index: ImageIndex, found: Candidates) -> Located:
        """Locate the boxes of candidates."""
        box = index.boxes_of(found.image, found.row, found.col)
        down, across = found.row - index.boxes[box, 0], found.col - index.boxes[box, 1]
        return cls(found.point, found.image, found.row, found.col, box, down, across)

    @classmethod
    def nowhere(cls, point: Ints) -> Located:
        """Points where no image is."""
        return cls(point, *(np.full(len(point), -1) for _ in fields(cls)[1:]))

    def take(self, order: Ints) -> Located:
        """Some of these, in another order."""
        return Located(*(getattr(self, field.name)[order] for field in fields(self)))

    def merged(self, other: Located) -> tuple[Located, Ints]:
        """Both, in order of points, and that order."""
        both = [np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)]
        order = np.argsort(both[0], kind="stable")
        return Located(*(column[order] for column in both)), order

    @cached_property
    def held(self) -> Ints | None:
        """Which of these are in a box; None for all. Worked out once, for all kinds of rasters."""
        inside = self.box >= 0
        return None if inside.all() else np.flatnonzero(inside)

    @cached_property
    def places(self) -> Places:
        """Those in a box, sorted by box and block. Worked out once, for all kinds of rasters."""
        held = slice(None) if self.held is None else self.held
        return Places.sort(self.box[held], self.down[held], self.across[held])


def stored_values(index: ImageIndex, tiles: Tiles, kind: str, located: Located) -> NDArray[Any]:
    """The stored value at each pixel; the kind's nodata where there is no box, or no such raster of it."""
    places, empty = located.places, EMPTY[kind]
    used = {box for box, _, _ in places.groups}
    keys = {box: index.keys[kind][box] for box in used}
    shapes = {box: (int(index.boxes[box, 2]), int(index.boxes[box, 3])) for box in used}
    values = gather(tiles, keys, shapes, places, empty)
    if located.held is None:
        return values
    out = np.full(len(located.box), empty)
    out[located.held] = values
    return out


def stored_window(index: ImageIndex, tiles: Tiles, kind: str, image: int, window: Window) -> NDArray[Any]:
    """Stored values of a window of one image, copied block by block; the kind's nodata where it has none."""
    boxes = range(int(index.box_starts[image]), int(index.box_starts[image + 1]))
    parts = [(Window(*index.boxes[box].tolist()), index.keys[kind][box]) for box in boxes]
    return joined_window(tiles, parts, EMPTY[kind], window)
