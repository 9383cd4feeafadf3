"""Areas of interest: which pixels of an image a GeoJSON asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import shapely
from pyproj import CRS, Transformer
from shapely.geometry import box as shapely_box
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from gridscribe.errors import UsageError
from gridscribe.pipelines.config import ITEM_GRAIN
from gridscribe.values import Grid, Window

SEGMENT_DEGREES = 0.01  # edges are cut this short before they are projected, so that they bend with the projection


def read_aoi(path: Path) -> BaseGeometry:
    """The area of a GeoJSON file (a geometry, a Feature or a FeatureCollection; longitude, latitude), as one geometry.

    Raises `UsageError` where the file is not such a GeoJSON or holds no area.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"--aoi {path}: cannot be read as GeoJSON: {error}") from error
    try:
        area = shapely.union_all([shape(geometry) for geometry in _geometries(data)])
    except (KeyError, TypeError, AttributeError, shapely.errors.ShapelyError, ValueError) as error:
        raise UsageError(f"--aoi {path}: not a GeoJSON geometry, Feature or FeatureCollection: {error}") from error
    if area.area == 0:
        raise UsageError(f"--aoi {path}: holds no area (polygons are needed, in longitude, latitude)")
    west, south, east, north = area.bounds
    if west < -180 or east > 180 or south < -90 or north > 90:
        raise UsageError(f"--aoi {path}: bounds {area.bounds} are not longitudes and latitudes in degrees")
    return area


def _geometries(data: dict[str, Any]) -> list[dict[str, Any]]:
    if data["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in data["features"]]
    return [data["geometry"] if data["type"] == "Feature" else data]


def aoi_box(grid: Grid, area: BaseGeometry) -> Window | None:
    """The box of `grid` that holds `area`, edges on multiples of 512 or the image's own; None where they do not meet.

    `grid` must be georeferenced.
    """
    to_crs = Transformer.from_crs("OGC:CRS84", CRS.from_user_input(grid.crs), always_xy=True)
    fine = shapely.segmentize(area, SEGMENT_DEGREES)
    projected = shapely.transform(fine, lambda x, y: to_crs.transform(x, y), interleaved=False)

    def to_pixels(x: Any, y: Any) -> tuple[Any, Any]:
        row, col = grid.rowcol(x, y)
        return col, row

    pixels = shapely.transform(projected, to_pixels, interleaved=False)
    inside = shapely.make_valid(pixels).intersection(shapely_box(0, 0, grid.width, grid.height))
    if inside.is_empty or inside.area == 0:
        return None
    col, row, col1, row1 = inside.bounds
    grain = ITEM_GRAIN
    top, left = int(row) // grain * grain, int(col) // grain * grain
    bottom, right = -(-int(-(-row1 // 1)) // grain) * grain, -(-int(-(-col1 // 1)) // grain) * grain
    return Window(top, left, bottom - top, right - left).intersection(grid.window)
