"""Rasters opened for pictures: those of the output, and the inputs of its jobs. No other file can be asked for."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import InputError, LayoutError, QueryError
from gridscribe.service.state import State

if TYPE_CHECKING:
    from gridscribe.ingest.gdal import GdalFile
    from gridscribe.ingest.images import RasterImage
    from gridscribe.ingest.sources import Source

IDLE = 48
"""Files that stay open between questions, with the blocks that they have read."""


class OpenFiles:
    """Files that are opened once and lent to one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[Any, list[GdalFile]] = OrderedDict()
        self._count = 0

    @contextmanager
    def lent(self, source: Source) -> Iterator[GdalFile]:
        """The raster at `source`. `QueryError` for one that GDAL does not read, `InputError` or `StoreError` where it is away."""
        file = self._take(source) or _open(source)
        try:
            yield file
        except BaseException:
            file.close()  # it may be damaged, or have changed
            raise
        self._give(source, file)

    def _take(self, source: Source) -> GdalFile | None:
        with self._lock:
            files = self._idle.get(source)
            if not files:
                return None
            self._count -= 1
            return files.pop()

    def _give(self, source: Source, file: GdalFile) -> None:
        closing = []
        with self._lock:
            self._idle.setdefault(source, []).append(file)
            self._idle.move_to_end(source)
            self._count += 1
            while self._count > IDLE:
                _, files = self._idle.popitem(last=False)
                self._count -= len(files)
                closing += files
        for old in closing:
            old.close()


@contextmanager
def stored_raster(state: State, key: str) -> Iterator[Any]:
    """The open raster at a key that a commit names; `LayoutError` where it is not what was committed."""
    from gridscribe.ingest.sources import Source

    try:
        with _files(state).lent(Source(state.store.uri_of(key))) as file, file.settings():
            yield file.dataset
    except InputError as error:
        raise LayoutError(f"{key} is damaged, or not there any more ({type(error).__name__})") from error


@contextmanager
def input_raster(state: State, image: RasterImage) -> Iterator[Any]:
    """The open RGB raster of a job's input; `QueryError` where it is not what it was."""
    try:
        with _files(state).lent(image.rgb) as file, file.settings():
            yield file.dataset
    except InputError as error:
        raise QueryError(
            f"the input of image {image.image_id} cannot be read any more ({type(error).__name__})"
        ) from error


def _files(state: State) -> OpenFiles:
    found: OpenFiles = state.kept.setdefault("files", OpenFiles())
    return found


class Plans:
    """How jobs were to read their images. Read when an image is not known, by one question at a time and not again and again."""

    def __init__(self, seconds: float) -> None:
        """`seconds` must pass before plans are read anew for an image that none of them tells of."""
        self._seconds, self._lock = seconds, threading.Lock()
        self._known: dict[str, tuple[float, dict[str, RasterImage]]] = {}

    def image(self, state: State, product: str, image: str) -> RasterImage | None:
        """An image as it was planned; None where no plan tells."""
        from gridscribe.workers.look import planned_images

        with self._lock:
            read, images = self._known.get(product, (-math.inf, {}))
            if image not in images and time.monotonic() - read >= self._seconds:
                images = planned_images(state.store, product)
                self._known[product] = time.monotonic(), images
            return images.get(image)


def planned_image(state: State, product: str, image: str) -> RasterImage:
    """How a job was to read an image; `QueryError` where no plan tells, or the service shows no inputs."""
    if not state.settings.pictures:
        raise QueryError("this service does not show the jobs' own inputs (--no-pictures)")
    plans: Plans = state.kept.setdefault("plans", Plans(state.settings.refresh))
    found = plans.image(state, product, image)
    if found is None:
        raise QueryError(f"no plan under {state.store.uri} tells where the input of image {image} lies")
    return found


def shown(values: NDArray[Any], image: RasterImage) -> NDArray[np.uint8]:
    """Stored RGB [3, h, w] as the job's own options turn it into uint8."""
    if values.dtype != np.uint8:
        low, top = image.options.scale or (0.0, 255.0)
        values = np.nan_to_num(np.clip((values.astype(np.float32) - low) * (255.0 / (top - low)), 0, 255))
    return values.astype(np.uint8)


def _open(source: Source) -> GdalFile:
    from gridscribe.ingest.files import open_file
    from gridscribe.ingest.gdal import GdalFile
    from gridscribe.ingest.limits import Limits

    file = open_file(source, Limits())
    if not isinstance(file, GdalFile):
        file.__exit__(None, None, None)
        raise QueryError(f"{source.name} is of a format that no picture is made of")
    return file
