"""`LabelledImage`: an image as ingest reads it, with the labels of its pixels; and `Scene`, the pixels of both."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from gridscribe.ingest.images import RasterImage
from gridscribe.ingest.raster import open_raster
from gridscribe.pipelines.datasets.labels import LabelFile, LabelReader
from gridscribe.pipelines.datasets.legends import IGNORE, Legend
from gridscribe.values import Window


@dataclass(frozen=True, slots=True)
class Scene:
    """Labelled pixels on the RGB's grid: a whole image or a window of one."""

    rgb: NDArray[np.uint8]
    """[3, h, w]."""
    height: NDArray[np.floating]
    """[h, w] metres above ground, NaN where missing."""
    labels: NDArray[np.uint8]
    """[h, w] class ids, 255 = ignore."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a labelled data set."""

    id: str
    """Its name in the data set, without the words that tell its files apart."""
    image: RasterImage
    labels: LabelFile
    legend: Legend

    @property
    def identity(self) -> str:
        """16 hex digits that change when a file is written again or is to be read in another way."""
        facts = (
            [(s.uri, s.etag) for s in (*self.image.sources, self.labels.source)],
            self.image.height_band,
            self.image.options.settings(),
            self.labels.coding,
            self.legend.classes,
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def read(self, window: Window | None = None) -> Scene:
        """The pixels of `window`, or all. Opens and closes the files: see `open_labelled` for many windows of one image."""
        with open_labelled(self) as reader:
            return reader.read(window)


def open_labelled(image: LabelledImage) -> LabelledReader:
    """A reader of `image`, for use in a `with` and in one thread. Raises InputError where its labels do not fit it."""
    return LabelledReader(image)


class LabelledReader:
    """Reads windows of one labelled image."""

    def __init__(self, image: LabelledImage) -> None:
        self._whole = image.image.grid.window
        self._stack = ExitStack()
        limits = image.image.options.limits
        self._labels = self._stack.enter_context(LabelReader(image.labels, image.image.grid.shape, limits))
        self._pixels = self._stack.enter_context(open_raster(image.image))

    def read(self, window: Window | None = None) -> Scene:
        """The pixels of `window`, which must lie inside the image, or of all of it. A pixel without RGB has no label.

        Raises InputError at a label that stands for no class, UnreadableError where a file is damaged, ChangedError where
        one is not what it was when it was found.
        """
        window = self._whole if window is None else window
        pixels = self._pixels.read(window)
        labels = self._labels.read(window)
        labels[~pixels.valid] = IGNORE
        return Scene(pixels.rgb, pixels.height, labels)

    def read_labels(self, window: Window) -> NDArray[np.uint8]:
        """The labels of `window` alone, also where RGB is missing. Raises what `read` raises."""
        return self._labels.read(window)

    def __enter__(self) -> LabelledReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
