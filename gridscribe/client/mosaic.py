"""The mask of a box: one image's grid, filled from every image that meets it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.blocks import MAX_PIXELS, strips
from gridscribe.client.crs_group import Bools, Candidates, CrsGroup
from gridscribe.client.index import ImageIndex
from gridscribe.client.pixel import Mask
from gridscribe.client.places import Floats, grid_rowcol, grid_xy, is_geographic, same_crs, transform
from gridscribe.client.stored import CLASS_NODATA, EMPTY, Located, stored_values, stored_window
from gridscribe.client.tiles import TileReader
from gridscribe.client.when import Interval
from gridscribe.errors import QueryError
from gridscribe.values import Grid, Window

if TYPE_CHECKING:
    from shapely import Polygon
    from shapely.geometry.base import BaseGeometry

STEPS = 32
"""Points along each side of a box, which bends from one CRS to another."""
SLACK = 1e-6
"""Pixels by which a box may miss a pixel's edge and still end at it: coordinates are rounded."""

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One image as it lies on the mosaic's grid."""

    image: int
    window: Window
    """Where it may have pixels, within the mosaic."""
    offset: tuple[int, int] | None
    """(row, col) of its first pixel on the mosaic's grid; None where its pixels are not that grid's."""
    tied: bool
    """Whether another image has the same time, so that confidence decides."""


class Mosaicker:
    """Masks of one product."""

    def __init__(self, index: ImageIndex, tiles: TileReader, most: int = MAX_PIXELS) -> None:
        """`most`: pixels of the largest answer."""
        self._index, self._tiles, self._most = index, tiles, most
        self._groups = {int(image): group for group in index.groups for image in group.images}

    def masks(self, bbox: Bounds, crs: str, interval: Interval | None, *, every: bool) -> tuple[Mask, ...]:
        """One mosaic on the grid of the newest image, or with `every` a mask per image on its own grid, newest first.

        Pixels of images on another grid are taken from the pixel that holds the centre. `QueryError` where no image
        meets the box, or the answer would not fit into memory.
        """
        images = self._meeting(bbox, crs, self._index.chosen(interval))
        if not images:
            when = "" if interval is None else f" that was taken in {interval.text}"
            raise QueryError(
                f"no image of product {self._index.product.id}{when} meets the box {list(bbox)} in {crs[:60]}"
            )
        if every:
            masks, left = [], self._most
            for image in images:
                masks.append(self._mask(image, [image], bbox, crs, left))
                left -= masks[-1].array.size
            return tuple(masks)
        return (self._mask(images[0], images, bbox, crs, self._most),)

    def window(self, image: int, bbox: Bounds, crs: str) -> Window:
        """The least window of an image that holds its part of the box; `QueryError` where they do not meet."""
        group = self._groups.get(image)
        if group is None:
            raise QueryError(f"image {self._index.ids[image]} is not georeferenced: ask without bbox")
        grid, region = self._index.grid(image), self._region(bbox, crs, group)
        area = None if region is None else region.intersection(_polygon(grid))
        if area is None or area.area == 0:
            raise QueryError(f"image {self._index.ids[image]} does not meet the box {list(bbox)} in {crs[:60]}")
        return _window(area, grid).intersection(grid.window)

    def _meeting(self, bbox: Bounds, crs: str, chosen: Bools | None) -> list[int]:
        """Images of which the box holds some area, newest first, then by id."""
        found: list[int] = []
        for group in self._index.groups:
            region = self._region(bbox, crs, group)
            if region is None:
                continue
            for image in group.meeting(region.bounds):
                meets = region.intersection(_polygon(self._index.grid(image))).area > 0
                if meets and (chosen is None or chosen[image]):
                    found.append(image)
        return sorted(found, key=lambda image: (-int(self._index.times[image]), image))

    def _region(self, bbox: Bounds, crs: str, group: CrsGroup) -> BaseGeometry | None:
        """The box in the group's CRS; None where it is nowhere near any image."""
        import shapely

        boxes: list[Bounds] = [bbox]
        if is_geographic(crs):
            west, south, east, north = bbox
            east += 360.0 if east < west else 0.0
            boxes = [(west + turn, south, east + turn, north) for turn in (-360.0, 0.0, 360.0)]
            if same_crs(crs, group.crs):
                boxes = [box for box in boxes if _common(box, group.bounds) is not None]
            else:  # cut to where images are: far from them the group's CRS may not be defined
                boxes = [cut for box in boxes if (cut := _common(box, self._index.lonlat_bounds)) is not None]
        parts = []
        for box in boxes:
            x, y = transform(crs, group.crs, *_edges(box))
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                raise QueryError(
                    f"the box {list(bbox)} reaches beyond where {group.crs[:60]}, the CRS of images there, is defined: "
                    "ask for a smaller box"
                )
            parts.append(shapely.make_valid(shapely.Polygon(np.stack([x, y], axis=1))))
        return shapely.union_all(parts) if parts else None

    def _mask(self, base: int, images: Sequence[int], bbox: Bounds, crs: str, most: int) -> Mask:
        import shapely

        grid, group = self._index.grid(base), self._groups[base]
        region = self._region(bbox, crs, group)
        assert region is not None
        areas = {image: region.intersection(self._outline(image, group)) for image in images}
        windows = {image: _window(area, grid) for image, area in areas.items()}
        window = _hull(list(windows.values()))
        if window.area > most:
            raise QueryError(
                f"the mask of {list(bbox)} has {window.height} x {window.width} px, more than {self._most} in all: "
                "ask for a smaller box, or export the image"
            )
        times = self._index.times[list(images)].tolist()
        layers = [
            _Layer(image, windows[image], self._offset(image, grid), times.count(time) > 1)
            for image, time in zip(images, times, strict=True)
        ]
        out = np.full(window.shape, CLASS_NODATA)
        for strip in strips(window):
            out[strip.slices(window)] = self._strip(strip, grid, layers)
        held = shapely.union_all(list(areas.values())).area >= region.area * (1 - 1e-9)
        known = out != CLASS_NODATA
        placed = grid.window_transform(window)
        assert placed is not None
        product = self._index.product
        return Mask(
            array=out,
            transform=placed,
            crs=group.crs,
            coverage="full" if held and known.all() else "partial" if known.any() else "none",
            images=tuple(self._index.ids[image] for image in images),
            classes=dict(product.classes),
            product=product.id,
            model=product.model,
        )

    def _outline(self, image: int, group: CrsGroup) -> Polygon:
        """The image's outline in the CRS of another group, its edges followed."""
        import shapely

        grid = self._index.grid(image)
        assert grid.crs is not None
        if same_crs(grid.crs, group.crs):
            return _polygon(grid)
        col, row = _edges((0.0, 0.0, float(grid.width), float(grid.height)))
        x, y = transform(grid.crs, group.crs, *grid_xy(grid, row, col))
        return shapely.make_valid(shapely.Polygon(np.stack([x, y], axis=1)))

    def _offset(self, image: int, grid: Grid) -> tuple[int, int] | None:
        """Where the image's first pixel lies on `grid`, if their pixels coincide."""
        own = self._index.grid(image)
        assert own.transform is not None
        assert grid.transform is not None
        same = own.transform[:2] == grid.transform[:2] and own.transform[3:5] == grid.transform[3:5]
        if own.crs is None or grid.crs is None or not same or not same_crs(own.crs, grid.crs):
            return None
        row, col = grid.rowcol(own.transform[2], own.transform[5])
        if max(abs(row - round(row)), abs(col - round(col))) > SLACK:
            return None
        return round(row), round(col)

    def _strip(self, strip: Window, grid: Grid, layers: Sequence[_Layer]) -> NDArray[np.uint8]:
        """Classes of a few rows: the newest image that has one, among equally new ones the most confident."""
        out = np.full(strip.shape, CLASS_NODATA)
        confidence = np.full(strip.shape, -1, np.int16)
        source = np.full(strip.shape, -1, np.int32)
        for layer in layers:
            part = strip.intersection(layer.window)
            if not part:
                continue
            place = part.slices(strip)
            classes = self._sample(layer, "mask", part, grid)
            take = (classes != CLASS_NODATA) & (out[place] == CLASS_NODATA)
            if layer.tied:
                trust = self._sample(layer, "confidence", part, grid).astype(np.int16)
                rivals = self._rivals(layer, layers)
                take |= (classes != CLASS_NODATA) & np.isin(source[place], rivals) & (trust > confidence[place])
                confidence[place] = np.where(take, trust, confidence[place])
            out[place] = np.where(take, classes, out[place])
            source[place] = np.where(take, layer.image, source[place])
        return out

    def _rivals(self, layer: _Layer, layers: Sequence[_Layer]) -> list[int]:
        """Other images of the same time."""
        times = self._index.times
        return [other.image for other in layers if other is not layer and times[other.image] == times[layer.image]]

    def _sample(self, layer: _Layer, kind: str, part: Window, grid: Grid) -> NDArray[Any]:
        """Stored values of the image at the pixels of `part`; the kind's nodata where it has none."""
        if layer.offset is None:
            return self._nearest(layer.image, kind, part, grid)
        row, col = layer.offset
        own = Window(part.row - row, part.col - col, part.height, part.width)
        return stored_window(self._index, self._tiles, kind, layer.image, own)

    def _nearest(self, image: int, kind: str, part: Window, grid: Grid) -> NDArray[Any]:
        """Pixels of the image that hold the centres of `part`'s pixels on `grid`."""
        own, index = self._index.grid(image), self._index
        assert own.crs is not None
        assert grid.crs is not None
        rows, cols = np.mgrid[part.row : part.row1, part.col : part.col1].reshape(2, -1) + 0.5
        x, y = transform(grid.crs, own.crs, *grid_xy(grid, rows, cols))
        row, col = (np.floor(values) for values in grid_rowcol(own, x, y))
        inside = np.flatnonzero((row >= 0) & (row < own.height) & (col >= 0) & (col < own.width))
        row, col = row[inside].astype(np.int64), col[inside].astype(np.int64)
        located = Located.find(index, Candidates(inside, np.full(len(inside), image), row, col))
        out = np.full(part.area, EMPTY[kind])
        out[inside] = stored_values(index, self._tiles, kind, located)
        return out.reshape(part.shape)


def _polygon(grid: Grid) -> Polygon:
    import shapely

    height, width = grid.shape
    return shapely.Polygon([grid.xy(*corner) for corner in ((0, 0), (0, width), (height, width), (height, 0))])


def _edges(box: Bounds) -> tuple[Floats, Floats]:
    """Points along the sides of a box, once round."""
    west, south, east, north = box
    there = np.linspace(0.0, 1.0, STEPS, endpoint=False)
    x = np.concatenate([west + (east - west) * there, np.full(STEPS, east), east + (west - east) * there,
                        np.full(STEPS, west)])  # fmt: skip
    y = np.concatenate([np.full(STEPS, south), south + (north - south) * there, np.full(STEPS, north),
                        north + (south - north) * there])  # fmt: skip
    return x, y


def _common(box: Bounds, other: Bounds) -> Bounds | None:
    west, south = max(box[0], other[0]), max(box[1], other[1])
    east, north = min(box[2], other[2]), min(box[3], other[3])
    return (west, south, east, north) if west < east and south < north else None


def _window(area: BaseGeometry, grid: Grid) -> Window:
    """The least window of `grid` that holds the area."""
    import shapely

    if area.is_empty:
        return Window(0, 0, 0, 0)
    x, y = shapely.get_coordinates(area).T
    rows, cols = grid_rowcol(grid, x, y)
    row, col = math.floor(np.min(rows) + SLACK), math.floor(np.min(cols) + SLACK)
    return Window(row, col, math.ceil(np.max(rows) - SLACK) - row, math.ceil(np.max(cols) - SLACK) - col)


def _hull(windows: Sequence[Window]) -> Window:
    """The least window that holds all of them."""
    held = [window for window in windows if window]
    row, col = min(w.row for w in held), min(w.col for w in held)
    return Window(row, col, max(w.row1 for w in held) - row, max(w.col1 for w in held) - col)
