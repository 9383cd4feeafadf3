"""A client of what is no gridscribe service, or a broken one: an error of `gridscribe.errors`, in time, and never another."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gridscribe import Client
from gridscribe.client import transport, wire
from gridscribe.client.http import HttpBackend
from gridscribe.errors import GridscribeError, StoreError, UsageError
from gridscribe.service import app as application
from gridscribe.service.settings import Settings

QUESTIONS: dict[str, Callable[[Client], Any]] = {
    "at": lambda c: c.at(1, 2),
    "at_many": lambda c: c.at_many([(1, 2)]),
    "at_pixel": lambda c: c.at_pixel("a", 1, 2),
    "mask": lambda c: c.mask((0, 0, 1, 1)),
    "regions": lambda c: c.regions(),
    "region": lambda c: c.region("a-1"),
    "match": lambda c: list(c.match("x")),
    "similar": lambda c: list(c.similar(region="a-1")),
    "describe": lambda c: c.describe("a-1", ["x"]),
    "heatmap": lambda c: c.heatmap("x", image="a"),
    "segment": lambda c: c.segment("x", image="a"),
    "page": lambda c: c.page("a", 0),
    "match_pages": lambda c: list(c.match_pages("x")),
    "asks_pages": lambda c: c.asks_pages(),
}
ANSWERS = {
    "a page": b"<html>hello</html>",
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "an object": b"{}",
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "other types": json.dumps({name: [3] for name in ("pixels", "matches", "labels", "documents_alone")}).encode(),
    "another table": wire.table_bytes(pa.table({"a": [1]})),
    "arrays without facts": wire.arrays_bytes({}, {"array": np.zeros(3)}),
}


class Broken(BaseHTTPRequestHandler):
    """Says what it is told to say."""

    protocol_version = "HTTP/1.1"
    status, body, headers_more = 200, b"", ()
    seen: list[str | None] = []  # noqa: RUF012 - shared by all requests
    pieces: float | None = None

    def do_GET(self) -> None:
        kind = type(self)
        kind.seen.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(kind.status)
        self.send_header("Content-Length", str(len(kind.body)))
        for name, value in kind.headers_more:
            self.send_header(name, value)
        self.end_headers()
        if kind.pieces is None:
            self.wfile.write(kind.body)
            return
        for k in range(len(kind.body)):
            self.wfile.write(kind.body[k : k + 1])
            self.wfile.flush()
            time.sleep(kind.pieces)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def broken() -> Iterator[tuple[str, type[Broken]]]:
    kind = type("Kind", (Broken,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_none(broken: tuple[str, type[Broken]], answer: str) -> None:
    url, kind = broken
    kind.body = ANSWERS[answer]
    for name, ask in QUESTIONS.items():
        if name == "at_many" and answer in ("another table", "arrays without facts"):
            continue  # its columns are those that were asked for: any table may be one
        with pytest.raises(StoreError, match=r"answers as no gridscribe service"):
            ask(Client(url))


@pytest.mark.parametrize("body", [b"[" * 100_000, b"<html>", b'{"error": 3}', b"\xff"])
@pytest.mark.parametrize("status", [400, 404, 500, 301])
def test_a_refusal_that_is_none(broken: tuple[str, type[Broken]], body: bytes, status: int) -> None:
    url, kind = broken
    kind.body, kind.status = body, status
    with pytest.raises(StoreError, match=f"answered {status}, and not as"):
        Client(url).at(1, 2)


def test_the_token_goes_to_the_service_alone(broken: tuple[str, type[Broken]]) -> None:
    """Not where it is sent on to."""
    url, kind = broken
    kind.status, kind.headers_more = 302, (("Location", url.replace("127.0.0.1", "localhost") + "/elsewhere"),)
    with pytest.raises(StoreError, match="answered 302"):
        Client(url, token="correct-horse-battery").at(1, 2)
    assert kind.seen == ["Bearer correct-horse-battery"]


@pytest.mark.parametrize("wait", ["99999", "\xb2", "9" * 400, "-1", "soon"])
def test_a_service_that_is_always_busy(
    broken: tuple[str, type[Broken]], wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, kind = broken
    kind.status, kind.headers_more = 503, (("Retry-After", wait),)
    kind.body = b'{"error": {"type": "GridscribeError", "message": "busy"}}'
    monkeypatch.setattr(transport, "PATIENT", 1.0)
    begun = time.monotonic()
    with pytest.raises(GridscribeError, match="busy"):
        Client(url).at(1, 2)
    assert time.monotonic() - begun < 10
    assert len(kind.seen) > 1


def test_an_answer_that_trickles(broken: tuple[str, type[Broken]]) -> None:
    url, kind = broken
    kind.body, kind.pieces = b" " * 200, 0.1
    begun = time.monotonic()
    with pytest.raises(StoreError, match="did not answer in 1 s"):
        Client(HttpBackend(url, timeout=1.0)).at(1, 2)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("token", ["\u2603" * 20, "a\nb", "two words", ""])
def test_tokens_that_are_none(token: str) -> None:
    if not token:
        HttpBackend("http://127.0.0.1:9", token)
        return
    with pytest.raises(UsageError) as caught:
        HttpBackend("http://127.0.0.1:9", token)
    assert token not in str(caught.value)


def test_a_bug_is_told_with_the_number_that_its_log_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    """500, as JSON; the traceback is in one line of the log."""

    def wrong(*_: object) -> None:
        raise RuntimeError("an inner secret")

    monkeypatch.setattr("gridscribe.service.routes.catalogue.described", wrong)
    sent: list[dict[str, Any]] = []

    async def one() -> None:
        scope = {"type": "http", "method": "GET", "path": "/v1/products", "raw_path": b"/v1/products", "query_string": b"",
                 "headers": [], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "scheme": "http", "root_path": "",
                 "http_version": "1.1"}  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await application.create_app(Settings(str(tmp_path)))(scope, receive, send)

    asyncio.run(one())
    assert sent[0]["status"] == 500
    told = json.loads(sent[1]["body"])["error"]
    assert "an inner secret" not in told["message"]
    lines = [record.getMessage() for record in caplog.records if "an inner secret" in record.getMessage()]
    assert len(lines) == 1
    assert json.loads(lines[0])["request"] in told["message"]
