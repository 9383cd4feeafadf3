"""Opening the raster file at a Source, wherever its bytes lie."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import numpy as np

from gridscribe.errors import UnreadableError
from gridscribe.ingest.bytesio import Ranges
from gridscribe.ingest.gdal import GdalFile, driver_of
from gridscribe.ingest.hdf5 import Hdf5File, is_hdf5
from gridscribe.ingest.info import RasterInfo
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.opening import open_bytes
from gridscribe.ingest.sources import Source
from gridscribe.values import Window


class RasterFile(Protocol):
    """One open raster file, whichever library reads it. Not thread-safe."""

    info: RasterInfo
    nodata: tuple[float | None, ...]
    """Per band."""
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    """Per band: value = stored * scale + offset."""

    def read(self, bands: Sequence[int], window: Window) -> np.ndarray:
        """Stored values `[len(bands), h, w]` of a window inside the image."""
        ...

    def opaque(self, window: Window) -> np.ndarray | None:
        """bool `[h, w]`: where an alpha band or mask shows a pixel; None where there is neither."""
        ...

    def __enter__(self) -> RasterFile: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_file(source: Source, limits: Limits) -> RasterFile:
    """The raster at `source`.

    Raises ChangedError where it is not what was planned, UnreadableError where it is damaged, RefusedError where
    unpacking it would exceed a limit, StoreError where a store does not answer.
    """
    return open_ranges(open_bytes(source, limits), limits)


def open_ranges(ranges: Ranges, limits: Limits) -> RasterFile:
    """The raster in `ranges`, which it owns from now on. Raises UnreadableError where it is none that is read."""
    try:
        head = ranges.fetch(0, 16)
    except BaseException:
        ranges.close()
        raise
    driver = driver_of(head)
    if driver is not None:
        return GdalFile(ranges, driver, limits)
    if is_hdf5(head):
        return Hdf5File(ranges, limits)
    ranges.close()
    raise UnreadableError(f"{ranges.name}: not a raster format that is read")
