"""Archives that want to do harm, or have come to some, beside good pairs: built from nothing, for tests.

`write_tar(path)` gives the archive of hostile members with what must become of each; the same members go into a tar.gz or a
zip. Nothing here is larger than a few megabytes, whatever it claims.
"""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

GOOD = ("good_a", "good_b", "tiles/good_c")
"""Pairs `<name>_rgb.tif` and `<name>_ndsm.tif` of every hostile archive: exactly these become images."""


@dataclass(frozen=True)
class Member:
    """A hostile member and what must become of it."""

    name: str
    data: bytes
    state: str
    """ "failed" or "skipped"."""
    error: str
    """The account's `error`."""
    reason: str
    """A word that the reason must hold."""


def tiff(array: np.ndarray, **profile: Any) -> bytes:
    """A GeoTIFF of `array` [bands, h, w] at 0.2 m in Lambert-93; `profile` changes it."""
    bands, height, width = array.shape
    settings: dict[str, Any] = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": array.dtype,
        "crs": "EPSG:2154",
        "transform": from_origin(700_000.0, 6_600_000.0, 0.2, 0.2),
    }
    settings.update(profile)
    with MemoryFile() as memory:
        with rasterio.open(memory, "w", **settings) as dataset:
            dataset.write(array)
        return bytes(memory.read())


def pair(seed: int, height: int = 48, width: int = 40, **profile: Any) -> tuple[bytes, bytes]:
    """An RGB and a height GeoTIFF of one size, of random content."""
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (3, height, width)).astype(np.uint8)
    ndsm = random.random((1, height, width), dtype=np.float32) * 20
    return tiff(rgb, **profile), tiff(ndsm, **profile)


def header_tiff(height: int, width: int, strip: tuple[int, int] = (8, 64), rows: int | None = None) -> bytes:
    """A TIFF of a few hundred bytes that claims `height` x `width` RGB pixels in one uncompressed strip."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, strip[0]),
        (277, 3, 1, 3),
        (278, 4, 1, rows or height),
        (279, 4, 1, strip[1]),
    ]
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHI", b"II", 42, 72) + bytes(64) + struct.pack("<H", len(entries)) + body + bytes(4)


def small_strips_tiff(height: int, width: int) -> bytes:
    """A TIFF that claims `height` x `width` grey pixels in strips of one row, all of them the same 8 bytes of the file."""
    count = height
    table = 8 + 16
    offsets, sizes = table, table + 4 * count
    directory = sizes + 4 * count
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, count, offsets),
        (277, 3, 1, 1),
        (278, 4, 1, 1),
        (279, 4, count, sizes),
    ]
    head = struct.pack("<2sHI", b"II", 42, directory) + bytes(16)
    tables = np.full(count, 8, "<u4").tobytes() + np.full(count, 8, "<u4").tobytes()
    return (
        head + tables + struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)
    )


def members() -> list[Member]:
    """The hostile members, without links and devices, which only some formats can hold."""
    rgb, ndsm = pair(100)
    other_rgb, _ = pair(101, crs=None, transform=rasterio.Affine.identity())
    _, other_ndsm = pair(102, 24, 40, crs=None, transform=rasterio.Affine.identity())
    huge = header_tiff(60_000, 60_000)
    return [
        Member("truncated_rgb.tif", rgb[: len(rgb) * 2 // 3], "failed", "UnreadableError", "cut short"),
        Member("truncated_ndsm.tif", ndsm, "failed", "UnpairedError", "truncated_rgb.tif"),
        Member("text_rgb.tif", b"these are words, not pixels\n" * 20, "failed", "UnreadableError", "not a TIFF"),
        Member("text_ndsm.tif", ndsm, "failed", "UnpairedError", "text_rgb.tif"),
        Member("lonely_rgb.tif", rgb, "failed", "UnpairedError", "no height beside it"),
        Member("orphan_ndsm.tif", ndsm, "failed", "UnpairedError", "no RGB beside it"),
        Member("sizes_rgb.tif", other_rgb, "failed", "UnpairedError", "24 x 40"),
        Member("sizes_ndsm.tif", other_ndsm, "failed", "UnpairedError", "48 x 40"),
        Member("nothing_rgb.tif", b"", "failed", "UnreadableError", "0 bytes"),
        Member("nothing_ndsm.tif", ndsm, "failed", "UnpairedError", "nothing_rgb.tif"),
        Member("../escape.tif", rgb, "failed", "RefusedError", "leaves the archive"),
        Member("tiles/../../escape_rgb.tif", rgb, "failed", "RefusedError", "leaves the archive"),
        Member("/absolute_rgb.tif", rgb, "failed", "RefusedError", "absolute"),
        Member("huge_rgb.tif", huge, "failed", "RefusedError", "60000 x 60000"),
        Member("huge_ndsm.tif", ndsm, "failed", "UnpairedError", "huge_rgb.tif"),
        Member("strips_rgb.tif", small_strips_tiff(60_000, 60_000), "failed", "UnreadableError", "60000 x 60000"),
        Member("strips_ndsm.tif", ndsm, "failed", "UnpairedError", "strips_rgb.tif"),
        Member("beyond_rgb.tif", header_tiff(100, 100, (72, 30_000)), "failed", "UnreadableError", "reach to byte"),
        Member("beyond_ndsm.tif", ndsm, "failed", "UnpairedError", "beyond_rgb.tif"),
        Member(
            "vrt_rgb.tif", b"<VRTDataset rasterXSize='9' rasterYSize='9'/>", "failed", "UnreadableError", "not a TIFF"
        ),
        Member("vrt_ndsm.tif", ndsm, "failed", "UnpairedError", "vrt_rgb.tif"),
        Member("inner.tar.gz", b"\x1f\x8b" + bytes(50), "failed", "RefusedError", "archive inside an archive"),
        Member("other_rgb.tif.gz", b"\x1f\x8b" + bytes(50), "failed", "RefusedError", "not read"),
        Member("good_a_labels.tif", ndsm, "skipped", "label", "labels"),
        Member("tiles/good_c_objects.geojson", b"{}", "skipped", "format", ".geojson"),
        Member("README.md", b"read me\n", "skipped", "format", ".md"),
        Member("._good_a_rgb.tif", b"resource fork", "skipped", "hidden", "hidden"),
    ]


def good_members() -> list[tuple[str, bytes]]:
    """Names and bytes of the good pairs."""
    files = []
    for seed, name in enumerate(GOOD):
        rgb, ndsm = pair(seed)
        files += [(f"{name}_rgb.tif", rgb), (f"{name}_ndsm.tif", ndsm)]
    return files


def write_tar(path: Path, *, mode: str = "w", bomb: bytes | None = None) -> list[Member]:
    """A tar (or with `mode="w:gz"` tar.gz) of good pairs among hostile members, links and devices; returns the hostile ones.

    `bomb`: content of one more member, `bomb_rgb.tif`, which the caller judges.
    """
    hostile = members()
    good = good_members()
    with tarfile.open(path, mode) as archive:
        for name, data in good[:2]:
            _add(archive, name, data)
        if bomb is not None:
            _add(archive, "bomb_rgb.tif", bomb)
        for member in hostile:
            _add(archive, member.name, member.data)
        for name, kind, target in (
            ("link_rgb.tif", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard_rgb.tif", tarfile.LNKTYPE, "good_a_rgb.tif"),
            ("device_rgb.tif", tarfile.CHRTYPE, ""),
            ("pipe_rgb.tif", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
            word = {b"2": "symbolic link", b"1": "hard link", b"3": "device", b"6": "pipe"}[kind]
            hostile.append(Member(name, b"", "failed", "RefusedError", word))
        for name, data in good[2:]:
            _add(archive, name, data)
    return hostile


def write_zip(path: Path, compression: int = zipfile.ZIP_STORED) -> list[Member]:
    """The same members as a zip, with a symbolic link and an encrypted member in place of tar's devices."""
    hostile = members()
    good = good_members()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in good[:2]:
            archive.writestr(name, data)
        for member in hostile:
            archive.writestr(member.name, member.data)
        link = zipfile.ZipInfo("link_rgb.tif")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        hostile.append(Member("link_rgb.tif", b"", "failed", "RefusedError", "symbolic link"))
        for name, data in good[2:]:
            archive.writestr(name, data)
    return hostile


def write_folder(root: Path) -> list[Member]:
    """The members that a folder can hold."""
    kept = [member for member in members() if not member.name.startswith("/") and ".." not in member.name]
    # an archive in a folder is an input of its own
    kept = [member for member in kept if not member.name.endswith(".tar.gz")]
    for name, data in [*good_members(), *((member.name, member.data) for member in kept)]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return kept


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
