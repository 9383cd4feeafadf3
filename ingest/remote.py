"""Objects behind `s3://`, `gs://`, `az://` and files behind `http(s)://`: listed, and read by range, through obstore."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from obstore.exceptions import NotSupportedError, PermissionDeniedError, UnauthenticatedError
from obstore.store import HTTPStore

from gridscribe.backends import CONNECTIONS, FAILURES, RETRIES, Location, Patience, backend_for, describe
from gridscribe.errors import StoreError, UnreadableError, UsageError
from gridscribe.ingest.bytesio import check_unchanged
from gridscribe.ingest.sources import Source
from gridscribe.store import open_store

BUCKET_SCHEMES = ("s3", "gs", "az", "memory")
HTTP_SCHEMES = ("http", "https")
FIRST = 64 << 10  # bytes fetched with the first question for size and version


def scheme_of(uri: str) -> str:
    """ "s3", "https", ... ; "file" for paths. Raises UsageError for schemes that are not read."""
    match = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if match is None:
        return "file"
    scheme = match[1].lower()
    if scheme == "file" or scheme in BUCKET_SCHEMES + HTTP_SCHEMES:
        return scheme
    raise UsageError(f"input {uri!r}: {scheme}:// is not read; use a path, s3://, gs://, az:// or http(s)://")


class RemoteRanges:
    """One remote object. Every answer is checked against the size and version that were planned or first seen."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._backend, self._key = _object(source.uri)
        self._patience = _patience(urlsplit(source.uri)[:2])
        whole = source.size if source.member is None else None
        self._first = b""
        if source.etag is not None and (whole is not None or source.offset is not None):
            self._planned: tuple[int | None, str | None] = (whole, source.etag)
            self.size = whole if whole is not None else (source.offset or 0) + (source.size or 0)
            self.etag: str | None = source.etag
        else:
            self._planned = (whole, source.etag)
            self.size, self.etag = self._ask()

    @property
    def local(self) -> None:
        """Not local."""
        return None

    def fetch(self, start: int, length: int) -> bytes:
        """Bytes `[start, start + length)`, cut at the end of the object."""
        end = min(start + length, self.size)
        if start >= end:
            return b""
        if end <= len(self._first):
            return self._first[start:end]
        data, _, _ = self._get(start, end)
        if len(data) != end - start:
            raise UnreadableError(f"{self.name}: {len(data):,} of {end - start:,} bytes came from byte {start:,}")
        return data

    def verify(self) -> None:
        """Every answer has been checked already."""

    def close(self) -> None:
        """Forget the first bytes."""
        self._first = b""

    def _ask(self) -> tuple[int, str | None]:
        try:
            self._first, size, etag = self._get(0, FIRST)
        except (StoreError, UnreadableError):
            # no byte 0: the object is empty, or it is not there, which this says better
            meta = self._call(lambda: self._backend.head(self._key))
            size, etag = int(meta["size"]), _version(meta)
            if size:
                raise
        self._planned = (size, etag)
        return size, etag

    def _get(self, start: int, end: int) -> tuple[bytes, int, str | None]:
        def request() -> tuple[bytes, Any]:
            answer = self._backend.get(self._key, options={"range": (start, end)})
            return bytes(answer.bytes()), answer.meta

        data, meta = self._call(request)
        size, etag = int(meta["size"]), _version(meta)
        check_unchanged(self.name, self._planned, (size, etag))
        return data, size, etag

    def _call(self, request: Any) -> Any:
        try:
            return self._patience.ride_out(request)
        except FileNotFoundError:
            raise UnreadableError(f"{self.name}: is not there") from None
        except NotSupportedError:
            text = "the server gives no byte ranges: download the file and name the copy"
            raise UnreadableError(f"{self.name}: {text}") from None
        except FAILURES as exc:
            cause, advice = describe(exc)
            if isinstance(exc, PermissionDeniedError | UnauthenticatedError):  # of this object: others may be allowed
                raise UnreadableError(f"{self.name}: {cause}; {advice}") from None
            raise StoreError(f"cannot read {self.name}: {cause}; {advice}") from None


@cache
def _patience(server: tuple[str, str]) -> Patience:  # noqa: ARG001 - what it is kept by
    """Of a scheme and a bucket or host: that it has answered before is known to all its objects."""
    return Patience()


def list_sources(uri: str) -> Iterator[tuple[str, Source]]:
    """(key below `uri`, object) of every object below a bucket or prefix, in no order, with sizes and versions."""
    scheme, bucket, prefix = _split(uri)
    prefix = prefix.rstrip("/")
    for info in open_store(f"{scheme}://{bucket}").list(prefix):
        etag = info.etag or info.last_modified.isoformat()
        key = info.key[len(prefix) :].lstrip("/")
        yield key, Source(f"{scheme}://{bucket}/{info.key}", size=info.size, etag=etag)


def _version(meta: Any) -> str | None:
    """The etag; the time of the last change where a server gives none."""
    etag = meta.get("e_tag")
    if etag:
        return str(etag)
    time = meta.get("last_modified")
    return time.isoformat() if time is not None and time.timestamp() > 0 else None


def _object(uri: str) -> tuple[Any, str]:
    scheme = scheme_of(uri)
    if scheme in HTTP_SCHEMES:
        return _http(uri), ""
    _, bucket, key = _split(uri)
    if not key:
        raise UsageError(f"input {uri!r} names a bucket, not an object")
    return _bucket(scheme, bucket), key


def _split(uri: str) -> tuple[str, str, str]:
    """(scheme, bucket, key)."""
    scheme, rest = uri.split("://", 1)
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise UsageError(f"input {uri!r} names no bucket")
    return scheme.lower(), bucket, key


@lru_cache(maxsize=32)
def _bucket(scheme: str, bucket: str) -> Any:
    return backend_for(Location(scheme, bucket, ""), create=False)


@lru_cache(maxsize=256)
def _http(uri: str) -> Any:
    options: dict[str, Any] = dict(CONNECTIONS)
    options["timeout"] = timedelta(minutes=2)
    if uri.lower().startswith("http://"):
        options["allow_http"] = True  # asked for by name
    store: Any = HTTPStore  # its options are typed as TypedDicts, which ours are by content
    return store.from_url(uri, client_options=options, retry_config=RETRIES)


def http_name(uri: str) -> str:
    """The file name that an http(s) URI ends in."""
    return unquote(urlsplit(uri).path).rpartition("/")[2] or "file"
