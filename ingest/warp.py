"""Placing one raster on the pixels of another: exact where lattices agree, resampled on exactly the asked box where not.

Grids of one CRS that are not turned against each other are resampled here, axis by axis: the value of a pixel then depends on
that pixel alone, so windows agree to the last bit. The rest is warped by GDAL, whose result is a function of the box that it
is asked for; all that GDAL would derive from that box is therefore stated: the kernel's width, a transformer without
approximation, a source read with a fixed margin, and a window too large to warp at once is halved by its own geometry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import pyproj
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from gridscribe.errors import RefusedError, UnreadableError
from gridscribe.ingest.info import Affine6
from gridscribe.values import Grid, Window

TOLERANCE = 1e-9  # source pixels; GDAL's default of 0.125 makes neighbouring windows disagree
SAME_ORIGIN = 1e-6  # pixels
SAME_EXTENT = 1e-3  # pixels, at the far corners: resolutions written with few digits
MARGIN = 2  # source pixels on each side, beyond the kernel
EDGE_POINTS = 33  # along each edge of a window when its place in another CRS is sought
MAX_SOURCE = 4 << 20  # source pixels warped at a time
LEAST_WEIGHT = 1e-6  # of a pixel: less is a rounding

Read = Callable[[Window], np.ndarray]
"""Reads float32 `[n, h, w]` of a window inside the source, NaN in all bands where there is no value."""


def lattice_offset(source: Grid, target: Grid) -> tuple[int, int] | None:
    """(row, col) of the target's first pixel on the source's grid where both have one lattice, None where not.

    Grids of which one has no place on Earth agree where their sizes do, unless the target states another pixel (see `warp`).
    """
    if not (source.georeferenced and target.georeferenced):
        same = target.crs is not None or target.transform in (None, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        return (0, 0) if same and source.shape == target.shape else None
    if not same_crs(source.crs, target.crs):
        return None
    a, b, c, d, e, f = _pixel_affine(source, target)
    row, col = round(f), round(c)
    if abs(f - row) > SAME_ORIGIN or abs(c - col) > SAME_ORIGIN:
        return None
    for y, x in ((0, target.width), (target.height, 0), (target.height, target.width)):
        if abs(a * x + b * y + c - x - col) > SAME_EXTENT or abs(d * x + e * y + f - y - row) > SAME_EXTENT:
            return None
    return row, col


def read_shifted(read: Read, source: Grid, offset: tuple[int, int], window: Window, bands: int) -> np.ndarray:
    """float32 `[bands, h, w]` of `window` shifted by whole pixels; NaN outside the source."""
    shifted = Window(window.row + offset[0], window.col + offset[1], window.height, window.width)
    inside = shifted.intersection(source.window)
    if inside == shifted:
        return read(shifted)
    out = np.full((bands, *window.shape), np.nan, np.float32)
    if inside:
        out[(slice(None), *inside.slices(shifted))] = read(inside)
    return out


def warp(read: Read, source: Grid, target: Grid, window: Window, bands: int, *, average: bool) -> np.ndarray:
    """float32 `[bands, h, w]`: the source on the pixels of `window` of `target`, NaN where it has no value.

    `average`: where the target's pixels are larger than the source's, the mean of what each covers; bilinear else. Missing
    values take no part in a mean or an interpolation. Both grids are georeferenced, or neither is: then the target's
    transform, if it has one, leads to the source's pixels, and without one both span the same area.
    """
    scale = pixel_ratio(source, target)
    shrinking = max(scale) > 1 + 1e-6
    method = Resampling.average if average and shrinking else Resampling.bilinear
    return _warp(read, source, target, window, bands, method, scale)


def pixel_ratio(source: Grid, target: Grid) -> tuple[float, float]:
    """(rows, cols): source pixels to one target pixel, at the target's centre."""
    if not (source.georeferenced and target.georeferenced) or same_crs(source.crs, target.crs):
        a, b, _, d, e, _ = _pixel_affine(source, target)
        return math.hypot(b, e), math.hypot(a, d)
    row, col = target.height / 2, target.width / 2
    rows = np.array([row, row + 1, row, row - 1, row])
    cols = np.array([col, col, col + 1, col, col - 1])
    y, x = _to_source(source, target, rows, cols)
    down = math.hypot(y[1] - y[3], x[1] - x[3]) / 2
    right = math.hypot(y[2] - y[4], x[2] - x[4]) / 2
    if not (math.isfinite(down) and math.isfinite(right) and down > 0 and right > 0):
        return 1.0, 1.0
    return down, right


def source_window(source: Grid, target: Grid, window: Window, ratio: tuple[float, float]) -> Window:
    """The part of the source's plane that the pixels of `window` depend on, at most a kernel beyond the source; empty where
    they do not meet."""
    steps = np.linspace(0.0, 1.0, EDGE_POINTS)
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    rows = window.row + window.height * np.concatenate([zero, one, steps, steps])
    cols = window.col + window.width * np.concatenate([steps, steps, zero, one])
    y, x = _to_source(source, target, rows, cols)
    finite = np.isfinite(y) & np.isfinite(x)
    if not finite.any():
        return Window(0, 0, 0, 0)
    y, x = y[finite], x[finite]
    margin_y, margin_x = MARGIN + math.ceil(ratio[0]), MARGIN + math.ceil(ratio[1])
    row0, row1 = math.floor(y.min()) - margin_y, math.ceil(y.max()) + margin_y
    col0, col1 = math.floor(x.min()) - margin_x, math.ceil(x.max()) + margin_x
    near = Window(-margin_y, -margin_x, source.height + 2 * margin_y, source.width + 2 * margin_x)
    part = Window(row0, col0, row1 - row0, col1 - col0).intersection(near)
    return part if part.intersection(source.window) else Window(0, 0, 0, 0)


def overlaps(source: Grid, target: Grid) -> bool:
    """Whether any pixel of the target lies on the source."""
    if not (source.georeferenced and target.georeferenced):
        return source.shape == target.shape
    if source == target:
        return True
    window = target.window
    steps = np.linspace(0.0, 1.0, EDGE_POINTS)
    rows, cols = (a.ravel() for a in np.meshgrid(window.height * steps, window.width * steps, indexing="ij"))
    y, x = _to_source(source, target, rows, cols)
    finite = np.isfinite(y) & np.isfinite(x)
    if not finite.any():
        return False
    y, x = y[finite], x[finite]
    return bool(y.max() > 0 and y.min() < source.height and x.max() > 0 and x.min() < source.width)


@lru_cache(maxsize=256)
def same_crs(a: str | None, b: str | None) -> bool:
    """Whether two CRS texts mean one CRS."""
    if a is None or b is None or a == b:
        return a == b
    try:
        return bool(_crs(a).equals(_crs(b), ignore_axis_order=True))
    except pyproj.exceptions.ProjError as exc:
        raise UnreadableError(f"a CRS cannot be used: {a[:120]} or {b[:120]}: {exc}") from exc


def _warp(
    read: Read, source: Grid, target: Grid, window: Window, bands: int, method: Resampling, ratio: tuple[float, float]
) -> np.ndarray:
    out = np.full((bands, *window.shape), np.nan, np.float32)
    part = source_window(source, target, window, ratio)
    if not part:
        return out
    if part.area > MAX_SOURCE:
        if window.area == 1:
            raise RefusedError(
                f"{part.height} x {part.width} source pixels fall on one pixel of a {target.height} x {target.width} "
                f"grid (at most {MAX_SOURCE:,}): bring both to similar resolutions"
            )
        for half in _halves(window):
            out[(slice(None), *half.slices(window))] = _warp(read, source, target, half, bands, method, ratio)
        return out
    # with its surroundings, as missing values: GDAL weighs pixels at the border of a source wrongly in averages,
    # and positions outside find only missing ones
    values = read_shifted(read, source, (0, 0), part, bands)
    same_plane = same_crs(source.crs, target.crs) or not (source.georeferenced and target.georeferenced)
    a, b, c, d, e, f = _pixel_affine(source, target) if same_plane else (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
    if b == 0.0 and d == 0.0:
        average = method == Resampling.average
        rows = _taps(e, f, window.row, window.height, part.row, part.height, average=average)
        cols = _taps(a, c, window.col, window.width, part.col, part.width, average=average)
        return _resample(values, rows, cols)
    source_affine, target_affine = _shifted(_affine(source), part), _shifted(_affine(target), window)
    scales = {"XSCALE": 1.0 / ratio[1], "YSCALE": 1.0 / ratio[0]}
    try:
        for band, result in zip(values, out, strict=True):
            _warp_band(band, result, source_affine, str(source.crs), target_affine, str(target.crs), method, scales)
    except (RasterioError, CRSError) as exc:
        names = f"{str(source.crs)[:120]} to {str(target.crs)[:120]}"
        raise UnreadableError(f"cannot be warped from {names}: {exc}") from exc
    return out


@dataclass(frozen=True, slots=True)
class _Axis:
    """How the pixels of one axis of a window are made of source pixels."""

    taps: tuple[tuple[np.ndarray, np.ndarray], ...]
    """(source index, weight) of each window pixel, as often as the kernel is wide."""
    under: np.ndarray | None
    """Source index under each centre, for interpolation: where that is missing, so is the pixel."""


def _taps(step: float, offset: float, first: int, count: int, start: int, size: int, *, average: bool) -> _Axis:
    """Weights along one axis: source position = step * target position + offset, in pixels; source pixels `[start, start +
    size)` are at hand, and missing values surround the source."""
    width = abs(step)
    indices = np.arange(first, first + count, dtype=np.float64)
    ends = step * indices + offset, step * (indices + 1) + offset
    low, high, centre = np.minimum(*ends), np.maximum(*ends), step * (indices + 0.5) + offset
    if average:
        base, number = np.floor(low), math.ceil(width) + 1
    else:
        reach = max(1.0, width)
        base, number = np.floor(centre - 0.5 - reach) + 1, 2 * math.ceil(reach) + (reach != 1.0)
    taps = []
    for k in range(number):
        at = base + k
        if average:
            weight = np.clip(np.minimum(at + 1, high) - np.maximum(at, low), 0, None) / width
        else:
            weight = np.clip(1 - np.abs(at + 0.5 - centre) / reach, 0, None) / reach
        if weight.any():
            taps.append((np.clip(at - start, 0, size - 1).astype(np.intp), weight.astype(np.float32)))
    under = None if average else np.clip(np.floor(centre) - start, 0, size - 1).astype(np.intp)
    return _Axis(tuple(taps), under)


def _resample(values: np.ndarray, rows: _Axis, cols: _Axis) -> np.ndarray:
    """Weighted means of the values that are there, rows first."""
    missing = np.isnan(values[0])
    if missing.any():
        values = np.where(missing, np.float32(0), values)
        weight = _combine((~missing).astype(np.float32)[None], rows, cols)[0]
    else:
        # the same sums of the same numbers, so that a value does not depend on what is missing elsewhere
        down = _add(weight[:, None] for _, weight in rows.taps)
        weight = _add(down * weight for _, weight in cols.taps)
    out = np.full((len(values), *weight.shape), np.nan, np.float32)
    np.divide(_combine(values, rows, cols), weight, out=out, where=weight > LEAST_WEIGHT)
    if rows.under is not None and cols.under is not None:
        out[:, missing[rows.under][:, cols.under]] = np.nan
    return out


def _combine(values: np.ndarray, rows: _Axis, cols: _Axis) -> np.ndarray:
    down = _add(values[:, index] * weight[:, None] for index, weight in rows.taps)
    return _add(down[:, :, index] * weight for index, weight in cols.taps)


def _add(terms: Iterable[np.ndarray]) -> np.ndarray:
    return reduce(np.add, terms)


def _warp_band(
    values: np.ndarray,
    out: np.ndarray,
    source_affine: Affine6,
    source_crs: str,
    target_affine: Affine6,
    target_crs: str,
    method: Resampling,
    scales: dict[str, float],
) -> None:
    """Warp one band with GDAL. Through a warped VRT: of rasterio's ways, only that one heeds a tolerance."""
    height, width = values.shape
    profile = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": "float32"}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=source_crs, transform=Affine(*source_affine), nodata=np.nan) as dataset:
            dataset.write(values, 1)
        with (
            memory.open() as dataset,
            WarpedVRT(
                dataset,
                crs=target_crs,
                transform=Affine(*target_affine),
                height=out.shape[0],
                width=out.shape[1],
                nodata=np.nan,
                resampling=method,
                tolerance=TOLERANCE,
                num_threads=1,
                **scales,
            ) as warped,
        ):
            out[:] = warped.read(1)


def _halves(window: Window) -> tuple[Window, Window]:
    row, col, height, width = window.row, window.col, window.height, window.width
    if height >= width:
        half = height // 2
        return Window(row, col, half, width), Window(row + half, col, height - half, width)
    half = width // 2
    return Window(row, col, height, half), Window(row, col + half, height, width - half)


def _affine(grid: Grid) -> Affine6:
    if grid.transform is None:
        raise ValueError("this grid has no transform")
    return grid.transform


def _shifted(affine: Affine6, window: Window) -> Affine6:
    """The affine of the pixels of `window`."""
    a, b, c, d, e, f = affine
    return a, b, a * window.col + b * window.row + c, d, e, d * window.col + e * window.row + f


def _pixel_affine(source: Grid, target: Grid) -> Affine6:
    """Target (col, row) to source (col, row), for grids in one plane."""
    if not (source.georeferenced and target.georeferenced):
        if target.crs is None and target.transform is not None:
            return target.transform
        return source.width / target.width, 0.0, 0.0, 0.0, source.height / target.height, 0.0
    a, b, c, d, e, f = _affine(source)
    ta, tb, tc, td, te, tf = _affine(target)
    det = a * e - b * d
    # relative to the source's origin: differences of large coordinates keep their digits
    dc, df = tc - c, tf - f
    return (
        (e * ta - b * td) / det,
        (e * tb - b * te) / det,
        (e * dc - b * df) / det,
        (a * td - d * ta) / det,
        (a * te - d * tb) / det,
        (a * df - d * dc) / det,
    )


@lru_cache(maxsize=64)
def _crs(text: str) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(text)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    try:
        return pyproj.Transformer.from_crs(_crs(source), _crs(target), always_xy=True)
    except pyproj.exceptions.ProjError as exc:
        raise UnreadableError(f"there is no way from {source[:120]} to {target[:120]}: {exc}") from exc


def _to_source(source: Grid, target: Grid, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractional (rows, cols) on the source of positions on the target; not finite where there is none."""
    if not (source.georeferenced and target.georeferenced) or same_crs(source.crs, target.crs):
        a, b, c, d, e, f = _pixel_affine(source, target)
        return d * cols + e * rows + f, a * cols + b * rows + c
    a, b, c, d, e, f = _affine(target)
    x, y = _transformer(str(target.crs), str(source.crs)).transform(a * cols + b * rows + c, d * cols + e * rows + f)
    a, b, c, d, e, f = _affine(source)
    det = a * e - b * d
    return (a * (y - f) - d * (x - c)) / det, (e * (x - c) - b * (y - f)) / det
