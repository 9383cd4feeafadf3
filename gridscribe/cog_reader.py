"""Reading single pixels out of the Cloud Optimized GeoTIFFs that gridscribe writes, without GDAL.

A query needs the header, which lies in the first few kilobytes, and the block that holds the pixel: two ranged
requests, and one where the file is small. GDAL would do the same behind settings of the whole process; here every
request goes through the `Store` and may be made from any thread.

Read are little-endian TIFF and BigTIFF of one tiled band of integers (8 or 16 bits, or 32 or 64 unsigned), stored plain
or with ZSTD, with or without horizontal differences: everything that gridscribe writes. Anything else raises
`LayoutError` saying what it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import unescape

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gridscribe.errors import LayoutError
from gridscribe.tiff import FORMATS, SIZES, UNCOMPRESSED, ZSTD, FieldType, Tag, Variant

READ_AHEAD = 32 * 1024
"""Bytes of the first request. It holds the header of a raster of about 16000 x 16000 px, and small rasters whole."""
MAX_HEAD = 64 << 20
MAX_BLOCK = 64 << 20

Read = Callable[[int, int], bytes]
"""`read(start, length)`: that range of the file, shorter only where the file ends."""


@dataclass(frozen=True)
class CogHeader:
    """The full resolution of one file: where each block lies and how it is stored."""

    name: str
    height: int
    width: int
    block_height: int
    block_width: int
    dtype: np.dtype[Any]
    nodata: int
    compression: int
    predictor: int
    offsets: NDArray[np.int64]
    """Of each block, row-major; 0 where the block is not stored and all nodata."""
    counts: NDArray[np.int64]
    items: dict[str, str]
    """Metadata of the file."""
    band_items: dict[str, str]
    """Metadata of the band, such as `CLASS_0`."""
    head: bytes
    """The first bytes of the file, as far as they were read; blocks inside need no request."""

    @property
    def blocks_across(self) -> int:
        """Blocks from left to right."""
        return -(-self.width // self.block_width)

    @property
    def nbytes(self) -> int:
        """Memory held, roughly."""
        return len(self.head) + self.offsets.nbytes + self.counts.nbytes + 2048

    @property
    def class_names(self) -> dict[int, str]:
        """Class id -> name, from the band's metadata; empty for rasters that are no masks."""
        names = {key[6:]: value for key, value in self.band_items.items() if key.startswith("CLASS_")}
        return {int(key): value for key, value in names.items() if key.isdigit()}

    def check(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        """Raise `LayoutError` where the raster is not of this size and type."""
        if (self.height, self.width) != shape or self.dtype != dtype:
            raise LayoutError(
                f"{self.name} is {self.height} x {self.width} px of {self.dtype}, its commit says {shape[0]} x {shape[1]} "
                f"px of {dtype}: it is not the committed file"
            )

    def decode(self, data: bytes) -> NDArray[Any]:
        """The pixels of a block, [block_height, block_width], read-only; b"" is a block that is not stored."""
        shape = self.block_height, self.block_width
        if not data:
            return np.broadcast_to(np.array(self.nodata, self.dtype), shape)
        size = shape[0] * shape[1] * self.dtype.itemsize
        if self.compression == ZSTD:
            try:
                data = pa.decompress(data, decompressed_size=size, codec="zstd", asbytes=True)
            except (OSError, ValueError) as error:
                raise LayoutError(f"{self.name}: a block of {len(data)} bytes is damaged ({error})") from error
        if len(data) != size:
            raise LayoutError(f"{self.name}: a block has {len(data)} bytes, {size} expected: the file is damaged")
        pixels: NDArray[Any] = np.frombuffer(data, self.dtype).reshape(shape)
        if self.predictor == 2:
            words = pixels.view(f"u{self.dtype.itemsize}")
            pixels = np.add.accumulate(words, axis=1, dtype=words.dtype).view(self.dtype)
            pixels.flags.writeable = False
        return pixels


def read_header(read: Read, name: str) -> CogHeader:
    """The header of the file behind `read`; one request, or two for a raster of more than about 16000 px a side.

    `name` stands in errors. Raises `LayoutError` for what is not a file that gridscribe writes.
    """
    head = _Head(read, name)
    fields = head.directory()
    size = {
        tag: head.number(fields, tag) for tag in (Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH, Tag.TILE_WIDTH, Tag.TILE_LENGTH)
    }
    compression = head.number(fields, Tag.COMPRESSION, 1)
    predictor = head.number(fields, Tag.PREDICTOR, 1)
    bits, sample = head.number(fields, Tag.BITS_PER_SAMPLE, 1), head.number(fields, Tag.SAMPLE_FORMAT, 1)
    dtype = {(8, 1): "u1", (8, 2): "i1", (16, 1): "<u2", (16, 2): "<i2", (32, 1): "<u4", (64, 1): "<u8"}.get(
        (bits, sample)
    )
    for what, value, good in (
        ("bands", head.number(fields, Tag.SAMPLES_PER_PIXEL, 1), (1,)),
        ("compression", compression, (UNCOMPRESSED, ZSTD)),
        ("predictor", predictor, (1, 2)),
    ):
        if value not in good:
            raise LayoutError(f"{name}: {what} {value} is not what gridscribe writes ({' or '.join(map(str, good))})")
    if dtype is None:
        raise LayoutError(f"{name}: {bits}-bit samples of format {sample} are not what gridscribe writes")
    height, width = size[Tag.IMAGE_LENGTH], size[Tag.IMAGE_WIDTH]
    block_height, block_width = size[Tag.TILE_LENGTH], size[Tag.TILE_WIDTH]
    if min(size.values()) < 1 or block_height * block_width * 2 > MAX_BLOCK:
        raise LayoutError(f"{name}: {height} x {width} px in blocks of {block_height} x {block_width} cannot be read")
    try:
        offsets = np.asarray(head.values(fields, Tag.TILE_OFFSETS), np.int64)
        counts = np.asarray(head.values(fields, Tag.TILE_BYTE_COUNTS), np.int64)
    except OverflowError as error:
        raise LayoutError(f"{name}: a block lies beyond all files ({error}): it is damaged") from error
    blocks = -(-height // block_height) * -(-width // block_width)
    if len(offsets) != blocks or len(counts) != blocks:
        raise LayoutError(f"{name}: {len(offsets)} offsets and {len(counts)} sizes of {blocks} blocks: it is damaged")
    items, band_items = _metadata(head.text(fields, Tag.GDAL_METADATA), name)
    nodata = head.text(fields, Tag.GDAL_NODATA).strip() or "0"
    try:
        nodata_value = int(np.dtype(dtype).type(int(nodata)))
    except (ValueError, OverflowError) as error:
        raise LayoutError(f"{name}: nodata {nodata!r} is not a value of its {bits}-bit pixels") from error
    return CogHeader(
        name, height, width, block_height, block_width, np.dtype(dtype), nodata_value, compression, predictor,
        offsets, counts, items, band_items, bytes(head.data),
    )  # fmt: skip


def first_directory(data: bytes) -> dict[Tag, tuple[FieldType, Any]]:
    """Known tags of the first directory of a TIFF held in memory: (type, text or list of numbers)."""
    head = _Head(lambda start, length: data[start : start + length], "TIFF in memory")
    fields = head.directory()
    return {
        tag: (field.kind, head.text(fields, tag) if field.kind == FieldType.ASCII else head.values(fields, tag))
        for tag, field in fields.items()
    }


@dataclass(frozen=True, slots=True)
class _Field:
    kind: FieldType
    count: int
    inline: bytes


_KNOWN = frozenset(Tag)


class _Head:
    """The beginning of a file, extended by further requests as far as the first directory reaches."""

    def __init__(self, read: Read, name: str) -> None:
        self._read, self._name = read, name
        self.data = bytearray(read(0, READ_AHEAD))
        magic = bytes(self.data[:4])
        if magic not in (b"II*\0", b"II+\0"):
            raise LayoutError(f"{name} is not a little-endian TIFF: it begins with {magic!r}")
        self._variant = Variant(big=magic[2:3] == b"+")

    def directory(self) -> dict[Tag, _Field]:
        """Entries of the first directory, known tags and types alone."""
        variant = self._variant
        (start,) = struct.unpack("<Q" if variant.big else "<I", self._bytes(8 if variant.big else 4, variant.inline))
        step = struct.calcsize(variant.count_format)
        (count,) = struct.unpack(variant.count_format, self._bytes(start, step))
        size = struct.calcsize(variant.entry_format)
        entries = self._bytes(start + step, count * size)
        fields = {}
        for tag, kind, number, inline in struct.iter_unpack(variant.entry_format, entries):
            if tag in _KNOWN and kind in FORMATS:
                fields[Tag(tag)] = _Field(FieldType(kind), number, inline)
        return fields

    def number(self, fields: dict[Tag, _Field], tag: Tag, default: int | None = None) -> int:
        """A single number."""
        if tag not in fields and default is not None:
            return default
        values = self.values(fields, tag)
        if len(values) != 1:
            raise LayoutError(f"{self._name}: {tag.name} has {len(values)} values, 1 expected")
        return int(values[0])

    def values(self, fields: dict[Tag, _Field], tag: Tag) -> list[Any]:
        """All numbers of a field."""
        field = self._field(fields, tag)
        return np.frombuffer(self._raw(field), f"<{FORMATS[field.kind]}").tolist()

    def text(self, fields: dict[Tag, _Field], tag: Tag) -> str:
        """A text; "" where the field is absent."""
        return self._raw(fields[tag]).rstrip(b"\0").decode(errors="replace") if tag in fields else ""

    def _field(self, fields: dict[Tag, _Field], tag: Tag) -> _Field:
        if tag not in fields:
            raise LayoutError(f"{self._name} has no {tag.name}: it is not a tiled GeoTIFF that gridscribe wrote")
        return fields[tag]

    def _raw(self, field: _Field) -> bytes:
        size = field.count * SIZES[FORMATS[field.kind]]
        if size <= self._variant.inline:
            return field.inline[:size]
        (start,) = struct.unpack(self._variant.offset_format, field.inline)
        return self._bytes(start, size)

    def _bytes(self, start: int, size: int) -> bytes:
        end = start + size
        if end > MAX_HEAD:
            raise LayoutError(f"{self._name}: its directory reaches to byte {end}: it is no Cloud Optimized GeoTIFF")
        if end > len(self.data):
            missing = -(-(end - len(self.data)) // READ_AHEAD) * READ_AHEAD
            self.data += self._read(len(self.data), missing)
        if end > len(self.data):
            raise LayoutError(f"{self._name} ends at byte {len(self.data)}, {end} expected: it is cut short")
        return bytes(self.data[start:end])


def _metadata(xml: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """(items of the file, items of its band) of GDAL's metadata XML."""
    if not xml:
        return {}, {}
    try:
        root = ET.fromstring(xml)  # the file is committed output, and expat refuses entity bombs
    except ET.ParseError as error:
        raise LayoutError(f"{name}: its metadata is damaged ({error})") from error
    of_file: dict[str, str] = {}
    of_band: dict[str, str] = {}
    for item in root.iter("Item"):
        # GDAL escapes the values twice: once for itself, once as XML.
        value = unescape(item.text or "", {"&quot;": '"', "&apos;": "'"})
        (of_file if item.get("sample") is None else of_band)[item.get("name", "")] = value
    return of_file, of_band
