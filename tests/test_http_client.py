"""A client of a service answers as a client of the objects does: every question, every answer, every error."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import Client
from gridscribe.client import wire
from gridscribe.client.prototypes import Prototypes
from gridscribe.errors import GridscribeError, LayoutError, QueryError, StoreError, UsageError
from tests.serving import Served, serve

Ask = Callable[[Client], Any]


@dataclasses.dataclass
class Pair:
    """One output asked both ways."""

    objects: Client
    http: Client
    out: Path
    lon: float
    lat: float
    raster: str
    pages: str
    region: str


@pytest.fixture(scope="module")
def out(everything: Path) -> Path:
    return everything


@pytest.fixture(scope="module")
def served(out: Path) -> Iterator[Served]:
    with serve(str(out), "--max-points", "5000") as one:
        yield one


@pytest.fixture(scope="module")
def pair(out: Path, served: Served) -> Pair:
    objects = Client(out)
    (raster,) = objects._backend.products()  # type: ignore[attr-defined]
    (pages,) = objects._backend.documents.products()  # type: ignore[attr-defined]
    pixel = objects.at(500_012, 4_999_990, crs="EPSG:32631", product=raster)
    regions = objects.regions(product=raster)
    assert pixel.lon is not None
    assert pixel.lat is not None
    region = regions["region_id"][0].as_py()
    return Pair(objects, Client(served.url), out, pixel.lon, pixel.lat, raster, pages, region)


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, and of the same type."""
    if isinstance(one, np.ndarray):
        equal = np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.shape == other.shape and equal
    if dataclasses.is_dataclass(one):
        names = [f.name for f in dataclasses.fields(one) if f.compare or not f.name.startswith("_")]
        return type(one) is type(other) and all(same(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, pa.Table):
        return one.schema.equals(other.schema, check_metadata=True) and one.equals(other)
    return bool(one == other) and type(one) is type(other)


def answer(client: Client, ask: Ask) -> Any:
    """What is answered, or the type and the words of the error."""
    try:
        found = ask(client)
        return list(found) if hasattr(found, "__next__") else found
    except (GridscribeError, TypeError, AttributeError) as error:
        return type(error).__name__, str(error)


def check(pair: Pair, ask: Ask) -> Any:
    one, other = answer(pair.objects, ask), answer(pair.http, ask)
    assert same(one, other), f"{str(one)[:1500]}\n--- is not\n{str(other)[:1500]}"
    return one


def box(pair: Pair, half: float = 2e-4) -> tuple[float, float, float, float]:
    return pair.lon - half, pair.lat - half, pair.lon + half, pair.lat + half


ASKED: dict[str, Callable[[Pair], Ask]] = {
    "at": lambda p: lambda c: c.at(p.lon, p.lat, product=p.raster),
    "at with vectors": lambda p: lambda c: c.at(p.lon, p.lat, product=p.raster, embedding=True),
    "at all": lambda p: lambda c: c.at(p.lon, p.lat, product=p.raster, all=True),
    "at in another crs": lambda p: lambda c: c.at(500_012, 4_999_990, crs="EPSG:32631", product=p.raster[:6]),
    "at nowhere": lambda p: lambda c: c.at(0, 0, product=p.raster),
    "at no place": lambda p: lambda c: c.at(float("nan"), 91, product=p.raster),
    "only product": lambda p: lambda c: c.at(p.lon, p.lat),
    "no such product": lambda p: lambda c: c.at(p.lon, p.lat, product="ffff"),
    "at another time": lambda p: lambda c: c.at(p.lon, p.lat, product=p.raster, datetime="2020-05"),
    "no time": lambda p: lambda c: c.at(p.lon, p.lat, product=p.raster, datetime="yesterday"),
    "no crs": lambda p: lambda c: c.at(p.lon, p.lat, product=p.raster, crs="EPSG:999999"),
    "many": lambda p: lambda c: c.at_many([(p.lon, p.lat), (0, 0), (np.inf, 2)], product=p.raster),
    "none": lambda p: lambda c: c.at_many([], product=p.raster),
    "many, every field": lambda p: lambda c: c.at_many(
        [(p.lon, p.lat), (p.lon + 1e-3, p.lat)], fields=("region", "datetime", "lon", "lat", "x", "gsd", "source", "crs"),
        product=p.raster, all=True,
    ),
    "no such field": lambda p: lambda c: c.at_many([(p.lon, p.lat)], fields=["class_nam"], product=p.raster),
    "heights in order": lambda p: lambda c: c.height_order([(p.lon, p.lat), (p.lon + 2e-4, p.lat)], product=p.raster),
    "pixel": lambda p: lambda c: c.at_pixel("flat", 5, 6, product=p.raster, embedding=True),
    "no such pixel": lambda p: lambda c: c.at_pixel("flat", 80, 6, product=p.raster),
    "no such image": lambda p: lambda c: c.at_pixel("flatt", 5, 6, product=p.raster),
    "mask": lambda p: lambda c: c.mask(box(p), product=p.raster),
    "mask of each": lambda p: lambda c: c.mask(box(p), product=p.raster, all=True),
    "mask of nothing": lambda p: lambda c: c.mask((0, 0, 1, 1), product=p.raster),
    "no box": lambda p: lambda c: c.mask((1, 1, 0, 0), product=p.raster),
    "regions": lambda p: lambda c: c.regions(product=p.raster),
    "regions of a class": lambda p: lambda c: c.regions(box(p), "roof", product=p.raster),
    "regions of no class": lambda p: lambda c: c.regions(box(p), "rooof", product=p.raster),
    "region": lambda p: lambda c: c.region(p.region, product=p.raster),
    "no region": lambda p: lambda c: c.region("big-1", product=p.raster),
    "match": lambda p: lambda c: c.match("pond", top_k=9, product=p.raster),
    "match in part": lambda p: lambda c: c.match("a red roof", box(p), 5, -1.0, "roof", image="a", product=p.raster),
    "match with sentences": lambda p: lambda c: c.match("pond", templates=["a {}", "my {}"], top_k=3, product=p.raster),
    "match nothing": lambda p: lambda c: c.match("  ", product=p.raster),
    "match of pages": lambda p: lambda c: c.match("pond", product=p.pages),
    "similar": lambda p: lambda c: c.similar(region=p.region, top_k=4, product=p.raster),
    "similar to a place": lambda p: lambda c: c.similar(p.lon, p.lat, top_k=4, product=p.raster),
    "similar to nothing": lambda p: lambda c: c.similar(0.0, 0.0, product=p.raster),
    "describe": lambda p: lambda c: c.describe(p.region, ["pond; lake", "roof"], product=p.raster),
    "describe by a shipped bank": lambda p: lambda c: c.describe(p.region, top_k=3, product=p.raster),
    "heat map": lambda p: lambda c: c.heatmap("pond", image="flat", product=p.raster),
    "heat map of a box": lambda p: lambda c: c.heatmap("pond", image="b-", bbox=box(p, 1e-5), bias=0, product=p.raster),
    "segment": lambda p: lambda c: c.segment("pond", image="big", product=p.raster),
    "segment above": lambda p: lambda c: c.segment("pond", image="b-", threshold=0.01, product=p.raster),
    "segment by no way": lambda p: lambda c: c.segment("pond", image="b-", method="magic", product=p.raster),
    "page": lambda p: lambda c: c.page("a", 1, product=p.pages),
    "no page": lambda p: lambda c: c.page("a", 9, product=p.pages),
    "no document": lambda p: lambda c: c.page("zz", 0),
    "token": lambda p: lambda c: c.page("a", 1).at(30, 40),
    "no token": lambda p: lambda c: c.page("a", 1).at(3000, 40),
    "places": lambda p: lambda c: c.page("b", 0).match("Total", 3),
    "thumbnail": lambda p: lambda c: c.page("a", 0).thumbnail(),
    "latents": lambda p: lambda c: c.page("a", 2).latents(),
    "pages": lambda p: lambda c: c.match_pages("Total 10", 3),
    "pages above": lambda p: lambda c: c.match_pages("Total 10", 3, 2.0),
    "kind": lambda p: lambda c: (c.asks_pages(), c.asks_pages(product=p.pages), c.asks_pages(product=p.raster)),
}  # fmt: skip
ERRORS = {
    "no such product", "no time", "no crs", "no such field", "no such pixel", "no such image", "mask of nothing", "no box",
    "regions of no class", "no region", "match nothing", "match of pages", "similar to nothing", "segment by no way", "no page",
    "no document", "no token",
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_both_answer_the_same(pair: Pair, name: str) -> None:
    found = check(pair, ASKED[name](pair))
    assert (isinstance(found, tuple) and bool(found) and found[0] == "QueryError") == (name in ERRORS), found


def test_the_questions_are_worth_asking(pair: Pair) -> None:
    """What is compared holds something: two images, a dropped and a kept token, vectors, several regions."""
    c = pair.http
    assert len(c.at(pair.lon, pair.lat, product=pair.raster, all=True)) == 2
    assert c.at(pair.lon, pair.lat, product=pair.raster, embedding=True).embedding is not None
    assert len(list(c.match("pond", product=pair.raster))) == 20
    assert len(c.regions(product=pair.raster)) > 20
    assert np.isfinite(c.heatmap("pond", image="flat", product=pair.raster).array).any()
    assert len(c.page("a", 0).thumbnail().index)
    assert c.page("a", 2).latents()
    assert c.page("b", 0).match("Total", 3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=20), st.floats(-3e-3, 3e-3), st.floats(-3e-3, 3e-3))
def test_any_points(pair: Pair, wild: list[tuple[float, float]], east: float, north: float) -> None:
    points = [*wild, (pair.lon + east, pair.lat + north)]
    check(pair, lambda c: c.at_many(points, product=pair.raster))
    check(pair, lambda c: c.at(*points[-1], product=pair.raster, all=True))


def test_a_memory_learns_over_http_what_it_learns_here(pair: Pair) -> None:
    memories = Prototypes(), Prototypes()
    for text in ("pond", "old tree", "pond"):
        found = [
            client.segment(text, image="big", method="regions", memory=memory, product=pair.raster)
            for client, memory in zip((pair.objects, pair.http), memories, strict=True)
        ]
        assert same(*found)
    assert memories[0].state() == memories[1].state()
    assert len(memories[0])


def test_new_commits_are_seen_when_asked_for(pair: Pair) -> None:
    before = pair.http.at(pair.lon, pair.lat, product=pair.raster)
    pair.http.refresh()
    assert pair.http.at(pair.lon, pair.lat, product=pair.raster) == before


def test_too_many_points_are_refused_with_the_limit(pair: Pair) -> None:
    with pytest.raises(QueryError, match="5001 points at once: at most 5000"):
        pair.http.at_many(np.zeros((5001, 2)), product=pair.raster)


def test_many_threads_share_a_client(pair: Pair) -> None:
    wanted = pair.objects.at(pair.lon, pair.lat, product=pair.raster)
    wrong: list[Any] = []

    def ask() -> None:
        for _ in range(20):
            found = pair.http.at(pair.lon, pair.lat, product=pair.raster)
            wrong.extend([found] if found != wanted else [])

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_killed_service_is_waited_for(pair: Pair, out: Path) -> None:
    """Killed with -9 between two questions, started again at the same port: the client goes on, and nothing was written."""
    before = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*"))
    with serve(str(out)) as first:
        client = Client(first.url)
        wanted = client.at(pair.lon, pair.lat, product=pair.raster)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        found: list[Any] = []
        asking = threading.Thread(target=lambda: found.append(client.at(pair.lon, pair.lat, product=pair.raster)))
        asking.start()
        time.sleep(0.5)
        with serve(str(out), port=int(first.url.rpartition(":")[2])):
            asking.join(60)
    assert found == [wanted]
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*")) == before


def test_no_service_is_a_clear_error() -> None:
    with pytest.raises(StoreError, match=r"no service answers at http://127.0.0.1:9 .*gridscribe serve"):
        Client("http://127.0.0.1:9").at(0, 0)


def test_what_is_no_service_is_a_clear_error(s3_env: Any) -> None:
    with pytest.raises(StoreError, match="not as a gridscribe service does"):
        Client(s3_env.endpoint).at(0, 0)


@pytest.mark.parametrize("url", ["http://", "http://a b", "http://user:secret@host", "http://host?x=1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Client(url)
    assert "secret" not in str(caught.value)


def test_a_token_is_for_a_service(out: Path) -> None:
    with pytest.raises(QueryError, match="only a service takes one") as caught:
        Client(out, token="0123456789abcdef")
    assert "0123456789abcdef" not in str(caught.value)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_answer(data: bytes) -> None:
    with pytest.raises(LayoutError):
        wire.arrays_of(data)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float16", "float32", "float64", "int8", "int32", "uint16"])
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 5), (0, 4), (2, 3, 4)])
def test_arrays_travel_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    facts, arrays = wire.arrays_of(wire.arrays_bytes({"a": [1, None]}, {"x": array, "y": array[:0]}))
    assert facts == {"a": [1, None]}
    assert arrays["x"].dtype == array.dtype
    np.testing.assert_array_equal(arrays["x"], array)
