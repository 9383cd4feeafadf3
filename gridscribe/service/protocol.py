"""HTTP as uvicorn speaks it, with bounds that it has not: on the head of a request, and on the time that it may take to come."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 << 10
"""Bytes of a request's line and headers."""
MAX_HEADERS = 128
HEAD_SECONDS = 20.0
"""For the head of a request, from when the connection is made or its first byte has come."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose request does not begin, or whose head does not end, in time and size.

    The way to end one at once, whatever waits to be sent, is in each scope under `abort`.
    """

    _late: asyncio.TimerHandle | None = None
    _heading = False
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        super().data_received(data)
        if self._heading:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        super().on_message_begin()
        scope: Any = self.scope
        scope["abort"] = self.transport.abort
        self._heading, self._head = True, 0
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come."""
        if len(self.headers) >= MAX_HEADERS:
            self.transport.abort()
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head has come."""
        self._heading = False
        self._in_time()
        super().on_headers_complete()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
