"""Spots of a generated scene: what lies at a point, be it an object or the ground beside one.

Objects are looked at in a square around them, so a network that has seen nothing else says of any square what is somewhere in
it. Regions of a mask are not all objects: the rim of a lawn around a pool has the pool in its square. Spots teach that the
square is about what is in its middle. Half of them lie beside objects of evenly drawn categories, the others anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import InputError
from gridscribe.pipelines.alignment.annotated import AnnotatedRegion

AREAS = {1: "bare ground", 2: "grass", 3: "building", 5: "road", 6: "tree"}
"""What is said of a spot that no object covers, by its label; where a label is not named here, nothing is."""
BESIDE = (2.0, 14.0)
"""Pixels from an object's box, least and most, of spots beside it."""
SIDES = (4.0, 24.0)
"""Pixels of a spot's box, least and most; their logarithm is drawn evenly."""

Rng = np.random.Generator


def spots(
    labels: NDArray[np.uint8], outlines: Sequence[Any], regions: Sequence[AnnotatedRegion], count: int, rng: Rng
) -> list[AnnotatedRegion]:
    """At most `count` spots of a scene of labels uint8 [H, W] and objects with these outlines (in pixels).

    A spot on an object is named as the object is, the smallest where several lie over each other; one that nothing covers by its
    label (`AREAS`). Fewer come where points have nothing to be named by.
    """
    rows, cols = labels.shape
    owner = _owners(labels.shape, outlines)
    points = np.concatenate(
        [_beside(regions, count // 2, (rows, cols), rng), _anywhere(count - count // 2, (rows, cols), rng)]
    )
    low, high = np.log(SIDES).tolist()
    sides = np.exp(rng.uniform(low, high, (len(points), 2)))
    found = []
    for (row, col), (high, wide) in zip(points, sides, strict=True):
        number, label = int(owner[int(row), int(col)]), int(labels[int(row), int(col)])
        if number < 0 and label not in AREAS:
            continue
        named = regions[number] if number >= 0 else AnnotatedRegion((0, 0, 0, 0), AREAS[label])
        box = np.clip(
            [(col - wide / 2) / cols, (row - high / 2) / rows, (col + wide / 2) / cols, (row + high / 2) / rows], 0, 1
        )
        found.append(AnnotatedRegion(tuple(box.tolist()), named.category, named.caption))
    return found


def read_spots(rgb: Path, regions: Sequence[AnnotatedRegion], count: int, seed: int) -> list[AnnotatedRegion]:
    """`spots` of the scene of this image, drawn from `seed` alone: the same one for every scene of a set.

    Raises InputError where its labels or objects cannot be read.
    """
    import rasterio

    from gridscribe.pipelines.alignment.objects import outlines_of

    path = rgb.with_name(rgb.name.replace("_rgb.tif", "_labels.tif"))
    try:
        with rasterio.open(path) as file:
            labels: NDArray[np.uint8] = file.read(1)
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{path}: cannot be read as the labels of a generated scene: {error}") from error
    return spots(labels, outlines_of(rgb), regions, count, np.random.default_rng(seed))


def _owners(shape: tuple[int, ...], outlines: Sequence[Any]) -> NDArray[np.int32]:
    """int32 [H, W]: the smallest object at each pixel, -1 where there is none."""
    from rasterio.features import rasterize

    largest_first = sorted(range(len(outlines)), key=lambda k: (-outlines[k].area, k))
    shapes = [(outlines[k], k) for k in largest_first if not outlines[k].is_empty]
    if not shapes:
        return np.full(shape, -1, np.int32)
    owners: NDArray[np.int32] = rasterize(shapes, shape, fill=-1, dtype="int32")
    return owners


def _beside(regions: Sequence[AnnotatedRegion], count: int, shape: tuple[int, int], rng: Rng) -> NDArray[np.float64]:
    """Points [N, 2] (row, col) a few pixels outside of the boxes of objects whose category is drawn evenly."""
    categories = sorted({region.category for region in regions})
    if not categories:
        return _anywhere(count, shape, rng)
    of = {name: [region for region in regions if region.category == name] for name in categories}
    rows, cols = shape
    points = []
    for _ in range(count):
        some = of[categories[int(rng.integers(len(categories)))]]
        x0, y0, x1, y1 = some[int(rng.integers(len(some)))].box
        out = rng.uniform(*BESIDE)
        top, left, bottom, right = y0 * rows - out, x0 * cols - out, y1 * rows + out, x1 * cols + out
        along = rng.uniform()
        edge = int(rng.integers(4))
        row = (top, bottom)[edge] if edge < 2 else top + along * (bottom - top)
        col = (left, right)[edge - 2] if edge >= 2 else left + along * (right - left)
        points.append((row, col))
    return _inside(np.array(points).reshape(-1, 2), shape)


def _anywhere(count: int, shape: tuple[int, int], rng: Rng) -> NDArray[np.float64]:
    return rng.uniform((0, 0), shape, (count, 2))


def _inside(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    kept: NDArray[np.float64] = points[((points >= 0) & (points < shape)).all(axis=1)]
    return kept
