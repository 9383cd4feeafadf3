"""The height product: what a LiDAR survey and its gridding make of the true heights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .classes import BUILDING, LOW_VEGETATION, TREE, WATER
from .noise import FloatArray, value_noise

COARSE = 0.3  # share of heights surveyed on a coarse grid; of canopy models, CANOPY_COARSE
CANOPY_COARSE = 0.75
BLOCKY = 0.35  # share of coarse grids that come repeated over the image's pixels, at times shifted by part of a cell


@dataclass(frozen=True, slots=True)
class Lattice:
    """A coarser grid over the scene: `cell` metres, its corner `(x, y)` metres from the scene's (never positive), rows x cols."""

    cell: float
    x: float
    y: float
    rows: int
    cols: int


def survey(
    truth: FloatArray, labels: np.ndarray, rng: np.random.Generator, gsd: float
) -> tuple[FloatArray, FloatArray | None, Lattice | None]:
    """Height above ground as delivered: (float32 [h, w] on the image's grid, the native array and its lattice if it is coarser).

    NaN where nothing came back. Faults, each in some scenes: sparse nearest returns, returns from within canopies,
    dropped returns, dark water, missing strips, smeared edges, ground ripple, outliers, a small offset, coarse cells, pits.
    """
    height = truth.copy()
    shape = height.shape
    woody = (labels == TREE) | ((labels == LOW_VEGETATION) & (truth > 0.35))
    style = str(rng.choice(["sparse", "dense", "smooth", "canopy"], p=[0.42, 0.24, 0.12, 0.22]))
    dx, dy = rng.normal(0, 0.12, 2) / gsd
    if rng.random() < 0.6:
        matrix = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64)
        height[:] = cv2.warpAffine(
            height, matrix, shape[::-1], borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_NEAREST
        )
    _penetrate(height, woody, rng, 0.0 if style == "smooth" else float(rng.uniform(0.0, 0.3)))
    height += value_noise(rng, shape, 14 / gsd) * np.float32(rng.uniform(0.0, 0.06))
    if rng.random() < 0.12:  # a poor ground model: whole slopes stand too high or too low
        height += value_noise(rng, shape, 30 / gsd) * np.float32(rng.uniform(0.1, 0.4))
    if rng.random() < 0.25:  # ripple between flight lines
        angle, period = rng.uniform(0, np.pi), rng.uniform(1.5, 12) / gsd
        rows, cols = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
        phase = (rows * np.float32(np.sin(angle)) + cols * np.float32(np.cos(angle))) * np.float32(2 * np.pi / period)
        height += np.float32(rng.uniform(0.01, 0.06)) * np.cos(phase)
    noise = float(rng.uniform(0.01, 0.06))
    height += rng.standard_normal(shape, dtype=np.float32) * np.float32(noise)
    if style == "smooth":  # image matching: edges smeared, canopies closed
        width = rng.uniform(0.15, 0.6) if rng.random() < 0.7 else rng.uniform(0.6, 1.4)
        height[:] = cv2.GaussianBlur(height, (0, 0), float(width) / gsd)
    if rng.random() < 0.4:  # outliers
        count = int(rng.poisson(height.size * 2e-5) + 1)
        at = rng.integers(0, height.size, count)
        height.reshape(-1)[at] = np.where(
            rng.random(count) < 0.7, -rng.exponential(1.5, count), rng.uniform(5, 60, count)
        ).astype(np.float32)
    hole = _holes(labels, rng, gsd)
    if style in ("sparse", "dense"):
        spacing = float(rng.uniform(0.25, 0.75) if style == "sparse" else rng.uniform(0.1, 0.3))
        height, hole = _nearest_return(height, hole, spacing / gsd, rng)
    if style == "canopy":  # a canopy height model: low values are set to zero
        height[height < np.float32(rng.uniform(0.3, 2.0))] = 0
    if rng.random() < 0.25:
        np.maximum(height, 0, out=height)
    height[hole] = np.nan
    if rng.random() >= (CANOPY_COARSE if style == "canopy" else COARSE):
        return height, None, None
    lattice = _draw_lattice(shape, rng, gsd)
    native = _grid_to(height, lattice, gsd, highest=rng.random() < (0.8 if style == "canopy" else 0.4))
    if rng.random() < 0.3:  # pits: cells whose pulses all went through the canopy
        pit = (rng.random(native.shape, dtype=np.float32) < rng.uniform(0.01, 0.08)) & (native > 2)
        native[pit] *= rng.uniform(0, 0.6, int(pit.sum())).astype(np.float32)
    if rng.random() < BLOCKY:
        shift = rng.uniform(-0.5, 0.5, 2) * lattice.cell if rng.random() < 0.3 else np.zeros(2)
        moved = replace(lattice, x=lattice.x + float(shift[0]), y=lattice.y + float(shift[1]))
        return _repeat(native, moved, shape, gsd), None, None
    return interpolate(native, lattice, shape, gsd), native, lattice


def _penetrate(height: FloatArray, woody: np.ndarray, rng: np.random.Generator, share: float) -> None:
    """In place: part of the returns inside plants come from below their top, a few from the ground."""
    if share == 0.0:
        return
    at = np.flatnonzero(woody)
    through = at[rng.random(at.size, dtype=np.float32) < share]
    factor = rng.random(through.size, dtype=np.float32)
    factor[factor < 0.2] = 0
    height.reshape(-1)[through] *= factor**0.6


def _holes(labels: np.ndarray, rng: np.random.Generator, gsd: float) -> np.ndarray:
    """bool [h, w]: no data at all."""
    shape = labels.shape
    hole = np.zeros(shape, dtype=bool)
    if rng.random() < 0.45:  # water swallows the pulse
        hole |= (labels == WATER) & (value_noise(rng, shape, 3 / gsd) > rng.uniform(-1.8, 0.5))
    if rng.random() < 0.3:  # dark roofs and shadows
        hole |= (value_noise(rng, shape, 2.5 / gsd) > rng.uniform(2.2, 3.0)) | (
            (labels == BUILDING) & (value_noise(rng, shape, 5 / gsd) > 2.6)
        )
    if rng.random() < 0.3:
        hole |= rng.random(shape, dtype=np.float32) < 10 ** rng.uniform(-3.5, -1.6)
    if rng.random() < 0.1:  # a gap between flight strips
        angle = rng.uniform(0, np.pi)
        rows, cols = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]
        across = rows * np.float32(np.cos(angle)) - cols * np.float32(np.sin(angle))
        start = rng.uniform(float(across.min()), float(across.max()))
        hole |= (across > start) & (across < start + rng.uniform(0.6, 8) / gsd)
    return hole


def _nearest_return(
    height: FloatArray, hole: np.ndarray, spacing: float, rng: np.random.Generator
) -> tuple[FloatArray, np.ndarray]:
    """Keeps single returns about `spacing` pixels apart and gives every pixel the nearest one's height."""
    if spacing <= 1.05:
        return height, hole
    share = 1 / spacing**2
    miss = (rng.random(height.shape, dtype=np.float32) > share).astype(np.uint8)
    miss[hole] = 1
    if miss.all():
        return height, hole
    distance, nearest = cv2.distanceTransformWithLabels(miss, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    at = np.flatnonzero(miss.reshape(-1) == 0)
    value = np.zeros(int(nearest.max()) + 1, dtype=np.float32)
    value[nearest.reshape(-1)[at]] = height.reshape(-1)[at]
    return value[nearest], hole & (distance > 3)


def _draw_lattice(shape: tuple[int, int], rng: np.random.Generator, gsd: float) -> Lattice:
    cell = float(rng.choice([0.5, 1.0, 2.0], p=[0.35, 0.5, 0.15]))
    if cell <= gsd:
        cell = 1.0
    x, y = (-float(np.round(v, 1)) for v in rng.uniform(0, cell, 2))
    rows, cols = (int(np.ceil((edge * gsd - origin) / cell)) for edge, origin in zip(shape, (y, x), strict=True))
    return Lattice(cell, x, y, rows, cols)


def _grid_to(height: FloatArray, lattice: Lattice, gsd: float, *, highest: bool) -> FloatArray:
    """Cells from the pixels whose centres they hold: their highest value, or their mean; NaN where half of them are holes."""
    rows = np.floor(((np.arange(height.shape[0]) + 0.5) * gsd - lattice.y) / lattice.cell).astype(np.intp)
    cols = np.floor(((np.arange(height.shape[1]) + 0.5) * gsd - lattice.x) / lattice.cell).astype(np.intp)
    row_starts, row_of = np.unique(rows, return_index=True)
    col_starts, col_of = np.unique(cols, return_index=True)
    seen = np.isfinite(height)
    filled = np.where(seen, height, np.float32(-1e6 if highest else 0))
    count = np.add.reduceat(np.add.reduceat(seen.astype(np.float32), row_of, axis=0), col_of, axis=1)
    every = np.add.reduceat(np.add.reduceat(np.ones_like(filled), row_of, axis=0), col_of, axis=1)
    join = np.maximum if highest else np.add
    value = join.reduceat(join.reduceat(filled, row_of, axis=0), col_of, axis=1)
    if not highest:
        value = value / np.maximum(count, 1)
    native = np.full((lattice.rows, lattice.cols), np.nan, dtype=np.float32)
    native[np.ix_(row_starts, col_starts)] = np.where(count * 2 > every, value, np.nan)
    return native


def _repeat(native: FloatArray, lattice: Lattice, shape: tuple[int, int], gsd: float) -> FloatArray:
    """The nearest cell's height at every pixel of the image, float32 [h, w]: blocks as large as the cells."""
    rows, cols = (
        np.clip(((np.arange(edge) + 0.5) * gsd - origin) // lattice.cell, 0, count - 1).astype(np.intp)
        for edge, origin, count in zip(shape, (lattice.y, lattice.x), native.shape, strict=True)
    )
    return native[np.ix_(rows, cols)]


def interpolate(native: FloatArray, lattice: Lattice, shape: tuple[int, int], gsd: float) -> FloatArray:
    """The lattice's heights on the image's grid, bilinear between cell centres, NaN where the nearest is: float32 [h, w]."""
    map_x = (((np.arange(shape[1]) + 0.5) * gsd - lattice.x) / lattice.cell - 0.5).astype(np.float32)
    map_y = (((np.arange(shape[0]) + 0.5) * gsd - lattice.y) / lattice.cell - 0.5).astype(np.float32)
    grid_x, grid_y = np.meshgrid(map_x, map_y)
    valid = np.isfinite(native).astype(np.float32)
    weight = cv2.remap(valid, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    value = cv2.remap(np.nan_to_num(native), grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    nearest = cv2.remap(valid, grid_x, grid_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.where(nearest > 0.5, value / np.maximum(weight, 1e-6), np.nan).astype(np.float32)
