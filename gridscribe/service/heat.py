"""Heat maps of words, kept for tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gridscribe.client.found import Heatmap
from gridscribe.client.index import ImageIndex
from gridscribe.errors import QueryError
from gridscribe.service.kept import Kept
from gridscribe.service.state import State

HELD = 256 << 20
SAMPLED = 8
"""Images that the range of colours is taken from."""


def heat_of(state: State, index: ImageIndex, place: int, text: str) -> Heatmap:
    """The similarity of an image's tokens with some words; see `Client.heatmap`."""
    kept: Kept[Heatmap] = state.kept.setdefault("heat", Kept(HELD, lambda heat: heat.array.nbytes + 1024))
    name, product = index.ids[place], index.product.id
    return kept.get((product, name, text), lambda: state.client.heatmap(text, image=name, product=product))


def heat_range(state: State, index: ImageIndex, text: str) -> tuple[float, float]:
    """The similarities that have the first and the last colour, one pair for all tiles of these words.

    The median and the greatest value over up to `SAMPLED` images spread over the product, so that most of a map is dark, and
    colours of different tiles can be compared.
    """
    ranges: dict[tuple[str, str], tuple[float, float]] = state.kept.setdefault("heat ranges", {})
    key = index.product.id, text
    if key not in ranges:
        places = np.unique(np.linspace(0, len(index) - 1, min(SAMPLED, len(index))).astype(int)).tolist()
        values = np.concatenate([heat_of(state, index, place, text).array.ravel() for place in places])
        values = values[np.isfinite(values)]
        if not len(values):
            raise QueryError(f"no token of product {index.product.id} is stored: there is no heat map")
        if len(ranges) > 10_000:
            ranges.clear()
        ranges[key] = float(np.median(values)), float(values.max())
    return ranges[key]


def heat_file(state: State, index: ImageIndex, place: int, text: str) -> Any:
    """A context that gives the heat map as an open raster; None where the image has no place on Earth."""
    heat = heat_of(state, index, place, text)
    return None if heat.transform is None else _opened(heat)


@contextmanager
def _opened(heat: Heatmap) -> Iterator[Any]:
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    assert heat.transform is not None
    height, width = heat.array.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=1, dtype="float32", nodata=np.nan,
            transform=Affine(*heat.transform), crs=heat.crs,
        ) as file:  # fmt: skip
            file.write(heat.array, 1)
        with memory.open() as file:
            yield file
