"""The index of vectors: exact searches answer as without it, others most of the best; made anew when regions are added."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import Client
from gridscribe.client import vector_index
from gridscribe.client.cells_of_vectors import centres_of, nearest
from gridscribe.client.objects import ObjectsBackend
from gridscribe.client.region_tables import Wanted
from gridscribe.client.search import Best
from gridscribe.client.vector_index import build_index, index_folder, open_index
from gridscribe.errors import QueryError
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.quantise import quantise
from gridscribe.store import Store, open_store
from gridscribe.values import Window
from tests.embedded import DIM, aligned, part_of, random_vectors, stored_rows, wide_regions, write_regions
from tests.test_query import EVERYTHING, bounds_of, pairs, scene, write_scene
from tests.tiny_clip import tiny_alignment


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> AlignmentPackage:
    return tiny_alignment(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="module")
def made(package: AlignmentPackage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    store = open_store(tmp_path_factory.mktemp("indexed") / "out")
    return store, write_scene(store, package)


def questions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    west, south, east, north = bounds_of(rows, "whole")
    rng = np.random.default_rng(0)
    tiny = [(x, y, x + 2e-5, y + 1e-5) for x, y in rng.uniform((west, south), (east, north), (8, 2)).tolist()]
    boxes = [None, (west, south, (west + east) / 2, north), (179.95, -17.15, -179.99, -17.05), (0, 0, 1, 1), *tiny]
    shapes = [shapely.from_wkb(row["geometry"]) for row in rows if row["geometry"] and row["image"] != "date-line"]
    for shape in [one for one in shapes if one.area < 0.8 * shapely.box(*one.bounds).area][
        :10
    ]:  # in bounds, not in the region
        x, y = (shapely.box(*shape.bounds) - shape).representative_point().coords[0]
        boxes.append((x - 1e-8, y - 1e-8, x + 1e-8, y + 1e-8))
    asked: list[dict[str, Any]] = [{"bbox": box} for box in boxes]
    asked += [{"class_name": "road"}, {"image": "pixels"}, {"datetime": "2019"}, {"threshold": 0.2}]
    return [{**one, "top_k": k} for one in asked for k in (1, 20, EVERYTHING)]


def test_exact_searches_answer_as_without_it(made: tuple[Store, str], monkeypatch: pytest.MonkeyPatch) -> None:
    store, product = made
    rows = stored_rows(store, product)
    plain = [pairs(Client(store).match("swimming pool", **asked)) for asked in questions(rows)]
    region = next(row["region_id"] for row in rows if row["embedding"])
    alike = pairs(Client(store).similar(region=region))
    client = Client(store)
    list(client.match("swimming pool", exact=False))
    for at_once in (1 << 16, 37):
        monkeypatch.setattr(vector_index, "AT_ONCE", at_once)
        monkeypatch.setattr("gridscribe.client.searching.search", lambda *_: pytest.fail("the tables were scanned"))
        assert [pairs(client.match("swimming pool", **asked)) for asked in questions(rows)] == plain
        assert pairs(client.similar(region=region)) == alike
        again = Client(store)  # another process, say
        assert pairs(again.match("swimming pool")) == pairs(client.match("swimming pool"))


def test_others_find_as_many_as_are_there_with_exact_scores(made: tuple[Store, str]) -> None:
    store, product = made
    client = Client(store)
    for asked in questions(stored_rows(store, product)):
        if "threshold" in asked:
            continue
        exact = dict(pairs(client.match("swimming pool", **{**asked, "top_k": EVERYTHING})))
        found = pairs(client.match("swimming pool", exact=False, **asked))
        assert len(found) == min(asked["top_k"], len(exact))
        assert all(exact[name] == score for name, score in found)
        assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))


def test_most_of_the_best_are_found_in_few_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "out")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(60, DIM))

    def clustered(count: int, dim: int) -> np.ndarray:
        return centres[rng.integers(0, 60, count)] + 0.6 * rng.normal(size=(count, dim))

    wide_regions(store, 20_000, DIM, aligned(), vectors=clustered)
    index = ObjectsBackend(store).index()
    local = build_index(store, index, DIM)
    assert len(local.values) == 20_000
    assert len(local.centres) == 141
    compared: list[int] = []
    plain = vector_index.dots
    monkeypatch.setattr(vector_index, "dots", lambda v, q: compared.append(len(v)) or plain(v, q))  # type: ignore[func-returns-value]
    shares = []
    for _ in range(30):
        query = clustered(1, DIM)[0]
        query = (query / np.linalg.norm(query)).astype(np.float32)
        best, rough = Best(10), Best(10)
        wanted = Wanted(frozenset(index.ids))
        local.search(store, index, wanted, query, best, exact=True)
        compared.clear()
        local.search(store, index, wanted, query, rough, exact=False)
        assert sum(compared) < 20_000 / 5
        shares.append(len(set(best.hits()) & set(rough.hits())) / 10)
    assert np.mean(shares) > 0.85


def test_it_is_made_anew_when_regions_are_added(package: AlignmentPackage, tmp_path: Path, cache: Path) -> None:
    store, images = open_store(tmp_path / "out"), scene()[:2]
    product = aligned(package.uri, package.digest)
    write_regions(store, images, product, [[part_of(images[0])]])
    client = Client(store)
    first = pairs(client.match("pool", top_k=EVERYTHING, exact=False))
    assert {name.split("-")[0] for name, _ in first} == {"whole"}
    write_regions(store, images, product, [[part_of(images[1])]])
    assert pairs(client.match("pool", top_k=EVERYTHING, exact=False)) == first  # until it is told to look again
    client.refresh()
    both = pairs(client.match("pool", top_k=EVERYTHING))
    assert len(both) > len(first)
    assert pairs(client.match("pool", top_k=EVERYTHING, exact=False)) == both
    assert len(list((cache / "vectors").iterdir())) == 2


def test_regions_of_a_box_inside_another_do_not_count(package: AlignmentPackage, tmp_path: Path) -> None:
    store, image = open_store(tmp_path / "out"), scene()[4]
    product = aligned(package.uri, package.digest)
    groups = [[part_of(image, Window(0, 0, 160, 100))], [part_of(image)]]
    write_regions(store, [image], product, groups, vectors=lambda name, count: random_vectors(name, count, count))
    plain = pairs(Client(store).match("pool", top_k=EVERYTHING))
    assert pairs(Client(store).match("pool", top_k=EVERYTHING, exact=False)) == plain
    assert pairs(Client(store).match("pool", top_k=EVERYTHING)) == plain
    index = ObjectsBackend(store).index()
    assert sorted(len(table.images) for table in index.regions.tables) == [0, 1]


def test_a_damaged_one_is_not_used_and_made_again(
    made: tuple[Store, str], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = made
    index = ObjectsBackend(store).index()
    build_index(store, index, DIM)
    folder = index_folder(index, DIM)
    wanted = pairs(Client(store).match("pool"))
    for name, damage in (("values", b"short"), ("index.json", b"{"), ("centres", b"")):
        (folder / name).write_bytes(damage)
        assert open_index(index, DIM) is None
        assert "damaged and not used" in caplog.text
        assert pairs(Client(store).match("pool")) == wanted
        assert build_index(store, index, DIM).images
        assert open_index(index, DIM) is not None
    assert [path.name for path in (cache / "vectors").iterdir()] == [folder.name]  # nothing is left of the making


def test_many_may_make_it_at_once(made: tuple[Store, str], cache: Path) -> None:
    index = ObjectsBackend(made[0]).index()
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(build_index(made[0], index, DIM).values))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert len(list((cache / "vectors").iterdir())) == 1


def test_it_holds_what_the_tables_do(made: tuple[Store, str]) -> None:
    """Every counted row once, under the place where the table has it; of an image in two boxes both."""
    store, product = made
    index = ObjectsBackend(store).index()
    local = build_index(store, index, DIM)
    embedded = [row for row in stored_rows(store, product) if row["embedding"]]
    assert len(local.values) == len(embedded)
    assert len({local._place(row) for row in range(len(embedded))}) == len(embedded)
    for row in range(0, len(embedded), 17):
        table, group, at = local._place(row)
        file = pq.ParquetFile(Path(store.uri) / index.regions.tables[table].record.key)
        fact = file.read_row_group(group).slice(at, 1).to_pylist()[0]
        assert fact["embedding"] == local.values[row].tolist()
        assert fact["scale"] == local.scale[row]
        assert fact["region_id"] == f"{local.images[local.facts[row]['image']]}-{local.facts[row]['value'] - 1}"
    cells = nearest(np.asarray(local.values), local.centres)
    for cell in range(len(local.centres)):
        assert (cells[local.starts[cell] : local.starts[cell + 1]] == cell).all()


def test_without_vectors_there_is_nothing_to_index(package: AlignmentPackage, tmp_path: Path, cache: Path) -> None:
    store = open_store(tmp_path / "out")
    write_regions(store, scene()[:1], aligned(package.uri, package.digest), vectors=None)
    matches = Client(store).match("road", exact=False)
    with pytest.raises(QueryError, match="nothing to index"):
        next(matches)
    assert list((cache / "vectors").iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 400), distinct=st.integers(1, 400), seed=st.integers(0, 99))
def test_centres_are_unit_and_the_same_every_time(count: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = quantise(rng.normal(size=(distinct, 9))[rng.integers(0, distinct, count)])
    centres = centres_of(vectors)
    assert len(centres) == max(1, round(np.sqrt(count)))
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    assert np.array_equal(centres, centres_of(vectors))
    cosines = vectors.values.astype(np.float64) @ centres.astype(np.float64).T
    picked = np.take_along_axis(cosines, nearest(vectors.values, centres)[:, None], 1)[:, 0]
    np.testing.assert_allclose(picked, cosines.max(axis=1), atol=1e-3)
