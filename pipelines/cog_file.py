"""Putting a Cloud Optimized GeoTIFF together from compressed blocks: directories first, then the data.

The order is that of GDAL's COG driver: header; structural metadata; the directory of the full resolution and its
values, then those of the overviews from large to small; all arrays of block offsets and sizes; blocks of the smallest
overview first and of the full resolution last. Each block stands between its size (4 bytes) and its last 4 bytes
repeated, so that a reader can fetch it knowing its offset alone.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.tiff import FORMATS, SIZES, ZSTD, FieldType, Tag, Variant

_STRUCTURE = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "  # an editor that breaks it makes it "YES"
)
STRUCTURE = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_STRUCTURE) + _STRUCTURE

CLASSIC_LIMIT = 2**32 - 1
"""Bytes of the largest classic TIFF; a larger file is a BigTIFF."""

LEADER = TRAILER = 4

Fields = dict[Tag, tuple[FieldType, Any]]

_ARRAYS = (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS)
_OF_OVERVIEWS = (
    Tag.BITS_PER_SAMPLE,
    Tag.PHOTOMETRIC,
    Tag.PREDICTOR,
    Tag.COLOR_MAP,
    Tag.SAMPLE_FORMAT,
    Tag.GDAL_NODATA,
)


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution: size, block edge, bytes of each block, row-major (0: not stored), and the blocks themselves."""

    shape: tuple[int, int]
    block: int
    counts: Sequence[int]
    data: IO[bytes]

    @property
    def stored(self) -> int:
        """Bytes of all blocks with their leaders and trailers."""
        return sum(LEADER + count + TRAILER for count in self.counts if count)

    def offsets(self, start: int) -> NDArray[np.int64]:
        """Where each block lies if the first leader lies at `start`; 0 for blocks that are not stored."""
        counts = np.asarray(self.counts, np.int64)
        steps = np.where(counts > 0, LEADER + counts + TRAILER, 0)
        return np.where(counts > 0, start + LEADER + np.cumsum(steps) - steps, 0)


def assemble(file: IO[bytes], levels: Sequence[Level], tags: Mapping[Tag, tuple[FieldType, Any]]) -> None:
    """Write the whole file; `levels` from full resolution to the smallest, `tags` those that are not of one level."""
    variant = Variant(big=False)
    size = len(_head(levels, tags, variant, 0))
    if size + sum(level.stored for level in levels) > CLASSIC_LIMIT:
        variant = Variant(big=True)
        size = len(_head(levels, tags, variant, 0))
    file.write(_head(levels, tags, variant, size))
    for level in reversed(levels):
        for count in level.counts:
            if count:
                block = level.data.read(count)
                file.write(struct.pack("<I", count) + block + block[-TRAILER:])


def _head(
    levels: Sequence[Level], tags: Mapping[Tag, tuple[FieldType, Any]], variant: Variant, data_start: int
) -> bytes:
    """Everything before the blocks, which begin at `data_start`; its length does not depend on `data_start`."""
    directories = []
    block_start = data_start + sum(level.stored for level in levels)
    for i, level in enumerate(levels):
        block_start -= level.stored  # the full resolution lies last
        own = {tag: value for tag, value in tags.items() if i == 0 or tag in _OF_OVERVIEWS}
        directories.append(_Directory(own | _level_fields(level, block_start, variant, overview=i > 0), variant))

    first = _even(variant.header_size + len(STRUCTURE))
    starts = list(accumulate((d.size for d in directories), initial=first))
    arrays_at = list(accumulate((d.arrays_size for d in directories), initial=starts[-1]))
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if variant.big else struct.pack("<2sHI", b"II", 42, first)
    parts = [(header + STRUCTURE).ljust(first, b"\0")]
    for i, directory in enumerate(directories):
        following = starts[i + 1] if i + 1 < len(directories) else 0
        parts.append(directory.to_bytes(starts[i], arrays_at[i], following))
    return b"".join(parts + [directory.arrays() for directory in directories])


def _level_fields(level: Level, block_start: int, variant: Variant, *, overview: bool) -> Fields:
    height, width = level.shape
    return {
        Tag.NEW_SUBFILE_TYPE: (FieldType.LONG, [int(overview)]),
        Tag.IMAGE_WIDTH: (FieldType.LONG, [width]),
        Tag.IMAGE_LENGTH: (FieldType.LONG, [height]),
        Tag.COMPRESSION: (FieldType.SHORT, [ZSTD]),
        Tag.SAMPLES_PER_PIXEL: (FieldType.SHORT, [1]),
        Tag.PLANAR_CONFIG: (FieldType.SHORT, [1]),
        Tag.TILE_WIDTH: (FieldType.LONG, [level.block]),
        Tag.TILE_LENGTH: (FieldType.LONG, [level.block]),
        Tag.TILE_OFFSETS: (FieldType.LONG8 if variant.big else FieldType.LONG, level.offsets(block_start)),
        Tag.TILE_BYTE_COUNTS: (FieldType.LONG, level.counts),
    }


class _Directory:
    """One image file directory: entries, values that do not fit into them, and the two arrays of blocks."""

    def __init__(self, fields: Fields, variant: Variant) -> None:
        self._variant = variant
        self._fields = [(tag, kind, _pack(kind, value)) for tag, (kind, value) in sorted(fields.items())]

    @property
    def size(self) -> int:
        """Bytes of the entries and the values after them, without the two arrays."""
        return self._entries_size + sum(_even(len(value)) for _, value in self._outside(arrays=False))

    @property
    def arrays_size(self) -> int:
        """Bytes of the two arrays, where they do not fit into their entries."""
        return len(self.arrays())

    def arrays(self) -> bytes:
        """The two arrays."""
        return b"".join(_padded(value) for _, value in self._outside(arrays=True))

    def to_bytes(self, start: int, arrays_at: int, following: int) -> bytes:
        """Entries and values of a directory at `start`, its arrays at `arrays_at`, the next one at `following`."""
        places: dict[Tag, int] = {}
        for offset, arrays in ((start + self._entries_size, False), (arrays_at, True)):
            for tag, value in self._outside(arrays=arrays):
                places[tag] = offset
                offset += _even(len(value))
        parts = [struct.pack(self._variant.count_format, len(self._fields))]
        for tag, kind, value in self._fields:
            where = struct.pack(self._variant.offset_format, places[tag]) if tag in places else value
            parts.append(struct.pack(self._variant.entry_format, tag, kind, len(value) // SIZES[FORMATS[kind]], where))
        parts.append(struct.pack(self._variant.offset_format, following))
        return b"".join(parts + [_padded(value) for _, value in self._outside(arrays=False)])

    def _outside(self, *, arrays: bool) -> list[tuple[Tag, bytes]]:
        """Values too long for their entry: the two arrays, or all others."""
        return [
            (tag, value)
            for tag, _, value in self._fields
            if len(value) > self._variant.inline and (tag in _ARRAYS) == arrays
        ]

    @property
    def _entries_size(self) -> int:
        variant = self._variant
        return (
            struct.calcsize(variant.count_format)
            + struct.calcsize(variant.offset_format)
            + (len(self._fields) * struct.calcsize(variant.entry_format))
        )


def _pack(kind: FieldType, value: Any) -> bytes:
    if kind == FieldType.ASCII:
        return str(value).encode() + b"\0"
    return np.asarray(value).astype(f"<{_LETTERS[kind]}").tobytes()


_LETTERS = {FieldType.SHORT: "u2", FieldType.LONG: "u4", FieldType.LONG8: "u8", FieldType.DOUBLE: "f8"}


def _padded(value: bytes) -> bytes:
    return value + bytes(len(value) % 2)


def _even(size: int) -> int:
    return size + size % 2
