"""The images of one CRS: which of them hold a place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.boxes import Ints
from gridscribe.client.cells import Cells
from gridscribe.client.places import Floats, is_geographic

POLAR = 89.0
"""Degrees of latitude beyond which longitudes tell images no longer apart."""

Bools = NDArray[np.bool_]
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of a point and an image that holds it: index of the point, of the image, and the pixel (row, col) there."""

    point: Ints
    image: Ints
    row: Ints
    col: Ints


class CrsGroup:
    """Images in one CRS."""

    def __init__(self, crs: str, images: Ints, transforms: Floats, shapes: Ints, bounds: Floats | None) -> None:
        self.crs, self.images = crs, images
        self._transforms, self._shapes = transforms, shapes
        self.lonlat_bounds = None if bounds is None else _widened(bounds)
        """Longitudes and latitudes that hold all of them with some room around; None where that is not known."""

    @property
    def bounds(self) -> Bounds:
        """What holds all of them, in the CRS."""
        (west, south), (east, north) = self.extents[:, :2].min(axis=0), self.extents[:, 2:].max(axis=0)
        return float(west), float(south), float(east), float(north)

    @cached_property
    def extents(self) -> Floats:
        """Bounds of each image in the CRS, [n, 4], a trifle too large so that rounding loses no pixel."""
        a, b, c, d, e, f = self._transforms.T
        height, width = self._shapes.T
        x = np.stack([c, c + a * width, c + b * height, c + a * width + b * height])
        y = np.stack([f, f + d * width, f + e * height, f + d * width + e * height])
        trifle = 1e-3 * np.abs(self._transforms[:, [0, 1, 3, 4]]).max(axis=1)
        return np.stack([x.min(0) - trifle, y.min(0) - trifle, x.max(0) + trifle, y.max(0) + trifle], axis=1)

    @cached_property
    def _cells(self) -> Cells:
        return Cells(self.extents)

    def meeting(self, bounds: Bounds) -> list[int]:
        """Images whose extents meet a box in the CRS."""
        west, south, east, north = self.extents.T
        meets = (west < bounds[2]) & (east > bounds[0]) & (south < bounds[3]) & (north > bounds[1])
        found: list[int] = self.images[meets].tolist()
        return found

    @cached_property
    def turns(self) -> tuple[float, ...]:
        """What to add to longitudes so that they meet images in 0..360 or across the antimeridian; (0,) elsewhere."""
        if not is_geographic(self.crs):
            return (0.0,)
        west, _, east, _ = self.bounds
        return (0.0, *((360.0,) if east > 180.0 else ()), *((-360.0,) if west < -180.0 else ()))

    def near(self, lon: Floats, lat: Floats) -> Bools:
        """Whether a point may be in any of the images: far from them, a projection can turn a place into another's."""
        if self.lonlat_bounds is None:
            return np.ones(len(lon), np.bool_)
        west, south, east, north = self.lonlat_bounds
        wrapped = np.where(np.isfinite(lon), lon + 180.0, 0.0) % 360.0 - 180.0
        in_lon = (wrapped >= west) & (wrapped <= east) | (np.abs(wrapped) > 179.9)
        return (lat >= south) & (lat <= north) & (in_lon | (np.abs(lat) > POLAR))

    def candidates(self, x: Floats, y: Floats) -> Candidates:
        """All images that hold each point, given in the group's CRS."""
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        parts = []
        for turn in self.turns:
            px, py = x[finite] + turn, y[finite]
            point, member = self._cells.near(px, py)
            row, col = self.pixel(member, px[point], py[point])
            height, width = self._shapes[member].T
            inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
            point, member = finite[point[inside]], member[inside]
            parts.append((point, self.images[member], row[inside].astype(np.int64), col[inside].astype(np.int64)))
        return Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def pixel(self, member: Ints, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Row and column of the pixel of each member at each point: `floor` of `Grid.rowcol`, in the same arithmetic."""
        a, b, c, d, e, f = self._transforms[member].T
        det = a * e - b * d
        dx, dy = x - c, y - f
        return np.floor((a * dy - d * dx) / det), np.floor((e * dx - b * dy) / det)


def _widened(bounds: Floats) -> Bounds:
    """The common bounds, each image's widened by half its size: footprints follow curved edges to a quarter of a pixel."""
    west, south, east, north = bounds.T
    wide, tall = (east - west) / 2 + 1e-4, (north - south) / 2 + 1e-4
    return (west - wide).min(), (south - tall).min(), (east + wide).max(), (north + tall).max()
