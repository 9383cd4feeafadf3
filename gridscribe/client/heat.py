"""Similarity of an image's tokens with a phrase, laid out on the image.

A dense token of CLIP carries something of its whole window, which says nothing about the place. So of each token's cosine
with the phrase a share of the window's own is taken off, `bias` times the cosine of the window's class vector, blended over
windows as the tokens are (the global bias of SegEarth-OV, CVPR 2025, where it is 0.3).
"""

from __future__ import annotations

import math

import numpy as np

from gridscribe.client.alignment import HOW, Alignment
from gridscribe.client.found import Affine, Heatmap
from gridscribe.client.index import ImageIndex
from gridscribe.client.mosaic import Bounds, Mosaicker
from gridscribe.client.phrases import QueryVector, alignment_of
from gridscribe.client.places import LONLAT
from gridscribe.client.search import Float32
from gridscribe.client.tiles import TileReader
from gridscribe.client.token_vectors import TokenPart, token_parts, token_products, window_products
from gridscribe.errors import LayoutError, QueryError
from gridscribe.store import Store
from gridscribe.tokens import TokenFrame
from gridscribe.values import Window


def heatmap(
    store: Store,
    index: ImageIndex,
    tiles: TileReader,
    image: int,
    query: QueryVector,
    bbox: Bounds | None,
    bias: float,
) -> Heatmap:
    """The similarity of an image's tokens, or of those of a box of longitudes and latitudes.

    Memory: a few numbers for each token, and some megabytes of vectors at a time. Raises `QueryError` where tokens, or with
    `bias` the windows' class vectors, are not stored, and where the box does not meet the image.
    """
    alignment, name = alignment_of(index.product), index.ids[image]
    parts = token_parts(store, index, image)
    if not parts:
        raise QueryError(f"no tokens of image {name} are stored under product {index.product.id}: {HOW} and tokens")
    frame = parts[0].frame.with_box(parts[0].frame.whole)
    box = frame.whole
    if bbox is not None:
        box = cells_of(frame, Mosaicker(index, tiles).window(image, bbox, LONLAT))
    out = np.full(box.shape, np.nan, np.float32)
    for part in parts:
        inside = part.frame.box.intersection(box)
        if inside:
            out[inside.slices(box)] = token_products(store, part, inside, query.values)
    if bias:
        out -= np.float32(bias) * _spread(store, parts, frame, box, alignment, query.values)
    known = np.isfinite(out)
    grid, cells = index.grid(image), _moved(frame, box)
    return Heatmap(
        array=out,
        transform=_after(grid.transform, cells) if grid.georeferenced and grid.transform is not None else None,
        pixel_transform=cells,
        crs=grid.crs if grid.georeferenced else None,
        box=box,
        grid_h=frame.grid_h,
        grid_w=frame.grid_w,
        bias=bias,
        coverage="full" if known.all() else "partial" if known.any() else "none",
        query=query.origin,
        image=name,
        product=index.product.id,
        alignment=alignment.label,
    )


def cells_of(frame: TokenFrame, window: Window) -> Window:
    """The least box of cells that holds a window of pixels, as far as the grid goes."""
    a, b, c, d, e, f = frame.transform or (frame.patch, 0.0, 0.0, 0.0, frame.patch, 0.0)
    det = a * e - b * d
    corners = [(x, y) for y in (window.row, window.row1) for x in (window.col, window.col1)]
    down = [(a * (y - f) - d * (x - c)) / det for x, y in corners]
    across = [(e * (x - c) - b * (y - f)) / det for x, y in corners]
    row, col = math.floor(min(down)), math.floor(min(across))
    box = Window(row, col, math.ceil(max(down)) - row, math.ceil(max(across)) - col)
    return box.intersection(frame.whole)


def _spread(
    store: Store, parts: list[TokenPart], frame: TokenFrame, box: Window, alignment: Alignment, query: Float32
) -> Float32:
    """Cosines of the windows' class vectors with the query on the cells of `box`, blended as the tokens are."""
    from gridscribe.pipelines.token_blend import patch_lattice, spread_windows

    patch, window = alignment.patch, alignment.window // alignment.patch
    if frame.patch != patch:
        raise LayoutError(f"tokens have a patch of {frame.patch} px, the product tells of {patch}")
    lattice = patch_lattice(frame.grid_h * patch, frame.grid_w * patch, alignment.window, alignment.stride, patch)
    reach = Window(box.row - window + 1, box.col - window + 1, box.height + window - 1, box.width + window - 1)
    places: list[tuple[int, int]] = []
    values = [np.empty(0, np.float32)]
    for part in parts:
        if part.frame.box.intersection(reach):  # windows that begin there may meet the box
            some, products = window_products(store, part, query)
            places += some
            values.append(products)
    return spread_windows(lattice, box, places, np.concatenate(values))


def _moved(frame: TokenFrame, box: Window) -> Affine:
    """The affine from corners of the cells of `box` to pixels of the image."""
    a, b, c, d, e, f = frame.transform or (float(frame.patch), 0.0, 0.0, 0.0, float(frame.patch), 0.0)
    return a, b, a * box.col + b * box.row + c, d, e, d * box.col + e * box.row + f


def _after(outer: Affine, inner: Affine) -> Affine:
    """The affine that applies `inner`, then `outer`."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    return a * g + b * j, a * h + b * k, a * i + b * m + c, d * g + e * j, d * h + e * k, d * i + e * m + f
