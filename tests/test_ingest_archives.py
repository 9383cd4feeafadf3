"""Lists of archives against Python's own readers; bytes in place; one decompression of a tar.gz."""

from __future__ import annotations

import contextlib
import io
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import RefusedError, UnreadableError
from gridscribe.ingest import targz
from gridscribe.ingest.archives import Entry, archive_entries
from gridscribe.ingest.bytesio import LocalRanges
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.members import clean_path, refuse_path
from gridscribe.ingest.opening import open_bytes
from gridscribe.ingest.scratch import SCRATCH
from gridscribe.ingest.tar import TarMember, tar_members

LIMITS = Limits()
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/\\", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def from_bytes(data: bytes) -> list[TarMember]:
    return list(tar_members(lambda start, length: data[start : start + length]))


@settings(max_examples=120, deadline=None)
@given(
    files=st.lists(st.tuples(PATHS, st.integers(0, 1600)), max_size=6, unique_by=lambda f: f[0]),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]),
)
def test_the_tar_reader_equals_pythons(files: list[tuple[str, int]], form: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for path, size in files:
            info = tarfile.TarInfo(path)
            info.size = size
            try:
                archive.addfile(info, io.BytesIO(bytes([size % 251]) * size))
            except ValueError:  # longer than ustar can say
                continue
    data = buffer.getvalue()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(m.name, "file", m.offset_data, m.size) for m in archive.getmembers()]
    found = [(m.path, m.kind, m.offset, m.size) for m in from_bytes(data)]
    assert found == expected


def test_sizes_over_eight_gibibytes_are_read() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("big.tif")
        info.size = 9 << 30
        header = info.tobuf(form)
        (member,) = from_bytes_sparse(header, 9 << 30)
        assert (member.size, member.offset) == (9 << 30, len(header))


def from_bytes_sparse(header: bytes, size: int) -> list[TarMember]:
    """A header, `size` bytes that are not there, and the end mark."""

    def fetch(start: int, length: int) -> bytes:
        return header[start : start + length] if start < len(header) else bytes(length)

    return list(tar_members(fetch))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4 * 512 - 1), st.integers(0, 255)), max_size=6), st.integers(0, 5000))
def test_changed_tars_are_read_or_refused_and_end(changes: list[tuple[int, int]], length: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("ä" * 70, "b"):
            info = tarfile.TarInfo(name)
            info.size = 700
            archive.addfile(info, io.BytesIO(bytes(700)))
    data = bytearray(buffer.getvalue())
    for at, value in changes:
        data[at] = value
    with contextlib.suppress(UnreadableError):
        assert len(from_bytes(bytes(data[: len(data) - length]))) <= 12


def test_sparse_files_links_and_unknown_kinds_are_named() -> None:
    kinds = {b"S": "sparse", b"1": "hard link", b"2": "symbolic link", b"3": "device", b"6": "pipe", b"Q": "unknown"}
    for flag, word in kinds.items():
        info = tarfile.TarInfo("x.tif")
        info.type = flag
        (member,) = from_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
        assert word in member.kind


@pytest.mark.parametrize(
    "path", ["../a", "a/../../b", "/a", "\\a", "C:\\a", "c:/a", "a\\..\\..\\b", "", "..", "a/..", "a\0b"]
)
def test_paths_that_leave_are_refused(path: str) -> None:
    assert refuse_path(path)


@given(PATHS)
def test_other_paths_are_not(path: str) -> None:
    if ".." in path.split("/") or (len(path) > 1 and path[1] == ":"):
        return
    assert refuse_path(path) is None
    assert not clean_path("./" + path).startswith((".//", "/"))


def make(path: Path, files: dict[str, bytes]) -> None:
    """An archive of these files, its kind by its name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(
            path, "w", zipfile.ZIP_DEFLATED if "deflated" in path.name else zipfile.ZIP_STORED
        ) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def entries(path: Path, limits: Limits = LIMITS) -> list[Any]:
    whole = LocalRanges(str(path))
    try:
        return list(archive_entries(str(path), whole, limits))
    finally:
        whole.close()


FILES = {f"t{i}_rgb.tif": np.random.default_rng(i).bytes(900 + 37 * i) for i in range(5)} | {
    "notes.txt": b"x" * 40,
    "nil_rgb.tif": b"",
}


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.zip", "deflated.zip"])
def test_members_have_their_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    make(path, FILES)
    found = entries(path)
    assert [entry.path for entry in found] == list(FILES)
    for entry in found:
        assert isinstance(entry, Entry)
        if entry.path == "notes.txt":
            continue  # by its name no raster: its bytes are not asked for
        in_place = name in ("a.tar", "a.zip") and FILES[entry.path]
        assert (entry.source.offset is not None) == bool(in_place) or not FILES[entry.path]
        ranges = open_bytes(entry.source, LIMITS)
        assert ranges.fetch(0, 10_000) == FILES[entry.path]
        assert ranges.fetch(100, 50) == FILES[entry.path][100:150]
        assert ranges.fetch(10_000, 5) == b""
        ranges.close()
        ranges.close()
    assert SCRATCH.used == sum(spool.reserved for spool in targz._spools.values())


def test_the_kind_of_an_archive_is_in_its_bytes(tmp_path: Path) -> None:
    for real in ("a.tar", "b.tar.gz", "c.zip"):
        make(tmp_path / real, FILES)
        wrong = tmp_path / f"wrong-{real.split('.')[0]}.tar"
        wrong.write_bytes((tmp_path / real).read_bytes())
        assert [entry.path for entry in entries(wrong)] == list(FILES)


def test_a_tar_gz_is_decompressed_once_by_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar.gz"
    make(path, FILES)
    passes = []
    original = targz._unpack
    monkeypatch.setattr(targz, "_unpack", lambda *args: (passes.append(threading.get_ident()), original(*args))[1])
    sources = [entry.source for entry in entries(path) if entry.path.endswith(".tif")]

    def digest(source: Any) -> bytes:
        ranges = open_bytes(source, LIMITS)
        try:
            return ranges.fetch(0, 10_000)
        finally:
            ranges.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(digest, sources * 4)) == [FILES[source.member] for source in sources] * 4
    assert len(passes) == 1


def test_scratch_makes_room_by_dropping_idle_archives_only(tmp_path: Path) -> None:
    small = {"x_rgb.tif": np.random.default_rng(0).bytes(600_000)}
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    make(first, small)
    make(second, small)
    limits = Limits(max_scratch=1_000_000)
    while targz._drop_idle():
        pass
    (entry,) = entries(first, limits)
    held = open_bytes(entry.source, limits)
    (refused,) = entries(second, limits)
    assert refused.error == "RefusedError"
    assert "max_scratch" in refused.reason
    held.close()
    path = next(iter(targz._spools.values())).path
    # what was refused is not asked again within a process, so ask from a third archive
    third = tmp_path / "c.tar.gz"
    make(third, small)
    (entry,) = entries(third, limits)
    assert isinstance(entry, Entry)
    assert not path.exists()


def test_a_member_that_comes_twice_is_the_last_one(tmp_path: Path) -> None:
    old, new = b"old" * 200, b"new" * 300
    for name in ("a.tar", "a.tar.gz"):
        path = tmp_path / name
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
            for data in (old, new):
                info = tarfile.TarInfo("x_rgb.tif")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        found = [entry for entry in entries(path) if isinstance(entry, Entry)]
        ranges = open_bytes(found[-1].source, LIMITS)
        assert ranges.fetch(0, 2000) == new
        ranges.close()


def test_encrypted_and_exotic_zip_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("plain_rgb.tif", b"1" * 50)
        archive.writestr(zipfile.ZipInfo("squeezed_rgb.tif"), b"1" * 5000, zipfile.ZIP_BZIP2)
        archive.writestr("secret_rgb.tif", b"1" * 50)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2")
    data[at + 8] |= 1  # the flag of encryption
    path.write_bytes(data)
    found = entries(path)
    assert [getattr(entry, "path", "") for entry in found] == ["plain_rgb.tif", "", ""]
    assert "compression method" in found[1].reason
    assert "encrypted" in found[2].reason
    assert all(account.error == RefusedError.__name__ for account in found[1:])


def test_a_limit_on_members_is_told(tmp_path: Path) -> None:
    for name in ("a.tar", "a.tar.gz", "a.zip"):
        make(tmp_path / name, FILES)
        found = entries(tmp_path / name, Limits(max_members=3))
        assert found[-1].error == "RefusedError"
        assert "max_members" in found[-1].reason


def test_an_archive_of_nothing(tmp_path: Path) -> None:
    for name in ("a.tar", "a.tar.gz", "a.zip"):
        make(tmp_path / name, {})
        assert entries(tmp_path / name) == []
    (tmp_path / "b.tar").touch()
    (account,) = entries(tmp_path / "b.tar")
    assert "0 bytes" in account.reason
