"""Text and vector queries against a slow scan of every row of every table."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import threading
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from gridscribe import Client
from gridscribe.client import Match, region_search, region_tables
from gridscribe.client.phrases import Recent
from gridscribe.errors import LayoutError, QueryError, UsageError
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.clip.text import PLAIN, SATELLITE, TextEncoder
from gridscribe.store import Store, open_store
from gridscribe.values import Grid, Window
from tests.embedded import (
    BANK_DIGEST,
    DIM,
    aligned,
    part_of,
    random_vectors,
    stored_rows,
    wide_regions,
    write_bank,
    write_regions,
)
from tests.outputs import FakeImage, write_output
from tests.tiny_clip import tiny_alignment

UTM = "EPSG:32633"
OLD, NEW = datetime(2019, 5, 1, tzinfo=UTC), datetime(2023, 7, 9, tzinfo=UTC)
EVERYTHING = 100_000


def scene() -> list[FakeImage]:
    cut = tuple(Window(0, 0, 200, 200).split(128))
    return [
        FakeImage("whole", Grid(150, 130, (0.5, 0.0, 5e5, 0.0, -0.5, 5e6), UTM), NEW, nodata=Window(10, 20, 30, 40)),
        FakeImage("parts", Grid(200, 200, (0.2, 0.0, 500_030.0, 0.0, -0.2, 5e6), UTM), OLD, boxes=cut),
        FakeImage("pixels", Grid(70, 90)),
        FakeImage("date-line", Grid(100, 150, (0.002, 0.0, 179.9, 0.0, -0.002, -17.0), "EPSG:4326"), NEW),
        FakeImage("boxes", Grid(160, 160, (0.3, 0.0, 500_200.0, 0.0, -0.3, 5e6), UTM)),
    ]


def write_scene(store: Store, package: AlignmentPackage) -> str:
    """The regions of `scene`: three images in one item, one alone, and one in two boxes that overlap. Returns the product."""
    images = scene()
    groups = [[part_of(image) for image in images[1:4]], [part_of(images[0])]]
    groups += [[part_of(images[4], box)] for box in (Window(0, 0, 160, 100), Window(0, 60, 160, 100))]
    return write_regions(store, images, aligned(package.uri, package.digest), groups)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> AlignmentPackage:
    return tiny_alignment(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="module")
def made(package: AlignmentPackage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    store = open_store(tmp_path_factory.mktemp("query") / "out")
    return store, write_scene(store, package)


@pytest.fixture(scope="module")
def query(package: AlignmentPackage) -> np.ndarray:
    return TextEncoder(package).embed(["swimming pool"], SATELLITE)[0]


def slow(
    rows: list[dict[str, Any]],
    query: np.ndarray,
    k: int,
    *,
    threshold: float = -math.inf,
    bbox: tuple[float, float, float, float] | None = None,
    names: tuple[str, ...] | None = None,
    class_name: str | None = None,
    without: str | None = None,
) -> list[tuple[str, float]]:
    """(id, score), best first: every row looked at, everything sorted."""
    best: dict[str, float] = {}
    for row in rows:
        if row["embedding"] is None or row["region_id"] == without or (names and row["image"] not in names):
            continue
        if class_name is not None and row["class_name"] != class_name:
            continue
        if bbox is not None:
            west, south, east, north = bbox
            sides = [bbox] if west <= east else [(west, south, 180, north), (-180, south, east, north)]
            shape = shapely.from_wkb(row["geometry"])
            if shape is None or not any(shape.intersects(shapely.box(*side)) for side in sides):
                continue
        stored = np.array(row["embedding"], np.float64)
        score = float((stored * query.astype(np.float64)).sum()) * row["scale"]
        if score >= threshold:
            best[row["region_id"]] = max(score, best.get(row["region_id"], -math.inf))
    return sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


def pairs(matches: Any) -> list[tuple[str, float]]:
    return [(match.region_id, match.score) for match in matches]


def bounds_of(rows: list[dict[str, Any]], image: str) -> tuple[float, float, float, float]:
    shapes = [shapely.from_wkb(row["geometry"]) for row in rows if row["image"] == image]
    west, south, east, north = shapely.total_bounds(np.array(shapes))
    return float(west), float(south), float(east), float(north)


def test_matches_are_those_of_a_scan_of_every_row(made: tuple[Store, str], query: np.ndarray) -> None:
    store, _ = made
    rows = stored_rows(store, made[1])
    client = Client(store)
    assert len(rows) > 300
    assert len({row["region_id"] for row in rows}) < len(rows)  # where the two boxes overlap, some come twice
    for k in (1, 7, 20, EVERYTHING):
        assert pairs(client.match("swimming pool", top_k=k)) == slow(rows, query, k)
    ties = [score for _, score in slow(rows, query, EVERYTHING)]
    assert len(set(ties)) < len(ties)
    for threshold in (ties[10], ties[10] + 1e-9, 0.9, -2.0):
        found = pairs(client.match("swimming pool", top_k=50, threshold=threshold))
        assert found == slow(rows, query, 50, threshold=threshold)
    for name in ("road", "tree"):
        found = pairs(client.match("swimming pool", None, 9, class_name=name))
        assert found == slow(rows, query, 9, class_name=name)
        assert found
    for image in ("pixels", "boxes", "who"):
        of = tuple(one.id for one in scene() if one.id.startswith(image))
        assert pairs(client.match("swimming pool", image=image)) == slow(rows, query, 20, names=of)
    early = pairs(client.match("swimming pool", top_k=EVERYTHING, datetime="2019"))
    assert early == slow(rows, query, EVERYTHING, names=("parts",))


@pytest.mark.parametrize("limit", [1 << 20, 0], ids=["whole-tables", "by-range"])
def test_boxes(made: tuple[Store, str], query: np.ndarray, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_tables, "WHOLE", limit)
    store, product = made
    rows, client = stored_rows(store, product), Client(store)
    west, south, east, north = bounds_of(rows, "whole")
    middle = (west + east) / 2, (south + north) / 2
    rng = np.random.default_rng(0)
    boxes = [
        (west, south, *middle),
        (179.95, -17.15, -179.99, -17.05),
        (179.0, -18.0, 180.0, -16.0),
        (-180.0, -18.0, -179.9, -16.0),
        (-180.0, -90.0, 180.0, 90.0),
        (0.0, 0.0, 1.0, 1.0),
        (10.0, -90.0, 5.0, 90.0),
    ]
    for _ in range(12):  # smaller than many regions: bounds meet where geometries do not
        x, y = rng.uniform(west, east), rng.uniform(south, north)
        boxes.append((x, y, x + 2e-5, y + 1e-5))
    hollow = [shape for row in rows if (shape := shapely.from_wkb(row["geometry"])) and shape.geom_type == "Polygon"]
    hollow = [shape for shape in hollow if shape.area < 0.8 * shapely.box(*shape.bounds).area][:15]
    for shape in hollow:  # in a region's bounds and outside the region
        x, y = (shapely.box(*shape.bounds) - shape).representative_point().coords[0]
        boxes.append((x - 1e-8, y - 1e-8, x + 1e-8, y + 1e-8))
    assert len(hollow) > 5
    counts = []
    for box in boxes:
        for name in (None, "road"):
            for k in (3, EVERYTHING):
                found = pairs(client.match("swimming pool", box, k, class_name=name))
                assert found == slow(rows, query, k, bbox=box, class_name=name)
                counts.append(len(found))
    assert max(counts) > 250
    assert min(counts) == 0
    crossing = list(client.match("swimming pool", boxes[1], EVERYTHING))
    assert {match.image for match in crossing} == {"date-line"}
    over = [match for match in crossing if match.bbox is not None and match.bbox[0] > match.bbox[2]]
    assert over
    assert all(match.geometry.geom_type == "MultiPolygon" for match in over if match.geometry is not None)


def test_a_match_tells_what_the_table_does(made: tuple[Store, str], package: AlignmentPackage) -> None:
    store, product = made
    rows: dict[str, dict[str, Any]] = {}
    for row in stored_rows(store, product):
        rows.setdefault(row["region_id"], row)
    seen = set()
    for match in Client(store).match("swimming pool", top_k=EVERYTHING):
        row = rows[match.region_id]
        if match.image == "boxes":
            continue  # may be another of two rows
        seen.add(match.image)
        for name in (
            "image",
            "class_id",
            "class_name",
            "confidence",
            "area_px",
            "area_m2",
            "height_mean",
            "height_p95",
        ):
            assert getattr(match, name) == row[name]
        assert shapely.to_wkb(match.geometry_px, byte_order=1) == row["geometry_px"]
        assert (match.geometry is None) == (row["geometry"] is None) == (match.bbox is None)
        assert [label._asdict() for label in match.labels] == row["labels"]
        assert (match.product, match.query) == (product, "text")
        assert match.alignment == f"tiny@{package.digest[:12]}"
        assert match.model.startswith("scenes@")
        assert "+" not in match.model
        assert match.source == f"scenes.tar!/{match.image}_rgb.tif"
        assert match.datetime == next(image.datetime for image in scene() if image.id == match.image)
    assert seen == {"whole", "parts", "pixels", "date-line"}
    with pytest.raises(FrozenInstanceError):
        match.score = 1.0  # type: ignore[misc]
    assert len({match, match}) == 1


def test_a_region_is_its_row(made: tuple[Store, str]) -> None:
    store, product = made
    client = Client(store)
    for row in stored_rows(store, product)[::7]:
        if row["image"] == "boxes":
            continue
        region = client.region(row["region_id"])
        assert (region.region_id, region.area_px, region.class_name) == (
            row["region_id"],
            row["area_px"],
            row["class_name"],
        )
        if row["embedding"] is None:
            assert region.embedding is None
            assert region.labels == ()
        else:
            assert region.embedding is not None
            wanted = np.array(row["embedding"], np.float32) * np.float32(row["scale"])
            assert np.array_equal(region.embedding, wanted)
            assert [label._asdict() for label in region.labels] == row["labels"]
            assert region.to_json()["embedding"] == wanted.tolist()
    for bad in ("whole", "whole-x", "whole-999999999", "nobody-3", "whole-1", "whole-²"):
        with pytest.raises(QueryError, match=f"has no region '{bad}'"):
            client.region(bad)


def test_where_boxes_overlap_a_region_is_that_of_the_raster(made: tuple[Store, str]) -> None:
    client = Client(made[0])
    rng, seen = np.random.default_rng(2), 0
    for _ in range(150):
        row, col = (int(v) for v in rng.integers(0, 160, 2))
        name = client.at_pixel("boxes", row, col).region
        if name is not None:
            region = client.region(name)
            assert region.geometry_px.intersects(shapely.Point(col + 0.5, row + 0.5))
            seen += 1
    assert seen > 50


def test_similar_regions(made: tuple[Store, str]) -> None:
    store, product = made
    rows, client = stored_rows(store, product), Client(store)
    asked = [row for row in rows if row["image"] == "whole" and row["embedding"]][:3]
    for row in asked:
        vector = np.array(row["embedding"], np.float32) * np.float32(row["scale"])
        unit = (vector / np.linalg.norm(vector.astype(np.float64))).astype(np.float32)
        wanted = slow(rows, unit, 10, without=row["region_id"])
        found = list(client.similar(region=row["region_id"], top_k=10))
        assert pairs(found) == wanted
        assert {match.query for match in found} == {"region"}
        inside = shapely.from_wkb(row["geometry"]).representative_point()
        pixel = client.at(inside.x, inside.y, datetime="2023")
        if pixel.region == row["region_id"]:
            there = client.similar(inside.x, inside.y, top_k=10, datetime="2023")
            late = slow(rows, unit, 10, without=row["region_id"], names=("whole", "date-line"))
            assert pairs(there) == late
    bare = next(row for row in rows if row["embedding"] is None)
    with pytest.raises(QueryError, match="has no embedding"):
        client.similar(region=bare["region_id"])
    with pytest.raises(QueryError, match=r"no region .* no image of product"):
        client.similar(0.0, 0.0)
    for bad in ({}, {"lon": 1.0}, {"lon": 1.0, "lat": 1.0, "region": "x"}):
        with pytest.raises(QueryError, match="what to resemble"):
            client.similar(**bad)


def test_vectors_of_different_models_never_meet(package: AlignmentPackage, tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    image = FakeImage("one", Grid(80, 80))
    first = write_regions(store, [image], aligned(package.uri, package.digest))
    described = aligned(package.uri, package.digest, setting=1)
    same = write_regions(store, [image], described, vectors=lambda name, count: random_vectors(name, count, 7))
    other = write_regions(store, [image], aligned(package.uri, "b" * 64, setting=2))
    client = Client(store)
    name = next(row["region_id"] for row in stored_rows(store, first) if row["embedding"])
    with pytest.raises(QueryError, match="3 products, choose one"):
        client.match("road")
    vector = client.region(name, product=first).embedding
    assert vector is not None
    unit = (vector / np.linalg.norm(vector.astype(np.float64))).astype(np.float32)
    across = client.similar(region=name, product=same, region_product=first, top_k=EVERYTHING)
    assert pairs(across) == slow(stored_rows(store, same), unit, EVERYTHING)  # there the id is another region
    with pytest.raises(QueryError, match=f"{package.digest}.*{'b' * 64}"):
        client.similar(region=name, product=other, region_product=first)
    with pytest.raises(
        QueryError, match=f"has the digest {package.digest}, product {other} was embedded with {'b' * 64}"
    ):
        client.match("road", product=other)


def test_where_there_is_nothing_to_compare_the_error_says_what_to_do(package: AlignmentPackage, tmp_path: Path) -> None:
    image = FakeImage("one", Grid(60, 60))
    plain = open_store(tmp_path / "plain")
    write_output(plain, [image])
    with pytest.raises(QueryError, match=r"without an alignment model.*alignment\.model=PACKAGE"):
        Client(plain).match("road")
    unasked = open_store(tmp_path / "unasked")
    write_regions(unasked, [image], aligned(package.uri, package.digest, regions=None), vectors=None)
    with pytest.raises(QueryError, match=r"regions of product .* are not embedded"):
        Client(unasked).match("road")
    empty = open_store(tmp_path / "empty")
    write_regions(empty, [image], aligned(package.uri, package.digest), vectors=None)
    matches = Client(empty).match("road")
    with pytest.raises(QueryError, match="have no embeddings"):
        next(matches)
    masks = open_store(tmp_path / "masks")
    write_output(masks, [image], aligned(package.uri, package.digest))
    with pytest.raises(QueryError, match="no regions of product"):
        Client(masks).match("road")
    gone = open_store(tmp_path / "gone")
    write_regions(gone, [image], aligned(str(tmp_path / "nowhere"), package.digest))
    with pytest.raises(QueryError, match=r"cannot be read from .*nowhere.*Client\(\.\.\., alignment=PLACE\)"):
        Client(gone).match("road")
    assert list(Client(gone, alignment=package.uri).match("road", top_k=1))


def test_questions_that_cannot_be(made: tuple[Store, str]) -> None:
    client = Client(made[0])
    bad: list[tuple[dict[str, Any], str]] = [
        ({"top_k": 0}, "top_k=0"),
        ({"top_k": 2.5}, "top_k=2.5"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"class_name": "lava"}, r"class 'lava' is none .* road"),
        ({"image": "nobody"}, "has no image 'nobody'"),
        ({"bbox": (0, 1, 2, 1)}, "holds no area"),
        ({"bbox": (0, 1, 2)}, "four finite numbers"),
        ({"templates": "a {}"}, "templates='a {}'"),
        ({"product": "zzz"}, "is no product"),
    ]
    for asked, message in bad:
        with pytest.raises(QueryError, match=message):
            client.match("road", **asked)  # raised by the call, not by the first match
    for phrase in ("", "   "):
        with pytest.raises(QueryError, match="is empty"):
            client.match(phrase)
    with pytest.raises(QueryError, match="the model reads 77"):
        client.match("word " * 90)
    with pytest.raises(UsageError, match="template"):
        client.match("road", templates=["none"])


def test_phrases_are_embedded_once(
    made: tuple[Store, str], package: AlignmentPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(made[0])
    encoded: list[str] = []
    plain = TextEncoder._encode
    monkeypatch.setattr(
        TextEncoder, "_encode", lambda self, phrase, t: encoded.append(phrase) or plain(self, phrase, t)
    )  # type: ignore[func-returns-value]
    first = pairs(client.match("harbour", top_k=3))
    assert pairs(client.match("harbour", top_k=3)) == first
    other = pairs(client.match("harbour", top_k=3, templates=PLAIN))
    assert encoded == ["harbour", "harbour"]
    assert other == slow(stored_rows(*made), TextEncoder(package).embed(["harbour"], PLAIN)[0], 3)


def test_the_last_phrases_are_kept() -> None:
    kept = Recent(2)
    keys = [("d", ("{}",), word) for word in "abc"]
    for key in keys[:2]:
        kept[key] = np.zeros(1, np.float32)
    assert kept.get(keys[0]) is not None  # used last
    kept[keys[2]] = np.zeros(1, np.float32)
    assert list(kept) == [keys[0], keys[2]]
    assert kept.get(keys[1]) is None


def test_the_templates_are_those_of_the_concept_bank(package: AlignmentPackage, tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    product = aligned(package.uri, package.digest, concepts={"digest": BANK_DIGEST, "count": 3})
    name = write_regions(store, [FakeImage("one", Grid(80, 80))], product)
    with pytest.raises(LayoutError, match=r"concepts.parquet is no concept bank"):
        Client(store).match("road")
    write_bank(store, name)
    wanted = TextEncoder(package).embed(["road"], ("a satellite photo of {}.", "seen: {}"))[0]
    assert pairs(Client(store).match("road")) == slow(stored_rows(store, name), wanted, 20)
    plain = TextEncoder(package).embed(["road"], SATELLITE)[0]
    assert pairs(Client(store).match("road", templates=SATELLITE)) == slow(stored_rows(store, name), plain, 20)
    wrong = aligned(package.uri, package.digest, concepts={"digest": "f" * 64, "count": 3}, setting=1)
    other = write_regions(store, [FakeImage("one", Grid(80, 80))], wrong)
    write_bank(store, other)
    with pytest.raises(LayoutError, match=f"is the concept bank {BANK_DIGEST}, the product's is {'f' * 64}"):
        Client(store).match("road", product=other)


WITHOUT_TORCH = """
    import sys

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {blocked}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Blocker())
    from gridscribe import Client
    from gridscribe.errors import QueryError

    client = Client({where!r})
    for word in {words!r}:
        try:
            print([(m.region_id, m.score, m.query) for m in client.match(word, top_k=5)])
        except QueryError as error:
            print("QueryError:", error)
    print([m.region_id for m in client.similar(region={region!r}, top_k=5)])
    print([name for name in ("torch", "ray", "open_clip", "rasterio", "mmengine") if name in sys.modules])
"""


@pytest.mark.parametrize("blocked", [("torch", "open_clip"), ("open_clip",)])
def test_without_torch_words_of_the_bank_are_answered(
    blocked: tuple[str, ...], package: AlignmentPackage, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "out")
    product = aligned(package.uri, package.digest, concepts={"digest": BANK_DIGEST, "count": 3})
    name = write_regions(store, [FakeImage("one", Grid(80, 80))], product)
    bank = write_bank(store, name)
    rows = stored_rows(store, name)
    region = next(row["region_id"] for row in rows if row["embedding"])
    code = WITHOUT_TORCH.format(
        blocked=set(blocked), where=store.uri, words=["house", " Home ", "swimming  pool", "castle"], region=region
    )
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    house, home, pool, castle, alike, loaded = done.stdout.splitlines()
    for said, word in ((house, "house"), (home, "house"), (pool, "swimming pool")):
        unit = bank[word].astype(np.float32)
        unit /= np.linalg.norm(unit)
        wanted = slow(rows, unit, 5)
        found = eval(said)
        assert [(one, origin) for one, _, origin in found] == [(one, "concept") for one, _ in wanted]
        np.testing.assert_allclose([score for _, score, _ in found], [score for _, score in wanted], atol=1e-6)
    assert castle.startswith("QueryError: 'castle' needs the text tower")
    assert blocked[0] in castle
    assert "pip install" in castle
    assert "house, swimming pool, water" in castle
    assert len(eval(alike)) == 5
    assert loaded == ("[]" if "torch" in blocked else "['torch']")


def test_a_product_without_bank_and_torch_says_what_is_missing(made: tuple[Store, str]) -> None:
    code = WITHOUT_TORCH.format(blocked={"torch"}, where=made[0].uri, words=["house"], region="whole-0")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert "torch (No module named 'torch') cannot be imported here" in done.stdout
    assert "the product has no concept bank" in done.stdout


def test_what_was_changed_is_refused(package: AlignmentPackage, tmp_path: Path) -> None:
    """Vectors of another length, a scale without its vector, bytes that are no table."""
    store = open_store(tmp_path / "out")
    image = FakeImage("one", Grid(80, 80))
    shorter = lambda name, count: np.ones((count, DIM))  # noqa: E731
    product = write_regions(store, [image], aligned(package.uri, package.digest, embed_dim=DIM), vectors=shorter)
    (path,) = (Path(store.uri) / "products" / product / "regions").glob("*.parquet")
    table = pq.read_table(path)
    lost = table.set_column(table.column_names.index("scale"), "scale", [[None] * len(table)])
    pq.write_table(lost.cast(table.schema), path)
    with pytest.raises(LayoutError, match="without its scale"):
        list(Client(store).match("road"))
    cut = [None if row is None else row[:-1] for row in table["embedding"].to_pylist()]
    pq.write_table(table.set_column(table.column_names.index("embedding"), "embedding", [cut]).cast(table.schema), path)
    with pytest.raises(LayoutError, match=r"embeddings of \[23\] components"):
        list(Client(store).match("road"))
    path.write_bytes(b"PAR1 no table")
    with pytest.raises(LayoutError, match="cannot be read as Parquet"):
        list(Client(store).match("road"))


def test_only_what_is_asked_for_is_read(
    package: AlignmentPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row groups by their bounds; few columns at first; rows of matches when they are asked for."""
    monkeypatch.setattr(region_tables, "WHOLE", 0)
    store = open_store(tmp_path / "out")
    image = FakeImage("one", Grid(300, 300, (1.0, 0.0, 5e5, 0.0, -1.0, 5e6), UTM))
    product = write_regions(store, [image], aligned(package.uri, package.digest), rows=8)
    rows = stored_rows(store, product)
    groups = -(-len(rows) // 8)
    read: list[tuple[int, tuple[str, ...] | None]] = []
    plain = pq.ParquetFile.read_row_group

    def noting(self: Any, group: int, columns: Any = None, **more: Any) -> Any:
        read.append((group, None if columns is None else tuple(columns)))
        return plain(self, group, columns=columns, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noting)
    client = Client(store)
    matches = client.match("road", top_k=40)
    assert not read
    first = next(matches)
    scanned = [columns for _, columns in read if columns is not None and "embedding" in columns]
    assert len(scanned) == groups
    assert set(scanned) == {("region_id", "image", "embedding", "scale")}
    assert len(read) - groups <= region_search.FIRST
    assert len(list(matches)) == 39
    read.clear()
    assert first.bbox is not None
    west, south, _, _ = first.bbox
    tiny = 1e-7
    found = list(client.match("road", (west, south, west + tiny, south + tiny), top_k=3))
    assert len(found) <= 3
    assert len({group for group, _ in read}) <= 8 < groups
    assert all("embedding" not in columns for _, columns in read if columns is not None and "labels" in columns)


def test_threads_give_the_same(made: tuple[Store, str], query: np.ndarray) -> None:
    client, wanted = Client(made[0]), slow(stored_rows(*made), query, 20)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(pairs(client.match("swimming pool")))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 6


def test_memory_holds_row_groups_and_not_tables(package: AlignmentPackage, tmp_path: Path) -> None:
    """One table of 60,000 regions, 512 components: its vectors are 31 MB, and 123 MB as Parquet has them."""
    store = open_store(tmp_path / "out")
    wide_regions(store, 60_000, 512, aligned(package.uri, package.digest, embed_dim=512))
    code = f"""
        import tracemalloc, numpy as np, pyarrow as pa
        from gridscribe.client.objects import ObjectsBackend
        from gridscribe.client.region_search import search
        from gridscribe.client.region_tables import Wanted
        from gridscribe.client.search import Best
        from gridscribe.store import open_store

        store = open_store({str(store.uri)!r})
        index = ObjectsBackend(store).index()
        assert index.regions.tables
        query, best = np.full(512, 512 ** -0.5, np.float32), Best(20)
        before = pa.default_memory_pool().max_memory()
        tracemalloc.start()
        search(store, index, Wanted(frozenset(index.ids)), query, best)
        print(len(best.hits()), tracemalloc.get_traced_memory()[1], pa.default_memory_pool().max_memory() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    count, python, arrow = map(int, done.stdout.split())
    assert count == 20
    assert python < 24e6
    assert arrow < 60e6


def test_at_with_its_embedding(made: tuple[Store, str]) -> None:
    store, product = made
    client = Client(store)
    row = next(r for r in stored_rows(store, product) if r["image"] == "whole" and r["embedding"])
    first = int(row["region_id"].rpartition("-")[2])
    at = "whole", first // 130, first % 130
    plain, full = client.at_pixel(*at), client.at_pixel(*at, embedding=True)
    assert (plain.region, plain.embedding, plain.labels, plain.embedding_of) == (row["region_id"], None, None, None)
    assert full.embedding is not None
    assert np.array_equal(full.embedding, np.array(row["embedding"], np.float32) * np.float32(row["scale"]))
    assert [label._asdict() for label in full.labels or ()] == row["labels"]
    assert full.embedding_of == "region"
    assert full.to_json()["embedding"] == full.embedding.tolist()
    assert plain.lon is not None
    assert plain.lat is not None
    every = client.at(plain.lon, plain.lat, embedding=True, all=True)
    assert {pixel.embedding_of for pixel in every if pixel.image == "whole"} == {"region"}
    assert client.at(0.0, 0.0, embedding=True).embedding is None
    hole = client.at_pixel("whole", 15, 30, embedding=True)  # no valid input: no region, and no token is stored
    assert (hole.status, hole.region, hole.embedding) == ("nodata", None, None)
    assert isinstance(next(client.match("road")), Match)
