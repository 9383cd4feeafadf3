"""Inputs that are not local: on a store in memory, a web server, and a real S3 server."""

from __future__ import annotations

import io
import json
import re
import tarfile
import threading
import uuid
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from gridscribe.backends import Location, backend_for
from gridscribe.cli import cli
from gridscribe.errors import ChangedError, UnreadableError, UsageError
from gridscribe.ingest import remote
from gridscribe.ingest.bytesio import RangeFile
from gridscribe.ingest.cache import CachedRanges
from gridscribe.ingest.discover import Discovery, InputOptions, discover
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.raster import open_raster
from gridscribe.progress import Lines
from gridscribe.values import Window
from gridscribe.workers.run import RunRequest, run_job
from tests import hostile
from tests.tiny import MASKS_JOB, tiny_package


def find(*uris: object, **options: Any) -> Discovery:
    return discover([str(uri) for uri in uris], InputOptions(**options))


def put(files: dict[str, bytes]) -> str:
    """A new store in memory that holds these files; its URI."""
    bucket = uuid.uuid4().hex
    backend = backend_for(Location("memory", bucket, ""), create=True)
    for key, data in files.items():
        backend.put(key, data)
    return f"memory://{bucket}"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Every range that is asked for: (name, first byte, end)."""
    asked: list[tuple[str, int, int]] = []
    original = remote.RemoteRanges._get

    def spy(self: Any, start: int, end: int) -> Any:
        asked.append((self.name, start, end))
        return original(self, start, end)

    monkeypatch.setattr(remote.RemoteRanges, "_get", spy)
    return asked


def pairs(count: int) -> dict[str, bytes]:
    files = {}
    for number in range(count):
        rgb, ndsm = hostile.pair(number)
        files |= {f"tiles/t{number:03d}_rgb.tif": rgb, f"tiles/t{number:03d}_ndsm.tif": ndsm}
    return files


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zipped(files: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def check_pixels(found: Discovery, count: int) -> None:
    assert len(found.images) == count
    for seed, image in enumerate(found.images):
        random = np.random.default_rng(seed)
        with open_raster(image) as reader:
            pixels = reader.read(Window(3, 5, 40, 30))
        np.testing.assert_array_equal(pixels.rgb, random.integers(0, 256, (3, 48, 40)).astype(np.uint8)[:, 3:43, 5:35])
        np.testing.assert_array_equal(pixels.height, (random.random((1, 48, 40), dtype=np.float32) * 20)[0, 3:43, 5:35])


def test_a_prefix_is_searched_and_each_object_asked_for_once(requests: list[tuple[str, int, int]]) -> None:
    uri = put({**pairs(4), "tiles/readme.md": b"x", "other/x_rgb.tif": b"", "tilesx/y_rgb.tif": b""})
    found = find(f"{uri}/tiles")
    assert [image.source for image in found.images] == [f"t{n:03d}_rgb.tif" for n in range(4)]
    assert [account.error for account in found.accounts] == ["format"]
    assert len(requests) == 8
    check_pixels(found, 4)
    assert len(requests) == 16
    assert [i.image_id for i in find(f"{uri}/tiles/").images] == [i.image_id for i in found.images]


def test_globs_single_objects_and_lists(tmp_path: Path) -> None:
    uri = put(pairs(3))
    assert len(find(f"{uri}/tiles/*00?_*.tif").images) == 3
    assert len(find(f"{uri}/**/t001*").images) == 1
    assert len(find(f"{uri}/tiles/t001_rgb.tif", f"{uri}/tiles/t001_ndsm.tif").images) == 1
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(f"{uri}/{key}" for key in pairs(3)) + f"\n{uri}/tiles/gone_rgb.tif\n")
    found = find(listing)
    check_pixels(found, 3)
    (failed,) = found.accounts
    assert "gone_rgb.tif" in failed.source
    assert "not there" in failed.reason
    for wrong in (f"{uri}/nothing/", f"{uri}/nothing/*.tif"):
        with pytest.raises(UsageError):
            find(wrong)


@pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.zip", "deflated.zip"])
def test_archives_are_read_where_they_lie(kind: str, requests: list[tuple[str, int, int]]) -> None:
    files = pairs(30)
    make = {"a.tar": tarred(files), "a.tar.gz": tarred(files, "w:gz")}
    data = make.get(kind) or zipped(files, zipfile.ZIP_STORED if kind == "a.zip" else zipfile.ZIP_DEFLATED)
    uri = put({f"in/{kind}": data})
    found = find(f"{uri}/in/{kind}")
    assert [image.source for image in found.images] == [f"{kind}!/tiles/t{n:03d}_rgb.tif" for n in range(30)]
    # 60 members were found and looked at in a few large requests
    assert len(requests) <= 12
    assert sum(end - start for _, start, end in requests) < 3 * len(data) + 20 * (64 << 10)
    check_pixels(found, 30)
    assert len(find(uri).images) == 30  # met below a prefix


def test_hostile_archives_are_told_member_by_member(tmp_path: Path) -> None:
    for kind in ("tar", "tar.gz", "zip"):
        path = tmp_path / f"a.{kind}"
        expected = (
            hostile.write_zip(path) if kind == "zip" else hostile.write_tar(path, mode="w:gz" if "gz" in kind else "w")
        )
        uri = put({f"a.{kind}": path.read_bytes()})
        found = find(f"{uri}/a.{kind}")
        assert len(found.images) == len(hostile.GOOD)
        accounts = {account.source.removeprefix(f"{uri}/a.{kind}!/"): account for account in found.accounts}
        assert {name: (a.state, a.error) for name, a in accounts.items()} == {
            m.name: (m.state, m.error) for m in expected
        }


def test_a_large_image_is_read_by_windows(requests: list[tuple[str, int, int]]) -> None:
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (3, 2048, 2048)).astype(np.uint8)
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1}
    large = hostile.tiff(rgb, **tiled)
    small = hostile.tiff(np.ones((1, 400, 400), np.float32), transform=(1.0, 0, 7e5, 0, -1.0, 6.6e6))
    uri = put({"a.tar": tarred({"x_rgb.tif": large, "x_ndsm.tif": small})})
    (image,) = find(f"{uri}/a.tar").images
    assert sum(end - start for _, start, end in requests) < len(large) / 4
    requests.clear()
    with open_raster(image) as reader:
        pixels = reader.read(Window(700, 900, 200, 200))
    np.testing.assert_array_equal(pixels.rgb, rgb[:, 700:900, 900:1100])
    assert sum(end - start for _, start, end in requests) < len(large) / 4
    with open_raster(image) as reader:
        requests.clear()
        for window in image.grid.window.split(512):
            reader.read(window)
    assert sum(end - start for _, start, end in requests) < 2.5 * len(large)
    assert len(requests) < 120


def test_an_object_that_is_replaced_is_noticed() -> None:
    files = pairs(1)
    uri = put(files)
    (image,) = find(f"{uri}/tiles").images
    backend = backend_for(Location("memory", uri.partition("://")[2], ""), create=True)
    backend.put("tiles/t000_ndsm.tif", files["tiles/t000_ndsm.tif"])  # the same bytes, a new version
    with open_raster(image) as reader, pytest.raises(ChangedError, match=r"t000_ndsm\.tif"):
        reader.read(image.grid.window)
    (again,) = find(f"{uri}/tiles").images
    assert again.image_id != image.image_id


@pytest.mark.parametrize("kind", ["tif", "h5"])
def test_an_object_that_is_replaced_while_it_is_read_is_noticed(kind: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (3, 1024, 1024)).astype(np.uint8)
    plain = {"crs": None, "transform": None}
    data = hostile.tiff(rgb, tiled=True, blockxsize=256, blockysize=256, **plain)
    if kind == "h5":
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("image", data=np.moveaxis(rgb, 0, 2), chunks=(256, 256, 3))
        data = buffer.getvalue()
    uri = put({f"a_rgb.{kind}": data, "a_ndsm.tif": hostile.tiff(np.ones((1, 1024, 1024), np.float32), **plain)})
    (image,) = find(f"{uri}/").images
    with open_raster(image) as reader:
        np.testing.assert_array_equal(reader.read(Window(0, 0, 50, 50)).rgb, rgb[:, :50, :50])
        backend = backend_for(Location("memory", uri.partition("://")[2], ""), create=True)
        backend.put(f"a_rgb.{kind}", data)
        with pytest.raises(ChangedError, match="a_rgb"):
            reader.read(Window(700, 700, 300, 300))


def test_objects_that_are_empty_or_cut_are_told() -> None:
    files = pairs(2)
    files["tiles/t000_rgb.tif"] = b""
    files["tiles/t001_ndsm.tif"] = files["tiles/t001_ndsm.tif"][:2000]
    found = find(f"{put(files)}/tiles")
    assert not found.images
    reasons = {account.source.rpartition("/")[2]: account.reason for account in found.accounts}
    assert "0 bytes" in reasons["t000_rgb.tif"]
    assert "cut short" in reasons["t001_ndsm.tif"]
    assert len(reasons) == 4


class Server(BaseHTTPRequestHandler):
    """Files by range, some of them oddly."""

    files: dict[str, bytes] = {}  # noqa: RUF012 - shared by all requests
    seen: list[str] = []  # noqa: RUF012

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.seen.append(self.path)
        path, _, query = self.path.partition("?")
        data = self.files.get(path)
        if data is None or (path.startswith("/signed/") and "sig=secret" not in query):
            self.send_response(404 if data is None else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if match and not path.startswith("/whole/"):
            start, end = int(match[1]), min(int(match[2]) + 1, len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
            data = data[start:end]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        if not path.startswith("/plain/"):
            self.send_header("ETag", f'W/"{len(data)}"' if path.startswith("/weak/") and not match else '"1"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a server of `Server.files`."""
    Server.files, Server.seen = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_behind_http(web: str, tmp_path: Path) -> None:
    rgb, ndsm = hostile.pair(0)
    for folder in ("plain", "etag", "signed", "whole"):
        Server.files |= {f"/{folder}/a%20b_rgb.tif": rgb, f"/{folder}/a%20b_ndsm.tif": ndsm}
    Server.files["/etag/a.tar"] = tarred(pairs(3))
    check_pixels(find(f"{web}/plain/a%20b_rgb.tif", f"{web}/plain/a%20b_ndsm.tif"), 1)
    check_pixels(find(f"{web}/etag/a.tar"), 3)
    found = find(f"{web}/signed/a%20b_rgb.tif?sig=secret", f"{web}/signed/a%20b_ndsm.tif?sig=secret")
    check_pixels(found, 1)
    assert "secret" not in found.images[0].source
    assert "secret" not in found.images[0].rgb.name
    refused = find(f"{web}/signed/a%20b_rgb.tif?sig=guess")
    assert "guess" not in refused.accounts[0].source + refused.accounts[0].reason
    whole = find(f"{web}/whole/a%20b_rgb.tif")
    assert "download" in whole.accounts[0].reason
    gone = find(f"{web}/etag/gone_rgb.tif")
    assert "not there" in gone.accounts[0].reason
    (tmp_path / "list.txt").write_text(f"{web}/etag/a%20b_rgb.tif\n{web}/etag/a%20b_ndsm.tif\n")
    check_pixels(find(tmp_path / "list.txt"), 1)


def test_stac_items_from_elsewhere_may_not_name_local_files(web: str, tmp_path: Path) -> None:
    rgb, ndsm = hostile.pair(0)
    (tmp_path / "a_rgb.tif").write_bytes(rgb)
    Server.files |= {"/d/a_rgb.tif": rgb, "/d/e/a_ndsm.tif": ndsm}

    def item(identifier: str, color: str) -> dict[str, Any]:
        return {
            "type": "Feature",
            "id": identifier,
            "assets": {"rgb": {"href": color}, "ndsm": {"href": "e/a_ndsm.tif"}},
        }

    features = [
        item("good", "./a_rgb.tif"),
        item("path", f"{tmp_path}/a_rgb.tif"),
        item("file", f"file://{tmp_path}/a_rgb.tif"),
    ]
    Server.files["/d/items.json"] = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    found = find(f"{web}/d/items.json")
    check_pixels(found, 1)
    assert [account.error for account in found.accounts] == ["RefusedError", "RefusedError"]
    uri = put({"d/items.json": Server.files["/d/items.json"], "d/a_rgb.tif": rgb, "d/e/a_ndsm.tif": ndsm})
    found = find(f"{uri}/d/items.json")
    check_pixels(found, 1)
    assert len(found.accounts) == 2
    uri = put({"list.txt": f"{tmp_path}/a_rgb.tif\n".encode()})
    found = find(f"{uri}/list.txt")
    assert found.accounts[0].error == "RefusedError"


class Counted:
    """Ranges over bytes that remember what was asked for."""

    local = None
    etag = None
    name = "counted"

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)
        self.asked: list[tuple[int, int]] = []

    def fetch(self, start: int, length: int) -> bytes:
        self.asked.append((start, length))
        return self.data[start : start + length]

    def verify(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_the_cache_gives_the_bytes_of_what_lies_below() -> None:
    random = np.random.default_rng(0)
    data = random.bytes(1_000_003)
    below = Counted(data)
    cached = CachedRanges(below, Limits(cache_block=1000, cache_bytes=50_000, read_ahead=16_000))
    for _ in range(3000):
        start, length = int(random.integers(0, 1_000_100)), int(random.integers(0, 60_000) ** 2 / 60_000)
        assert cached.fetch(start, length) == data[start : start + length]
    assert len(cached._blocks) <= 50
    file = RangeFile(CachedRanges(Counted(data), Limits()))
    assert file.read() == data


def test_reading_in_sequence_asks_for_more_and_more_and_jumping_does_not() -> None:
    below = Counted(bytes(64 << 20))
    cached = CachedRanges(below, Limits())
    for start in range(0, 32 << 20, 4096):
        cached.fetch(start, 4096)
    assert len(below.asked) < 20
    assert max(length for _, length in below.asked) == 8 << 20
    below.asked.clear()
    for start in range(33 << 20, 60 << 20, 1 << 20):
        cached.fetch(start + 512, 512)
    assert sum(length for _, length in below.asked) <= 28 * (64 << 10) + (16 << 20)


def test_objects_on_s3(s3_uri: str) -> None:
    from gridscribe.store import open_store

    store = open_store(s3_uri)
    files = pairs(3)
    for key, data in files.items():
        store.put(key, data)
    odd = "ü #1%20?&x"
    for role in ("rgb", "ndsm"):
        store.put(f"odd/{odd}_{role}.tif", files[f"tiles/t000_{role}.tif"])
    store.put("archives/a.tar", tarred(files))
    store.put("archives/a.zip", zipped(files, zipfile.ZIP_DEFLATED))
    found = find(f"{s3_uri}/tiles/")
    check_pixels(found, 3)
    assert [image.image_id for image in find(f"{s3_uri}/tiles/*.tif").images] == [
        image.image_id for image in find(*(f"{s3_uri}/{key}" for key in files)).images
    ]
    for name in ("a.tar", "a.zip"):
        check_pixels(find(f"{s3_uri}/archives/{name}"), 3)
    check_pixels(find(f"{s3_uri}/odd"), 1)
    assert len(find(s3_uri).images) == 7  # the archives hold the same images twice: once is enough
    store.replace("tiles/t000_rgb.tif", files["tiles/t001_rgb.tif"])
    with open_raster(found.images[0]) as reader, pytest.raises((ChangedError, UnreadableError)):
        reader.read(Window(0, 0, 5, 5))
    with pytest.raises(UsageError):
        find(f"{s3_uri}/nothing/")


def test_what_a_signed_job_writes_has_no_signature(web: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Done, failed and changed inputs by signed addresses: plan, manifest, tables, commits, log and report tell of none."""
    rgb, ndsm = hostile.pair(0)
    Server.files |= {"/signed/a_rgb.tif": rgb, "/signed/a_ndsm.tif": ndsm, "/signed/b_rgb.tif": rgb[:900]}
    tiny_package(tmp_path / "model")
    inputs = [
        f"{web}/signed/{name}.tif?sig=secret&n={k}" for k, name in enumerate(("a_rgb", "a_ndsm", "b_rgb", "gone_rgb"))
    ]
    (tmp_path / "list.txt").write_text("\n".join(inputs))
    for number, given in enumerate((inputs, [str(tmp_path / "list.txt")])):
        out = tmp_path / f"out{number}"
        overrides = {"model": str(tmp_path / "model")}
        request = RunRequest(MASKS_JOB, tuple(given), str(out), executor="local", overrides=overrides)
        found = run_job(request, Lines())
        assert (found.counts["done"], found.counts["failed"]) == (1, 2)
        assert run_job(request, Lines()).counts["done"] == 1  # and it goes on from what it wrote
        done = CliRunner().invoke(cli, ["report", str(out), "--to", str(out / "report.html")])
        assert done.exit_code == 0, done.output
        written = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        rows = [
            repr(pq.read_table(path).to_pylist()).encode() for path in written if path.suffix == ".parquet"
        ]  # compressed columns would hide it
        assert rows
        for data in (*written.values(), *rows, done.output.encode()):
            assert b"secret" not in data
        assert any(b"/signed/a_rgb.tif" in data for data in rows)
    said = capfd.readouterr()
    assert "secret" not in said.out + said.err
