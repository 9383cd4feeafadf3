"""Archives and folders that hold hostile and damaged files: each is told with its reason, all others are done."""

from __future__ import annotations

import contextlib
import os
import resource
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gridscribe.errors import ChangedError, InputError, RefusedError
from gridscribe.ingest.discover import Discovery, InputOptions, discover
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.raster import open_raster
from gridscribe.ingest.scratch import SCRATCH
from gridscribe.values import Window
from tests import hostile


def check(found: Discovery, expected: list[Any], prefix: str) -> None:
    """Exactly the good pairs are images, with the right pixels, and every hostile member has its one account."""
    assert [image.source.removesuffix("_rgb.tif").rpartition("!/")[2] for image in found.images] == list(hostile.GOOD)
    for seed, image in enumerate(found.images):
        with open_raster(image) as reader:
            pixels = reader.read(image.grid.window)
        random = np.random.default_rng(seed)
        np.testing.assert_array_equal(pixels.rgb, random.integers(0, 256, (3, 48, 40)).astype(np.uint8))
        np.testing.assert_array_equal(pixels.height, random.random((1, 48, 40), dtype=np.float32)[0] * 20)
        assert pixels.valid.all()
    accounts = {account.source.removeprefix(prefix): account for account in found.accounts}
    assert len(accounts) == len(found.accounts)
    assert set(accounts) == {member.name for member in expected}
    for member in expected:
        account = accounts[member.name]
        assert (account.state, account.error) == (member.state, member.error), account
        assert member.reason in account.reason, account


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "zip deflated", "folder", "folder of a tar"])
def test_each_hostile_member_has_its_account_and_the_others_are_read(tmp_path: Path, kind: str) -> None:
    before = {path for path in tmp_path.parent.rglob("*") if "escape" in path.name or "absolute" in path.name}
    inside = tmp_path / "in"
    inside.mkdir()
    path = inside / f"archive.{kind.split()[0]}"
    if kind == "folder":
        expected, path, prefix = hostile.write_folder(inside), inside, f"{inside}/"
    elif kind.startswith("zip"):
        method = zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED
        expected, prefix = hostile.write_zip(path, method), f"{path}!/"
    elif kind == "folder of a tar":
        path = inside / "archive.tar"
        expected, prefix = hostile.write_tar(path), f"{path}!/"
        path = inside
    else:
        expected, prefix = hostile.write_tar(path, mode="w:gz" if kind == "tar.gz" else "w"), f"{path}!/"
    found = discover([str(path)], InputOptions())
    check(found, expected, prefix)
    after = {path for path in tmp_path.parent.rglob("*") if "escape" in path.name or "absolute" in path.name}
    assert after == before
    assert not Path("/absolute_rgb.tif").exists()


def test_identities_do_not_depend_on_the_container_of_the_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.tar", tmp_path / "b.tar.gz", tmp_path / "c.zip", tmp_path / "d.zip"]
    hostile.write_tar(paths[0])
    hostile.write_tar(paths[1], mode="w:gz")
    hostile.write_zip(paths[2])
    hostile.write_zip(paths[3], zipfile.ZIP_DEFLATED)
    hostile.write_folder(tmp_path / "e")
    ids = [
        [image.image_id for image in discover([str(path)], InputOptions()).images] for path in [*paths, tmp_path / "e"]
    ]
    assert ids[0][0].startswith("good_a-")
    assert all(each == ids[0] for each in ids)


def test_reading_a_60000_pixel_header_takes_no_memory(tmp_path: Path) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, data in enumerate([hostile.header_tiff(60_000, 60_000), hostile.small_strips_tiff(60_000, 60_000)]):
        (tmp_path / f"t{number}_rgb.tif").write_bytes(data)
    found = discover([str(tmp_path)], InputOptions())
    assert not found.images
    assert {account.state for account in found.accounts} == {"failed"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 50_000  # KiB


def bomb_options(**limits: Any) -> InputOptions:
    return InputOptions(limits=Limits(**{"ratio_floor": 1 << 20, **limits}))


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_a_decompression_bomb_is_refused_and_the_rest_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"archive.{kind}"
    bomb = bytes(64 << 20)
    if kind == "zip":
        hostile.write_zip(path, zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb_rgb.tif", bomb)
    else:
        hostile.write_tar(path, mode="w:gz", bomb=bomb)
    used = SCRATCH.used
    found = discover([str(path)], bomb_options())
    assert len(found.images) == len(hostile.GOOD)
    (account,) = [account for account in found.accounts if account.source.endswith("bomb_rgb.tif")]
    assert (account.state, account.error) == ("failed", "RefusedError")
    assert "ratio" in account.reason
    assert SCRATCH.used - used < 1 << 20


def test_scratch_over_its_limit_says_to_repack_and_smaller_members_are_read(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    noise = np.random.default_rng(0).bytes(3 << 20)
    hostile.write_tar(path, mode="w:gz", bomb=noise)
    found = discover([str(path)], InputOptions(limits=Limits(max_scratch=2 << 20)))
    assert len(found.images) == len(hostile.GOOD)
    (account,) = [account for account in found.accounts if account.source.endswith("bomb_rgb.tif")]
    assert account.error == "RefusedError"
    assert "max_scratch" in account.reason
    assert "repack" in account.reason


def test_a_stream_over_its_limit_ends_there_with_an_account_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    hostile.write_tar(path, mode="w:gz", bomb=bytes(8 << 20))
    found = discover([str(path)], InputOptions(limits=Limits(max_stream=4 << 20)))
    assert len(found.images) == 1
    (account,) = [account for account in found.accounts if account.source == str(path)]
    assert account.error == "RefusedError"
    assert "max_stream" in account.reason


def test_a_zip_member_that_states_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    rgb, ndsm = hostile.pair(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a_rgb.tif", rgb)
        archive.writestr("a_ndsm.tif", ndsm)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    assert struct.unpack_from("<I", data, at + 24)[0] == len(rgb)
    struct.pack_into("<I", data, at + 24, 1000)
    path.write_bytes(data)
    found = discover([str(path)], InputOptions())
    assert not found.images
    assert [account.error for account in found.accounts] == ["RefusedError", "UnpairedError"]
    assert "1,000" in found.accounts[0].reason


def test_zip_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "overlap.zip"
    rgb, ndsm = hostile.pair(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a_rgb.tif", rgb)
        archive.writestr("b_rgb.tif", rgb)
        archive.writestr("c_rgb.tif", rgb)
        archive.writestr("c_ndsm.tif", ndsm)
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 4)
    struct.pack_into("<I", data, second + 42, 0)  # the second member points at the first one's bytes
    path.write_bytes(data)
    found = discover([str(path)], InputOptions())
    assert [image.source for image in found.images] == ["overlap.zip!/c_rgb.tif"]
    assert {account.error for account in found.accounts} == {"RefusedError"}
    assert all("overlap" in account.reason for account in found.accounts)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.4, 0.97])
def test_an_archive_cut_anywhere_loses_nothing_without_a_word(tmp_path: Path, kind: str, part: float) -> None:
    path = tmp_path / f"archive.{kind}"
    if kind == "zip":
        hostile.write_zip(path)
    else:
        hostile.write_tar(path, mode="w:gz" if kind == "tar.gz" else "w")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    found = discover([str(path)], InputOptions())
    assert len(found.images) < len(hostile.GOOD)
    assert any(account.source == str(path) or "cut short" in account.reason for account in found.accounts)
    for account in found.accounts:
        assert account.state == "skipped" or account.reason


def test_a_damaged_header_in_the_middle_of_a_tar_is_told(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar"
    hostile.write_tar(path)
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2]
    data = bytearray(path.read_bytes())
    data[third.offset + 10] ^= 0xFF
    path.write_bytes(data)
    found = discover([str(path)], InputOptions())
    assert len(found.images) == 1
    (account,) = found.accounts
    assert account.source == str(path)
    assert "no tar header" in account.reason
    assert "after the first 2" in account.reason


def test_damaged_pixels_fail_when_they_are_read_and_name_their_file(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rgb = bytearray(hostile.tiff(random.integers(0, 256, (3, 64, 64)).astype(np.uint8), compress="deflate"))
    start = len(rgb) // 2
    rgb[start : start + 200] = bytes(200)
    (tmp_path / "a_rgb.tif").write_bytes(rgb)
    (tmp_path / "a_ndsm.tif").write_bytes(hostile.tiff(random.random((1, 64, 64), dtype=np.float32)))
    (image,) = discover([str(tmp_path)], InputOptions()).images
    with open_raster(image) as reader, pytest.raises(InputError, match=r"a_rgb\.tif"):
        reader.read(image.grid.window)


def test_a_file_written_after_planning_is_noticed(tmp_path: Path) -> None:
    rgb, ndsm = hostile.pair(0)
    for name, data in (("a_rgb.tif", rgb), ("a_ndsm.tif", ndsm)):
        (tmp_path / name).write_bytes(data)
    (image,) = discover([str(tmp_path)], InputOptions()).images
    with open_raster(image) as reader:
        reader.read(image.grid.window)
        (tmp_path / "a_ndsm.tif").write_bytes(hostile.pair(1)[1])
        with pytest.raises(ChangedError, match=r"a_ndsm\.tif"):
            reader.read(image.grid.window)
    with open_raster(image) as reader, pytest.raises(ChangedError, match="run the job again"):
        reader.read(image.grid.window)
    (again,) = discover([str(tmp_path)], InputOptions()).images
    assert again.image_id != image.image_id
    assert again.image_id[:-8] == image.image_id[:-8]


def test_scratch_is_left_empty_and_abandoned_scratch_is_removed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from gridscribe.ingest.scratch import Scratch

    dead = tmp_path / "gridscribe-scratch-dead"
    dead.mkdir()
    (dead / "in-use").touch()
    (dead / "1").write_bytes(b"left behind")
    first, second = Scratch(), Scratch()
    kept = first.new_file()
    assert not dead.exists()
    kept.write_bytes(b"alive")
    second.new_file()
    assert kept.exists()  # its lock is held, though by this very process
    first.remove()
    second.remove()
    assert not list(tmp_path.iterdir())


def test_scratch_is_removed_when_a_process_ends_and_after_one_that_was_killed(tmp_path: Path) -> None:
    hostile.write_tar(tmp_path / "a.tar.gz", mode="w:gz")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import os, sys\n"
        "from gridscribe.ingest.discover import InputOptions, discover\n"
        "assert len(discover([sys.argv[1]], InputOptions()).images) == 3\n"
        "assert len(os.listdir(os.environ['TMPDIR'])) == 1\n"
        "if sys.argv[2] == 'killed': os.kill(os.getpid(), 9)\n"
    )
    for end, left in (("killed", 1), ("ended", 0)):
        command = [sys.executable, "-c", code, str(tmp_path / "a.tar.gz"), end]
        done = subprocess.run(command, env={**os.environ, "TMPDIR": str(scratch)}, check=False)
        assert done.returncode == (-9 if end == "killed" else 0)
        assert len(list(scratch.iterdir())) == left


def test_reserving_too_much_frees_what_is_idle_first() -> None:
    from gridscribe.ingest.scratch import Scratch

    scratch = Scratch()
    scratch.reserve(80, 100, "a")
    kept = [80]

    def make_room() -> bool:
        if not kept:
            return False
        scratch.release(kept.pop())
        return True

    scratch.make_room = make_room
    scratch.reserve(60, 100, "b")
    assert scratch.used == 60
    with pytest.raises(RefusedError, match=r"c: .*repack"):
        scratch.reserve(60, 100, "c")


def test_inflated_data_of_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "crc.zip"
    rgb, ndsm = hostile.pair(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a_rgb.tif", rgb)
        archive.writestr("a_ndsm.tif", ndsm)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 16, zlib.crc32(b"other"))
    path.write_bytes(data)
    found = discover([str(path)], InputOptions())
    assert found.accounts[0].error == "UnreadableError"
    assert "checksum" in found.accounts[0].reason


@settings(max_examples=120, deadline=None)
@given(
    which=st.sampled_from(["rgb", "ndsm"]),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=6),
    tail=st.booleans(),
)
@example(which="ndsm", changes=[(142, 0), (276, 1)], tail=False)  # a GeoTIFF key of an unknown type
def test_changed_bytes_never_end_a_job(tmp_path_factory: Any, which: str, changes: Any, tail: bool) -> None:
    folder = tmp_path_factory.mktemp("changed")
    good = dict(zip(("rgb", "ndsm"), hostile.pair(0), strict=True))
    data = bytearray(good[which])
    for at, value in changes:
        data[-1 - at if tail else at] = value
    good[which] = bytes(data)
    for role, content in good.items():
        (folder / f"a_{role}.tif").write_bytes(content)
    found = discover([str(folder)], InputOptions())
    if not found.images:
        assert len(found.accounts) == 2
        assert all(account.state == "failed" for account in found.accounts)
        return
    (image,) = found.images
    with open_raster(image) as reader, contextlib.suppress(InputError):
        pixels = reader.read(Window(0, 0, min(64, image.grid.height), min(64, image.grid.width)))
        assert pixels.rgb.shape[1:] == pixels.height.shape == pixels.valid.shape


def test_transforms_that_give_no_area_are_damage(tmp_path: Path) -> None:
    rgb, ndsm = hostile.pair(0)
    for number, value in enumerate((0.0, float("nan"), float("inf"))):
        data = bytearray(rgb)
        at = data.index(struct.pack("<2d", 0.2, 0.2))
        struct.pack_into("<d", data, at, value)
        (tmp_path / f"{number}_rgb.tif").write_bytes(data)
        (tmp_path / f"{number}_ndsm.tif").write_bytes(ndsm)
    found = discover([str(tmp_path)], InputOptions())
    assert not [image for image in found.images if image.grid.georeferenced]
    assert len(found.images) * 2 + len(found.accounts) == 6
