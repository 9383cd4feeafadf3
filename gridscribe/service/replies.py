"""Answers and refusals as HTTP responses."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from gridscribe.client import wire
from gridscribe.errors import (
    GridscribeError,
    LayoutError,
    MissingObjectError,
    ModelError,
    QueryError,
    StoreError,
    UsageError,
)
from gridscribe.service.work import BusyError

FOREVER = "private, max-age=3600"
"""For pictures of what is committed, which never changes; which images there are does."""


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`value` as JSON; a number that is none is null."""
    return Response(orjson.dumps(value), status, headers, "application/json")


def arrow_reply(data: bytes) -> Response:
    """An Arrow stream."""
    return Response(data, media_type=wire.ARROW)


def png_reply(data: bytes) -> Response:
    """A picture."""
    return Response(data, media_type="image/png", headers={"Cache-Control": FOREVER})


def empty_reply() -> Response:
    """A picture with nothing on it."""
    return Response(status_code=204, headers={"Cache-Control": FOREVER})


def refusal(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """`{"error": {"type", "message"}}`."""
    return json_reply({"error": {"type": kind, "message": message}}, status, headers)


def refusal_of(error: GridscribeError) -> Response:
    """The refusal that an error on purpose is: 400 for a question that cannot be answered as put, 502 where storage or what
    lies there fails, 503 where too much is asked."""
    kind = next(c.__name__ for c in type(error).__mro__ if c.__module__ == "gridscribe.errors")
    if isinstance(error, BusyError):
        return refusal(503, kind, str(error), {"Retry-After": "1"})
    if isinstance(error, QueryError | UsageError):
        return refusal(400, kind, str(error))
    if isinstance(error, MissingObjectError | StoreError | LayoutError | ModelError):
        return refusal(502, kind, str(error))
    return refusal(400, kind, str(error))
