"""Masks, confidences and heights as Cloud Optimized GeoTIFFs, written row by row.

`CogWriter` takes the finished rows of a raster from the top and compresses each row of tiles, and the overviews of it,
as soon as it is full. It holds one row of tiles per level and never the raster. GDAL's own COG driver needs the whole
raster uncompressed in scratch, reads it twice and takes three times as long for a 1024 px tile. The layout written is
the one that it writes (directories before data, smallest overview first, block leaders and trailers), and GDAL
recognises it as `LAYOUT=COG`. The bytes are a function of pixels, grid, classes and metadata alone: no clock, host,
path or thread is in them.

A TIFF has no place for the names of classes (GDAL would put category names into a second file, `.aux.xml`), so each
name is an item of the band's metadata, `CLASS_<value>`, which GDAL and rasterio list with the band and QGIS shows in
the layer's information. The VRT of an image of several parts holds them as category names too, which make a legend.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gridscribe.pipelines.cog_file import Level, assemble
from gridscribe.pipelines.cog_overviews import average2, mode2
from gridscribe.tiff import BLOCK, FieldType, Tag
from gridscribe.values import Grid

LEVEL = 1
"""ZSTD level: 3 takes 1 % off what a 4096 px scene's three rasters need, and 1.5 times the time."""
SPOOL = 1 << 18  # compressed bytes of a level kept in memory before they go to a temporary file
HALVED_AT_ONCE = 64  # rows; an even number


class ClassLike(Protocol):
    """A class of a mask: its value, name and colour."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def color(self) -> tuple[int, int, int]: ...


@dataclass(frozen=True, slots=True)
class RasterKind:
    """How one kind of raster is stored."""

    name: str
    dtype: str
    nodata: int
    predictor: int
    scale: float | None = None
    """Stored value times this is the value in `unit`; None where values are labels."""
    unit: str | None = None


MASK = RasterKind("mask", "uint8", 255, 1)
CONFIDENCE = RasterKind("confidence", "uint8", 255, 2, scale=1 / 254)
HEIGHT = RasterKind("height", "int16", -32768, 2, scale=0.01, unit="m")
KINDS = {kind.name: kind for kind in (MASK, CONFIDENCE, HEIGHT)}
REGIONS = RasterKind("regions", "uint32", 0, 1)
"""Labels as masks are, but they belong to an image and not to an item, and stand beside their table."""


class CogWriter:
    """Writes one single-band COG from rows that come in order, from the top.

    512 px blocks, ZSTD, overviews by halves down to one block (`mode` for masks, `average` for the others, nodata left
    out of both), blocks of nothing but nodata not stored. Memory: about `1024 * width` pixels, half of that by `write_tiles`,
    and 256 KiB a level. A file over 4 GiB is a BigTIFF. (Of a raster one pixel wide rio-cogeo says that its overviews are
    invalid, as it does of GDAL's own: it tells their factor from the width alone.)
    """

    def __init__(
        self,
        kind: RasterKind,
        grid: Grid,
        *,
        classes: Sequence[ClassLike] = (),
        metadata: Mapping[str, str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        """`metadata` becomes items of the file's metadata; `scratch` is the folder for what exceeds memory."""
        self._kind, self._grid = kind, grid
        self._tags = _fixed_tags(kind, grid, classes, metadata or {})
        self._row = 0
        shape = grid.shape
        self._levels = [_LevelWriter(kind, shape, scratch)]
        while max(shape) > BLOCK:
            shape = (shape[0] + 1) // 2, (shape[1] + 1) // 2
            self._levels.append(_LevelWriter(kind, shape, scratch))
        for above, below in zip(self._levels[1:], self._levels, strict=False):
            below.smaller = above

    def write_rows(self, row: int, rows: NDArray[Any]) -> None:
        """Add `rows`, [n, width] of the kind's dtype; `row` must be the first row that is still missing."""
        if row != self._row or rows.shape[1] != self._grid.width or row + len(rows) > self._grid.height:
            raise ValueError(
                f"rows {row}..{row + len(rows)} of width {rows.shape[1]}: expected rows from {self._row} on, of width "
                f"{self._grid.width}, up to row {self._grid.height}"
            )
        if rows.dtype != self._kind.dtype:
            raise ValueError(f"{self._kind.name} rows are {rows.dtype}: expected {self._kind.dtype}")
        self._levels[0].add(rows)
        self._row += len(rows)

    def write_tiles(self, row: int, height: int, parts: Iterable[NDArray[Any]]) -> None:
        """Add whole rows of blocks: [height, n] each, left to right, every n but the last a multiple of 512.

        Of the full resolution nothing is held, which is most of a wide raster's memory. `height` must be 512, or all that is
        missing; `row` the first row that is, a multiple of 512.
        """
        if row != self._row or row % BLOCK or height != min(BLOCK, self._grid.height - row):
            raise ValueError(
                f"blocks of rows {row}..{row + height}: expected {min(BLOCK, self._grid.height - self._row)} rows from "
                f"{self._row} on, that is a multiple of {BLOCK}"
            )
        self._levels[0].add_tiles(height, parts)
        self._row += height

    def save(self, path: Path) -> None:
        """Write the file; every row must have come. Closes the writer."""
        if self._row != self._grid.height:
            raise ValueError(f"{self._row} of {self._grid.height} rows have come: the COG cannot be written")
        with path.open("wb") as file:
            assemble(file, [level.finished() for level in self._levels], self._tags)
        self.close()

    def close(self) -> None:
        """Drop what is buffered; no more rows can be written."""
        for level in self._levels:
            level.close()


class _LevelWriter:
    """One resolution: a row of tiles being filled, and the tiles that are done."""

    def __init__(self, kind: RasterKind, shape: tuple[int, int], scratch: Path | None) -> None:
        self.smaller: _LevelWriter | None = None
        self._kind, self._shape = kind, shape
        self._tiles_across = -(-shape[1] // BLOCK)
        rows = min(BLOCK, shape[0])
        self._band = np.empty((rows, shape[1]), kind.dtype)
        self._filled = self._done = 0
        self._codec = pa.Codec("zstd", compression_level=LEVEL)
        folder = None if scratch is None else str(scratch)
        self._data: IO[bytes] = SpooledTemporaryFile(max_size=SPOOL, dir=folder)  # noqa: SIM115 - `close` closes it
        self._counts: list[int] = []

    def add(self, rows: NDArray[Any]) -> None:
        """Take [n, width]; n is any number that the level still lacks."""
        while len(rows):
            take = min(len(rows), len(self._band) - self._filled)
            self._band[self._filled : self._filled + take] = rows[:take]
            rows = rows[take:]
            self._grown(take)

    def add_tiles(self, height: int, parts: Iterable[NDArray[Any]]) -> None:
        """Take a whole row of blocks in parts, [height, n] from left to right; nothing may be waiting."""
        col = 0
        for part in parts:
            if len(part) != height or part.dtype != self._kind.dtype or col % BLOCK or self._filled:
                raise ValueError(
                    f"part of {part.shape} {part.dtype} at column {col}: expected {height} rows of {self._kind.dtype}, at a "
                    f"multiple of {BLOCK}"
                )
            self._write(part, col)
            col += part.shape[1]
        if col != self._shape[1]:
            raise ValueError(f"the parts have {col} columns, the raster {self._shape[1]}")
        self._end_of(height)

    def _flush(self) -> None:
        self._write(self._band[: self._filled], 0)
        height, self._filled = self._filled, 0
        self._end_of(height)

    def _write(self, part: NDArray[Any], at: int) -> None:
        """Encode what lies in whole blocks from column `at` on, and halve it into the next level's band."""
        for col in range(0, part.shape[1], BLOCK):
            data = self._encode(part[:, col : col + BLOCK])
            self._data.write(data)
            self._counts.append(len(data))
        if self.smaller is not None:
            reduce2 = mode2 if self._kind.scale is None else average2
            for row in range(0, len(part), HALVED_AT_ONCE):
                half = reduce2(part[row : row + HALVED_AT_ONCE], self._kind.nodata)
                below = self.smaller._filled + row // 2
                self.smaller._band[below : below + len(half), at // 2 : at // 2 + half.shape[1]] = half

    def _end_of(self, height: int) -> None:
        """A row of blocks is written."""
        self._done += height
        if self.smaller is not None:
            self.smaller._grown(-(-height // 2))

    def _grown(self, height: int) -> None:
        """Some rows more are in the band: two rows of the larger level's blocks fill it."""
        self._filled += height
        if self._filled == len(self._band) or self._done + self._filled == self._shape[0]:
            self._flush()

    def _encode(self, part: NDArray[Any]) -> bytes:
        """Compressed block of `part`, filled up with nodata; b"" where there is nothing else in it."""
        if part[0, 0] == self._kind.nodata and (part == self._kind.nodata).all():
            return b""
        if part.shape != (BLOCK, BLOCK):
            whole = np.full((BLOCK, BLOCK), self._kind.nodata, self._kind.dtype)
            whole[: part.shape[0], : part.shape[1]] = part
            part = whole
        tile = np.empty((BLOCK, BLOCK), self._kind.dtype)
        if self._kind.predictor == 2:
            tile[:, 0] = part[:, 0]
            np.subtract(part[:, 1:], part[:, :-1], out=tile[:, 1:])  # wraps around, as TIFF 6.0 section 14 has it
        else:
            tile[:] = part
        compressed: bytes = self._codec.compress(pa.py_buffer(tile), asbytes=True)
        return compressed

    def finished(self) -> Level:
        """The level's size, block sizes and data, for `assemble`."""
        self._data.seek(0)
        return Level(self._shape, BLOCK, self._counts, self._data)

    def close(self) -> None:
        """Drop the data."""
        self._data.close()


def encode_cog(
    path: Path,
    kind: RasterKind,
    array: NDArray[Any],
    grid: Grid,
    *,
    classes: Sequence[ClassLike] = (),
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the whole `array`, [height, width] of the kind's dtype, as a COG; see `CogWriter`."""
    writer = CogWriter(kind, grid, classes=classes, metadata=metadata)
    writer.write_rows(0, array)
    writer.save(path)


def _fixed_tags(
    kind: RasterKind, grid: Grid, classes: Sequence[ClassLike], metadata: Mapping[str, str]
) -> dict[Tag, tuple[FieldType, Any]]:
    """The tags that do not depend on the pixels, of every level (geotags and metadata are for the first alone)."""
    from gridscribe.pipelines.cog_tags import color_map, gdal_metadata, geo_tags

    dtype = np.dtype(kind.dtype)
    tags: dict[Tag, tuple[FieldType, Any]] = {
        Tag.BITS_PER_SAMPLE: (FieldType.SHORT, [dtype.itemsize * 8]),
        Tag.PHOTOMETRIC: (FieldType.SHORT, [3 if classes else 1]),
        Tag.SAMPLE_FORMAT: (FieldType.SHORT, [2 if dtype.kind == "i" else 1]),
        Tag.GDAL_NODATA: (FieldType.ASCII, str(kind.nodata)),
        Tag.GDAL_METADATA: (FieldType.ASCII, gdal_metadata(kind, classes, metadata)),
        **geo_tags(grid),
    }
    if kind.predictor != 1:
        tags[Tag.PREDICTOR] = (FieldType.SHORT, [kind.predictor])
    if classes:
        tags[Tag.COLOR_MAP] = (FieldType.SHORT, color_map(classes))
    return tags
