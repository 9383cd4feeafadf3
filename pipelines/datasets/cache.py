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
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
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
        """Its pixels, read-only and mapped; height is float16: to the centimetre up to 16 m, to 6 cm up to 128 m."""
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
    InputError where an image cannot be read, UsageError where `cache` cannot be written.
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
        except OSError as exc:
            if not folder.is_dir():  # else another process was faster
                raise UsageError(
                    f"{folder.parent}: decoded pixels of {image.id} cannot be written: {exc.strerror}: free space, or choose "
                    "another folder for the cache"
                ) from exc
        finally:
            shutil.rmtree(part, ignore_errors=True)
    facts = json.loads((folder / _FACTS).read_text())
    return CachedImage(folder, tuple(facts["shape"]), facts["classes"], tuple(facts["present"]))


@lru_cache(maxsize=_MAPPED)
def _mapped(folder: Path, shape: tuple[int, int], classes: int) -> _Views:
    data = np.memmap(folder / _PIXELS, np.uint8, "r")
    anchors, height, rgb, labels, _ = np.split(data, _ends(shape, classes))
    return _Views(
        anchors.view(np.int32).reshape(classes, ANCHORS, 2),
        height.view(np.float16).reshape(shape),
        rgb.reshape(3, *shape),
        labels.reshape(shape),
    )


def _ends(shape: tuple[int, int], classes: int) -> list[int]:
    """Where the parts of a file of pixels end, in bytes."""
    area = shape[0] * shape[1]
    anchors = 4 * classes * ANCHORS * 2
    return [anchors, anchors + 2 * area, anchors + 5 * area, anchors + 6 * area]


def _decode(image: LabelledImage, folder: Path) -> None:
    shape = rows, cols = image.image.grid.shape
    classes = len(image.legend.classes)
    at_height, at_rgb, at_labels, _ = _ends(shape, classes)
    counts = []
    # written, not mapped: on a full disk a write fails, a map ends the process
    with (folder / _PIXELS).open("w+b") as file:
        with open_labelled(image) as reader:
            for row in range(0, rows, _BAND):
                scene = reader.read(Window(row, 0, min(_BAND, rows - row), cols))
                first = row * cols
                _put(file, at_height + 2 * first, scene.height.astype(np.float16))
                for k, band in enumerate(scene.rgb):
                    _put(file, at_rgb + k * rows * cols + first, band)
                _put(file, at_labels + first, scene.labels)
                counts.append(np.bincount(scene.labels.reshape(-1), minlength=classes)[:classes])
        file.flush()
        per_band = np.array(counts)
        labels = np.memmap(file, np.uint8, "r", at_labels, shape)
        _put(file, 0, _anchors(labels, per_band))
    present = np.flatnonzero(per_band.sum(axis=0)).tolist()
    (folder / _FACTS).write_text(json.dumps({"shape": [rows, cols], "classes": classes, "present": present}))


def _put(file: BinaryIO, at: int, values: NDArray[Any]) -> None:
    file.seek(at)
    file.write(values.tobytes())


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
