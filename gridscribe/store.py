"""Object storage behind one small class: local folders, S3, GCS, Azure, and memory for tests.

Results are only ever *created*: a put is atomic, and fails where the key exists. That is all that gridscribe asks of a
store, and every backend gives it (a hard link on local disk, `If-None-Match: *` on S3, generation and etag
conditions on GCS and Azure). Multipart uploads cannot carry that condition, so a put is one request, whose body is
mapped from the file and never read into memory whole; `MAX_OBJECT` is the limit that follows.

Credentials come from the environment alone (`AWS_*`, `GOOGLE_*`, `AZURE_*`) and never stand in a URI, an error or a
log.
"""

from __future__ import annotations

import mmap
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from obstore import exceptions as refusals

from gridscribe.backends import (
    FAILURES,
    NO_BUCKET,
    Patience,
    backend_for,
    describe,
    is_transient,
    parse_location,
)
from gridscribe.errors import AlreadyExistsError, MissingObjectError, StoreError

MAX_OBJECT = 5 * 1024**3
"""Bytes of the largest object that `put` takes: the limit of one S3 PUT, the smallest of all backends."""

PUT_ATTEMPTS = 7
"""How often a put is sent anew after a conflict (409) or a lost answer, besides the backend's own retries."""

PIECE = 8 << 20

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing says of one object."""

    key: str
    size: int
    etag: str | None
    last_modified: datetime


class Store:
    """The objects under one URI. Safe to use from many threads; pickles as its URI.

    Keys are relative to the URI, with `/`. Every method raises `StoreError` (or a narrower class) naming the URI, the
    key, the cause and what to do, after the backend's own retries (connection errors and 5xx answers: 4, within a
    minute). A server that has answered before and cannot be reached any more is waited for (`Patience`).
    """

    def __init__(self, uri: str | Path) -> None:
        """No request is made and no folder created yet. `UsageError` for a URI that cannot be an output."""
        self.location = parse_location(uri)
        self.uri = self.location.uri
        self._lock = threading.Lock()
        self._opened: Any = None
        self._patience = Patience()

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def uri_of(self, key: str) -> str:
        """The full URI of an object: a plain path for local folders."""
        return f"{self.uri.rstrip('/')}/{key}"

    def put(self, key: str, data: bytes | Path) -> None:
        """Create `key` with these bytes, or with the content of the file `data`.

        Atomic on every backend: no reader ever sees a part, a process killed inside leaves nothing visible, and of many
        racing puts exactly one succeeds. Raises `AlreadyExistsError` where the key exists, which after a lost
        answer may be this very put's own object. The body of a file is mapped, not copied into memory; at most
        `MAX_OBJECT` bytes.
        """
        self._put(key, data, "create")

    def replace(self, key: str, data: bytes | Path) -> None:
        """Create or overwrite `key`, atomically. For caches and views (catalogue, VRTs) only: results never."""
        self._put(key, data, "overwrite")

    def get(self, key: str) -> bytes:
        """The whole object; `MissingObjectError` where there is none."""
        return self._call("get", key, lambda backend: bytes(backend.get(key).bytes()))

    def get_pieces(self, key: str) -> Iterator[bytes]:
        """The object in pieces of 8 MiB (the last may be shorter), a request each, so that its size does not matter."""
        size = self.head(key).size
        if size <= PIECE:
            yield self.get(key)
            return
        for start in range(0, size, PIECE):
            yield self.get_range(key, start, min(PIECE, size - start))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer only where the object ends. A start past its end raises `StoreError`."""
        if length == 0:
            return b""
        return self._call("get", key, lambda backend: bytes(backend.get_range(key, start=start, length=length)))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes of several (start, length) ranges, in order; near ones travel in one request."""
        starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
        parts = self._call("get", key, lambda b: b.get_ranges(key, starts=starts, lengths=lengths)) if starts else []
        return [bytes(part) for part in parts]

    def head(self, key: str) -> ObjectInfo:
        """Size, etag and time of one object; `MissingObjectError` where there is none."""
        return _info(self._call("head", key, lambda backend: backend.head(key)))

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            self.head(key)
        except MissingObjectError:
            return False
        return True

    def folders(self, prefix: str) -> list[str]:
        """The names directly below `prefix` that hold objects, sorted: `folders("products")` are the product ids."""
        prefix = prefix.strip("/")
        try:
            result = self._call("list", prefix, lambda backend: backend.list_with_delimiter(prefix or None))
        except MissingObjectError:
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in result["common_prefixes"])

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object below a folder-like prefix (`a/b` holds `a/b/c`, not `a/bc`), in no order promised.

        Costs one request per 1000 objects on object storage. Names of puts under way never appear.
        """
        prefix = prefix.strip("/")
        stream: Any = None
        last: str | None = None

        def next_page(backend: Any) -> Any:
            nonlocal stream
            try:
                if stream is None:  # of a listing that broke off, the rest: object stores list in order of keys
                    stream = backend.list(prefix or None, offset=last, chunk_size=1000)
                return next(stream, None)
            except BaseException:
                stream = None
                raise

        while True:
            try:
                page = self._call("list", prefix, next_page)
            except MissingObjectError:
                return
            if page is None:
                return
            for meta in page:
                yield _info(meta)
            last = page[-1]["path"] if len(page) else last

    def delete(self, key: str) -> None:
        """Remove one object. An object that is not there is no error."""
        try:
            self._call("delete", key, lambda backend: backend.delete(key))
        except MissingObjectError:
            return

    def leftovers(self, prefix: str) -> Iterator[ObjectInfo]:
        """Files of puts below `prefix` that are under way or were killed: `<name>#<n>`, which no other method shows.

        Only local folders have them. Object storage keeps nothing of an unfinished put (none is a multipart upload).
        """
        if self.location.scheme != "file":
            return
        root = Path(self.location.prefix)
        for path in (root / prefix).rglob("*#*"):
            if re.search(r"#\d+$", path.name) and path.is_file() and not path.is_symlink():
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue  # that put has just finished
                modified = datetime.fromtimestamp(stat.st_mtime, UTC)
                yield ObjectInfo(path.relative_to(root).as_posix(), stat.st_size, None, modified)

    def delete_leftover(self, info: ObjectInfo) -> None:
        """Remove what `leftovers` named; gone already is no error."""
        (Path(self.location.prefix) / info.key).unlink(missing_ok=True)

    def _put(self, key: str, data: bytes | Path, mode: str) -> None:
        backend = self._backend(create=True)
        if isinstance(data, Path) and self.location.scheme == "memory":
            data = data.read_bytes()  # this store keeps what it is given, so it must not be given a mapping
        if not isinstance(data, Path):
            self._send(key, lambda: backend.put(key, data, mode=mode, use_multipart=False), len(data))
            return
        try:
            file = data.open("rb")
        except OSError as error:
            raise StoreError(f"cannot read {data} to store it as {self.uri_of(key)}: {error.strerror}") from error
        with file:
            size = data.stat().st_size
            if size == 0:  # an empty file cannot be mapped
                self._send(key, lambda: backend.put(key, b"", mode=mode, use_multipart=False), 0)
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
                self._send(key, lambda: backend.put(key, body, mode=mode, use_multipart=False), size)

    def _send(self, key: str, put: Callable[[], Any], size: int) -> None:
        if size > MAX_OBJECT:
            raise StoreError(
                f"{key} has {size} bytes, more than the {MAX_OBJECT} of one object: choose a smaller --item-size"
            )
        for attempt in range(1, PUT_ATTEMPTS + 1):
            try:
                self._patience.ride_out(put)
            except FAILURES as error:
                if attempt < PUT_ATTEMPTS and is_transient(error):
                    time.sleep(min(4.0, random.uniform(0.05, 0.1) * 2**attempt))
                    continue
                raise self._error("put", key, error) from None
            return

    def _call(self, verb: str, key: str, request: Callable[[Any], T]) -> T:
        try:
            return self._patience.ride_out(lambda: request(self._backend(create=False)))
        except FAILURES as error:
            raise self._error(verb, key, error) from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # the backend's own bug, met by ranges beyond an object's end
                raise
            raise StoreError(f"cannot {verb} {self.uri_of(key)}: it is not as long as it says; it is damaged") from None

    def _backend(self, *, create: bool) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = backend_for(self.location, create=create)
            return self._opened

    def _error(self, verb: str, key: str, error: Exception) -> StoreError:
        where = self.uri_of(key)
        if isinstance(error, refusals.AlreadyExistsError | refusals.PreconditionError) and not is_transient(error):
            return AlreadyExistsError(f"{where} exists already, and what is stored is never overwritten")
        cause, advice = describe(error)
        if isinstance(error, FileNotFoundError) and verb == "put":
            return StoreError(f"cannot put {where}: there is no such bucket or folder; create it, or correct the URI")
        if isinstance(error, FileNotFoundError) and not cause.startswith(NO_BUCKET):
            return MissingObjectError(f"{where} is not there")
        return StoreError(f"cannot {verb} {where}: {cause}; {advice}")


def open_store(uri: str | Path) -> Store:
    """The objects under `uri`: a path, `file://`, `s3://bucket/prefix`, `gs://`, `az://`, or `memory://name` within
    a process.

    `UsageError` for any other. Nothing is asked of the store until it is used; a local folder is made by the first put.
    """
    return Store(uri)


def concurrently(function: Callable[[T], R], values: Iterable[T], workers: int = 16) -> Iterator[R]:
    """`function` of each value, in order, with at most `workers` under way and no more than twice as many taken ahead.

    The first error is raised in its place, after what runs has ended; nothing further is begun.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="store") as pool:
        ahead: deque[Future[R]] = deque()
        try:
            for value in values:
                ahead.append(pool.submit(function, value))
                if len(ahead) >= 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _info(meta: Any) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])
