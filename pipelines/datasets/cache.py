"""Labelled images decoded once into memory-mapped files, so that a crop costs the pixels that it shows.

One file holds all of an image, and a bounded number are mapped at a time: a map takes one of the file handles that a process
may have, and data sets have tens of thousands of images.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridscribe.ingest.identity import slug
from gridscribe.pipelines.datasets.labelled import LabelledImage, Scene, open_labelled
from gridscribe.values import Window

ANCHORS = 64
"""Stored positions for each class and image, for crops that show a wanted class."""
_BAND = 512  # rows decoded at a time: memory is bounded by a band, not by the image
_MAPPED = 256  # images mapped at a time
_PIXELS, _FACTS = "pixels.bin", "facts.json"


class _Views(NamedTuple):
    """What a file of pixels holds, in its order: the types of two and four bytes first, so that they are aligned."""

    anchors: NDArray[np.int32]
    height: NDArray[np.float16]
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CachedImage:
    """A decoded image, in a folder of its own."""

    folder: Path
    shape: tuple[int, int]
    """Rows and columns."""
    classes: int
    """Classes of its data set."""
    present: tuple[int, ...]
    """Those that it shows."""

    @property
    def scene(self) -> Scene:
        """Its pixels, read-only and mapped; height is float16."""
        views = _mapped(self.folder, self.shape, self.classes)
        return Scene(views.rgb, views.height, views.labels)

    @property
    def anchors(self) -> NDArray[np.int32]:
        """[classes, ANCHORS, 2] positions (row, col) of each class, evenly drawn; -1 where the image lacks it."""
        return _mapped(self.folder, self.shape, self.classes).anchors


def cache_images(images: Sequence[LabelledImage], cache: Path) -> list[CachedImage]:
    """Every image, decoded into `cache` where it is not there yet (6 bytes a pixel).

    An image's folder is named by its identity and appears whole, by renaming, or not at all: a process that is killed leaves
    nothing that another takes for complete, and two that write the same image do not disturb each other. Raises
    InputError where an image cannot be read.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return [_cached(image, cache / f"{slug(image.id)}-{image.identity}") for image in images]


def _cached(image: LabelledImage, folder: Path) -> CachedImage:
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        part.mkdir()
        try:
            _decode(image, part)
            os.rename(part, folder)  # noqa: PTH104 - fails where the folder is there; that of a Path says the same
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    facts = json.loads((folder / _FACTS).read_text())
    return CachedImage(folder, tuple(facts["shape"]), facts["classes"], tuple(facts["present"]))


@lru_cache(maxsize=_MAPPED)
def _mapped(folder: Path, shape: tuple[int, int], classes: int) -> _Views:
    return _views(np.memmap(folder / _PIXELS, np.uint8, "r"), shape, classes)


def _views(data: NDArray[np.uint8], shape: tuple[int, int], classes: int) -> _Views:
    """The parts of a file of pixels."""
    area = shape[0] * shape[1]
    ends = np.cumsum([4 * classes * ANCHORS * 2, 2 * area, 3 * area])
    anchors, height, rgb, labels = np.split(data, ends)
    return _Views(
        anchors.view(np.int32).reshape(classes, ANCHORS, 2),
        height.view(np.float16).reshape(shape),
        rgb.reshape(3, *shape),
        labels.reshape(shape),
    )


def _decode(image: LabelledImage, folder: Path) -> None:
    rows, cols = image.image.grid.shape
    classes = len(image.legend.classes)
    data = np.memmap(folder / _PIXELS, np.uint8, "w+", shape=4 * classes * ANCHORS * 2 + 6 * rows * cols)
    views = _views(data, (rows, cols), classes)
    counts = []
    with open_labelled(image) as reader:
        for row in range(0, rows, _BAND):
            window = Window(row, 0, min(_BAND, rows - row), cols)
            scene = reader.read(window)
            box = window.slices()
            views.rgb[(slice(None), *box)], views.height[box], views.labels[box] = scene.rgb, scene.height, scene.labels
            counts.append(np.bincount(scene.labels.reshape(-1), minlength=classes)[:classes])
    per_band = np.array(counts)
    views.anchors[:] = _anchors(views.labels, per_band)
    data.flush()
    present = np.flatnonzero(per_band.sum(axis=0)).tolist()
    (folder / _FACTS).write_text(json.dumps({"shape": [rows, cols], "classes": classes, "present": present}))


def _anchors(labels: NDArray[np.uint8], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """As `CachedImage.anchors`; `counts` [bands, classes]: pixels of each class in each band of rows."""
    found = np.full((counts.shape[1], ANCHORS, 2), -1, np.int32)
    for k, total in enumerate(counts.sum(axis=0)):
        if not total:
            continue
        ranks = np.linspace(0, total - 1, ANCHORS).astype(np.int64)  # among the class's pixels in row-major order
        ends = np.cumsum(counts[:, k])
        for band in np.unique(np.searchsorted(ends, ranks, side="right")):
            here = (ranks < ends[band]) & (ranks >= ends[band] - counts[band, k])
            flat = np.flatnonzero(labels[band * _BAND : (band + 1) * _BAND] == k)
            pick = flat[ranks[here] - (ends[band] - counts[band, k])] + band * _BAND * labels.shape[1]
            found[k, here] = np.stack(np.unravel_index(pick, labels.shape), axis=1)
    return found
