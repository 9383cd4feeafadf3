"""Aligned pixels of an image: RGB, height above ground and validity of any window, on its own or a resampled grid."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from gridscribe.errors import ChangedError, GridscribeError
from gridscribe.ingest.files import RasterFile, open_file
from gridscribe.ingest.images import InputOptions, RasterImage
from gridscribe.ingest.info import RasterInfo
from gridscribe.ingest.sources import Source
from gridscribe.ingest.warp import lattice_offset, read_shifted, warp
from gridscribe.values import Grid, Window

ELEVATIONS = (
    -500.0,
    9000.0,
)  # metres: what a DSM or DTM of the Earth can hold; all else is a missing value left unmarked


@dataclass(frozen=True, slots=True)
class Pixels:
    """Aligned pixels of one window."""

    rgb: np.ndarray
    """uint8 `[3, h, w]`, 0 where invalid."""
    height: np.ndarray
    """float32 `[h, w]`, metres above ground, NaN where missing or impossible."""
    valid: np.ndarray
    """bool `[h, w]`: RGB is there."""


def open_raster(image: RasterImage) -> RasterReader:
    """A reader of `image`, for use in a `with` and in one thread. Files are opened by the first read that needs them."""
    return RasterReader(image)


class RasterReader:
    """Reads windows of one image. Not thread-safe: one per thread.

    What `read` returns depends on (image, window, grid) alone: not on what was read before, nor on how an image is divided.
    """

    def __init__(self, image: RasterImage) -> None:
        self.image = image
        self.grid: Grid = image.grid
        self._stack = ExitStack()
        self._rgb: _Color | None = None
        self._heights: tuple[_Height, ...] | None = None

    def read(self, window: Window, grid: Grid | None = None) -> Pixels:
        """The pixels of `window`, which must lie inside `grid` (the image's own by default).

        Own grid: RGB as stored. Height: as stored where its lattice is the RGB's, else warped, bilinear, on exactly this box.
        Another `grid` (the image's, resampled): RGB and height averaged where they shrink, bilinear where they grow.

        Raises UnreadableError where pixels are damaged, ChangedError where a file is not what was planned.
        """
        grid = self._inside(window, grid)
        rgb, valid = self._color().read(window, grid)
        return Pixels(rgb, self._read_height(window, grid), valid)

    def read_color(self, window: Window, grid: Grid | None = None) -> tuple[np.ndarray, np.ndarray]:
        """`rgb` and `valid` of `read` alone, for who has no use for height."""
        grid = self._inside(window, grid)
        return self._color().read(window, grid)

    def _inside(self, window: Window, grid: Grid | None) -> Grid:
        grid = self.grid if grid is None else grid
        if not window or not grid.window.contains(window):
            raise ValueError(f"{window} is not inside the {grid.height} x {grid.width} pixels of {self.image.source}")
        return grid

    def close(self) -> None:
        """Close all files; a later read opens them again."""
        self._rgb = self._heights = None
        self._stack.close()

    def _open(self, source: Source) -> RasterFile:
        return self._stack.enter_context(open_file(source, self.image.options.limits))

    def _color(self) -> _Color:
        if self._rgb is None:
            image = self.image
            file = self._open(image.rgb)
            if (file.info.height, file.info.width, file.info.dtype) != (*image.grid.shape, image.dtype):
                raise ChangedError(
                    f"{image.rgb.name}: holds {file.info.height} x {file.info.width} pixels of {file.info.dtype}, planned "
                    f"were {image.grid.height} x {image.grid.width} of {image.dtype}: run the job again"
                )
            self._rgb = _Color(file, image)
        return self._rgb

    def _layers(self) -> tuple[_Height, ...]:
        if self._heights is None:
            image, options = self.image, self.image.options
            if image.height_band is not None:
                file = self._color().file
                self._heights = (_Height(file, image.height_band, options, options.height_range, image.grid),)
            elif image.height is not None:
                self._heights = (_Height(self._open(image.height), None, options, options.height_range, image.grid),)
            elif image.dsm is not None and image.dtm is not None:
                surface, ground = self._open(image.dsm), self._open(image.dtm)
                self._heights = (
                    _Height(surface, None, options, ELEVATIONS, image.grid),
                    _Height(ground, None, options, ELEVATIONS, image.grid),
                )
            else:
                self._heights = ()
        return self._heights

    def _read_height(self, window: Window, grid: Grid) -> np.ndarray:
        layers = self._layers()
        if not layers:
            return np.full(window.shape, np.nan, np.float32)
        height = layers[0].read(window, grid)
        if len(layers) == 2:
            height = height - layers[1].read(window, grid)
            low, high = self.image.options.height_range
            height[(height < low) | (height > high)] = np.nan
        return height

    def __enter__(self) -> RasterReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Color:
    """The RGB bands of a file, as uint8 with validity."""

    def __init__(self, file: RasterFile, image: RasterImage) -> None:
        self.file, self._grid = file, image.grid
        options = self._options = image.options
        # GDAL marks the fourth of four byte bands as opacity unless told otherwise: said to be height, it is none
        self._masked = file.info.alpha is None or file.info.alpha != image.height_band
        if options.nodata is not None:
            self._nodata: tuple[float | None, ...] = (options.nodata,) * 3
        else:
            self._nodata = tuple(file.nodata[band - 1] for band in options.rgb_bands)

    def read(self, window: Window, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 [3, h, w], bool [h, w])."""
        if grid == self._grid:
            return self._native(window)
        values = warp(self._floats, self._grid, grid, window, 3, average=True)
        valid = ~np.isnan(values).any(axis=0)
        rgb = np.where(valid, np.clip(np.rint(values), 0, 255), 0).astype(np.uint8)
        return rgb, valid

    def _floats(self, window: Window) -> np.ndarray:
        rgb, valid = self._native(window)
        return np.where(valid, rgb.astype(np.float32), np.float32(np.nan))

    def _native(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        stored = self.file.read(self._options.rgb_bands, window)
        valid = np.ones(window.shape, bool)
        opaque = self.file.opaque(window) if self._masked else None
        if opaque is not None:
            valid &= opaque
        if all(value is not None for value in self._nodata):
            # as GDAL: a pixel is missing where every band says so; one saturated band is a bright pixel
            valid &= ~np.logical_and.reduce(
                [_equals(band, value) for band, value in zip(stored, self._nodata, strict=True)]
            )
        if stored.dtype.kind == "f":
            valid &= np.isfinite(stored).all(axis=0)
        rgb = stored if stored.dtype == np.uint8 else self._scaled(stored, valid)
        if not valid.all():
            rgb = np.where(valid, rgb, np.uint8(0))
        return rgb, valid

    def _scaled(self, stored: np.ndarray, valid: np.ndarray) -> np.ndarray:
        if self._options.scale is None:
            raise GridscribeError(f"{self.file.info.dtype} RGB was planned without input option 'scale'")
        low, high = self._options.scale
        values = np.where(valid, stored, low).astype(np.float64)
        return np.rint(np.clip((values - low) * (255.0 / (high - low)), 0, 255)).astype(np.uint8)


class _Height:
    """One band of metres, NaN where missing or outside `allowed`."""

    def __init__(
        self, file: RasterFile, band: int | None, options: InputOptions, allowed: tuple[float, float], image: Grid
    ) -> None:
        self._file = file
        self._band = band if band is not None else _only_band(file.info)
        self._masked = file.info.alpha != self._band
        self._allowed = allowed
        info = file.info
        both = info.grid.georeferenced and image.georeferenced
        # a height without a place of its own lies on its RGB, pixel on pixel
        self._grid = info.grid if both else Grid(info.height, info.width, image.transform, image.crs)
        stated = file.nodata[self._band - 1]
        self._nodata = options.height_nodata if options.height_nodata is not None else stated
        self._factor = file.scales[self._band - 1] * options.height_scale
        self._shift = file.offsets[self._band - 1] * options.height_scale
        self._image = image
        # whether a missing value could pass for a height
        self._marked = (
            self._nodata is not None and allowed[0] <= self._nodata * self._factor + self._shift <= allowed[1]
        )

    def read(self, window: Window, grid: Grid) -> np.ndarray:
        """float32 [h, w]."""
        offset = lattice_offset(self._grid, grid)
        if offset is not None:
            return read_shifted(self._metres, self._grid, offset, window, 1)[0]
        return warp(self._metres, self._grid, grid, window, 1, average=grid != self._image)[0]

    def _metres(self, window: Window) -> np.ndarray:
        stored = self._file.read((self._band,), window)
        opaque = self._file.opaque(window) if self._masked else None
        if (self._factor, self._shift) == (1.0, 0.0):
            metres = stored.astype(np.float32)
        else:
            metres = (stored.astype(np.float64) * self._factor + self._shift).astype(np.float32)
        low, high = self._allowed
        if opaque is None and not self._marked and metres.min() >= low and metres.max() <= high:
            return metres  # the common window, in two passes (a NaN fails both)
        missing = _equals(stored, self._nodata)
        if opaque is not None:
            missing |= ~opaque
        with np.errstate(invalid="ignore"):
            missing |= ~((metres >= low) & (metres <= high))  # NaN and infinities too
        metres[missing] = np.nan
        return metres


def _only_band(info: RasterInfo) -> int:
    """The band of a height file that is not its opacity."""
    return 2 if info.alpha == 1 else 1


def _equals(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where values are `nodata`, as far as their type can tell: float32 files state it with a double's digits."""
    if nodata is None:
        return np.zeros(values.shape, bool)
    if math.isnan(nodata):
        return np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values == values.dtype.type(nodata)
    info = np.iinfo(values.dtype)
    if not (float(nodata).is_integer() and info.min <= nodata <= info.max):
        return np.zeros(values.shape, bool)
    return values == values.dtype.type(int(nodata))
