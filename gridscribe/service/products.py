"""What a service tells of the products that it serves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gridscribe.client.index import ImageIndex
from gridscribe.products import read_product
from gridscribe.service.state import State

EARTH = 40_075_016.686
"""Metres round the equator of the web's Mercator projection."""
TILE = 256
MOST_ACROSS = 16
"""Images side by side on a tile: below the zoom at which there are more, tiles would read too much."""


def classes_of(state: State, product: str) -> list[dict[str, Any]]:
    """Ids, names and colours of a product's classes, read once."""
    key = f"classes {product}"
    if key not in state.kept:
        state.kept[key] = read_product(state.store, product).get("classes") or []
    classes: list[dict[str, Any]] = state.kept[key]
    return classes


def described(state: State) -> list[dict[str, Any]]:
    """All products, rasters first, each by id."""
    found = []
    for name, info in sorted(state.backend.products().items()):
        index = state.backend.index(name)
        low, high = zooms(index)
        found.append(
            {
                "id": name, "kind": "raster", "model": info.model, "classes": classes_of(state, name),
                "alignment": None if info.alignment is None else info.alignment.label, "images": len(index),
                "bounds": bounds_of(index), "minzoom": low, "maxzoom": high,
            }
        )  # fmt: skip
    for name, told in sorted(state.backend.documents.products().items()):
        index_of = state.backend.documents.index(name)
        found.append(
            {
                "id": name, "kind": "documents", "model": told.label, "classes": [], "alignment": told.label,
                "images": len(index_of.documents), "bounds": None, "minzoom": 0, "maxzoom": 0,
            }
        )  # fmt: skip
    return found


def bounds_of(index: ImageIndex) -> list[float] | None:
    """West, south, east, north of all images that have a place on Earth; None where none has."""
    bounds = index.footprint_bounds
    known = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(known):
        return None
    return [*known[:, :2].min(axis=0).tolist(), *known[:, 2:].max(axis=0).tolist()]


def zooms(index: ImageIndex) -> tuple[int, int]:
    """The zoom levels at which tiles are of use: from where few images share a tile, to where a pixel covers some of a tile's."""
    known = [gsd for gsd in index.gsd if gsd]
    bounds = index.footprint_bounds
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if not known or not len(bounds):
        return 0, 22
    widths = np.maximum(bounds[:, 2] - bounds[:, 0], 1e-9)
    low = math.floor(math.log2(360.0 / (MOST_ACROSS * float(np.median(widths)))))
    high = math.ceil(math.log2(EARTH / TILE / min(known))) + 2
    return max(0, min(low, 22)), max(1, min(high, 24))
