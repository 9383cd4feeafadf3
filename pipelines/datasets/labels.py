"""Label rasters: class ids in one band, or a colour for each class, decoded to class ids.

They are opened as ingest opens images: GeoTIFF, PNG and the like through GDAL with one driver, HDF5 with its checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.files import open_file
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.sources import Source
from gridscribe.pipelines.datasets.legends import IGNORE, Color
from gridscribe.values import Window


@dataclass(frozen=True, slots=True)
class LabelCoding:
    """Which stored value stands for which class."""

    codes: tuple[tuple[tuple[int, ...], int], ...]
    """(stored, class id or 255 = ignore); `stored` is (value,) in files of one band, (R, G, B) in colour-coded ones."""

    @property
    def bands(self) -> int:
        """Bands that a file of this coding has, but for opacity: 1 or 3."""
        return len(self.codes[0][0])

    @property
    def allowed(self) -> str:
        """The stored values, for messages."""
        return ", ".join(_show(stored) for stored, _ in self.codes)


def ids(count: int, *, first: int = 0, ignore: int | None = IGNORE) -> LabelCoding:
    """Stored values `first`, `first` + 1, ... are classes 0, 1, ...; `ignore`, if any, is no class."""
    classes = tuple(((first + k,), k) for k in range(count))
    return LabelCoding(classes if ignore is None else (*classes, ((ignore,), IGNORE)))


def colors(palette: tuple[Color, ...], ignore: Color | None) -> LabelCoding:
    """The colours of `palette` are classes 0, 1, ...; `ignore`, if any, is no class. Raises UsageError where two are equal."""
    codes = [(color, k) for k, color in enumerate(palette)]
    if ignore is not None:
        codes.append((ignore, IGNORE))
    if len({stored for stored, _ in codes}) < len(codes):
        raise UsageError(f"colour-coded labels: a colour stands for two classes in {codes}: give each its own")
    return LabelCoding(tuple(codes))


@dataclass(frozen=True, slots=True)
class LabelFile:
    """Where the labels of an image are, and how they are stored."""

    source: Source
    coding: LabelCoding


class LabelReader:
    """Reads windows of one label raster, for use in a `with` and in one thread."""

    def __init__(self, file: LabelFile, shape: tuple[int, int], limits: Limits) -> None:
        """Opens it. Raises InputError where it is not `shape` (rows, columns) or not stored as its coding says."""
        self._coding, self._name = file.coding, file.source.name
        self._file = open_file(file.source, limits)
        try:
            self._check(shape)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def read(self, window: Window) -> NDArray[np.uint8]:
        """[h, w] class ids, 255 = ignore. Raises InputError at a value that stands for no class, naming it."""
        stored = self._file.read(range(1, self._coding.bands + 1), window)
        packed = _pack(stored)
        labels = np.full(window.shape, IGNORE, np.uint8)
        known = np.zeros(window.shape, bool)
        for value, class_id in self._coding.codes:
            here = packed == _pack(np.array(value, stored.dtype)[:, None, None])[0, 0]
            labels[here] = class_id
            known |= here
        if not known.all():
            row, col = np.unravel_index(int(np.argmin(known)), known.shape)
            value = tuple(int(v) for v in stored[:, row, col])
            what = "label" if self._coding.bands == 1 else "colour"
            raise InputError(
                f"{self._name}: the {what} {_show(value)} at row {window.row + row}, column {window.col + col} stands for no "
                f"class ({np.count_nonzero(~known):,} pixels of {known.size:,} read hold such): allowed are "
                f"{self._coding.allowed}: correct the file, or choose the kind of data set that it belongs to"
            )
        return labels

    def _check(self, shape: tuple[int, int]) -> None:
        info, bands = self._file.info, self._coding.bands
        if (info.height, info.width) != shape:
            raise InputError(
                f"{self._name}: labels of {info.height} x {info.width} pixels, its image has {shape[0]} x {shape[1]}: "
                "both must be on the same grid; warp the labels (nearest neighbour) onto the image's"
            )
        expected = "one band of class ids" if bands == 1 else "three bands of colour (R, G, B)"
        if info.count - (info.alpha is not None) != bands:
            raise InputError(f"{self._name}: {info.count} bands of labels, expected {expected}: convert the file")
        if np.dtype(info.dtype).kind not in "ui" or (bands == 3 and info.dtype != "uint8"):
            allowed = "uint8" if bands == 3 else "whole numbers"
            raise InputError(f"{self._name}: labels of type {info.dtype}, expected {allowed}: convert the file")

    def __enter__(self) -> LabelReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, exc, trace)


def _pack(stored: np.ndarray) -> np.ndarray:
    """One number for each pixel of [bands, h, w]: the value itself, or 24 bits of colour."""
    if len(stored) == 1:
        return stored[0]
    red, green, blue = stored.astype(np.uint32)
    return red << 16 | green << 8 | blue


def _show(stored: tuple[int, ...]) -> str:
    return str(stored[0]) if len(stored) == 1 else str(stored)
