"""Pictures of whole images on their own grid of pixels, for those that have no place on a map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from gridscribe.client.found import Heatmap
from gridscribe.client.index import ImageIndex
from gridscribe.client.stored import EMPTY
from gridscribe.errors import QueryError
from gridscribe.service.heat import heat_of, heat_range
from gridscribe.service.rasters import input_raster, planned_image, shown, stored_raster
from gridscribe.service.shades import Shade, rendered
from gridscribe.service.state import State
from gridscribe.service.tiles import MAX_SOURCE

Layer = tuple[NDArray[Any], NDArray[np.bool_]]


def image_png(
    state: State, image: str, layer: str, size: int, *, product: str | None, text: str | None, high: float
) -> bytes:
    """PNG bytes of one image, its longer side `size` pixels at most. `QueryError` where that layer of it cannot be shown."""
    if (layer == "heatmap") != (text is not None):
        raise QueryError(f"layer={layer}: text= is of layer heatmap, which needs it")
    index = state.backend.index(product)
    place = index.resolve(image)
    height, width = index.shapes[place].tolist()
    scale = min(1.0, size / max(height, width))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    if layer == "source":
        found = _source(state, index, place, shape)
    elif layer == "heatmap":
        assert text is not None
        found = _heat(heat_of(state, index, place, text), (height, width), shape)
    else:
        found = _stored(state, layer, index, place, shape)
    heat = heat_range(state, index, text) if text else (0.0, 1.0)
    return rendered(*found, Shade.of(state, layer, index.product.id, high, heat))


def _stored(state: State, kind: str, index: ImageIndex, place: int, shape: tuple[int, int]) -> Layer:
    height, width = index.shapes[place].tolist()
    out = np.full((1, *shape), EMPTY[kind])
    for box in range(int(index.box_starts[place]), int(index.box_starts[place + 1])):
        key = index.keys[kind][box]
        row, col, rows, cols = index.boxes[box].tolist()
        top, bottom = row * shape[0] // height, max((row + rows) * shape[0] // height, row * shape[0] // height + 1)
        left, right = col * shape[1] // width, max((col + cols) * shape[1] // width, col * shape[1] // width + 1)
        if key is None:
            continue
        with stored_raster(state, key) as dataset:
            out[0, top:bottom, left:right] = dataset.read(
                1, out_shape=(bottom - top, right - left), resampling=Resampling.nearest
            )
    return out, out[0] != EMPTY[kind]


def _source(state: State, index: ImageIndex, place: int, shape: tuple[int, int]) -> Layer:
    image = planned_image(state, index.product.id, index.ids[place])
    with input_raster(state, image) as dataset:
        if not dataset.overviews(1) and image.grid.window.area > MAX_SOURCE:
            raise QueryError(
                f"{image.source} has {image.grid.height} x {image.grid.width} px and no overviews: it is not shown whole"
            )
        bands = list(image.options.rgb_bands)
        values = dataset.read(bands, out_shape=(3, *shape), resampling=Resampling.average)
        there = dataset.dataset_mask(out_shape=shape, resampling=Resampling.average) > 0
    return shown(values, image), there


def _heat(heat: Heatmap, whole: tuple[int, int], shape: tuple[int, int]) -> Layer:
    """The cell under the middle of each pixel of the picture."""
    a, b, c, d, e, f = heat.pixel_transform
    y = (np.arange(shape[0]) + 0.5)[:, None] * (whole[0] / shape[0])
    x = (np.arange(shape[1]) + 0.5)[None, :] * (whole[1] / shape[1])
    det = a * e - b * d
    row = np.floor((a * (y - f) - d * (x - c)) / det).astype(int)
    col = np.floor((e * (x - c) - b * (y - f)) / det).astype(int)
    rows, cols = heat.array.shape
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    values = heat.array[row.clip(0, rows - 1), col.clip(0, cols - 1)]
    return values[None], inside & np.isfinite(values)
