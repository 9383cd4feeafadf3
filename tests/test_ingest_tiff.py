"""The TIFF header reader against GDAL, and against files that are cut, changed and made up."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_gcps, from_origin

from gridscribe.errors import RefusedError, UnreadableError
from gridscribe.ingest.bytesio import LocalRanges
from gridscribe.ingest.files import open_file
from gridscribe.ingest.info import RasterInfo
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.probe import Prober
from gridscribe.ingest.sources import Source
from gridscribe.ingest.tiff import read_directories
from tests import hostile

LIMITS = Limits()


RGB = np.random.default_rng(0).integers(0, 256, (3, 70, 50)).astype(np.uint8)
GREY = np.random.default_rng(1).random((1, 70, 50)).astype(np.float32)


def directories(data: bytes, limits: Limits = LIMITS) -> Any:
    return read_directories(lambda start, length: data[start : start + length], len(data), limits)


class Asked(Prober):
    """A prober that tells whether it asked GDAL."""

    asked = False

    def _open(self, ranges: Any) -> Any:
        self.asked = True
        return super()._open(ranges)


def probe(path: Path, prober: Asked) -> tuple[RasterInfo, bool]:
    """(what the file is, whether GDAL was asked)."""
    prober.asked = False
    ranges = LocalRanges(str(path))
    try:
        return prober.probe(ranges), prober.asked
    finally:
        ranges.close()


KINDS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "strips": (RGB, {}),
    "tiles": (RGB, {"tiled": True, "blockxsize": 16, "blockysize": 32}),
    "deflate": (GREY, {"compress": "deflate", "predictor": 3}),
    "lzw": (RGB, {"compress": "lzw"}),
    "zstd": (RGB, {"compress": "zstd"}),
    "packbits": (RGB, {"compress": "packbits"}),
    "jpeg": (RGB, {"compress": "jpeg", "photometric": "ycbcr", "tiled": True, "blockxsize": 16, "blockysize": 16}),
    "bigtiff": (RGB, {"bigtiff": "YES"}),
    "big-endian": (GREY, {"endianness": "BIG"}),
    "planes": (RGB, {"interleave": "band"}),
    "uint16": (RGB.astype(np.uint16), {}),
    "nodata": (GREY, {"nodata": -9999.0}),
    "south-up": (RGB, {"transform": rasterio.Affine(0.2, 0, 7e5, 0, 0.2, 6.6e6)}),
    "turned": (RGB, {"transform": rasterio.Affine(0.2, 0.1, 7e5, 0.1, -0.2, 6.6e6)}),
    "no place": (RGB, {"crs": None, "transform": None}),
    "no crs": (RGB, {"crs": None}),
    "degrees": (RGB, {"crs": "EPSG:4326", "transform": from_origin(2.0, 48.0, 1e-5, 1e-5)}),
    "four bands": (np.concatenate([GREY] * 4), {}),
    "four bytes": (np.concatenate([RGB, RGB[:1]]), {}),  # GDAL writes the fourth as opacity
    "sparse": (
        np.zeros((1, 64, 64), np.uint8),
        {"sparse_ok": True, "tiled": True, "blockxsize": 16, "blockysize": 16, "nodata": 0},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_fast_reading_equals_gdals(tmp_path: Path, kind: str) -> None:
    array, profile = KINDS[kind]
    prober = Asked(LIMITS)
    for name in ("first.tif", "second.tif"):
        (tmp_path / name).write_bytes(hostile.tiff(array, **profile))
        with open_file(Source(str(tmp_path / name)), LIMITS) as file:
            expected = file.info
        info, asked = probe(tmp_path / name, prober)
        assert info == expected
    plain = kind not in ("south-up", "turned", "no crs", "alpha", "four bytes")
    assert asked is not plain  # a second file of a known CRS is judged without GDAL


def test_pixel_is_point_and_ground_control_points_go_through_gdal(tmp_path: Path) -> None:
    prober = Asked(LIMITS)
    path = tmp_path / "point.tif"
    path.write_bytes(hostile.tiff(RGB))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(AREA_OR_POINT="Point")
    for _ in range(2):
        info, asked = probe(path, prober)
        assert asked
        with rasterio.open(path) as dataset:
            assert info.transform == tuple(dataset.transform)[:6]
    points = [
        rasterio.control.GroundControlPoint(r, c, 7e5 + c, 6.6e6 - r) for r, c in ((0, 0), (0, 50), (70, 0), (70, 50))
    ]
    assert from_gcps(points) is not None
    path = tmp_path / "points.tif"
    path.write_bytes(hostile.tiff(RGB, crs=None, transform=rasterio.Affine.identity()))
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(2154))
    info, _ = probe(path, prober)
    assert not info.grid.georeferenced  # control points alone are no pixel grid


@pytest.mark.parametrize("kind", ["strips", "tiles", "deflate", "bigtiff", "planes"])
def test_every_cut_is_noticed(kind: str) -> None:
    array, profile = KINDS[kind]
    data = hostile.tiff(array, **profile)
    whole = directories(data)
    assert (whole[0].height, whole[0].width) == (70, 50)
    for length in range(0, len(data) - 16, 97):  # a few trailing bytes may be padding
        with pytest.raises(UnreadableError):
            directories(data[:length])


def test_a_cut_overview_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(hostile.tiff(RGB, tiled=True, blockxsize=16, blockysize=16))
    before = path.stat().st_size
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    data = path.read_bytes()
    assert len(directories(data)) == 3
    with pytest.raises(UnreadableError):
        directories(data[: (before + len(data)) // 2])


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["strips", "tiles", "deflate", "bigtiff"]),
    changes=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=8),
    tail=st.lists(st.tuples(st.integers(1, 900), st.integers(0, 255)), max_size=8),
)
def test_changed_headers_are_read_or_refused_and_nothing_else(kind: str, changes: Any, tail: Any) -> None:
    data = bytearray(FUZZED[kind])
    for at, value in changes:
        data[at] = value
    for at, value in tail:
        data[-at] = value
    try:
        found = directories(bytes(data))
    except (UnreadableError, RefusedError):
        return
    assert found[0].height >= 1
    assert found[0].width >= 1


FUZZED = {kind: hostile.tiff(KINDS[kind][0], **KINDS[kind][1]) for kind in ("strips", "tiles", "deflate", "bigtiff")}


def test_a_chain_that_loops_ends() -> None:
    data = bytearray(hostile.tiff(RGB))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    with pytest.raises(UnreadableError, match="loops"):
        directories(bytes(data))


def test_large_blocks_and_tables_are_refused_by_limits() -> None:
    data = hostile.tiff(RGB, tiled=True, blockxsize=64, blockysize=64)
    with pytest.raises(RefusedError, match="max_block"):
        directories(data, Limits(max_block=64 * 64 * 3 - 1))
    directories(data, Limits(max_block=64 * 64 * 3))
    with pytest.raises(RefusedError, match="max_index"):
        directories(data, Limits(max_index=100))


def test_claims_are_judged_without_large_allocations() -> None:
    with pytest.raises(RefusedError, match="60000 x 60000"):
        directories(hostile.header_tiff(60_000, 60_000))
    with pytest.raises(UnreadableError, match="cannot hold"):
        directories(hostile.small_strips_tiff(60_000, 60_000))
    with pytest.raises(UnreadableError, match="4,294,967,295"):
        directories(hostile.header_tiff(0xFFFFFFFF, 10, rows=1))
    with pytest.raises(UnreadableError, match="reach to byte"):
        directories(hostile.header_tiff(100, 100, (8, 30_000)))
    with pytest.raises(UnreadableError, match="cannot hold"):
        directories(hostile.header_tiff(100, 100, (8, 64)))


def test_blocks_that_are_all_empty_need_a_nodata_value() -> None:
    empty = np.zeros((1, 64, 64), np.uint8)
    sparse = {"sparse_ok": True, "tiled": True, "blockxsize": 16, "blockysize": 16}
    directories(hostile.tiff(empty, nodata=0, **sparse))
    with pytest.raises(UnreadableError, match="holds no pixels"):
        directories(hostile.tiff(empty, **sparse))
