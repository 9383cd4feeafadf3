"""Object storage on local disk and on a real S3 server: creates, races, kills, errors."""

from __future__ import annotations

import http.server
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from obstore.exceptions import GenericError

from gridscribe.backends import describe, parse_location, redact
from gridscribe.commits import put_objects
from gridscribe.errors import AlreadyExistsError, MissingObjectError, StoreError, UsageError
from gridscribe.store import ObjectInfo, Store, concurrently, open_store

if TYPE_CHECKING:
    from tests.s3server import S3Server


def test_put_creates_and_never_overwrites(output_uri: str, tmp_path: Path) -> None:
    store = open_store(output_uri)
    file = tmp_path / "body.bin"
    file.write_bytes(os.urandom(300_000))
    store.put("a/one", b"first")
    store.put("a/file", file)
    store.put("a/empty", b"")
    (tmp_path / "nothing").write_bytes(b"")
    store.put("a/empty-file", tmp_path / "nothing")
    for data in (b"second", b"first", file):
        with pytest.raises(AlreadyExistsError, match="a/one"):
            store.put("a/one", data)
    assert store.get("a/one") == b"first"
    assert store.get("a/file") == file.read_bytes()
    assert b"".join(store.get_pieces("a/file")) == file.read_bytes()
    assert store.get("a/empty") == store.get("a/empty-file") == b""
    assert store.head("a/file").size == 300_000


def test_what_is_not_there_is_missing(output_uri: str) -> None:
    store = open_store(output_uri)
    for ask in (store.get, store.head, lambda key: store.get_range(key, 0, 4), lambda key: list(store.get_pieces(key))):
        with pytest.raises(MissingObjectError, match="no/such"):
            ask("no/such")
    assert not store.exists("no/such")
    assert list(store.list()) == []
    assert list(store.list("no")) == []
    assert store.folders("products") == []
    store.delete("no/such")


def test_reading_leaves_no_folder_behind(tmp_path: Path) -> None:
    store = open_store(tmp_path / "absent")
    assert not store.exists("a")
    assert list(store.leftovers(".")) == []
    assert not (tmp_path / "absent").exists()
    store.put("a", b"1")
    assert store.exists("a")


def test_listing_follows_folders(output_uri: str) -> None:
    store = open_store(output_uri)
    keys = {"a/b/1", "a/b/2", "a/bc/3", "d"}
    for key in keys:
        store.put(key, key.encode())
    assert {info.key for info in store.list()} == keys
    assert {info.key for info in store.list("a/b")} == {info.key for info in store.list("a/b/")} == {"a/b/1", "a/b/2"}
    assert store.folders("a") == ["b", "bc"]
    assert store.folders("") == ["a"]
    info = next(iter(store.list("a/bc")))
    assert isinstance(info, ObjectInfo)
    assert info.size == len("a/bc/3")
    assert abs(info.last_modified.timestamp() - time.time()) < 60
    store.delete("d")
    assert not store.exists("d")
    assert {info.key for info in store.list()} == keys - {"d"}


def test_ranges(output_uri: str) -> None:
    store = open_store(output_uri)
    store.put("r", bytes(range(100)))
    assert store.get_range("r", 10, 5) == bytes(range(10, 15))
    assert store.get_range("r", 95, 50) == bytes(range(95, 100))
    assert store.get_range("r", 10, 0) == b""
    assert store.get_ranges("r", [(90, 3), (0, 2)]) == [bytes(range(90, 93)), bytes(range(2))]
    assert store.get_ranges("r", []) == []
    with pytest.raises(StoreError, match="/r"):
        store.get_range("r", 100, 1)


def test_replace_overwrites(output_uri: str) -> None:
    store = open_store(output_uri)
    store.replace("c", b"1")
    store.replace("c", b"22")
    assert store.get("c") == b"22"


@pytest.mark.parametrize("together", [1, 32])
def test_a_raced_create_has_one_winner_on_disk(tmp_path: Path, together: int) -> None:
    race(open_store(tmp_path / "out"), keys=40, together=together)
    assert list(open_store(tmp_path / "out").leftovers(".")) == []


def test_a_raced_create_has_one_winner_on_s3(s3_uri: str) -> None:
    race(open_store(s3_uri), keys=96, together=4)


def race(store: Store, keys: int, together: int) -> None:
    """32 writers put all keys, with bytes of their own: each key has one winner, and its bytes are what is there.

    `together` writers begin at the same key. (Where 8 and more meet on one key, SeaweedFS makes the waiters sleep
    for seconds.)
    """
    barrier = threading.Barrier(32)
    won: Counter[str] = Counter()
    winners: dict[str, bytes] = {}
    lock = threading.Lock()

    def write(writer: int) -> None:
        start = writer // together * 7
        barrier.wait()
        for n in range(keys):
            key = f"race/{(start + n) % keys}"
            body = f"{writer} of {key}".encode() * 50
            try:
                store.put(key, body)
            except AlreadyExistsError:
                continue
            with lock:
                won[key] += 1
                winners[key] = body

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(write, range(32)))
    assert won == {f"race/{n}": 1 for n in range(keys)}
    assert len({body.split()[0] for body in winners.values()}) > 1, "there was no race"
    assert {key: store.get(key) for key in winners} == winners


KILLED = """
import sys
from pathlib import Path
from gridscribe.store import open_store
print("begin", flush=True)
open_store(sys.argv[1]).put("big.bin", Path(sys.argv[2]))
print("put", flush=True)
"""


def kill_inside_put(uri: str, source: Path, under_way: Callable[[], bool]) -> None:
    """Start a put of `source` in a process of its own and kill it as soon as `under_way` says so."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, uri, str(source)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    end = time.monotonic() + 20
    while not under_way():
        assert process.poll() is None, "the put ended before it could be killed: make the file larger"
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.stdout.read() == "", "the put ended before it could be killed: make the file larger"


def test_a_killed_put_leaves_nothing_visible_on_disk(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(1 << 30)  # sparse
    store = open_store(tmp_path / "out")
    store.put("small", b"1")
    kill_inside_put(store.uri, source, lambda: any(info.size for info in store.leftovers(".")))
    assert [info.key for info in store.list()] == ["small"]
    assert not store.exists("big.bin")
    (left,) = store.leftovers(".")
    assert left.key.startswith("big.bin#")
    assert 0 < left.size <= 1 << 30
    store.put("big.bin", b"2")  # what is left over does not stand in the way
    store.delete_leftover(left)
    assert list(store.leftovers(".")) == []
    assert store.get("big.bin") == b"2"


def test_a_killed_put_leaves_nothing_visible_on_s3(tmp_path: Path, s3_uri: str) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(400 << 20)
    begun = time.monotonic()
    kill_inside_put(s3_uri, source, lambda: time.monotonic() - begun > 0.7)
    store = open_store(s3_uri)
    time.sleep(0.3)
    assert list(store.list()) == []
    assert not store.exists("big.bin")
    store.put("big.bin", b"2")
    assert store.get("big.bin") == b"2"


FRUGAL = """
import resource, sys
from pathlib import Path
from gridscribe.store import open_store
store = open_store(sys.argv[1])
store.put("first", b"1")  # threads and buffers of the client are there from now on
data = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (data + (48 << 20),) * 2)
store.put("big", Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by a Linux rlimit")
def test_a_large_file_is_not_read_into_memory(output_uri: str, tmp_path: Path) -> None:
    """96 MiB are put by a process that may allocate 48 MiB."""
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(96 << 20)
    subprocess.run([sys.executable, "-c", FRUGAL, output_uri, str(source)], check=True)
    assert open_store(output_uri).head("big").size == 96 << 20


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    with pytest.raises(StoreError, match="absent"):
        store.put("a", tmp_path / "absent")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate((5 << 30) + 1)
    with pytest.raises(StoreError, match="5368709121 bytes, more than the 5368709120"):
        store.put("a", tmp_path / "huge")
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/out/", "/data/out"),
        ("file:///data/my%20out", "/data/my out"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("az://container/a", "az://container/a"),
        ("memory://x", "memory://x"),
    ],
)
def test_uris_have_one_spelling(uri: str, expected: str) -> None:
    assert parse_location(uri).uri == expected
    assert Store(uri).uri_of("k") == f"{expected}/k"


@pytest.mark.parametrize(
    "uri", ["", "https://host/a", "s3:///a", "file://host/a", "ftp://a/b", "memory://a/b", "s3://b/a?x=1"]
)
def test_other_uris_are_usage_errors(uri: str) -> None:
    with pytest.raises(UsageError):
        open_store(uri).exists("a")


def test_credentials_in_a_uri_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="environment") as caught:
        open_store("s3://AKIAKEY:topsecret@bucket/prefix")
    assert "topsecret" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)


def test_a_store_travels_as_its_uri(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.put("a", b"1")
    assert pickle.loads(pickle.dumps(store)).get("a") == b"1"


def test_memory_stores_are_shared_by_name() -> None:
    open_store("memory://shared").put("a", b"1")
    assert open_store("memory://shared").get("a") == b"1"
    assert not open_store("memory://other").exists("a")


@pytest.mark.parametrize(
    ("changed", "uri", "says"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong-secret-value"},
            None,
            "credentials are wrong.*SignatureDoesNotMatch.*AWS_ACCESS",
        ),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, None, "credentials are wrong.*InvalidAccessKeyId.*AWS_ACCESS"),
        ({"AWS_ACCESS_KEY_ID": "readkey", "AWS_SECRET_ACCESS_KEY": "readsecret123"}, None, "may not do that"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, None, "cannot be reached.*AWS_ENDPOINT_URL"),
    ],
)
def test_s3_errors_say_what_to_do(
    changed: dict[str, str], uri: str | None, says: str, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    begun = time.monotonic()
    with pytest.raises(StoreError, match=says) as caught:
        open_store(s3_uri).put("k", b"1")
    assert f"{s3_uri}/k" in str(caught.value)
    assert time.monotonic() - begun < 20
    for secret in ("wrong-secret-value", "testsecret123", "readsecret123"):
        assert secret not in str(caught.value)


def test_a_missing_bucket_is_named(s3_env: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store("s3://nosuchbucket/a")
    with pytest.raises(StoreError, match=r"nosuchbucket.*create it") as caught:
        store.get("k")
    assert not isinstance(caught.value, MissingObjectError)
    with pytest.raises(StoreError, match=r"nosuchbucket.*create it"):
        list(store.list())


def test_reading_needs_no_right_to_write(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(s3_uri).put("k", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "readkey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "readsecret123")
    assert open_store(s3_uri).get("k") == b"1"


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        store = open_store(small / "out")
        with pytest.raises(StoreError, match=r"disk is full.*run again"):
            store.put("big", b"x" * 3_000_000)
        assert not store.exists("big")
        assert list(store.leftovers(".")) == []
        store.put("little", b"1")
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="denies access"):
        open_store(tmp_path / "locked").put("k", b"1")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot make the folder"):
        open_store(tmp_path / "file" / "out").put("k", b"1")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)",
            "disk is full",
        ),
        ("Unable to open file: Permission denied (os error 13)", "denies access"),
        ("Unable to open file: Read-only file system (os error 30)", "read-only"),
        ("Server returned non-2xx status code: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>", "bucket"),
        ("Server returned non-2xx status code: 403: <Error><Code>ExpiredToken</Code></Error>", "credentials are wrong"),
    ],
)
def test_causes_are_told_apart(text: str, cause: str) -> None:
    found, advice = describe(GenericError(text))
    assert cause in found
    assert "<Error>" not in found
    assert advice


def test_signatures_and_users_are_redacted() -> None:
    text = redact("GET https://user:pw@host/a?X-Amz-Signature=abc&X-Amz-Credential=AKIA&sig=xyz&part=1 failed")
    assert "pw" not in text
    assert "abc" not in text
    assert "AKIA" not in text
    assert "xyz" not in text
    assert "part=1" in text


class Faulty(http.server.BaseHTTPRequestHandler):
    """An S3 stand-in for faults that no real server shows on demand: `faults` are answered first, one per PUT."""

    protocol_version = "HTTP/1.1"
    faults: list[str] = []  # noqa: RUF012  (set anew by each test)
    objects: dict[str, bytes] = {}  # noqa: RUF012
    puts = 0

    def do_PUT(self) -> None:
        kind = type(self)
        kind.puts += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = kind.faults.pop(0) if kind.faults else ""
        if fault == "lost":  # stored, but the answer never arrives
            kind.objects[self.path] = body
            self.close_connection = True
            return
        if fault:
            self._answer(int(fault[:3]), f"<Error><Code>{fault[4:]}</Code></Error>".encode())
        elif self.headers["If-None-Match"] == "*" and self.path in kind.objects:
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        else:
            kind.objects[self.path] = body
            self._answer(200, b"")

    def do_GET(self) -> None:
        self._answer(200, type(self).objects[self.path])

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", self.date_time_string())
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def faulty_s3(monkeypatch: pytest.MonkeyPatch, faults: list[str]) -> Iterator[tuple[Store, type[Faulty]]]:
    handler = type("Handler", (Faulty,), {"faults": faults, "objects": {}, "puts": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    try:
        yield open_store("s3://bucket/p"), handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


CONFLICT = "409 ConditionalRequestConflict"
BUSY = "503 SlowDown"


@pytest.mark.parametrize("faults", [[CONFLICT], [CONFLICT] * 3, [BUSY, BUSY], [BUSY, CONFLICT, BUSY]])
def test_passing_faults_are_ridden_out(faults: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(faults)
    with faulty_s3(monkeypatch, faults) as (store, server):
        store.put("k", b"1")
        assert server.puts == count + 1
        assert server.objects == {"/bucket/p/k": b"1"}


@pytest.mark.parametrize("fault", [CONFLICT, BUSY])
def test_lasting_faults_end_in_an_error_that_names_them(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    monkeypatch.setattr("gridscribe.store.time.sleep", lambda seconds: None)
    with faulty_s3(monkeypatch, [fault] * 1000) as (store, server):
        with pytest.raises(StoreError, match=rf"s3://bucket/p/k.*{fault[4:]}"):
            store.put("k", b"1")
        assert server.puts < 40
    assert time.monotonic() - begun < 15


def test_a_create_whose_answer_was_lost_is_found_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_s3(monkeypatch, ["lost"]) as (store, server):
        (record,) = put_objects(store, {"k.tif": b"123"})
        assert record.key == "k.tif"
        assert server.objects == {"/bucket/p/k.tif": b"123"}


def test_concurrently_keeps_order_and_is_bounded() -> None:
    taken = 0

    def values() -> Iterator[int]:
        nonlocal taken
        for n in range(200):
            taken = n
            yield n

    results = concurrently(lambda n: n * n, values(), workers=4)
    assert next(results) == 0
    assert taken < 12
    assert list(results) == [n * n for n in range(1, 200)]


def test_concurrently_raises_the_first_error_in_its_place() -> None:
    def fail_at_five(n: int) -> int:
        if n == 5:
            raise ValueError("five")
        return n

    results = concurrently(fail_at_five, range(1000), workers=4)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_the_modules_load_quickly() -> None:
    names = "store commits layout tables products manifest gc catalog stac footprint"
    code = f"import sys\nfor n in {names!r}.split(): __import__('gridscribe.' + n)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    heavy = {"torch", "ray", "pyarrow", "pystac", "pandas", "shapely", "pyproj", "rasterio"}
    assert not heavy.intersection(loaded)
