"""Answers for geopandas and xarray, where these are installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.found import Affine, Heatmap, TextMask
from gridscribe.client.optional import needed
from gridscribe.client.pixel import Mask
from gridscribe.client.places import parse_crs
from gridscribe.errors import QueryError

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa
    import xarray

LONLAT = "EPSG:4326"
"""How geopandas names longitudes and latitudes in degrees, x before y."""


def geodataframe(table: pa.Table) -> geopandas.GeoDataFrame:
    """A row per row of a table that the client answered with, in EPSG:4326: `geodataframe(client.regions(bbox))`.

    Of a regions table, or of matches, the geometry is the outlines; None where a region has no place on Earth, while
    `geometry_px`, a second column of geometries, has all of them in pixels (x the column, y the row) of their images. The
    column `bbox` is left out: `frame.bounds` gives it. Of `at_many`, asked for with the fields `lon` and `lat`, the geometry is
    the centres of pixels, None where there is no pixel. `QueryError` for another table, and without geopandas.
    """
    geopandas = needed("geopandas", "a GeoDataFrame")
    import shapely

    names = set(table.column_names)
    if "geometry" in names:
        geometry = shapely.from_wkb(_objects(table["geometry"].to_pylist()))
    elif {"lon", "lat"} <= names:
        lon, lat = (np.array(table[name].to_pylist(), np.float64) for name in ("lon", "lat"))
        known = np.isfinite(lon) & np.isfinite(lat)
        geometry = np.full(len(table), None, object)
        geometry[known] = shapely.points(lon[known], lat[known])
    else:
        raise QueryError(
            f"a table of columns {table.column_names} has no places: expected a column geometry, or lon and lat "
            '(`at_many(points, fields=("lon", "lat", "class_name"))`)'
        )
    rest = table.select([name for name in table.column_names if name not in ("geometry", "geometry_px", "bbox")])
    frame = geopandas.GeoDataFrame(rest.to_pandas(), geometry=geometry, crs=LONLAT)
    if "geometry_px" in names:
        frame["geometry_px"] = geopandas.GeoSeries(
            shapely.from_wkb(_objects(table["geometry_px"].to_pylist())), index=frame.index
        )
    return frame


def mask_array(mask: Mask) -> xarray.DataArray:
    """See `Mask.to_xarray`."""
    ids = sorted(mask.classes)
    attributes = {
        "long_name": "class",
        "_FillValue": np.uint8(255),
        "flag_values": np.array(ids, np.uint8),
        "flag_meanings": " ".join(mask.classes[one].replace(" ", "_") for one in ids),
        "classes": json.dumps({str(one): mask.classes[one] for one in ids}),
        "coverage": mask.coverage,
        "images": " ".join(mask.images),
        "product": mask.product,
        "model": mask.model,
    }
    return _laid(mask.array, mask.transform, mask.crs, "class", attributes)


def heat_array(heat: Heatmap) -> xarray.DataArray:
    """See `Heatmap.to_xarray`."""
    told = _told(heat) | {"long_name": "similarity", "units": "1", "bias": heat.bias, "coverage": heat.coverage}
    return _laid(heat.array, heat.transform or heat.pixel_transform, heat.crs, "similarity", told)


def text_array(found: TextMask) -> xarray.DataArray:
    """See `TextMask.to_xarray`."""
    told = _told(found) | {"long_name": "what the phrase means", "method": found.method}
    if found.threshold is not None:
        told["threshold"] = found.threshold
    return _laid(found.array, placed(found), found.crs, "found", told)


def placed(found: TextMask) -> Affine:
    """From corners of pixels to its `crs`; where the image is not georeferenced, to pixels of the image."""
    return found.transform or (1.0, 0.0, float(found.window.col), 0.0, 1.0, float(found.window.row))


def _told(answer: Heatmap | TextMask) -> dict[str, Any]:
    names = ("query", "image", "product", "alignment")
    return {name: getattr(answer, name) for name in names}


def _laid(
    array: NDArray[Any], transform: Affine, crs: str | None, name: str, attributes: dict[str, Any]
) -> xarray.DataArray:
    xarray = needed("xarray", "a DataArray")
    a, b, c, d, e, f = transform
    rows, cols = (np.arange(size) + 0.5 for size in array.shape)
    if b == 0 and d == 0:
        dims: tuple[str, str] = ("y", "x")
        coords: dict[str, Any] = {"y": ("y", e * rows + f), "x": ("x", a * cols + c)}
    else:  # turned: no row has one y
        dims = ("row", "col")
        x, y = (p * cols[None, :] + q * rows[:, None] + r for p, q, r in ((a, b, c), (d, e, f)))
        coords = {"y": (dims, y), "x": (dims, x)}
    told = _axes(crs)
    coords = {key: (*value, told[key]) for key, value in coords.items()}
    if crs is not None:
        place = {"GeoTransform": " ".join(repr(float(value)) for value in (c, a, b, f, d, e))}  # in GDAL's order
        coords["spatial_ref"] = ((), 0, parse_crs(crs).to_cf() | place)
        attributes = attributes | {"crs": crs, "transform": [float(value) for value in transform]}
    laid = xarray.DataArray(array, coords, dims, name=name, attrs=attributes)
    if crs is not None:
        laid.encoding["grid_mapping"] = "spatial_ref"
    return laid


def _axes(crs: str | None) -> dict[str, dict[str, str]]:
    """What CF says of x and y."""
    if crs is None:
        return {
            "x": {"long_name": "column of the image", "units": "pixel"},
            "y": {"long_name": "row of the image", "units": "pixel"},
        }
    told = {entry["axis"].lower(): entry for entry in parse_crs(crs).cs_to_cf() if "axis" in entry}
    return {name: told.get(name, {}) for name in ("x", "y")}


def _objects(values: list[Any]) -> NDArray[Any]:
    made = np.empty(len(values), object)
    made[:] = values
    return made
