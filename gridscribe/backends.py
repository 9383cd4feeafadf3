"""From an output URI to an obstore backend, and from a backend's error to what a person can do about it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from gridscribe.errors import StoreError, UsageError

REQUEST_TIMEOUT = timedelta(minutes=5)  # of one whole request, so a put of 1 GiB needs 3.5 MB/s
RETRIES = {
    "max_retries": 4,
    "retry_timeout": timedelta(minutes=1),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=4), "base": 2},
}
CONNECTIONS = {"connect_timeout": timedelta(seconds=5), "timeout": REQUEST_TIMEOUT}

FAILURES = (BaseError, OSError, ValueError)
"""What obstore raises: its own errors, `FileNotFoundError`, and `ValueError` for keys and ranges that cannot be."""

_memory: dict[str, Any] = {}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Location:
    """An output URI taken apart."""

    scheme: str
    """"file", "s3", "gs", "az" or "memory"."""
    bucket: str
    """Bucket or container; the name of a memory store; "" for local folders."""
    prefix: str
    """Key prefix without slashes at its ends; for local folders the absolute path."""

    @property
    def uri(self) -> str:
        """One spelling of the URI; a plain path for local folders."""
        if self.scheme == "file":
            return self.prefix
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def parse_location(uri: str | Path) -> Location:
    """Take an output URI apart: a path, `file://`, `s3://`, `gs://`, `az://` or `memory://name`; else `UsageError`."""
    text = str(uri)
    if "://" not in text:
        if not text:
            raise UsageError("the output URI is empty: give a folder or s3://bucket/prefix, gs://..., az://...")
        return Location("file", "", str(Path(text).expanduser().absolute()))
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"output URI {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} carries more than a bucket and "
            "a prefix: credentials belong in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY ...)"
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{text} names the host {parts.netloc!r}: a local folder is file:///folder")
        return Location("file", "", str(Path(unquote(parts.path)).absolute()))
    if parts.scheme not in ("s3", "gs", "az", "memory"):
        raise UsageError(
            f"{text}: cannot store under {parts.scheme}://; allowed are a path, file://, s3://, gs://, az:// and memory://"
        )
    if not parts.netloc and parts.scheme != "memory":
        raise UsageError(f"{text} names no bucket: expected {parts.scheme}://bucket/prefix")
    return Location(parts.scheme, parts.netloc, parts.path.strip("/"))


def backend_for(location: Location, *, create: bool) -> Any:
    """The obstore backend of `location`, whose keys are relative to the prefix.

    `create` makes the folder of a local store; without it a missing folder raises `FileNotFoundError`, so that
    reading never leaves an empty folder behind. Raises `StoreError` where the backend refuses its settings.
    """
    prefix = location.prefix or None
    if location.scheme == "memory":
        if location.prefix:
            raise UsageError(f"{location.uri}: a memory store has a name and no prefix (memory://name)")
        return _memory.setdefault(location.bucket, MemoryStore())
    if location.scheme == "file":
        if not create and not Path(location.prefix).is_dir():
            raise FileNotFoundError(location.prefix)
        try:
            Path(location.prefix).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the folder {location.uri}: {error.strerror}; choose another output"
            ) from error
        return LocalStore(prefix=location.prefix)
    options: dict[str, Any] = {"client_options": dict(CONNECTIONS), "retry_config": RETRIES}
    try:
        if location.scheme == "s3":
            return _s3(location.bucket, prefix, options)
        if location.scheme == "gs":
            return GCSStore(location.bucket, prefix=prefix, **options)
        return AzureStore(location.bucket, prefix=prefix, **options)
    except (BaseError, ValueError) as error:
        cause, advice = describe(error)
        raise StoreError(f"cannot open {location.uri}: {cause}; {advice}") from None


def _s3(bucket: str, prefix: str | None, options: dict[str, Any]) -> Any:
    """An S3 backend set up from `AWS_*`, as boto3 and GDAL understand them where they differ from obstore."""
    endpoint = next(
        (os.environ[n] for n in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if os.environ.get(n)), None
    )
    settings: dict[str, Any] = {}
    if endpoint is not None:
        settings["endpoint"] = endpoint
        if endpoint.startswith("http://"):
            options["client_options"]["allow_http"] = True  # asked for by name, in the environment
        if "AWS_VIRTUAL_HOSTED_STYLE_REQUEST" not in os.environ:
            settings["virtual_hosted_style_request"] = False
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        settings["region"] = region
    return S3Store(bucket, prefix=prefix, **settings, **options)


_CONFLICT = re.compile("ConditionalRequestConflict|OperationAborted")  # S3's 409; Azure's 409 means "exists already"


def is_transient(error: BaseException) -> bool:
    """Whether sending a create-only put again can help: a conflict with a racing put, or an answer that never came.

    S3 answers 409 where another create of the key is under way, which may yet fail; obstore reports it as "exists
    already".
    """
    text = str(error)
    return bool(_CONFLICT.search(text)) or "kind: Timeout" in text


class Patience:
    """Rides out the absence of a server that has answered before, as while it is restarted; one for each server or bucket."""

    seconds = 90.0
    """How long it is waited for."""

    def __init__(self) -> None:
        self._answered = False

    def ride_out(self, request: Callable[[], T]) -> T:
        """The answer to a request that may be sent again and again; what it raises is raised, at the latest after `seconds`."""
        since, pause = 0.0, 0.25
        while True:
            try:
                found = request()
            except FAILURES as error:
                self._answered = self._answered or isinstance(error, FileNotFoundError)
                if not self._answered or not _is_outage(error, begun=since > 0):
                    raise
                since = since or time.monotonic()
                if time.monotonic() - since > self.seconds:
                    raise
                time.sleep(pause)
                pause = min(4.0, 2 * pause)
                continue
            self._answered = True
            return found


def _is_outage(error: BaseException, *, begun: bool) -> bool:
    """Whether an error says that the server is away: it cannot be reached, or (once that has `begun`) is not itself yet."""
    text = f"{type(error).__name__} {error}"
    away = re.search(
        r"kind: Connect|Connection refused|connection closed before|IncompleteMessage|ConnectionReset|response body error",
        text,
    )
    return bool(away) or (
        begun and bool(re.search(r"server error|InternalError|ServiceUnavailable|kind: Timeout", text))
    )


NO_BUCKET = "the bucket does not exist"
_AGAIN = "then run again: committed items are kept"
_KEYS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (GOOGLE_*, AZURE_* for other stores)"
_ADVICE: tuple[tuple[str, str, str], ...] = (
    # (pattern in the error, what it is, what to do); the first that matches holds
    (r"os error (28|122)\b", "the disk is full", f"free space or raise the quota, {_AGAIN}"),
    (r"os error 30\b", "the file system is read-only", "choose another output"),
    (r"os error (1|13)\b", "the operating system denies access", "check the owner and mode of the folder"),
    (r"os error 36\b", "the name is too long for this file system", "use shorter input paths"),
    (
        r"NoSuchBucket|ContainerNotFound",
        "the bucket does not exist",
        "create it, or correct the URI",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|Unauthenticated",
        "the credentials are wrong or expired",
        f"check {_KEYS}",
    ),
    (r"169\.254\.169\.254|metadata\.google\.internal|MissingCredential", "no credentials were found", f"set {_KEYS}"),
    (
        r"PermissionDenied|AccessDenied|403 Forbidden",
        "these credentials may not do that",
        "ask for the right to read, list, write and delete there",
    ),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|redirect without LOCATION",
        "the bucket is in another region",
        "set AWS_REGION",
    ),
    (r"Account must be specified", "no storage account is named", "set AZURE_STORAGE_ACCOUNT_NAME"),
    (_CONFLICT.pattern, "another put of the same object does not end", f"wait, {_AGAIN}"),
    (r"kind: Connect", "the server cannot be reached", "check the network and AWS_ENDPOINT_URL"),
    (r"kind: Timeout", "the server did not answer in time", f"check the network, {_AGAIN}"),
    (r"server error|SlowDown|ServiceUnavailable", "the server is failing or overloaded", f"wait, {_AGAIN}"),
)


def describe(error: BaseException) -> tuple[str, str]:
    """(cause, advice) of a backend's error, without secrets and without the backend's own debug output."""
    whole = f"{type(error).__name__} {error}"
    first = redact(" ".join(str(error).split("\n\nDebug source")[0].split()))
    code = re.search(r"<Code>([^<]+)</Code>", whole)
    if "<Error" in first or "<?xml" in first:
        first = re.sub(r"<\?xml.*|<Error.*", "", first).rstrip(" :,-")
    if code and code[1] not in first:
        first = f"{first} ({code[1]})"
    for pattern, cause, advice in _ADVICE:
        if re.search(pattern, whole):
            return f"{cause} [{first[:300]}]", advice
    return first[:400] or type(error).__name__, f"remove the cause, {_AGAIN}"


def redact(text: str) -> str:
    """`text` without user info and signatures in URLs."""
    text = re.sub(r"://[^/@\s]+@", "://***@", text)
    return re.sub(r"(?i)\b(sig|signature|x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid)=[^&\s]+", r"\1=***", text)
