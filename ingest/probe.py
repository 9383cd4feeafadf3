"""Looking at a raster's header: what it holds and whether it can be read, before any pixel is.

Plain GeoTIFFs, nearly all of what archives hold, are judged from their first bytes in a tenth of the time that GDAL takes to
open them; one file of each kind of CRS, and all that is out of the plain, goes through GDAL.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace

import numpy as np

from gridscribe.errors import RefusedError, UnreadableError
from gridscribe.ingest import tiff
from gridscribe.ingest.bytesio import PartRanges, Ranges
from gridscribe.ingest.files import RasterFile, open_ranges
from gridscribe.ingest.gdal import driver_of
from gridscribe.ingest.hdf5 import is_hdf5
from gridscribe.ingest.info import Affine6, RasterInfo
from gridscribe.ingest.limits import MIB, Limits
from gridscribe.ingest.times import from_tiff_tag

READABLE = "TIFF, PNG, JPEG, JPEG 2000, WebP or HDF5"
# GDAL reads a PNG that is cut short without complaint, as black
_END_MARKS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_PIXEL_IS_AREA, _RASTER_TYPE = 1, 1025


@dataclass
class Prober:
    """Probes many files, remembering the CRS that each distinct set of GeoTIFF keys stands for."""

    limits: Limits

    def __post_init__(self) -> None:
        self._crs: dict[bytes, str | None] = {}

    def probe(self, ranges: Ranges, head: bytes | None = None) -> RasterInfo:
        """What the raster in `ranges` is; `head`: its first bytes, where they are at hand.

        Raises UnreadableError (empty, damaged, cut short, another format) or RefusedError (blocks over the limit).
        """
        if ranges.size == 0:
            raise UnreadableError(f"{ranges.name}: empty (0 bytes)")
        info = self._look(ranges, head)
        if info.transform is not None and not _invertible(info.transform):
            raise UnreadableError(f"{ranges.name}: its transform {info.transform} gives pixels no area")
        return info

    def _look(self, ranges: Ranges, head: bytes | None) -> RasterInfo:
        head = ranges.fetch(0, tiff.HEAD) if head is None else head
        driver = driver_of(head)
        if is_hdf5(head):
            with self._open(ranges) as file:
                return file.info
        if driver is None:
            raise UnreadableError(f"{ranges.name}: not a {READABLE} file, whatever its name says")
        if driver == "GTiff":
            try:
                directories = tiff.read_directories(ranges.fetch, ranges.size, self.limits, head=head)
            except (UnreadableError, RefusedError) as exc:
                raise type(exc)(f"{ranges.name}: {exc}") from None
            info, keys = _plain_geotiff(directories)
            if info is not None and keys in self._crs:
                return replace(info, crs=self._crs[keys])
            with self._open(ranges) as file:
                if info is not None and keys is not None and _same_place(info, file.info):
                    self._crs[keys] = file.info.crs
                return file.info
        if driver in _END_MARKS and _END_MARKS[driver] not in ranges.fetch(max(0, ranges.size - 4096), 4096):
            raise UnreadableError(f"{ranges.name}: cut short: no end mark")
        with self._open(ranges) as file:
            info = file.info
            self._check_whole(ranges.name, info, head)
        return info

    def _open(self, ranges: Ranges) -> RasterFile:
        """Opened by its library; the caller's ranges stay open."""
        return open_ranges(PartRanges(ranges, 0, ranges.size, ranges.name), self.limits)

    def _check_whole(self, name: str, info: RasterInfo, head: bytes) -> None:
        """Bound what is decoded at once: a tile of JPEG 2000, all of PNG, JPEG and WebP."""
        height, width = info.height, info.width
        if info.driver == "JP2OpenJPEG":
            tile = _jpeg2000_tile(head)
            height, width = min(height, tile[0]), min(width, tile[1])
        decoded = height * width * info.count * np.dtype(info.dtype).itemsize
        if decoded > self.limits.max_block:
            raise RefusedError(
                f"{name}: {info.height} x {info.width} pixels of {info.count} bands, decoded {height} x {width} at once: "
                f"{decoded / MIB:,.0f} MiB (limit max_block: {self.limits.max_block // MIB} MiB): make it a tiled GeoTIFF"
            )


def _jpeg2000_tile(head: bytes) -> tuple[int, int]:
    """(rows, columns) of a tile, from the SIZ marker (ISO 15444-1 A.5.1); without bound where it is not found."""
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(head) < at + 36:
        return 1 << 32, 1 << 32
    width, height = struct.unpack_from(">II", head, at + 26)
    return height, width


def _invertible(transform: Affine6) -> bool:
    a, b, _, d, e, _ = transform
    det = a * e - b * d
    return all(map(math.isfinite, transform)) and math.isfinite(det) and det != 0.0


def _same_place(mine: RasterInfo, theirs: RasterInfo) -> bool:
    """Whether the fast reading agrees with GDAL's; where not, files of these keys always go through GDAL."""
    return replace(mine, crs=theirs.crs) == theirs


def _plain_geotiff(directories: list[tiff.TiffDirectory]) -> tuple[RasterInfo | None, bytes | None]:
    """(all but the CRS, digest of the CRS's keys) of the plain case; (None, None) where GDAL has to look.

    Plain: grey or colour bands of one type without alpha, described or scaled bands, and either no place at all or
    one tie point and a pixel scale, for pixel areas (GeoTIFF 1.1 section 7).
    """
    main = directories[0]
    tags = main.tags
    dtype = main.dtype
    described = b"role=" in tags.get(tiff.GDAL_METADATA, b"")
    if (
        dtype is None
        or described
        or any(tags.get(tiff.EXTRA_SAMPLES, ()))  # 0: a band like others; 1, 2: opacity
        or tiff.RPC in tags
        or tiff.TRANSFORMATION in tags
        or main.number(tiff.PHOTOMETRIC, -1) not in (1, 2, tiff.YCBCR)
    ):
        return None, None
    scale, tie, geo = tags.get(tiff.PIXEL_SCALE), tags.get(tiff.TIE_POINTS), tags.get(tiff.GEO_KEYS)
    transform = None
    if scale is not None or tie is not None or geo is not None:
        if scale is None or tie is None or geo is None or len(tie) != 6 or len(scale) < 2 or min(scale[:2]) <= 0:
            return None, None
        keys = {geo[i]: geo[i + 3] for i in range(4, len(geo) - 3, 4)}
        if keys.get(_RASTER_TYPE, _PIXEL_IS_AREA) != _PIXEL_IS_AREA:
            return None, None
        transform = (scale[0], 0.0, tie[3] - tie[0] * scale[0], 0.0, -scale[1], tie[4] + tie[1] * scale[1])
    stamp = tags.get(tiff.DATETIME)
    info = RasterInfo(
        driver="GTiff",
        height=main.height,
        width=main.width,
        count=main.samples,
        dtype=dtype,
        transform=transform,
        crs=None,
        descriptions=("",) * main.samples,
        datetime=from_tiff_tag(stamp.decode("latin-1")) if stamp else None,
    )
    parts = (
        geo,
        tags.get(tiff.GEO_DOUBLES),
        tags.get(tiff.GEO_TEXT),
        transform is None,
        scale is not None and len(scale),
    )
    return info, hashlib.sha256(repr(parts).encode()).digest()
