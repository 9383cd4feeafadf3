"""From a phrase to pixels: points of a heat map, the regions under them, and a second look with what the first found.

The first pass is coarse. The heat map of the image's tokens becomes a few positive and negative points (`points`, after READ),
and each positive point gives the region under it, as a promptable segmenter gives the object that is pointed at. Those regions
are the first mask.

The second pass is fine. All regions are compared with the phrase and with a prototype, the mean vector of the first mask's
regions, into which a memory of what earlier images were answered with may be mixed (GeoPix as intended: `prototypes`). The first
mask is the prior: its regions have an advantage. A region belongs to the answer where its score is nearer to that of
the regions under positive points than to that of those under negative ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.alignment import HOW
from gridscribe.client.blocks import strips
from gridscribe.client.boxes import Ints
from gridscribe.client.found import Heatmap, PointOnImage, TextMask
from gridscribe.client.index import ImageIndex
from gridscribe.client.phrases import QueryVector, alignment_of
from gridscribe.client.points import points_of
from gridscribe.client.prototypes import Prototypes
from gridscribe.client.region_search import vectors_of
from gridscribe.client.region_tables import region_rows
from gridscribe.client.search import Float32
from gridscribe.client.tiles import TileReader
from gridscribe.errors import QueryError
from gridscribe.regions import region_id
from gridscribe.store import Store
from gridscribe.values import Window

PROTOTYPE = 1.0
"""Weight of the likeness to the prototype beside that to the phrase, both in standard deviations over the image's regions."""
PRIOR = 0.5
"""What the regions of the first mask are ahead by, in the same."""
NEARER = 0.5
"""Share of the way from what is surely not meant to what surely is, beyond which a region belongs to the answer."""
REMEMBERED = 8.0
"""Regions that the memory counts for at most, beside those of the first mask."""


@dataclass(frozen=True, slots=True)
class ImageRegions:
    """The embedded regions of one image."""

    value: Ints
    """In the raster of regions, ascending."""
    vectors: Float32
    """[n, D], unit length."""


def text_mask(
    store: Store,
    index: ImageIndex,
    tiles: TileReader,
    image: int,
    query: QueryVector,
    heat: Heatmap,
    window: Window,
    memory: Prototypes | None,
) -> TextMask:
    """The answer for `window`, the pixels that `heat` covers; what it consists of is learnt by `memory`, where there is one.

    Memory: the vectors of the image's regions, and a byte for each pixel of the answer. Raises `QueryError` where regions are
    not embedded.
    """
    alignment, name = alignment_of(index.product), index.ids[image]
    height, width = index.shapes[image].tolist()
    regions = regions_of(store, index, image)
    found = points_of(heat.array)
    a, b, c, d, e, f = heat.pixel_transform
    row, col = d * found.col + e * found.row + f, a * found.col + b * found.row + c
    down, across = (np.clip(np.floor(at).astype(np.int64), 0, size - 1) for at, size in ((row, height), (col, width)))
    under = index.regions.values(tiles, np.full(len(found), image), down, across)
    first, never = votes(regions.value, under, found.positive)
    remembered = None if memory is None else memory.recall(alignment.digest, query.values)
    score = second_look(regions.vectors, query.values, first, never, remembered)
    chosen = np.flatnonzero(score >= NEARER)
    chosen = chosen[np.argsort(-score[chosen], kind="stable")]
    if memory is not None:
        memory.learn(alignment.digest, query.values, regions.vectors[chosen])
    array, there = _pixels_in(index, tiles, image, window, regions.value[chosen])
    chosen = chosen[there]
    grid = index.grid(image)
    return TextMask(
        array=array,
        window=window,
        transform=grid.window_transform(window) if grid.georeferenced else None,
        crs=grid.crs if grid.georeferenced else None,
        method="regions",
        regions=tuple(region_id(name, int(value)) for value in regions.value[chosen]),
        scores=tuple(float(one) for one in score[chosen]),
        points=tuple(
            PointOnImage(float(y), float(x), bool(good), float(level), region_id(name, int(value)) if value else None)
            for y, x, good, level, value in zip(row, col, found.positive, found.level, under, strict=True)
        ),
        first=tuple(region_id(name, int(value)) for value in regions.value[first]),
        query=query.origin,
        image=name,
        product=index.product.id,
        alignment=alignment.label,
    )


def regions_of(store: Store, index: ImageIndex, image: int) -> ImageRegions:
    """The embedded regions of an image; `QueryError` where it has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    dim = alignment_of(index.product).dim
    tables = [table.select(["value", "embedding", "scale"]) for table in region_rows(store, index, [index.ids[image]])]
    rows = pa.concat_tables(tables) if tables else None
    rows = None if rows is None else rows.filter(pc.is_valid(rows["embedding"])).sort_by("value")
    if rows is None or not len(rows):
        raise QueryError(f"image {index.ids[image]} has no embedded regions: {HOW} and without alignment.regions=None")
    vectors = vectors_of(rows, dim, index.ids[image])[1].dequantised()
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return ImageRegions(rows["value"].to_numpy().astype(np.int64), vectors.astype(np.float32))


def votes(values: Ints, under: Ints, positive: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(regions with more positive points than negative ones, regions with negative ones alone), bool [n] of `values`."""
    place = np.clip(np.searchsorted(values, under), 0, len(values) - 1)
    hit = values[place] == under
    yes, no = (np.bincount(place[hit & sort], minlength=len(values)) for sort in (positive, ~positive))
    return yes > no, (no > 0) & (yes == 0)


def second_look(
    vectors: Float32,
    phrase: Float32,
    first: NDArray[np.bool_],
    never: NDArray[np.bool_],
    remembered: tuple[Float32, float] | None,
) -> Float32:
    """Of each region [n]: 0 as the regions that are surely not meant, 1 as those that surely are.

    `first` are the regions under positive points, `never` those under negative ones. Where no region is the first, or all are,
    the answer is the first mask itself.
    """
    if not first.any() or first.all():
        return first.astype(np.float32)
    prototype = vectors[first].sum(axis=0, dtype=np.float64)
    if remembered is not None:
        vector, count = remembered
        prototype += vector.astype(np.float64) * min(count, REMEMBERED)
    length = float(np.linalg.norm(prototype))
    likeness = _standard(vectors @ phrase)
    if length > 0:
        likeness += PROTOTYPE * _standard(vectors @ (prototype / length).astype(np.float32))
    likeness += PRIOR * first
    others = never if never.any() else ~first
    low, high = float(likeness[others].mean()), float(likeness[first].mean())
    if not high > low:
        return first.astype(np.float32)
    result: Float32 = ((likeness - low) / (high - low)).astype(np.float32)
    return result


def _pixels_in(
    index: ImageIndex, tiles: TileReader, image: int, window: Window, values: Ints
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(which pixels of `window` are of the regions with `values`, which of those have a pixel there), some rows at a time."""
    array, there = np.zeros(window.shape, np.bool_), np.zeros(len(values), np.bool_)
    for strip in strips(window):
        held = index.regions.window(tiles, image, strip)
        array[strip.slices(window)] = np.isin(held, values)
        there |= np.isin(values, held)
    return array, there


def _standard(values: Float32) -> Float32:
    spread = float(values.std())
    result: Float32 = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return result
