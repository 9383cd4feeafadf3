"""HDF5 rasters in the layout of GAMUS: one array named `image`, `[h, w]` or `[h, w, bands]`, without a place on Earth.

Files that reach for others (external or virtual storage, external links) are refused, and so are chunks too large to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from gridscribe.errors import GridscribeError, RefusedError, UnreadableError
from gridscribe.ingest.bytesio import RangeFile, Ranges
from gridscribe.ingest.info import RasterInfo
from gridscribe.ingest.limits import MIB, Limits
from gridscribe.values import Window

KEY = "image"
MAGIC = b"\x89HDF\r\n\x1a\n"


def is_hdf5(head: bytes) -> bool:
    """Whether a file that begins so is HDF5."""
    return head.startswith(MAGIC)


class Hdf5File:
    """One open file; owns `ranges`, its bytes. For one thread; h5py has one lock for all files of a process."""

    def __init__(self, ranges: Ranges, limits: Limits) -> None:
        self._ranges = ranges
        self._stream = RangeFile(ranges, quiet=True)
        self._file: Any = None
        try:
            with self._errors("cannot be opened"):
                self._file = h5py.File(self._stream, "r")
                self._array = self._dataset()
                self._check(limits)
        except BaseException:
            self.close()
            raise
        height, width = self._array.shape[:2]
        bands = self._array.shape[2] if self._array.ndim == 3 else 1
        self.info = RasterInfo(
            "HDF5", height, width, bands, str(self._array.dtype), None, None, descriptions=("",) * bands
        )
        self.nodata: tuple[float | None, ...] = (None,) * bands
        self.scales: tuple[float, ...] = (1.0,) * bands
        self.offsets: tuple[float, ...] = (0.0,) * bands

    def read(self, bands: Sequence[int], window: Window) -> np.ndarray:
        """Stored values `[len(bands), h, w]` of a window inside the image. Raises UnreadableError where damaged."""
        rows, cols = window.slices()
        with self._errors("pixels cannot be read"):
            data = self._array[rows, cols]
        self._ranges.verify()
        if data.ndim == 2:
            data = data[:, :, None]
        return np.ascontiguousarray(np.moveaxis(data, 2, 0)[[band - 1 for band in bands]])

    def opaque(self, window: Window) -> None:  # noqa: ARG002 - the contract of RasterFile
        """None: such files have no mask."""
        return

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._ranges.close()

    def _dataset(self) -> Any:
        link = self._file.get(KEY, getlink=True)
        if link is None:
            raise UnreadableError(f"{self._ranges.name}: no array named {KEY!r}, only {sorted(self._file)[:10]}")
        if not isinstance(link, h5py.HardLink):
            raise RefusedError(f"{self._ranges.name}: its {KEY!r} is a link to elsewhere")
        array = self._file[KEY]
        if not isinstance(array, h5py.Dataset):
            raise UnreadableError(f"{self._ranges.name}: its {KEY!r} is no array")
        return array

    def _check(self, limits: Limits) -> None:
        array, name = self._array, self._ranges.name
        if array.external or array.is_virtual:
            raise RefusedError(f"{name}: its pixels lie in other files")
        if array.ndim not in (2, 3) or 0 in array.shape:
            raise UnreadableError(f"{name}: its {KEY!r} has shape {array.shape}, expected (h, w) or (h, w, bands)")
        if array.ndim == 3 and array.shape[2] > 64:
            raise UnreadableError(f"{name}: its {KEY!r} has shape {array.shape}: bands are expected last")
        if array.dtype.kind not in "uif":
            raise UnreadableError(f"{name}: its {KEY!r} holds {array.dtype}, expected numbers")
        stored = array.id.get_storage_size()
        if array.chunks is None:
            needed = array.size * array.dtype.itemsize
            if stored < needed:
                raise UnreadableError(f"{name}: {stored:,} bytes stored, its {KEY!r} of {array.shape} needs {needed:,}")
        else:
            chunk = int(np.prod(array.chunks, dtype=np.int64)) * array.dtype.itemsize
            if chunk > limits.max_block:
                raise RefusedError(
                    f"{name}: chunks of {array.chunks} take {chunk / MIB:,.0f} MiB (limit max_block: "
                    f"{limits.max_block // MIB} MiB): rewrite it with smaller chunks"
                )
            if not stored:
                raise UnreadableError(f"{name}: holds no pixels: none of the chunks of its {KEY!r} is written")

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Errors of a call of HDF5. What stopped reading in Python comes first: HDF5 saw only its effect."""
        try:
            yield
        except GridscribeError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as exc:
            if self._stream.error is not None:
                raise self._stream.error from exc
            raise UnreadableError(f"{self._ranges.name}: {what}: {exc}") from exc
        if self._stream.error is not None:
            raise self._stream.error

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
