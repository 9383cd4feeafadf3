"""Cutting images into items: big images into boxes, small ones into bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from gridscribe.ingest.images import RasterImage
from gridscribe.pipelines.config import ITEM_GRAIN
from gridscribe.pipelines.items import Item, Part
from gridscribe.values import Window

BUNDLE_IMAGES = 256  # at most so many images in one item, however small


def cut(
    images: Sequence[RasterImage],
    boxes: Mapping[str, Window],
    *,
    item_size: int,
    bundle_pixels: int,
) -> list[Item]:
    """Items that cover `boxes[image_id]` of every image, in order of the images.

    A box wider or higher than `item_size` is cut into boxes of nearly equal size with edges on multiples of 512; smaller ones
    are bundled up to `bundle_pixels`. The same images and boxes always give the same items.
    """
    items: list[Item] = []
    bundle: list[Part] = []
    pixels = 0
    for image in images:
        box = boxes[image.image_id]
        if max(box.shape) > item_size:
            items.extend(Item((Part(image, part),)) for part in split_even(box, item_size))
            continue
        if bundle and (pixels + box.area > bundle_pixels or len(bundle) == BUNDLE_IMAGES):
            items.append(Item(tuple(bundle)))
            bundle, pixels = [], 0
        bundle.append(Part(image, box))
        pixels += box.area
    if bundle:
        items.append(Item(tuple(bundle)))
    return items


def split_even(box: Window, item_size: int) -> list[Window]:
    """Row-major boxes of at most `item_size` a side that tile `box`, inner edges on multiples of 512, sizes nearly equal."""
    rows = _cuts(box.row, box.row1, item_size)
    cols = _cuts(box.col, box.col1, item_size)
    return [Window(row, col, row1 - row, col1 - col) for row, row1 in pairwise(rows) for col, col1 in pairwise(cols)]


def _cuts(start: int, stop: int, size: int) -> list[int]:
    """Edges from `start` to `stop`, at most `size` apart, inner ones on multiples of 512."""
    first, last = start // ITEM_GRAIN, -(-stop // ITEM_GRAIN)  # in grains
    pieces = -(-(last - first) // (size // ITEM_GRAIN))
    edges = [first + (last - first) * k // pieces for k in range(pieces + 1)]
    return [start, *(edge * ITEM_GRAIN for edge in edges[1:-1]), stop]
