"""The HTTP service itself: what it refuses and how, its tiles and pictures, its log, its counters, its schema."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import schemathesis
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.io import MemoryFile

from gridscribe import Client
from gridscribe.client import wire
from gridscribe.errors import QueryError, StoreError, UsageError
from gridscribe.service.arrow_in import points_of
from gridscribe.service.asked import named_crs
from gridscribe.service.protocol import BoundedProtocol
from gridscribe.service.settings import Settings
from gridscribe.service.tiles import Tile
from tests.serving import Served, serve

TOKEN = "correct-horse-battery-staple"
POOL = urllib3.PoolManager(retries=False, timeout=60)


@pytest.fixture(scope="module")
def out(everything: Path) -> Path:
    return everything


@pytest.fixture(scope="module")
def served(out: Path) -> Iterator[Served]:
    with serve(str(out), "--max-body", "100000", "--cors", "https://maps.example") as one:
        yield one


@pytest.fixture(scope="module")
def locked(out: Path) -> Iterator[Served]:
    with serve(str(out), "--no-pictures", token=TOKEN) as one:
        yield one


@pytest.fixture(scope="module")
def facts(served: Served) -> dict[str, Any]:
    found = get(served, "/v1/products")["products"]
    raster, pages = (next(one for one in found if one["kind"] == kind) for kind in ("raster", "documents"))
    images = get(served, f"/v1/images?product={raster['id']}")["features"]
    return {"raster": raster, "pages": pages, "images": images}


def ask(served: Served, path: str, method: str = "GET", **more: Any) -> urllib3.BaseHTTPResponse:
    return POOL.request(method, served.url + path, redirect=False, **more)


def get(served: Served, path: str) -> Any:
    answer = ask(served, path)
    assert answer.status == 200, answer.data
    return json.loads(answer.data)


def refusal(answer: urllib3.BaseHTTPResponse, status: int) -> str:
    """The message of a refusal, which has one form."""
    assert answer.status == status, (answer.status, answer.data[:300])
    value = json.loads(answer.data)
    assert set(value) == {"error"}
    assert set(value["error"]) == {"type", "message"}
    return str(value["error"]["message"])


def picture(answer: urllib3.BaseHTTPResponse) -> np.ndarray:
    assert answer.status == 200, answer.data[:300]
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.data)).convert("RGBA"))


# What is refused


@pytest.mark.parametrize(
    "path", ["/v1/at?lon=1&lat=2", "/v1/products", "/metrics", "/v1/tiles/mask/0/0/0.png", "/v1/nothing"]
)
@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xe4",
    ],
)
def test_without_the_token_nothing_is_told(locked: Served, path: str, given: str | None) -> None:
    answer = ask(locked, path, headers={} if given is None else {"Authorization": given.encode("latin-1")})
    refusal(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_with_the_token(locked: Served, facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(locked, "/v1/products", headers={"Authorization": f"Bearer {TOKEN}"}).status == 200
    assert ask(locked, "/healthz").status == 200
    place = 500_012, 4_999_990
    found = Client(locked.url, token=TOKEN).at(*place, crs="EPSG:32631", product=facts["raster"]["id"])
    monkeypatch.setenv("GRIDSCRIBE_TOKEN", TOKEN)
    assert Client(locked.url).at(*place, crs="EPSG:32631", product=facts["raster"]["id"]) == found
    monkeypatch.delenv("GRIDSCRIBE_TOKEN")
    with pytest.raises(StoreError, match=r"a bearer token is needed.*GRIDSCRIBE_TOKEN"):
        Client(locked.url).at(1, 2)


def test_the_token_stands_in_no_line_of_the_log(locked: Served) -> None:
    for _ in range(3):
        ask(locked, "/v1/products", headers={"Authorization": f"Bearer {TOKEN}"})
        ask(locked, f"/v1/at?lon=1&lat=2&token={TOKEN}", headers={"Authorization": f"Bearer {TOKEN}"})
    time.sleep(0.3)
    assert any('"status": 401' in line or '"status": 400' in line for line in locked.log)
    assert not any(TOKEN in line for line in locked.log)


def test_inputs_are_not_shown_where_that_is_said(locked: Served, facts: dict[str, Any]) -> None:
    bearing = {"Authorization": f"Bearer {TOKEN}"}
    image, raster = facts["images"][0]["id"], facts["raster"]["id"]
    for path in (
        f"/v1/image/picture.png?image={image}&layer=source&product={raster}",
        "/v1/page/picture.png?document=a&number=0",
    ):
        assert "does not show the jobs' own inputs" in refusal(ask(locked, path, headers=bearing), 400)
    assert ask(locked, f"/v1/image/picture.png?image={image}&product={raster}", headers=bearing).status == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_an_oversized_request(served: Served, chunked: bool) -> None:
    body: Any = [b"x" * 50_000] * 3 if chunked else b"x" * 150_000
    answer = ask(
        served, "/v1/at", "POST", body=iter(body) if chunked else body, headers={"Content-Type": "application/json"}
    )
    assert "at most 100000 bytes" in refusal(answer, 413)
    assert "at most" in refusal(ask(served, "/v1/at?lon=1&lat=2&product=" + "x" * 20_000), 414)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/at", "query.lon: Field required"),
        ("/v1/at?lon=east&lat=2", "query.lon"),
        ("/v1/at-pixel?image=a&row=1.5&col=2", "query.row"),
        ("/v1/tiles/magic/1/0/0.png", "path.layer"),
        ("/v1/tiles/mask/99/0/0.png", "path.z"),
        ("/v1/match?text=pond&top_k=0", "query.top_k"),
        ("/v1/page?document=a&number=-1", "query.number"),
    ],
)
def test_malformed_parameters(served: Served, path: str, said: str) -> None:
    assert said in refusal(ask(served, path), 422)


BODIES = [
    b'{"points": [[], [], []]}', b'{"points": [1, 2]}',
    b"", b"{", b"[]", b"null", b'{"points": 3}', b'{"points": [[1]]}', b'{"points": [[1, 2, 3]]}', b'{"points": [["a", 2]]}',
    b'{"points": {"x": 1}}', b'{"points": [[1, 2], [3]]}', b'{"points": ' + b"[" * 40_000, b"\xff\xfe",
    b'{"points": [[1, 1e400]]}',
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", ["application/json", wire.ARROW, "text/plain"])
def test_malformed_points(served: Served, facts: dict[str, Any], body: bytes, kind: str) -> None:
    answer = ask(served, f"/v1/at?product={facts['raster']['id']}", "POST", body=body, headers={"Content-Type": kind})
    if answer.status == 200:  # 1e400: infinite, and a number as JSON has them
        assert json.loads(answer.data)["columns"]["status"] == ["invalid"]
        assert b"1e400" in body
    else:
        assert "the body is no" in refusal(answer, 400) or "points have the shape" in refusal(answer, 400)


@pytest.mark.parametrize(
    "path",
    [
        "/viewer/../../pyproject.toml", "/viewer/%2e%2e/%2e%2e/service/app.py", "/viewer/..%2f..%2fapp.py",
        "/..%5c..%5cetc/passwd", "//etc/passwd", "/v1/tiles/../../etc/passwd", "/v1/tiles/mask/%2e%2e/0/0.png",
    ],
)  # fmt: skip
def test_paths_lead_nowhere_else(served: Served, path: str) -> None:
    """Sent as they are: a client library would tidy them up first."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while part := link.recv(65536):
            data += part
    assert re.match(rb"HTTP/1.1 4(04|22|05|00) ", data), data[:200]
    assert b"root:" not in data
    assert b"setuptools" not in data


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "file:///etc/passwd", "../../../../etc/passwd", "s3://other/x.tif", "http://127.0.0.1:1/x.tif", "/vsicurl/http://x"],
)  # fmt: skip
def test_a_request_names_nothing_to_read(served: Served, facts: dict[str, Any], name: str) -> None:
    raster = facts["raster"]["id"]
    for path in (
        f"/v1/image/picture.png?layer=source&image={name}&product={raster}",
        f"/v1/heatmap?text=x&image={name}&product={raster}",
        f"/v1/page/picture.png?number=0&document={name}",
        f"/v1/at?lon=1&lat=2&product={name}",
        f"/v1/region?id={name}&product={raster}",
        f"/v1/at?lon=1&lat=2&product={raster}&crs={name}",
    ):
        refusal(ask(served, path), 400)


@pytest.mark.parametrize(
    "crs",
    [
        "+proj=utm +zone=31 +nadgrids=/etc/passwd", "+init=/etc/passwd:1", "/etc/passwd",
        'GEOGCRS["x",EXTENSION["PROJ4","+nadgrids=/x"]]', 'BOUNDCRS[SOURCECRS[GEOGCRS["x"]],TARGETCRS[GEOGCRS["y"]]]',
        'GEOGCRS["x",ABRIDGEDTRANSFORMATION["y",METHOD["NTv2"],PARAMETERFILE["z","/etc/passwd"]]]',
        'GEOGCS["x",TOWGS84[0,0,0]]', 'VERTCRS["x"]', 'PROJCRS["x",GEOIDMODEL["/etc/passwd"]]',
    ],
)  # fmt: skip
def test_a_crs_names_no_file(served: Served, facts: dict[str, Any], crs: str) -> None:
    with pytest.raises(Exception, match="expected AUTHORITY:CODE"):
        named_crs(crs)
    answer = ask(served, "/v1/at", fields={"lon": "1", "lat": "2", "crs": crs, "product": facts["raster"]["id"]})
    assert "expected AUTHORITY:CODE" in refusal(answer, 400)


def test_systems_whose_names_only_sound_like_files() -> None:
    """A grid in a name is no grid that is read: without its code, Britain's national grid is plain WKT."""
    wkt = rasterio.crs.CRS.from_epsg(27700).to_wkt(version="WKT2_2019")
    assert "Grid" in wkt
    assert named_crs(wkt) == wkt


def test_crs_as_wkt(served: Served, facts: dict[str, Any]) -> None:
    wkt = rasterio.crs.CRS.from_epsg(32631).to_wkt()
    fields = {"lon": "500012", "lat": "4999990", "product": facts["raster"]["id"]}
    found = [json.loads(ask(served, "/v1/at", fields={**fields, "crs": crs}).data) for crs in (wkt, "EPSG:32631")]
    assert found[0] == found[1]
    assert found[0]["pixels"][0]["status"] == "ok"


def test_other_methods_and_paths(served: Served) -> None:
    refusal(ask(served, "/v1/at?lon=1&lat=2", "DELETE"), 405)
    refusal(ask(served, "/v1/at?lon=1&lat=2", "PUT", body=b"x"), 405)
    refusal(ask(served, "/v1/mask?bbox=0,0,1,1", "POST", body=b"x"), 405)
    assert "nothing is at /v1/nothing" in refusal(ask(served, "/v1/nothing"), 404)


def test_a_long_question_is_given_up(out: Path, facts: dict[str, Any]) -> None:
    """504 in time, and the service goes on."""
    with serve(str(out), "--timeout", "0.2") as slow:
        for _ in range(40):  # the first loads a text tower, which takes longer
            answer = ask(slow, f"/v1/match?text=pond&product={facts['raster']['id']}&top_k=10000")
            if answer.status == 504:
                break
        assert "no answer within 0.2 s" in refusal(answer, 504)
        assert ask(slow, "/healthz").status == 200


def test_more_than_can_be_answered_is_refused_at_once(out: Path, facts: dict[str, Any]) -> None:
    path = f"/v1/regions?product={facts['raster']['id']}"
    with serve(str(out), "--threads", "1") as narrow:
        assert ask(narrow, path).status == 200
        with ThreadPoolExecutor(80) as pool:
            pool_of_links = urllib3.PoolManager(retries=False, maxsize=80, timeout=60)
            found = list(pool.map(lambda _: pool_of_links.request("GET", narrow.url + path), range(80)))
        statuses = {answer.status for answer in found}
        assert statuses == {200, 503}
        busy = next(answer for answer in found if answer.status == 503)
        assert "ask again" in refusal(busy, 503)
        assert busy.headers["retry-after"] == "1"
        assert ask(narrow, path).status == 200


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"token": "short"}, "at least 16"), ({"token": "a token with spaces in it"}, "spaces"), ({"max_body": 1}, "max_body=1"),
     ({"timeout": 0}, "timeout=0"), ({"threads": 0}, "threads=0"), ({"origins": ("example.com",)}, "example.com")],
)  # fmt: skip
def test_settings_that_are_none(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Settings("out", **wrong)
    assert wrong.get("token", "short") not in str(caught.value).replace("shorter", "")


# CORS, log, counters


def test_web_pages_of_the_named_origin_may_ask(served: Served, locked: Served) -> None:
    asked = {
        "Origin": "https://maps.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = ask(served, "/v1/products", "OPTIONS", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://maps.example"
    assert ask(served, "/healthz", headers={"Origin": "https://maps.example"}).headers["access-control-allow-origin"]
    other = ask(served, "/healthz", headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in ask(locked, "/healthz", headers=asked).headers


def test_a_line_for_each_request(served: Served) -> None:
    answer = ask(served, "/v1/at?lon=1.25&lat=2&product=secretwords")
    time.sleep(0.3)
    lines = [json.loads(line) for line in served.log]
    (line,) = [line for line in lines if line.get("request") == answer.headers["x-request-id"]]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/at", 400)
    assert line["bytes"] == len(answer.data)
    assert line["ms"] > 0
    assert "secretwords" not in json.dumps(line)


def test_counters(served: Served) -> None:
    def count() -> float:
        text = ask(served, "/metrics").data.decode()
        (line,) = re.findall(
            r'gridscribe_http_requests_total{method="GET",route="[^"]*healthz",status="200"} (\S+)', text
        )
        return float(line)

    ask(served, "/healthz")
    before = count()
    for _ in range(3):
        ask(served, "/healthz")
    assert count() == before + 3
    for k in range(30):
        ask(served, f"/v1/wild-{k}")
    assert "wild" not in ask(served, "/metrics").data.decode()


def test_safe_headers(served: Served) -> None:
    for path in ("/", "/healthz", "/v1/nothing"):
        headers = ask(served, path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "server" not in headers


def test_a_client_that_goes_away_costs_nothing(served: Served, facts: dict[str, Any]) -> None:
    """Connections cut before the answer, in its middle, and reset: the service goes on answering others."""
    host, port = served.url.removeprefix("http://").split(":")
    path = f"/v1/regions?product={facts['raster']['id']}"
    for k in range(60):
        with socket.create_connection((host, int(port)), timeout=20) as link:
            if k % 2:  # a reset instead of an end
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
            if k % 3 == 0:
                link.recv(1000)
    time.sleep(0.5)
    assert served.process.poll() is None, served.log[-5:]
    assert ask(served, path).status == 200


def test_heads_without_end_are_cut_off(served: Served) -> None:
    """More of a head than one may have, in one line or in many: the connection ends, and nobody waits."""
    host, port = served.url.removeprefix("http://").split(":")
    for piece in (b"X-Long: " + b"a" * 100_000, b"X: y\r\n" * 5_000, b"a" * 200_000):
        with socket.create_connection((host, int(port)), timeout=20) as link:
            link.sendall(b"GET /healthz HTTP/1.1\r\n")
            with pytest.raises(OSError, match=r"reset|pipe"):
                _send_on(link, piece)
        assert ask(served, "/healthz").status == 200


def _send_on(link: socket.socket, piece: bytes) -> None:
    for _ in range(200):
        link.sendall(piece)
        time.sleep(0.005)


def test_connections_that_ask_nothing_are_ended(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, with a second in place of many: silent ones, and those whose head does not end."""
    from uvicorn import Config, Server

    monkeypatch.setattr("gridscribe.service.protocol.HEAD_SECONDS", 1.0)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(Config(application, http=BoundedProtocol, lifespan="off", log_config=None))
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
        thread.start()
        address = listener.getsockname()
        for start in (b"", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n\r\nGET / HT"):
            with socket.create_connection(address, timeout=10) as link:
                link.sendall(start)
                begun = time.monotonic()
                with suppress(ConnectionError):
                    while link.recv(1000):
                        pass
                assert 0.5 < time.monotonic() - begun < 8
        with socket.create_connection(address, timeout=10) as link:  # one that asks now and then stays
            for _ in range(3):
                link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert link.recv(1000).endswith(b"ok")
                time.sleep(0.7)
        server.should_exit = True
        thread.join(10)


def test_who_does_not_read_is_not_waited_for_longer_than_a_question_may_take(out: Path, facts: dict[str, Any]) -> None:
    path = f"/v1/at?product={facts['raster']['id']}&fields=source,image,model,item,crs"
    points = json.dumps({"points": [[500_012.0, 4_999_990.0]] * 200_000}).encode()
    with serve(str(out), "--timeout", "10") as hasty:
        host, port = hasty.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
            head = f"POST {path}&crs=EPSG:32631 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(points)}\r\n\r\n"
            link.sendall(head.encode() + points)
            time.sleep(13)
            data = b""
            with suppress(ConnectionError):
                while part := link.recv(1 << 20):
                    data += part
        assert data.startswith(b"HTTP/1.1 200")
        length = int(data.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert len(data) < length
        assert ask(hasty, "/healthz").status == 200


def test_a_batch_that_would_unpack_to_gigabytes_is_not_unpacked(served: Served, facts: dict[str, Any]) -> None:
    path = f"/v1/at?product={facts['raster']['id']}"
    bomb = wire.table_bytes(pa.table({"x": np.zeros(2_000_000), "y": np.zeros(2_000_000)}))
    assert len(bomb) < 100_000
    answer = ask(served, path, "POST", body=bomb, headers={"Content-Type": wire.ARROW})
    assert "is compressed" in refusal(answer, 400)
    small = wire.table_bytes(pa.table({"x": [1.0, 2.0], "y": [3, 4]}), compressed=False)
    answer = ask(served, path, "POST", body=small, headers={"Content-Type": wire.ARROW})
    assert json.loads(answer.data)["rows"] == 2
    for odd in (
        pa.table({"x": ["a"], "y": ["b"]}),
        pa.table({"x": [1.0]}),
        pa.table({"x": [1.0], "y": [1.0], "z": [1]}),
    ):
        body = wire.table_bytes(odd, compressed=False)
        assert "the body is no" in refusal(
            ask(served, path, "POST", body=body, headers={"Content-Type": wire.ARROW}), 400
        )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_arrow_streams_with_bytes_changed(data: st.DataObject) -> None:
    """Whatever is changed in a stream: points, or a refusal; no other error, and no more points than are allowed."""
    body = bytearray(wire.table_bytes(pa.table({"x": np.arange(30.0), "y": np.arange(30.0)}), compressed=False))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(QueryError):
        assert points_of(bytes(body), 40).shape[1] == 2
    with suppress(QueryError):
        assert len(points_of(bytes(body), 0)) == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"region": "a", "words": ["x" * 400]}, "body.words.0"),
        ({"region": "a", "words": ["x"] * 5000}, "body.words"),
        ({"region": "a", "words": []}, "body.words"),
        ({"words": ["x"]}, "body.region"),
    ],
)
def test_words_that_are_too_many_or_too_long(served: Served, body: dict[str, Any], said: str) -> None:
    assert said in refusal(ask(served, "/v1/describe", "POST", body=json.dumps(body)), 422)


@pytest.mark.parametrize(
    "memory",
    [
        {"model": "x", "phrases": [[1.0]], "sums": [], "weights": []},
        {"model": "x", "phrases": [[1.0]], "sums": [[1.0]], "weights": [-1]},
        {"model": "x", "phrases": [[10**400]], "sums": [[1.0]], "weights": [1]}, {"phrases": []}, [],
        {"model": "x", "phrases": [[[1.0]]], "sums": [[1.0]], "weights": [1]},
    ],
)  # fmt: skip
def test_memories_that_are_none(served: Served, facts: dict[str, Any], memory: Any) -> None:
    body = {"text": "pond", "image": "flat", "method": "regions", "product": facts["raster"]["id"], "memory": memory}
    answer = ask(served, "/v1/segment", "POST", body=json.dumps(body))
    assert answer.status in (400, 422), answer.data
    refusal(answer, answer.status)


def test_a_memory_of_another_length(served: Served, out: Path, facts: dict[str, Any]) -> None:
    alignment = Client(out)._backend.products()[facts["raster"]["id"]].alignment  # type: ignore[attr-defined]
    memory = {"model": alignment.digest, "phrases": [[1.0, 2.0]], "sums": [[1.0, 2.0]], "weights": [1.0]}
    body = {"text": "pond", "image": "flat", "method": "regions", "product": facts["raster"]["id"], "memory": memory}
    assert "of 2 components" in refusal(ask(served, "/v1/segment", "POST", body=json.dumps(body)), 400)


@pytest.mark.parametrize("crs", ["ESRI:104903", "OGC:UnixTime", 'GEOGCS["x",DATUM["x",SPHEROID["x",0,0]]]'])
def test_systems_that_no_way_leads_from(served: Served, facts: dict[str, Any], crs: str) -> None:
    fields = {"lon": "1", "lat": "2", "crs": crs, "product": facts["raster"]["id"]}
    refusal(ask(served, "/v1/at", fields=fields), 400)


def test_positions_beyond_all_numbers(served: Served) -> None:
    assert "outside page" in refusal(ask(served, "/v1/page/at?document=a&number=0&x=1e308&y=2"), 400)


def test_a_host_header_is_no_markup(served: Served, facts: dict[str, Any]) -> None:
    answer = ask(served, f"/v1/wmts?product={facts['raster']['id']}", headers={"Host": "a'b\""})
    ET.fromstring(answer.data)


def test_what_is_damaged_below_is_told_as_that(tmp_path: Path, out: Path, facts: dict[str, Any]) -> None:
    """Masks cut to half: 502, without a path of this machine, from answers and pictures alike; others are answered."""
    copy = tmp_path / "out"
    shutil.copytree(out, copy)
    raster = facts["raster"]["id"]
    for path in copy.glob(f"products/{raster}/masks/flat*.tif"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with serve(str(copy)) as broken:
        flat = next(f["id"] for f in facts["images"] if f["id"].startswith("flat"))
        for path in (f"/v1/image/picture.png?image={flat}", f"/v1/at-pixel?image={flat}&row=70&col=90"):
            message = refusal(ask(broken, f"{path}&product={raster}"), 502)
            assert str(tmp_path) not in message or "at-pixel" in path
        assert ask(broken, f"/v1/image/picture.png?image=a-&product={raster}").status == 200


# Lists, tables, files


def test_points_as_json_and_as_arrow(served: Served, out: Path, facts: dict[str, Any]) -> None:
    raster = facts["raster"]["id"]
    points = [[500_012.0, 4_999_990.0], [0.0, 0.0], [500_300.1, 4_999_900.1]]
    path = f"/v1/at?product={raster}&crs=EPSG:32631&fields=class_name,confidence,datetime,region,lon"
    as_json = ask(
        served, path, "POST", body=json.dumps({"points": points}), headers={"Content-Type": "application/json"}
    )
    told = json.loads(as_json.data)
    x, y = np.array(points).T
    body = wire.table_bytes(pa.table({"x": x, "y": y}), compressed=False)
    as_arrow = ask(served, path, "POST", body=body, headers={"Content-Type": wire.ARROW, "Accept": wire.ARROW})
    table = wire.table_of(as_arrow.data)
    wanted = Client(out).at_many(
        points, "EPSG:32631", ["class_name", "confidence", "datetime", "region", "lon"], product=raster
    )
    assert table.equals(wanted)
    assert told == {"rows": 3, "columns": wanted.to_pydict()}


def test_images_page_by_page(served: Served, facts: dict[str, Any]) -> None:
    raster, seen, after = facts["raster"]["id"], [], ""
    while after is not None:
        answer = get(served, f"/v1/images?product={raster}&limit=2" + (f"&after={after}" if after else ""))
        seen += [feature["id"] for feature in answer["features"]]
        after = answer["next"]
        assert answer["total"] == 4
    assert seen == [feature["id"] for feature in facts["images"]]
    flat = next(feature for feature in facts["images"] if feature["id"].startswith("flat"))
    assert flat["geometry"] is None
    assert flat["properties"]["crs"] is None
    inside = get(served, f"/v1/images?product={raster}&bbox=" + ",".join(map(str, facts["images"][0]["bbox"])))
    assert {feature["id"] for feature in inside["features"]} == {
        f["id"] for f in facts["images"] if f["id"][:2] in ("a-", "b-")
    }


def test_documents_and_jobs(served: Served) -> None:
    told = get(served, "/v1/documents")
    assert [len(one["pages"]) for one in told["documents"]] == [3, 1]
    assert told["total"] == 2
    jobs = get(served, "/v1/jobs")["jobs"]
    assert sorted(job["state"] for job in jobs) == ["done", "done"]


def test_a_mask_as_a_file(served: Served, out: Path, facts: dict[str, Any]) -> None:
    raster, box = facts["raster"]["id"], facts["images"][0]["bbox"]
    answer = ask(served, f"/v1/mask?product={raster}&bbox=" + ",".join(map(str, box)))
    wanted = Client(out).mask(box, product=raster)
    with MemoryFile(answer.data) as memory, memory.open() as file:
        np.testing.assert_array_equal(file.read(1), wanted.array)
        assert tuple(file.transform)[:6] == wanted.transform
        assert file.crs.to_string() == wanted.crs
        assert file.nodata == 255
        assert file.colormap(1)[2][:3] == tuple(facts["raster"]["classes"][2]["color"])


def test_a_heat_map_as_a_file(served: Served, out: Path, facts: dict[str, Any]) -> None:
    raster = facts["raster"]["id"]
    answer = ask(served, f"/v1/heatmap?product={raster}&text=pond&image=big")
    wanted = Client(out).heatmap("pond", image="big", product=raster)
    with MemoryFile(answer.data) as memory, memory.open() as file:
        np.testing.assert_array_equal(file.read(1), wanted.array)


def test_regions_as_geojson(served: Served, out: Path, facts: dict[str, Any]) -> None:
    raster = facts["raster"]["id"]
    told = get(served, f"/v1/regions?product={raster}&limit=7")
    table = Client(out).regions(product=raster)
    assert told["total"] == table.num_rows
    assert [feature["id"] for feature in told["features"]] == table["region_id"].to_pylist()[:7]
    assert told["features"][0]["properties"]["area_px"] == table["area_px"][0].as_py()


# Tiles and pictures


def tile_over(lon: float, lat: float, z: int) -> Tile:
    n = 1 << z
    rad = np.radians(lat)
    return Tile(z, int((lon + 180) / 360 * n), int((1 - np.arcsinh(np.tan(rad)) / np.pi) / 2 * n))


@pytest.mark.parametrize("z", [18, 20, 22])
def test_a_tile_shows_the_pixels_under_it(served: Served, out: Path, facts: dict[str, Any], z: int) -> None:
    """The colour of each pixel of a tile is that of the class at its middle, asked for one by one."""
    raster = facts["raster"]
    west, south, east, north = next(f for f in facts["images"] if f["id"].startswith("big"))["bbox"]
    tile = tile_over(west + 0.45 * (east - west), south + 0.55 * (north - south), z)
    pixels = picture(ask(served, f"/v1/tiles/mask/{tile.z}/{tile.x}/{tile.y}.png?product={raster['id']}"))
    left, bottom, right, top = tile.bounds
    x = left + (np.arange(256) + 0.5) / 256 * (right - left)
    y = top - (np.arange(256) + 0.5) / 256 * (top - bottom)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    found = Client(out).at_many(grid, "EPSG:3857", ["class_id"], product=raster["id"])
    wanted = np.zeros((256 * 256, 4), np.uint8)
    for one in raster["classes"]:
        wanted[found["class_id"].to_numpy(zero_copy_only=False) == one["id"]] = (*one["color"], 255)
    share = (pixels.reshape(-1, 4) == wanted).all(axis=1).mean()
    # GDAL's warp is exact to an eighth of a pixel; and an overview shows the most frequent class
    assert share > (0.97 if z >= 20 else 0.6), share


@pytest.mark.parametrize("layer", ["mask", "confidence", "height", "source", "heatmap"])
def test_tiles_of_every_layer(served: Served, facts: dict[str, Any], layer: str) -> None:
    raster = facts["raster"]["id"]
    west, south, east, north = next(f for f in facts["images"] if f["id"].startswith("big"))["bbox"]
    tile = tile_over((west + east) / 2, (south + north) / 2, 18)
    words = "&text=pond" if layer == "heatmap" else ""
    pixels = picture(ask(served, f"/v1/tiles/{layer}/{tile.z}/{tile.x}/{tile.y}.png?product={raster}{words}"))
    assert pixels.shape == (256, 256, 4)
    assert (pixels[..., 3] > 0).any()
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 2
    large = ask(served, f"/v1/tiles/{layer}/{tile.z}/{tile.x}/{tile.y}.png?product={raster}&size=512{words}")
    assert picture(large).shape == (512, 512, 4)
    away = ask(served, f"/v1/tiles/{layer}/{tile.z}/0/0.png?product={raster}{words}")
    assert (away.status, away.data) == (204, b"")
    told = get(served, f"/v1/tiles/{layer}/tilejson.json?product={raster}{words}")
    filled = told["tiles"][0].format(z=tile.z, x=tile.x, y=tile.y)
    assert POOL.request("GET", filled).status == 200
    assert told["minzoom"] <= 18 <= told["maxzoom"]
    assert told["bounds"][0] < told["bounds"][2]


def test_one_image_alone_and_the_one_above(served: Served, facts: dict[str, Any]) -> None:
    """a and b overlap, taken at the same time: a is above."""
    raster = facts["raster"]["id"]
    a, b = (next(f for f in facts["images"] if f["id"].startswith(name)) for name in ("a-", "b-"))
    lon, lat = (
        (max(a["bbox"][0], b["bbox"][0]) + min(a["bbox"][2], b["bbox"][2])) / 2,
        (a["bbox"][1] + a["bbox"][3]) / 2,
    )
    tile = tile_over(lon, lat, 23)
    path = f"/v1/tiles/source/{tile.z}/{tile.x}/{tile.y}.png?product={raster}"
    both, only_a, only_b = (
        picture(ask(served, path + more)) for more in ("", f"&image={a['id']}", f"&image={b['id']}")
    )
    np.testing.assert_array_equal(both, only_a)
    assert (only_b != only_a).any()


def test_tiles_that_are_none(served: Served, facts: dict[str, Any]) -> None:
    raster = facts["raster"]["id"]
    assert "no tile 3/8/0" in refusal(ask(served, f"/v1/tiles/mask/3/8/0.png?product={raster}"), 400)
    assert "text= is of layer heatmap" in refusal(ask(served, f"/v1/tiles/mask/3/0/0.png?text=x&product={raster}"), 400)
    assert "text= is of layer heatmap" in refusal(ask(served, f"/v1/tiles/heatmap/3/0/0.png?product={raster}"), 400)


@given(st.integers(0, 24).flatmap(lambda z: st.tuples(st.just(z), st.integers(0, 2**z - 1), st.integers(0, 2**z - 1))))
def test_tiles_lie_side_by_side(zxy: tuple[int, int, int]) -> None:
    z, x, y = zxy
    west, south, east, north = Tile(z, x, y).bounds
    if x + 1 < 1 << z:
        assert Tile(z, x + 1, y).bounds[0] == pytest.approx(east, abs=1e-6)
    if y + 1 < 1 << z:
        assert Tile(z, x, y + 1).bounds[3] == pytest.approx(south, abs=1e-6)
    lon0, lat0, lon1, lat1 = Tile(z, x, y).lonlat
    assert -180 <= lon0 < lon1 <= 180.0000001
    assert -85.06 < lat0 < lat1 < 85.06
    assert west < east
    assert south < north


def test_wmts_is_well_formed(served: Served, facts: dict[str, Any]) -> None:
    answer = ask(served, f"/v1/wmts?product={facts['raster']['id']}")
    root = ET.fromstring(answer.data)
    space = {"w": "http://www.opengis.net/wmts/1.0", "o": "http://www.opengis.net/ows/1.1"}
    names = [layer.findtext("o:Identifier", namespaces=space) for layer in root.iterfind(".//w:Layer", space)]
    assert names == ["mask", "confidence", "height", "source"]
    template = root.find(".//w:ResourceURL", space)
    assert template is not None
    west, _, _, north = facts["raster"]["bounds"]
    tile = tile_over(west + 1e-4, north - 1e-4, 18)
    url = template.attrib["template"].format(TileMatrix=tile.z, TileCol=tile.x, TileRow=tile.y)
    assert POOL.request("GET", url).status == 200


@pytest.mark.parametrize("name", ["flat", "big"])
def test_a_picture_of_a_whole_image(served: Served, out: Path, facts: dict[str, Any], name: str) -> None:
    raster = facts["raster"]
    feature = next(f for f in facts["images"] if f["id"].startswith(name))
    height, width = feature["properties"]["height"], feature["properties"]["width"]
    pixels = picture(ask(served, f"/v1/image/picture.png?image={feature['id']}&product={raster['id']}"))
    assert pixels.shape == (height, width, 4)
    client = Client(out)
    rng = np.random.default_rng(0)
    for row, col in zip(rng.integers(0, height, 40).tolist(), rng.integers(0, width, 40).tolist(), strict=True):
        found = client.at_pixel(feature["id"], row, col, product=raster["id"])
        color = next(((*one["color"], 255) for one in raster["classes"] if one["id"] == found.class_id), (0, 0, 0, 0))
        assert tuple(pixels[row, col].tolist()) == color or (found.class_id is None and pixels[row, col, 3] == 0)
    small = picture(ask(served, f"/v1/image/picture.png?image={feature['id']}&product={raster['id']}&size=40"))
    assert max(small.shape[:2]) == 40
    source = picture(ask(served, f"/v1/image/picture.png?image={feature['id']}&layer=source&product={raster['id']}"))
    with rasterio.open(out.parent / "tiles" / f"{name}_rgb.tif") as file:
        there = source[..., 3] > 0
        np.testing.assert_array_equal(source[there][:, :3], np.moveaxis(file.read(), 0, -1)[there])
    heat = picture(
        ask(served, f"/v1/image/picture.png?image={feature['id']}&layer=heatmap&text=pond&product={raster['id']}")
    )
    assert heat.shape == (height, width, 4)


def test_pictures_of_pages(served: Served, out: Path) -> None:
    page = picture(ask(served, "/v1/page/picture.png?document=a&number=0&size=4096"))
    told = get(served, "/v1/page?document=a&number=0")
    assert page.shape[:2] == (round(told["height"]), round(told["width"]))
    tokens = picture(ask(served, "/v1/page/tokens.png?document=a&number=0"))
    assert tokens.shape[:2] == (told["grid_h"], told["grid_w"])
    assert int((tokens[..., 3] > 0).sum()) == told["kept"]
    text = picture(ask(served, "/v1/page/text.png?document=a&number=0"))
    assert text.shape[:2] == page.shape[:2]


# The schema, and what comes of asking by it


def test_the_schema_shows_an_example_of_every_answer(served: Served) -> None:
    schema = get(served, "/openapi.json")
    bare = [
        f"{method} {path}"
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if not operation["responses"]["200"].get("content") or not operation.get("summary")
    ]
    assert not bare
    assert "securitySchemes" not in schema.get("components", {})


def test_nothing_that_the_schema_allows_is_a_failure(served: Served, facts: dict[str, Any]) -> None:
    """Requests drawn from the schema, half of them with names that are there: never a 5xx, always a documented answer."""
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    known = {
        "product": [facts["raster"]["id"], facts["pages"]["id"]],
        "image": [feature["id"] for feature in facts["images"]],
        "document": ["a", "b"],
        "text": ["pond", "Total 10"],
        "bbox": [",".join(map(str, facts["images"][0]["bbox"]))],
        "crs": ["EPSG:4326", "EPSG:32631"],
    }
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy(), data=st.data())
        def one(case: Any, data: st.DataObject) -> None:
            nonlocal tried
            query = dict(case.query or {})
            for name, values in known.items():
                if data.draw(st.booleans(), label=name) and (name in query or name == "product"):
                    query[name] = data.draw(st.sampled_from(values))
            case.query = query
            answer = case.call(timeout=60)
            tried += 1
            assert answer.status_code < 500, (case.as_curl_command(), answer.text[:500])
            if answer.status_code not in (200, 204):
                assert set(json.loads(answer.content)) == {"error"}

        one()
    assert tried > 400


def test_questions_at_once_have_their_own_answers(served: Served, out: Path, facts: dict[str, Any]) -> None:
    """Tiles and points from many threads, against the answers one by one."""
    raster = facts["raster"]["id"]
    west, south, east, north = next(f for f in facts["images"] if f["id"].startswith("big"))["bbox"]
    rng = np.random.default_rng(3)
    places = np.stack([rng.uniform(west, east, 60), rng.uniform(south, north, 60)], axis=1).tolist()
    paths = [f"/v1/at?product={raster}&lon={lon}&lat={lat}" for lon, lat in places]
    paths += [
        f"/v1/tiles/{layer}/{t.z}/{t.x}/{t.y}.png?product={raster}"
        for layer in ("mask", "source", "height")
        for t in {tile_over(lon, lat, 19) for lon, lat in places}
    ]
    alone = [ask(served, path).data for path in paths]
    links = urllib3.PoolManager(retries=False, maxsize=16, timeout=60)
    wrong: list[str] = []

    def many(seed: int) -> None:
        for k in np.random.default_rng(seed).permutation(len(paths)).tolist():
            wrong.extend([paths[k]] if links.request("GET", served.url + paths[k]).data != alone[k] else [])

    threads = [threading.Thread(target=many, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
