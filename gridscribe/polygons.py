"""Areas of classes as polygons: connected pixels of one class, edges along pixel edges."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from gridscribe.client.places import LONLAT, grid_xy, parse_crs, transform
from gridscribe.regions import ROW_GROUP
from gridscribe.values import Grid, Window

LAYER = "classes"
CUT = 8192
"""Areas are cut at multiples of so many pixels, and polygons of one such square are a batch."""
NODATA = 255

SEMI_MAJOR, FLATTENING = 6_378_137.0, 1 / 298.257223563  # WGS 84

SCHEMA = pa.schema(
    [
        pa.field("class_id", pa.uint8(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("area_px", pa.int64(), nullable=False),
        pa.field("area_m2", pa.float64()),
        pa.field("geometry", pa.binary(), nullable=False),
    ]
)
REGION_SCHEMA = pa.schema(
    [
        pa.field("region_id", pa.string(), nullable=False),
        *(SCHEMA.field(name) for name in ("class_id", "class_name")),
        pa.field("confidence", pa.float32()),
        *(SCHEMA.field(name) for name in ("area_px", "area_m2")),
        pa.field("height_mean", pa.float32()),
        pa.field("height_p95", pa.float32()),
        SCHEMA.field("geometry"),
    ]
)


def geo_schema(schema: pa.Schema, crs: str | None) -> pa.Schema:
    """`schema` with GeoParquet 1.1 metadata; `crs` null for pixels."""
    system = None if crs is None else json.loads(parse_crs(crs).to_json())
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": system, "orientation": "counterclockwise"}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return schema.with_metadata({"geo": json.dumps(geo, sort_keys=True)})


def polygon_batches(
    grid: Grid, read: Callable[[Window], NDArray[np.uint8]], classes: dict[int, str]
) -> Iterator[pa.RecordBatch]:
    """The areas of the image on `grid` whose classes `read` gives, a batch of `SCHEMA` for each square of 8192 px.

    Pixels that touch at a corner only are not connected; 255 is no class. Rings run counter-clockwise outside.
    """
    for window in grid.window.split(CUT):
        values, shapes = _areas(read(window))
        if not len(shapes):
            continue
        areas = np.rint(shapely.area(shapes)).astype(np.int64)
        shapes = shapely.transform(shapes, lambda xy: np.add(xy, (window.col, window.row)))  # noqa: B023 - used at once
        bounds = shapely.bounds(shapes)
        middle = (bounds[:, 1] + bounds[:, 3]) / 2, (bounds[:, 0] + bounds[:, 2]) / 2
        ground = areas * pixel_ground_area(grid, *middle) if grid.georeferenced else np.full(len(areas), np.nan)
        if grid.transform is not None:
            shapes = shapely.transform(shapes, lambda xy: np.stack(grid_xy(grid, xy[:, 1], xy[:, 0]), axis=1))
        shapes = shapely.orient_polygons(shapes)
        names = [classes[value] for value in values.tolist()]
        columns = [values, names, areas, pa.array(ground, mask=np.isnan(ground)), shapely.to_wkb(shapes, byte_order=1)]
        yield pa.record_batch(columns, schema=SCHEMA)


def region_batches(grid: Grid, tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    """Rows of regions tables of the image on `grid` as batches of `REGION_SCHEMA`: outlines from pixels into the image's CRS."""
    for table in tables:
        for rows in table.to_batches(max_chunksize=ROW_GROUP):
            shapes = shapely.from_wkb(rows.column("geometry_px").to_numpy(zero_copy_only=False))
            if grid.transform is not None:
                shapes = shapely.transform(shapes, lambda xy: np.stack(grid_xy(grid, xy[:, 1], xy[:, 0]), axis=1))
            outlines = pa.array(shapely.to_wkb(shapely.orient_polygons(shapes), byte_order=1), pa.binary())
            columns = [rows.column(name) for name in REGION_SCHEMA.names[:-1]]
            yield pa.record_batch([*columns, outlines], schema=REGION_SCHEMA)


def pixel_ground_area(grid: Grid, row: NDArray[np.float64], col: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square metres on the WGS 84 ellipsoid of a pixel around each position; right in any CRS, Mercator included.

    The Jacobian of (longitude, latitude) over (row, col), times the meridian's and the parallel's radius of curvature.
    """
    assert grid.crs is not None
    steps = [(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)]
    down, up, right, left = (np.stack(transform(grid.crs, LONLAT, *grid_xy(grid, row + r, col + c))) for r, c in steps)
    by_row, by_col = np.radians(down - up), np.radians(right - left)
    by_row[0], by_col[0] = ((turn + np.pi) % (2 * np.pi) - np.pi for turn in (by_row[0], by_col[0]))
    latitude = np.radians((down[1] + up[1]) / 2)
    eccentricity = FLATTENING * (2 - FLATTENING)
    curve = 1 - eccentricity * np.sin(latitude) ** 2
    meridian, parallel = SEMI_MAJOR * (1 - eccentricity) / curve**1.5, SEMI_MAJOR * np.cos(latitude) / np.sqrt(curve)
    area: NDArray[np.float64] = np.abs(by_row[0] * by_col[1] - by_row[1] * by_col[0]) * meridian * parallel
    return area


def _areas(classes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Any]:
    """(class, polygon in pixels) of each connected area, x = column."""
    from rasterio.features import shapes

    found = list(shapes(classes, mask=classes != NODATA, connectivity=4))
    values = np.array([value for _, value in found], np.uint8)
    polygons = [shapely.Polygon(g["coordinates"][0], g["coordinates"][1:]) for g, _ in found]
    return values, np.array(polygons, dtype=object)
