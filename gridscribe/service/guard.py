"""What stands before every request: the token, sizes and times; and after it: a line in the log, and counters."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gridscribe.service.metrics import Metrics
from gridscribe.service.replies import refusal
from gridscribe.service.settings import Settings

log = logging.getLogger("gridscribe.service")
MAX_QUERY = 16 << 10
"""Bytes of a request's query."""
PIECE = 256 << 10
"""Bytes of an answer that are sent at once."""
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
"""What may stand in a metric; any other method is refused, and counted as OTHER."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    ),
)


class Guard:
    """The outermost application. Logs are one JSON object a line: no token, and no words of a question, stand in them."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._token = None if settings.token is None else settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope, receive, send, self._settings.max_body)
        scope["gridscribe.request"] = request.id
        refused = self._refused(scope)
        try:
            if refused is not None:
                refused.headers["Connection"] = "close"  # what else of it comes is not read
                await refused(scope, request.receive, request.send)
            else:
                async with asyncio.timeout(self._settings.timeout):
                    await self._app(scope, request.receive, request.send)
        except TimeoutError:
            await request.end(
                refusal(504, "Timeout", f"no answer within {self._settings.timeout:g} s: ask for less at once")
            )
        except Exception:  # noqa: BLE001 - a bug; others are answered all the same
            told = {"request": request.id, "path": scope["path"][:200], "traceback": traceback.format_exc()}
            log.error(json.dumps(told))  # noqa: TRY400 - the traceback is in the line
            await request.end(refusal(500, "InternalError", f"the service failed; its log tells of {request.id}"))
        finally:
            self._tell(scope, request)

    def _refused(self, scope: Scope) -> Response | None:
        path, headers = scope["path"], dict(scope["headers"])
        if scope["method"] not in METHODS:
            return refusal(405, "MethodNotAllowed", f"{scope['method'][:16]} is not understood", {"Allow": "GET, POST"})
        if len(scope["query_string"]) > MAX_QUERY:
            return refusal(414, "TooLong", f"a query has at most {MAX_QUERY} bytes: ask with POST, or for less")
        if (path.startswith("/v1/") or path == "/metrics") and self._token is not None:
            given = headers.get(b"authorization", b"")
            kind, _, token = given.partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
                what = "a bearer token is needed" if not given else "the token is not the one of this service"
                return refusal(401, "Unauthorized", what, {"WWW-Authenticate": "Bearer"})
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._settings.max_body:
            return refusal(413, "TooLarge", f"a request has at most {self._settings.max_body} bytes")
        return None

    def _tell(self, scope: Scope, request: _Request) -> None:
        seconds = time.perf_counter() - request.begun
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._metrics.count(method, route, request.status, seconds, request.sent)
        if log.isEnabledFor(logging.INFO):
            client = scope.get("client")
            line: dict[str, Any] = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "request": request.id, "method": method,
                "path": scope["path"][:200], "status": request.status, "ms": round(seconds * 1000, 2),
                "bytes": request.sent, "client": client[0] if client else None,
            }  # fmt: skip
            log.info(json.dumps(line))


class _Request:
    """One request as it goes by: its body bounded, its answer counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        self.id = uuid.uuid4().hex[:16]
        self.begun = time.perf_counter()
        self.status, self.sent = 499, 0  # until something is said; the client may go first
        self._scope, self._receive, self._send = scope, receive, send
        self._most, self._got, self._started = most, 0, False

    async def receive(self) -> Message:
        """The next part of the body; one without a stated length is bounded here."""
        message = await self._receive()
        self._got += len(message.get("body", b""))
        if self._got > self._most:
            raise HTTPException(413, f"a request has at most {self._most} bytes")
        return message

    async def send(self, message: Message) -> None:
        """The next part of the answer."""
        if message["type"] == "http.response.start":
            self._started, self.status = True, message["status"]
            message["headers"] = [*message.get("headers", ()), *HEADERS, (b"x-request-id", self.id.encode())]
            await self._send(message)
            return
        body = message.get("body", b"")
        self.sent += len(body)
        # In pieces, so that who does not read is waited for here, and no longer than a question may take.
        for start in range(0, len(body) - PIECE, PIECE):
            await self._send({**message, "body": body[start : start + PIECE], "more_body": True})
        rest = (len(body) - 1) // PIECE * PIECE if body else 0
        await self._send({**message, "body": body[rest:]})

    async def end(self, response: Response) -> None:
        """Answer with a refusal, where nothing was said yet; else the connection ends at once, without the rest."""
        if not self._started:
            await response(self._scope, self._receive, self.send)
            return
        abort = self._scope.get("abort")
        if abort is not None:
            abort()
