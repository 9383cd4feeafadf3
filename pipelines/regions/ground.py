"""Polygons in pixels of an image as places on Earth."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gridscribe.client.places import LONLAT, grid_xy, is_geographic, transform
from gridscribe.errors import RefusedError
from gridscribe.footprint import DECIMALS, ring_on_earth
from gridscribe.values import Grid

STRAIGHT = 256
"""Pixels of the longest edge that is followed by its ends alone. A straight line of a projection bends on Earth by about its
length squared / (8 Earth radii): for this many pixels of 50 m, by a fifteenth of a pixel."""


def on_earth(polygons: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """The polygons (x = column, y = row) in OGC:CRS84, in [-180, 180]: shapely geometries [n], None where not georeferenced.

    Those across the antimeridian are split and those around a pole closed along it, as footprints are. Raises `RefusedError`
    where a pixel has no place on Earth.
    """
    if not grid.georeferenced:
        return np.full(len(polygons), None, object)
    assert grid.crs is not None
    if not is_geographic(grid.crs):
        polygons = _bendable(polygons)
    rings, owner = shapely.get_rings(polygons, return_index=True)
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    places = np.stack(transform(grid.crs, LONLAT, *grid_xy(grid, corners[:, 1], corners[:, 0])), axis=1)
    good = np.isfinite(places).all(axis=1) & (np.abs(places[:, 1]) <= 90.0 + 1e-9)
    if not good.all():
        col, row = corners[np.argmin(good)]
        raise RefusedError(
            f"pixel row {row:g}, col {col:g} has no place on Earth in {grid.crs[:60]!r}: the image's transform or CRS is wrong"
        )
    placed = shapely.set_coordinates(polygons.copy(), np.round(places, DECIMALS))
    jumps = (np.abs(np.diff(places[:, 0])) > 180.0) & (ring[1:] == ring[:-1])
    odd = np.unique(owner[np.concatenate([ring[1:][jumps], ring[np.abs(places[:, 0]) > 180.0]])])
    for one in odd.tolist():
        outer, *holes = (ring_on_earth(places[ring == k], grid) for k in np.flatnonzero(owner == one).tolist())
        placed[one] = shapely.difference(outer, shapely.union_all(holes)) if holes else outer
    straight = np.ones(len(placed), np.bool_)
    straight[odd] = False
    placed[straight] = shapely.orient_polygons(placed[straight])
    return placed


def _bendable(polygons: NDArray[Any]) -> NDArray[Any]:
    """The polygons with corners added along edges longer than `STRAIGHT`; few have any."""
    corners, owner = shapely.get_coordinates(polygons, return_index=True)
    far = (np.abs(np.diff(corners, axis=0)) > STRAIGHT).any(axis=1) & (owner[1:] == owner[:-1])
    long = np.unique(owner[1:][far])
    out = polygons.copy()
    out[long] = shapely.segmentize(polygons[long], STRAIGHT)
    return out
