"""Where an image lies on Earth, as a polygon of longitudes and latitudes (OGC:CRS84).

Edges are followed closely enough that the polygon is off by at most a quarter of a pixel; across the antimeridian the
outline is cut (RFC 7946, section 3.1.9), and an outline around a pole is closed along it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from gridscribe.errors import RefusedError
from gridscribe.values import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyproj import Transformer
    from shapely import MultiPolygon, Polygon

PIECES = 16
"""Each edge is first sampled at this many equal steps, then wherever it bends more finely."""
LARGEST_STEP = 30.0
"""Degrees of longitude between neighbouring samples; more would leave open which way round the Earth the edge goes."""
DEEPEST = 14
"""How often a piece of an edge is halved at most: an edge that runs through a pole never gets smooth."""
DECIMALS = 9
"""Coordinates are rounded to 1e-9 degrees (0.1 mm), so that releases of PROJ agree on them."""


def footprint(grid: Grid) -> Polygon | MultiPolygon | None:
    """The outline of the image in longitude and latitude; None where it is not georeferenced.

    Longitudes are in [-180, 180]; an image across the antimeridian is a MultiPolygon with a part on each side. Outer
    rings run counter-clockwise. Raises `RefusedError` where the CRS is unknown or the outline has no place in it.
    """
    if not grid.georeferenced:
        return None
    ring, step = _ring(grid)
    return ring_on_earth(ring, grid, step / 8)


def ring_on_earth(ring: NDArray[np.float64], grid: Grid, tolerance: float = 0.0) -> Polygon | MultiPolygon:
    """What a closed ring float64 [n, 2] of longitudes and latitudes in the image encloses, split and closed as a footprint is.

    Neighbouring points must be less than 180 degrees of longitude apart, the shorter way. `tolerance` (degrees) is that of the
    simplification. Raises `RefusedError` where it encloses no area.
    """
    unwrapped, turns = _unwrap(ring)
    if turns:
        unwrapped = _close_over_pole(unwrapped, grid)
    return _cut(unwrapped, tolerance, grid)


def footprint_wkb(grid: Grid) -> bytes | None:
    """`footprint` as little-endian WKB."""
    import shapely

    geometry = footprint(grid)
    return None if geometry is None else shapely.to_wkb(geometry, byte_order=1)


def lonlat_bbox(geometry: Polygon | MultiPolygon) -> tuple[float, float, float, float]:
    """(west, south, east, north); west > east where the geometry crosses the antimeridian (RFC 7946, section 5.2)."""
    import shapely

    west, south, east, north = geometry.bounds
    parts = shapely.get_parts(geometry)
    if west > -180.0 or east < 180.0 or len(parts) == 1:
        return west, south, east, north
    bounds = shapely.bounds(parts)
    wests = bounds[:, 0] + np.where(bounds[:, 0] == -180.0, 360.0, 0.0)
    easts = bounds[:, 2] + np.where(bounds[:, 0] == -180.0, 360.0, 0.0)
    if easts.max() - wests.min() >= 360.0:
        return west, south, east, north
    return float(wests.min()), south, float(easts.max() - 360.0), north


@lru_cache(maxsize=64)
def to_lonlat(crs: str) -> Transformer:
    """The transformer from `crs` ("EPSG:n" or WKT) to longitude and latitude; `RefusedError` for an unknown CRS."""
    from pyproj import CRS, Transformer
    from pyproj.exceptions import ProjError

    try:
        return Transformer.from_crs(CRS.from_user_input(crs), "OGC:CRS84", always_xy=True)
    except ProjError as error:
        raise RefusedError(f"CRS {crs[:120]!r} is not known to PROJ: {error}; give the image a valid CRS") from error


def _ring(grid: Grid) -> tuple[NDArray[np.float64], float]:
    """Closed outline float64 [n, 2] of lon, lat (longitudes as PROJ gives them); the least pixel side in degrees."""
    height, width = float(grid.height), float(grid.width)
    corners = [(0.0, 0.0), (height, 0.0), (height, width), (0.0, width), (0.0, 0.0)]
    edges = [_Edge(grid, start, end) for start, end in pairwise(corners)]
    sides = [edge.length() / pixels for edge, pixels in zip(edges, (height, width, height, width), strict=True)]
    step = min((side for side in sides if side > 0), default=0.0)
    points = [edge.refined(step / 8)[:-1] for edge in edges]
    return np.concatenate([*points, points[0][:1]]), step


class _Edge:
    """One straight edge of an image, as longitudes and latitudes."""

    def __init__(self, grid: Grid, start: tuple[float, float], end: tuple[float, float]) -> None:
        """From `start` to `end`, both (row, col)."""
        self._grid, self._start, self._end = grid, start, end
        self._positions = np.linspace(0.0, 1.0, PIECES + 1)
        self._places = self._project(self._positions)

    def length(self) -> float:
        """Degrees of a great circle, about."""
        return float(np.hypot(*_moves(self._places[:-1], self._places[1:]).T).sum())

    def refined(self, tolerance: float) -> NDArray[np.float64]:
        """Samples [n, 2] so close that a straight line between two of them is off by at most `tolerance` degrees."""
        positions, places = self._positions, self._places
        begun = np.arange(PIECES)  # pieces that may still bend, by the index of their first sample
        for _ in range(DEEPEST):
            middle = (positions[begun] + positions[begun + 1]) / 2
            seen = self._project(middle)
            before, after = places[begun], places[begun + 1]
            bend = _moves(before, seen) - _moves(before, after) / 2
            turn = np.abs(_wrapped(after[:, 0] - before[:, 0]))
            halve = (np.hypot(*bend.T) > tolerance) | (turn > LARGEST_STEP)
            if not halve.any():
                break
            begun, middle, seen = begun[halve], middle[halve], seen[halve]
            positions = np.insert(positions, begun + 1, middle)
            places = np.insert(places, begun + 1, seen, axis=0)
            firsts = begun + np.arange(len(begun))
            begun = np.stack([firsts, firsts + 1], axis=1).ravel()
        return places

    def _project(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Longitudes and latitudes at `positions` of the edge, 0 its start and 1 its end."""
        grid = self._grid
        assert grid.transform is not None
        assert grid.crs is not None
        a, b, c, d, e, f = grid.transform
        row = self._start[0] + (self._end[0] - self._start[0]) * positions
        col = self._start[1] + (self._end[1] - self._start[1]) * positions
        x, y = a * col + b * row + c, d * col + e * row + f
        places = np.stack(to_lonlat(grid.crs).transform(x, y), axis=1)
        good = np.isfinite(places).all(axis=1) & (np.abs(places[:, 1]) <= 90.0 + 1e-9)
        if not good.all():
            bad = int(np.argmin(good))
            raise RefusedError(
                f"the image's edge at x={x[bad]:.6g}, y={y[bad]:.6g} has no place on Earth in {grid.crs[:60]!r}: "
                "its transform or its CRS is wrong"
            )
        return places


def _wrapped(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angles in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


def _moves(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees east and north from each place to another, east by the shorter way and as long as it is on the ground."""
    east = _wrapped(after[:, 0] - before[:, 0]) * np.cos(np.radians((before[:, 1] + after[:, 1]) / 2))
    return np.stack([east, after[:, 1] - before[:, 1]], axis=1)


def _unwrap(ring: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The ring with continuous longitudes, and how often it goes round the Earth eastward (-1, 0 or 1)."""
    change = _wrapped(np.diff(ring[:, 0]))
    lon = ring[0, 0] + np.concatenate([[0.0], np.cumsum(change)])
    turns = round((lon[-1] - lon[0]) / 360.0)
    return np.stack([lon, np.clip(ring[:, 1], -90.0, 90.0)], axis=1), turns


def _close_over_pole(ring: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """An outline that goes round the Earth holds a pole: close it along that pole's line."""
    assert grid.crs is not None
    pole = 0.0
    for latitude in (90.0, -90.0):
        x, y = to_lonlat(grid.crs).transform(0.0, latitude, direction="INVERSE")
        if math.isfinite(x) and math.isfinite(y):
            row, col = grid.rowcol(x, y)
            if 0 <= row <= grid.height and 0 <= col <= grid.width:
                pole = latitude
    if pole == 0.0:
        pole = math.copysign(90.0, float(ring[:, 1].mean()))
    ends = np.array([[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]])
    return np.concatenate([ring, ends])


def _cut(ring: NDArray[np.float64], tolerance: float, grid: Grid) -> Polygon | MultiPolygon:
    """The polygon of an unwrapped ring, brought into [-180, 180] and simplified."""
    import shapely
    from shapely import MultiPolygon, Polygon
    from shapely.geometry.polygon import orient

    whole = shapely.simplify(Polygon(ring), tolerance)
    if not whole.is_valid:
        whole = shapely.make_valid(whole)
    west, _, east, _ = whole.bounds
    turns = range(math.floor((west + 180.0) / 360.0), math.floor((east + 180.0) / 360.0) + 1)
    sides = []
    for turn in turns:
        strip = shapely.box(-180.0 + 360.0 * turn, -90.0, 180.0 + 360.0 * turn, 90.0)
        side = whole if len(turns) == 1 else shapely.intersection(whole, strip)
        moved = shapely.get_coordinates(side) - [360.0 * turn, 0.0]
        sides.append(shapely.set_coordinates(side, np.round(moved, DECIMALS)))
    united = (
        sides[0] if len(sides) == 1 else shapely.union_all(sides)
    )  # right round the Earth, it meets itself at the cut
    parts = [orient(part) for part in shapely.get_parts(united) if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        raise RefusedError(
            f"the image of {grid.height} x {grid.width} pixels covers no area on Earth (transform {grid.transform}): "
            "its transform is degenerate"
        )
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)
