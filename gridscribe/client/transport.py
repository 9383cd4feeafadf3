"""Requests to a gridscribe service: put again where that helps, bounded in time and size, refused as the service refused them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from gridscribe import errors
from gridscribe.client.wire import ARROW
from gridscribe.errors import GridscribeError, LayoutError, QueryError, StoreError, UsageError

TOKEN = "GRIDSCRIBE_TOKEN"
"""The variable that holds the service's bearer token."""
TIMEOUT = 120.0
"""Seconds that an answer may take."""
PATIENT = 90.0
"""Seconds that a service which has answered before is waited for when it cannot be reached, as a store is."""
BUSY = (429, 503)
PIECE = 1 << 20
MOST = 2 << 30
"""Bytes of the largest answer."""
BROKEN = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError, LayoutError)
"""What comes of reading an answer that is none of a gridscribe service's."""
Params = Mapping[str, Any]
A = TypeVar("A")
T = TypeVar("T")


class Transport:
    """One service. Safe to use from many threads, which share its connections."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = TIMEOUT) -> None:
        """`token`: what the service asks for; None: `$GRIDSCRIBE_TOKEN`, where that is set."""
        import urllib3

        try:
            parsed = urllib3.util.parse_url(url)
        except urllib3.exceptions.LocationParseError as error:
            raise UsageError(f"{url!r} is no address of a service: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
            raise UsageError(f"{url!r} is no address of a service: expected http://host:port or https://host/path")
        if parsed.auth:
            raise UsageError(f"the address of {parsed.host} holds a password: give a token with token= or ${TOKEN}")
        self.url = url.rstrip("/")
        token = token if token is not None else os.environ.get(TOKEN) or None
        if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
            raise UsageError(f"the token is none: ASCII characters without spaces are expected (token= or ${TOKEN})")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(
            maxsize=16, timeout=urllib3.Timeout(connect=10.0, read=timeout), retries=False, headers=headers
        )
        self._answered, self._timeout = threading.Event(), timeout

    def ask(self, method: str, path: str, params: Params, body: bytes = b"", kind: str | None = None) -> bytes:
        """The body of the answer; what the service refused is raised as it raised it."""
        import urllib3

        headers = {**self._pool.headers, "Accept": f"{ARROW}, application/json"}
        if kind is not None:
            headers["Content-Type"] = kind
        query = urlencode(_fields(params))
        target = f"{self.url}/v1/{path}" + (f"?{query}" if query else "")
        since, pause = time.monotonic(), 0.25
        while True:
            wait: str | None = None
            try:
                status, told, data = self._request(method, target, body, headers)
            except urllib3.exceptions.ReadTimeoutError as error:
                raise StoreError(f"{self.url} did not answer in {self._timeout:g} s: ask for less, or again") from error
            except urllib3.exceptions.HTTPError as error:
                if not self._answered.is_set() or time.monotonic() - since > PATIENT:
                    raise StoreError(
                        f"no service answers at {self.url} ({type(error).__name__}): is `gridscribe serve` running there?"
                    ) from error
            else:
                self._answered.set()
                if status == 200:
                    return data
                if status not in BUSY or time.monotonic() - since > PATIENT:
                    raise _error(self.url, path, status, data)
                wait = told
            if wait is not None and wait.isascii() and wait.isdigit() and len(wait) < 4:
                pause = max(pause, float(wait))
            time.sleep(max(0.0, min(pause, since + PATIENT - time.monotonic())))
            pause = min(4.0, 2 * pause)

    def _request(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str | None, bytes]:
        """(status, Retry-After, body) of one answer, read in pieces: `urllib3`'s own times are of each piece alone."""

        end = time.monotonic() + self._timeout
        answer = self._pool.request(
            method,
            target,
            body=body or None,
            headers=headers,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        pieces, size, whole = [], 0, False
        try:
            while piece := answer.read1(PIECE):
                pieces.append(piece)
                size += len(piece)
                self._check(size, end)
            whole = True
        finally:
            if whole:
                answer.release_conn()
            else:
                answer.close()
        return answer.status, answer.headers.get("Retry-After"), b"".join(pieces)

    def _check(self, size: int, end: float) -> None:
        if size > MOST:
            raise StoreError(f"{self.url} answers with more than {MOST} bytes: ask for less")
        if time.monotonic() > end:
            raise StoreError(f"{self.url} did not answer in {self._timeout:g} s: ask for less, or again")

    def read(self, decode: Callable[[A], T], answer: A) -> T:
        """What an answer says; `StoreError` for one that no gridscribe service gives."""
        from shapely.errors import ShapelyError

        try:
            return decode(answer)
        except (*BROKEN, ShapelyError) as error:
            raise StoreError(
                f"{self.url} answers as no gridscribe service of this version does ({type(error).__name__}): check the address"
            ) from error


def _fields(params: Params) -> list[tuple[str, str]]:
    """Parameters of a URL: lists of numbers joined by commas, lists of words repeated; None is left out."""
    out = []
    for name, value in params.items():
        if value is None:
            continue
        if isinstance(value, tuple | list) and value and isinstance(value[0], str):
            out += [(name, word) for word in value]
        elif isinstance(value, tuple | list):
            out.append((name, ",".join(map(repr, value))))
        elif isinstance(value, bool):
            out.append((name, str(value).lower()))
        else:
            out.append((name, value if isinstance(value, str) else repr(value)))
    return out


def _error(url: str, path: str, status: int, data: bytes) -> GridscribeError:
    """What the service says went wrong, as the exception that it was there."""
    try:
        told = json.loads(data)["error"]
        name, message = str(told["type"]), str(told["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return StoreError(f"{url}/v1/{path} answered {status}, and not as a gridscribe service does: check the address")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, GridscribeError):
        return kind(message)
    if status == 401:
        return StoreError(f"{url}: {message}: give it with Client(..., token=...) or ${TOKEN}")
    if status in (404, 413, 414, 422):
        return QueryError(f"{url}: {message}")
    return StoreError(f"{url}: {message} ({status})")
