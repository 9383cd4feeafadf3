"""What the TIFF that gridscribe writes and the TIFF that it reads have in common: tag numbers, field types, the header.

Source: TIFF 6.0; BigTIFF (libtiff); GeoTIFF 1.1 (OGC 19-008r4); GDAL's private tags 42112 and 42113 and its
"GDAL_STRUCTURAL_METADATA" block, described with its COG driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Tag(IntEnum):
    """The tags that are written or read; all others are ignored."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    SAMPLES_PER_PIXEL = 277
    PLANAR_CONFIG = 284
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SAMPLE_FORMAT = 339
    MODEL_PIXEL_SCALE = 33550
    MODEL_TIEPOINT = 33922
    MODEL_TRANSFORMATION = 34264
    GEO_KEY_DIRECTORY = 34735
    GEO_DOUBLE_PARAMS = 34736
    GEO_ASCII_PARAMS = 34737
    GDAL_METADATA = 42112
    GDAL_NODATA = 42113


class FieldType(IntEnum):
    """TIFF field types."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    DOUBLE = 12
    LONG8 = 16


FORMATS: dict[int, str] = {
    FieldType.BYTE: "B",
    FieldType.ASCII: "B",
    FieldType.SHORT: "H",
    FieldType.LONG: "I",
    FieldType.DOUBLE: "d",
    FieldType.LONG8: "Q",
}
"""`struct` and numpy letter of each type; text is bytes."""

SIZES = {"B": 1, "H": 2, "I": 4, "d": 8, "Q": 8}

BLOCK = 512
"""Pixels of a block's side in every raster that gridscribe writes."""

ZSTD = 50000
UNCOMPRESSED = 1


@dataclass(frozen=True, slots=True)
class Variant:
    """Where classic TIFF (version 42) and BigTIFF (43) differ."""

    big: bool

    @property
    def header_size(self) -> int:
        """Bytes before everything else."""
        return 16 if self.big else 8

    @property
    def count_format(self) -> str:
        """`struct` format of the number of entries of an IFD."""
        return "<Q" if self.big else "<H"

    @property
    def entry_format(self) -> str:
        """`struct` format of an entry: tag, type, count, value or offset as bytes."""
        return "<HHQ8s" if self.big else "<HHI4s"

    @property
    def offset_format(self) -> str:
        """`struct` format of an offset."""
        return "<Q" if self.big else "<I"

    @property
    def inline(self) -> int:
        """Bytes of a value that stand in the entry itself."""
        return 8 if self.big else 4
