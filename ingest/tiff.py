"""Reading a TIFF's directories without opening it: what it claims to hold, and whether its data can lie in the file.

GDAL trusts a header until pixels are read, and takes a millisecond to open a file. This reads the few hundred bytes that
matter (TIFF 6.0 section 2; BigTIFF; GDAL's sparse blocks, which have offset 0 and size 0), checks every data range against
the file's size before anything is allocated for pixels, and gives the geometry of the plain case.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridscribe.errors import RefusedError, UnreadableError
from gridscribe.ingest.limits import KIB, MIB, Limits

Fetch = Callable[[int, int], bytes]
"""`fetch(start, length)`: these bytes of the file, fewer where it ends before."""

HEAD = 16 * KIB  # covers the directories and tables of almost every tile in one read
YCBCR = 6  # a value of PHOTOMETRIC
MAX_DIRECTORIES = 256  # main image, mask, and overviews of both: 64 is already more than any real file has

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, PLANAR, DATETIME = 273, 277, 278, 279, 284, 306
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_SIZES, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION = 33550, 33922, 34264
GEO_KEYS, GEO_DOUBLES, GEO_TEXT, GDAL_METADATA, GDAL_NODATA, RPC = 34735, 34736, 34737, 42112, 42113, 50844

_TABLES = {STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES}
_WANTED = _TABLES | {
    *(
        WIDTH,
        LENGTH,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        SAMPLES,
        ROWS_PER_STRIP,
        PLANAR,
        DATETIME,
        TILE_WIDTH,
        TILE_LENGTH,
    ),
    *(EXTRA_SAMPLES, SAMPLE_FORMAT, PIXEL_SCALE, TIE_POINTS, TRANSFORMATION),
    *(GEO_KEYS, GEO_DOUBLES, GEO_TEXT, GDAL_METADATA, GDAL_NODATA, RPC),
}
# type id -> (bytes, struct letter); ASCII and UNDEFINED stay bytes
_TYPES = {1: (1, "B"), 2: (1, ""), 3: (2, "H"), 4: (4, "I"), 6: (1, "b"), 7: (1, ""), 8: (2, "h"), 9: (4, "i")} | {
    11: (4, "f"),
    12: (8, "d"),
    13: (4, "I"),
    16: (8, "Q"),
    17: (8, "q"),
    18: (8, "Q"),
}
# most bytes that one stored byte can decode to: uncompressed, deflate (four matches of 258), PackBits (128 from 2)
_EXPANSION = {1: 1, 8: 1032, 32946: 1032, 32773: 64}


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """One image of a TIFF file: the values of the tags that ingest looks at, by tag number."""

    tags: dict[int, Any]

    def number(self, tag: int, default: int) -> int:
        """The first value of a tag of whole numbers."""
        value = self.tags.get(tag)
        return int(value[0]) if value is not None and len(value) else default

    @property
    def width(self) -> int:
        """Columns."""
        return self.number(WIDTH, 0)

    @property
    def height(self) -> int:
        """Rows."""
        return self.number(LENGTH, 0)

    @property
    def samples(self) -> int:
        """Bands."""
        return self.number(SAMPLES, 1)

    @property
    def dtype(self) -> str | None:
        """numpy's name of the sample type; None where samples differ or have no such type."""
        bits = set(self.tags.get(BITS, (1,)))
        formats = set(self.tags.get(SAMPLE_FORMAT, (1,)))
        if len(bits) != 1 or len(formats) != 1:
            return None
        kind = {1: "uint", 2: "int", 3: "float", 4: "uint"}.get(formats.pop())
        size = bits.pop()
        if kind is None or size not in ((16, 32, 64) if kind == "float" else (8, 16, 32, 64)):
            return None
        return f"{kind}{size}"


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins so calls itself a TIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_directories(fetch: Fetch, size: int, limits: Limits, *, head: bytes | None = None) -> list[TiffDirectory]:
    """All directories of a TIFF of `size` bytes, the main image first, every data range checked.

    Raises UnreadableError where the file is cut short, damaged or claims data outside itself, RefusedError where one of its
    blocks is larger than `limits.max_block` or its tables larger than `limits.max_index`. Messages do not name the file.
    """
    return _Parser(fetch, size, limits, fetch(0, HEAD) if head is None else head).directories()


class _Parser:
    """State of one walk over a file's directories."""

    def __init__(self, fetch: Fetch, size: int, limits: Limits, head: bytes) -> None:
        self.fetch, self.size, self.limits, self.head = fetch, size, limits, head
        self.index_bytes = 0
        if not is_tiff(head) or len(head) < 8:
            raise UnreadableError("not a TIFF: it does not begin with a TIFF header")
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\0", b"\0+")

    def directories(self) -> list[TiffDirectory]:
        if self.big:
            offset_size, zero, offset = struct.unpack_from(self.order + "HHQ", self.at(0, 16, "header"), 4)
            if (offset_size, zero) != (8, 0):
                raise UnreadableError(f"damaged BigTIFF header: offset size {offset_size}, expected 8")
        else:
            (offset,) = struct.unpack_from(self.order + "I", self.head, 4)
        found: list[TiffDirectory] = []
        seen: set[int] = set()
        while offset:
            if offset in seen or len(seen) >= MAX_DIRECTORIES:
                raise UnreadableError(f"damaged TIFF: its chain of directories loops or exceeds {MAX_DIRECTORIES}")
            seen.add(offset)
            directory, offset = self.directory(offset)
            self.check(directory, len(found))
            found.append(directory)
        if not found:
            raise UnreadableError("a TIFF without any image directory")
        return found

    def at(self, start: int, length: int, what: str) -> bytes:
        if start + length > self.size:
            raise UnreadableError(
                f"cut short or damaged: its {what} reaches to byte {start + length:,}, the file has {self.size:,}"
            )
        if start + length <= len(self.head):
            return self.head[start : start + length]
        data = self.fetch(start, length)
        if len(data) != length:
            raise UnreadableError(f"cut short: {len(data):,} of the {length:,} bytes of its {what} could be read")
        return data

    def directory(self, offset: int) -> tuple[TiffDirectory, int]:
        big, order = self.big, self.order
        count_size, entry_size, next_size = (8, 20, 8) if big else (2, 12, 4)
        (count,) = struct.unpack(order + ("Q" if big else "H"), self.at(offset, count_size, "directory"))
        self.spend(count * entry_size)
        body = self.at(offset + count_size, count * entry_size + next_size, "directory")
        tags: dict[int, Any] = {}
        entry = struct.Struct(order + ("HHQ" if big else "HHI"))
        inline, pointer = (8, order + "Q") if big else (4, order + "I")
        for position in range(0, count * entry_size, entry_size):
            tag, kind, n = entry.unpack_from(body, position)
            if tag not in _WANTED or kind not in _TYPES or tag in tags:
                continue
            width, letter = _TYPES[kind]
            length = width * n
            where = position + entry.size
            if length <= inline:
                raw = body[where : where + length]
            else:
                self.spend(length)
                (start,) = struct.unpack_from(pointer, body, where)
                raw = self.at(start, length, f"tag {tag}")
            if tag in _TABLES:
                tags[tag] = np.frombuffer(raw, order + letter.replace("I", "u4").replace("Q", "u8").replace("H", "u2"))
            else:
                tags[tag] = struct.unpack(f"{order}{n}{letter}", raw) if letter else raw
        (following,) = struct.unpack_from(pointer, body, count * entry_size)
        return TiffDirectory(tags), following

    def spend(self, length: int) -> None:
        self.index_bytes += length
        if self.index_bytes > self.limits.max_index:
            raise RefusedError(
                f"its directories and tables take more than {self.limits.max_index // MIB} MiB (limit max_index): rewrite it "
                "with larger tiles"
            )

    def check(self, directory: TiffDirectory, number: int) -> None:
        """Refuse a directory whose blocks are too large, too few, or not in the file."""
        what = "image" if number == 0 else f"directory {number}"
        height, width, samples = directory.height, directory.width, directory.samples
        if min(height, width, samples) < 1:
            raise UnreadableError(f"damaged TIFF: its {what} claims {height} x {width} pixels of {samples} bands")
        tiled = TILE_OFFSETS in directory.tags
        offsets = directory.tags.get(TILE_OFFSETS if tiled else STRIP_OFFSETS)
        sizes = directory.tags.get(TILE_SIZES if tiled else STRIP_SIZES)
        if offsets is None or sizes is None:
            raise UnreadableError(f"damaged TIFF: its {what} does not say where its pixels lie")
        rows = directory.number(TILE_LENGTH, 0) if tiled else min(directory.number(ROWS_PER_STRIP, height), height)
        cols = directory.number(TILE_WIDTH, 0) if tiled else width
        if rows < 1 or cols < 1:
            raise UnreadableError(f"damaged TIFF: its {what} has blocks of {rows} x {cols} pixels")
        separate = directory.number(PLANAR, 1) == 2
        expected = -(-height // rows) * -(-width // cols) * (samples if separate else 1)
        if len(offsets) != expected or len(sizes) != expected:
            raise UnreadableError(
                f"damaged TIFF: {height} x {width} pixels in blocks of {rows} x {cols} need {expected:,} blocks, "
                f"its {what} lists {min(len(offsets), len(sizes)):,}"
            )
        bits = sum(directory.tags.get(BITS, (1,)) if not separate else directory.tags.get(BITS, (1,))[:1])
        if len(directory.tags.get(BITS, (1,))) == 1 and not separate:
            bits *= samples
        row_bytes = -(-cols * bits // 8)
        if rows * row_bytes > self.limits.max_block:
            raise RefusedError(
                f"{height} x {width} pixels in blocks of {rows} x {cols} take {rows * row_bytes / MIB:,.0f} MiB a block "
                f"(limit max_block: {self.limits.max_block // MIB} MiB): rewrite it with tiles, for example "
                "gdal_translate -co TILED=YES"
            )
        self.check_ranges(directory, what, offsets, sizes, rows * row_bytes, tiled, height * row_bytes)

    def check_ranges(
        self,
        directory: TiffDirectory,
        what: str,
        offsets: np.ndarray,
        sizes: np.ndarray,
        block_bytes: int,
        tiled: bool,
        image_bytes: int,
    ) -> None:
        if len(sizes) == 1:
            stored, last, filled = int(sizes[0]), int(offsets[0]) + int(sizes[0]), int(sizes[0] > 0)
        else:
            there = sizes > 0
            filled = int(np.count_nonzero(there))
            wide = sizes.astype(np.float64)  # sums of hostile 64-bit values must not wrap
            stored = int(wide.sum())
            last = int((offsets.astype(np.float64) + wide)[there].max()) if filled else 0
        if last > self.size:
            raise UnreadableError(
                f"cut short or damaged: the pixels of its {what} ({directory.height} x {directory.width}) reach to byte "
                f"{last:,}, the file has {self.size:,}"
            )
        if not filled and what == "image" and GDAL_NODATA not in directory.tags:
            raise UnreadableError(
                f"holds no pixels: all {len(sizes):,} blocks of its image are empty, and it states no nodata"
            )
        expansion = _EXPANSION.get(directory.number(COMPRESSION, 1))
        if expansion is None or directory.number(PHOTOMETRIC, 1) == YCBCR:  # colour may be stored at half resolution
            return
        needed = filled * block_bytes
        if not tiled and filled == len(sizes):  # the last strip may be short
            needed = image_bytes * (directory.samples if directory.number(PLANAR, 1) == 2 else 1)
        if stored * expansion < needed:
            raise UnreadableError(
                f"damaged: {stored:,} stored bytes cannot hold the {directory.height} x {directory.width} pixels that its "
                f"{what} claims ({needed:,} bytes)"
            )
