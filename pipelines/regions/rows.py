"""Regions as rows of their table: statistics of their pixels, outlines, areas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from gridscribe.pipelines.cog import CONFIDENCE, HEIGHT
from gridscribe.pipelines.regions.ground import on_earth
from gridscribe.pipelines.regions.outlines import outlines
from gridscribe.polygons import pixel_ground_area
from gridscribe.regions import region_id, regions_schema
from gridscribe.values import Grid, Window

EMBEDDED = ("labels", "embedding", "scale")
"""Columns that an alignment model fills."""
PERCENTILE = 0.95
CENTIMETRES = 100
PIXELS_AT_ONCE = 1 << 20
"""Pixels whose statistics are worked out together: several int64 for each, where a window may have 16 million."""


@dataclass(frozen=True, slots=True)
class Group:
    """Some regions of an image, and the pixels around all of them."""

    regions: NDArray[Any]
    """`REGION`, [n]."""
    window: Window
    """In pixels of the image."""
    labels: NDArray[np.int32]
    """Over the window: 1..n in the order of `regions`, 0 elsewhere."""
    confidence: NDArray[np.uint8]
    height: NDArray[np.int16]

    def box(self, number: int) -> Window:
        """The box of region `number` (0 is the first), in pixels of the image."""
        region = self.regions[number]
        top, left = int(region["top"]), int(region["left"])
        return Window(top, left, int(region["bottom"]) - top, int(region["right"]) - left)

    def pixels(self, number: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the image at which region `number` has pixels, row-major."""
        box = self.box(number)
        rows, cols = np.nonzero(self.labels[box.slices(self.window)] == number + 1)
        return rows + box.row, cols + box.col


def region_rows(
    image: str, grid: Grid, classes: Mapping[int, str], group: Group, embedded: Mapping[str, pa.Array]
) -> pa.Table:
    """The rows of the group's regions, in their order; `embedded` has those of `EMBEDDED` that are known."""
    regions, labels, window = group.regions, group.labels, group.window
    count = len(regions)
    polygons = outlines(labels, count)
    polygons = shapely.transform(polygons, lambda xy: np.add(xy, (window.col, window.row)))
    geometry = on_earth(polygons, grid)
    confidence = confidence_mean(labels, group.confidence, count)
    mean, high = height_statistics(labels, group.height, count)
    values = regions["value"].tolist()
    columns = {
        "region_id": [region_id(image, value) for value in values],
        "image": [image] * count,
        "value": values,
        "class_id": regions["class_id"],
        "class_name": [classes[value] for value in regions["class_id"].tolist()],
        "confidence": _known(confidence, pa.float32()),
        "area_px": regions["area"],
        "area_m2": _known(_ground_areas(regions, grid), pa.float64()),
        "height_mean": _known(mean, pa.float32()),
        "height_p95": _known(high, pa.float32()),
        "geometry": shapely.to_wkb(geometry, byte_order=1),
        "geometry_px": shapely.to_wkb(polygons, byte_order=1),
        "bbox": _boxes(geometry),
    }
    blank = {name: pa.nulls(count, regions_schema().field(name).type) for name in EMBEDDED}
    return pa.table({**columns, **blank, **embedded}, schema=regions_schema())


def confidence_mean(labels: NDArray[np.int32], confidence: NDArray[np.uint8], count: int) -> NDArray[np.float64]:
    """The mean confidence, 0..1, of each label 1..count; NaN where no pixel has one. Sums are of whole numbers: exact."""
    total, numbers = _sums(labels, confidence, CONFIDENCE.nodata, count)
    return _ratio(total, numbers * 254)


def height_statistics(
    labels: NDArray[np.int32], height: NDArray[np.int16], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean, 95th percentile) in metres of the heights (centimetres) of each label 1..count; NaN where there is none."""
    total, numbers = _sums(labels, height, HEIGHT.nodata, count)
    high = np.full(count, np.nan)
    for first, last in _portions(numbers):
        high[first:last] = _percentiles(labels, height, first, numbers[first:last])
    return _ratio(total, numbers * CENTIMETRES), high / CENTIMETRES


def _sums(
    labels: NDArray[np.int32], values: NDArray[Any], nodata: float, count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(sum, number) of the values that are not `nodata`, by label 1..count; some rows at a time, for numpy counts in int64."""
    total, numbers = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    step = max(1, PIXELS_AT_ONCE // max(1, labels.shape[1]))
    for row in range(0, len(labels), step):
        label, value = labels[row : row + step], values[row : row + step]
        known = (value != nodata) & (label > 0)
        which = label[known]
        total += np.bincount(which, value[known], count + 1)
        numbers += np.bincount(which, minlength=count + 1)
    return total[1:], numbers[1:]


def _portions(numbers: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of labels with at most `PIXELS_AT_ONCE` pixels together, or one label."""
    first, held = 0, 0
    for label, number in enumerate(numbers.tolist()):
        if held and held + number > PIXELS_AT_ONCE:
            yield first, label
            first, held = label, 0
        held += number
    yield first, len(numbers)


def _percentiles(
    labels: NDArray[np.int32], height: NDArray[np.int16], first: int, numbers: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The 95th percentile, in centimetres, of the labels after `first`, of which there are `numbers`; NaN of none."""
    known = (labels > first) & (labels <= first + len(numbers)) & (height != HEIGHT.nodata)
    if len(numbers) == 1 and numbers[0] > PIXELS_AT_ONCE:
        return np.array([_percentile_of_many(height[known])])
    ordered = labels[known].astype(np.int64)
    ordered <<= 16
    ordered += height[known].astype(np.int32) - np.iinfo(np.int16).min
    ordered.sort()
    have = np.flatnonzero(numbers)
    starts = (np.cumsum(numbers) - numbers)[have]
    place = (numbers[have] - 1) * PERCENTILE
    lower = place.astype(np.int64)
    low, up = (
        (ordered[starts + np.minimum(lower + step, numbers[have] - 1)] & 0xFFFF) + np.iinfo(np.int16).min
        for step in (0, 1)
    )
    high = np.full(len(numbers), np.nan)
    high[have] = low + (up - low) * (place - lower)
    return high


def _percentile_of_many(height: NDArray[np.int16]) -> float:
    """The 95th percentile, by counting: in the memory of the 65,536 values that there are, however many pixels have them."""
    least = np.iinfo(np.int16).min
    counts = np.zeros(1 << 16, np.int64)
    for first in range(0, len(height), PIXELS_AT_ONCE):
        counts += np.bincount(height[first : first + PIXELS_AT_ONCE].astype(np.int32) - least, minlength=1 << 16)
    place = (len(height) - 1) * PERCENTILE
    lower = int(place)
    low, up = np.searchsorted(np.cumsum(counts), [lower, min(lower + 1, len(height) - 1)], side="right") + least
    return float(low + (up - low) * (place - lower))


def _ratio(total: NDArray[Any], numbers: NDArray[Any]) -> NDArray[np.float64]:
    out = np.full(len(total), np.nan)
    np.divide(total, numbers, out=out, where=numbers > 0)
    return out


def _ground_areas(regions: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Square metres on the ellipsoid: the pixels of each region, of the size that they have in the middle of its box."""
    if not grid.georeferenced:
        return np.full(len(regions), np.nan)
    middle = (regions["top"] + regions["bottom"]) / 2, (regions["left"] + regions["right"]) / 2
    return np.asarray(regions["area"] * pixel_ground_area(grid, *middle))


def _known(values: NDArray[np.float64], kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind, mask=~np.isfinite(values))


def _boxes(geometry: NDArray[Any]) -> pa.Array:
    bounds = shapely.bounds(geometry).reshape(-1, 4)
    missing = np.isnan(bounds[:, 0])
    columns = [pa.array(np.where(missing, 0.0, bounds[:, k])) for k in range(4)]
    return pa.StructArray.from_arrays(columns, fields=list(regions_schema().field("bbox").type), mask=pa.array(missing))
