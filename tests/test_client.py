"""The client against the slow, obvious way: every image opened with rasterio, every point one after another."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import Client
from gridscribe.catalog import build_catalog
from gridscribe.client import Mask, Pixel, blocks
from gridscribe.client.cells import Cells
from gridscribe.client.objects import ObjectsBackend
from gridscribe.client.when import parse_datetime
from gridscribe.errors import LayoutError, QueryError
from gridscribe.layout import CATALOG_IMAGES, commit_prefix, images_key, mask_key
from gridscribe.store import Store, open_store
from gridscribe.tables import read_table, write_table
from gridscribe.values import Grid, Window

sys.path.insert(0, str(Path(__file__).parent))

from outputs import CLASSES, FakeImage, item_id, product_json, write_output

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NAMES = {label.id: label.name for label in CLASSES}
UTM = "EPSG:32633"
E0, N0 = 500_000.0, 5_000_000.0
OLD, NEW = datetime(2019, 5, 1, tzinfo=UTC), datetime(2023, 7, 9, 10, 30, tzinfo=UTC)


@lru_cache
def transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def north_up(x: float, y: float, gsd: float = 0.2) -> tuple[float, float, float, float, float, float]:
    return gsd, 0.0, x, 0.0, -gsd, y


def scene() -> list[FakeImage]:
    """Overlaps of every sort, about 200 m around one place."""
    cut = (Window(0, 0, 512, 512), Window(0, 512, 512, 188), Window(512, 0, 188, 512))  # the last corner is missing
    to_lonlat = transformer(UTM, "OGC:CRS84")
    lon, lat = to_lonlat.transform(E0 + 60, N0 - 20)
    x28, y28 = transformer(UTM, "EPSG:3857").transform(E0 + 100, N0 - 60)
    return [
        FakeImage("plain", Grid(700, 600, north_up(E0, N0), UTM), OLD, nodata=Window(100, 200, 90, 150)),
        FakeImage(
            "parts", Grid(700, 700, north_up(E0 + 90, N0 - 10), UTM), NEW, boxes=cut, nodata=Window(300, 300, 60, 300)
        ),
        FakeImage("rotated", Grid(400, 300, (0.3, 0.1, E0 + 20.0, 0.1, -0.3, N0 - 40), UTM), OLD),
        FakeImage("south-up", Grid(300, 500, (0.25, 0.0, E0 + 30, 0.0, 0.25, N0 - 120), UTM)),
        FakeImage("degrees", Grid(400, 400, (2e-6, 0.0, lon, 0.0, -2e-6, lat), "EPSG:4326"), NEW, flags=("resampled",)),
        FakeImage("mercator", Grid(300, 400, north_up(x28, y28, 0.5), "EPSG:3857"), datetime(2021, 1, 1, tzinfo=UTC)),
        FakeImage("nowhere", Grid(200, 300)),
        FakeImage("twin-b", Grid(300, 300, north_up(E0 + 150, N0 - 150), UTM), NEW),
        FakeImage("twin-a", Grid(300, 300, north_up(E0 + 160, N0 - 140), UTM), NEW),
    ]


def around(count: int, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(E0 - 20, E0 + 330, count), rng.uniform(N0 - 230, N0 + 20, count)], axis=1)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[FakeImage]]:
    folder = tmp_path_factory.mktemp("output")
    images = scene()
    write_output(open_store(folder), images)
    return str(folder), images


class BruteForce:
    """Every image's answer at a point, best first, by rasterio and Python's own sort."""

    def __init__(self, folder: str, images: Sequence[FakeImage]) -> None:
        self._images = [image for image in images if image.grid.georeferenced]
        self._files: dict[tuple[str, Window], dict[str, Any]] = {}
        masks = Path(folder) / "products" / next((Path(folder) / "products").iterdir()).name / "masks"
        for image in self._images:
            for box in image.boxes:
                whole = box == image.grid.window
                stem = masks / image.id if whole else masks / image.id / item_id([(image, box)])
                names = {"mask": ".tif", "confidence": ".confidence.tif", "height": ".height.tif"}
                self._files[image.id, box] = {kind: rasterio.open(f"{stem}{suffix}") for kind, suffix in names.items()}

    def at(self, x: float, y: float, crs: str) -> list[dict[str, Any]]:
        found = []
        for image in self._images:
            px, py = transformer(crs, image.grid.crs).transform(x, y)
            row, col = (math.floor(v) for v in image.grid.rowcol(px, py))
            if not (0 <= row < image.grid.height and 0 <= col < image.grid.width):
                continue
            answer = {"image": image.id, "row": row, "col": col, "status": "uncommitted", "class_id": None,
                      "confidence": None, "height": None, "time": image.datetime}  # fmt: skip
            for box in image.boxes:
                if box.row <= row < box.row1 and box.col <= col < box.col1:
                    values = {k: int(next(f.sample([(px, py)]))[0]) for k, f in self._files[image.id, box].items()}
                    answer["status"] = "nodata" if values["mask"] == 255 else "ok"
                    if values["mask"] != 255:
                        answer["class_id"], answer["confidence"] = values["mask"], values["confidence"] / 254
                    if values["height"] != -32768:
                        answer["height"] = values["height"] / 100
            found.append(answer)

        def best_first(answer: dict[str, Any]) -> tuple[Any, ...]:
            time = answer["time"].timestamp() if answer["time"] else -math.inf
            trust = answer["confidence"] if answer["confidence"] is not None else -1
            return ("ok", "nodata", "uncommitted").index(answer["status"]), -time, -trust, answer["image"]

        return sorted(found, key=best_first)


def compare(row: dict[str, Any], expected: dict[str, Any] | None) -> None:
    if expected is None:
        assert (row["status"], row["coverage"], row["image"], row["class_id"]) == ("outside", "none", None, None)
        return
    for name in ("status", "image", "row", "col", "class_id"):
        assert row[name] == expected[name], (name, row, expected)
    for name in ("confidence", "height"):
        assert row[name] == (None if expected[name] is None else pytest.approx(expected[name], abs=1e-4)), (
            name,
            row,
            expected,
        )
    assert row["class_name"] == (None if expected["class_id"] is None else NAMES[expected["class_id"]])
    assert row["coverage"] == ("full" if expected["status"] == "ok" else "partial")


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_at_many_is_what_rasterio_samples(output: tuple[str, list[FakeImage]], crs: str) -> None:
    folder, images = output
    points = around(700)
    if crs != UTM:
        points = np.stack(transformer(UTM, crs).transform(*points.T), axis=1)
    slow, client = BruteForce(folder, images), Client(folder)
    expected = [slow.at(x, y, crs) for x, y in points]
    names = ("status", "coverage", "image", "row", "col", "class_id", "class_name", "confidence", "height")
    table = client.at_many(points, crs=crs, fields=names)
    assert table.num_rows == len(points)
    for row, answers in zip(table.to_pylist(), expected, strict=True):
        compare(row, answers[0] if answers else None)

    every = client.at_many(points, crs=crs, fields=names, all=True).to_pylist()
    flat = [(i, answer) for i, answers in enumerate(expected) for answer in answers or [None]]
    assert [row["point"] for row in every] == [i for i, _ in flat]
    for row, (_, answer) in zip(every, flat, strict=True):
        compare(row, answer)

    seen = Counter(row["status"] for row in every)
    assert all(seen[status] > 5 for status in ("ok", "nodata", "uncommitted", "outside"))
    assert max(Counter(i for i, _ in flat).values()) >= 4


def test_at_is_at_many(output: tuple[str, list[FakeImage]]) -> None:
    folder, images = output
    client = Client(folder)
    points = around(150)
    from gridscribe.client.columns import COLUMNS

    rows = client.at_many(points, crs=UTM, fields=list(COLUMNS)).to_pylist()
    for (x, y), row in zip(points, rows, strict=True):
        pixel = client.at(x, y, crs=UTM)
        assert isinstance(pixel, Pixel)
        for name, value in row.items():
            wanted = pytest.approx(value, abs=1e-4) if name in ("confidence", "height") and value is not None else value
            assert getattr(pixel, name) == wanted, name
        assert client.at(x, y, crs=UTM, all=True)[0] == pixel
        assert (pixel.reason is None) == (pixel.status == "ok")
        assert pixel.region is None
        assert pixel.embedding is None
        if pixel.image is not None and pixel.row is not None and pixel.col is not None:
            assert client.at_pixel(pixel.image, pixel.row, pixel.col) == pixel
            image = next(image for image in images if image.id == pixel.image)
            assert (pixel.x, pixel.y) == image.grid.xy(pixel.row + 0.5, pixel.col + 0.5)
            assert pixel.source == image.source
            assert pixel.datetime == image.datetime
            assert pixel.flags == image.flags
            assert pixel.crs == image.grid.crs
            back = client.at(pixel.lon, pixel.lat, all=True)  # type: ignore[arg-type]
            same = [other for other in back if other.image == pixel.image]
            assert [(other.row, other.col) for other in same] == [(pixel.row, pixel.col)]
        assert pixel.to_json()["product"] == pixel.product
        assert pixel.model.startswith("scenes@")


def test_edges_belong_to_one_pixel(tmp_path: Path) -> None:
    """Half-open pixels: a corner belongs to the pixel below and right of it, and the far edges to no pixel."""
    left = FakeImage("left", Grid(8, 8, north_up(1000.0, 2000.0, 0.5), UTM))
    right = FakeImage("right", Grid(8, 8, north_up(1004.0, 2000.0, 0.5), UTM))
    write_output(open_store(tmp_path), [left, right])
    client = Client(tmp_path)
    for col in range(18):
        row = client.at(1000.0 + 0.5 * col, 2000.0 - 1.0, crs=UTM)
        if col < 16:
            assert (row.image, row.row, row.col) == ("left" if col < 8 else "right", 2, col % 8)
            assert len(client.at(1000.0 + 0.5 * col, 1999.0, crs=UTM, all=True)) == 1
        else:
            assert row.status == "outside"
    assert client.at(1000.0, 2000.0, crs=UTM).row == 0
    assert client.at(1000.0, 1996.0, crs=UTM).status == "outside"
    assert client.at(math.nextafter(1000.0, 0), 1999.0, crs=UTM).status == "outside"


@settings(max_examples=25, deadline=None)
@given(
    angle=st.floats(0, 6.28), gsd=st.floats(0.01, 1000), flip=st.sampled_from([1, -1]),
    x=st.floats(-1e6, 1e6), y=st.floats(-1e7, 1e7), height=st.integers(1, 600), width=st.integers(1, 600),
)  # fmt: skip
def test_centres_of_pixels_find_their_pixel(
    angle: float, gsd: float, flip: int, x: float, y: float, height: int, width: int
) -> None:
    """Whatever the affine: the index answers the pixel whose centre is asked for."""
    from gridscribe.client.crs_group import CrsGroup

    cos, sin = math.cos(angle) * gsd, math.sin(angle) * gsd
    grid = Grid(height, width, (cos, sin, x, -sin * flip, cos * flip, y), UTM)
    group = CrsGroup(UTM, np.array([5]), np.array([grid.transform]), np.array([[height, width]]), None)
    rows, cols = np.array([0, height - 1, height // 2]), np.array([width - 1, 0, width // 2])
    found = group.candidates(*(np.asarray(v) for v in grid.xy(rows + 0.5, cols + 0.5)))  # type: ignore[arg-type]
    assert found.point.tolist() == [0, 1, 2]
    assert found.image.tolist() == [5, 5, 5]
    assert np.array_equal(found.row, rows)
    assert np.array_equal(found.col, cols)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60))
def test_cells_lose_no_box(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(-1, 1, (count, 2)) * 10.0 ** rng.integers(-3, 7)
    boxes = np.concatenate([low, low + 10.0 ** rng.uniform(-4, 6, (count, 2))], axis=1)
    points = np.concatenate([boxes[:, :2], boxes[:, 2:], rng.uniform(boxes[:, :2], boxes[:, 2:]), low - 1e7])
    point, box = Cells(boxes).near(*points.T)
    assert (np.diff(point) >= 0).all()
    pairs = set(zip(point.tolist(), box.tolist(), strict=True))
    for i, (x, y) in enumerate(points):
        for k, (west, south, east, north) in enumerate(boxes):
            if west <= x <= east and south <= y <= north:
                assert (i, k) in pairs
    assert len(pairs) == len(point)


def test_across_the_antimeridian_and_around_the_pole(tmp_path: Path) -> None:
    """Longitudes beyond 180, longitudes of 0..360, a UTM zone's edge, and a pole in the middle of an image."""
    images = [
        FakeImage("beyond-180", Grid(200, 400, (0.001, 0.0, 179.8, 0.0, -0.001, 10.0), "EPSG:4326")),
        FakeImage("0-360", Grid(200, 200, (0.001, 0.0, 230.0, 0.0, -0.001, 40.0), "EPSG:4326")),
        FakeImage("utm-1", Grid(300, 300, north_up(*_utm1(-179.98, 20.0), 50.0), "EPSG:32601")),
        FakeImage("pole", Grid(400, 400, north_up(-20_000.0, 20_000.0, 100.0), "EPSG:3413")),
        FakeImage("corner-at-the-pole", Grid(100, 100, (100.0, 0.0, 0.0, 0.0, 100.0, 0.0), "EPSG:3031")),
    ]
    write_output(open_store(tmp_path), images)
    client = Client(tmp_path)
    rng = np.random.default_rng(0)
    for image in images:
        row, col = rng.integers(0, image.grid.height, 60), rng.integers(0, image.grid.width, 60)
        x, y = image.grid.xy(row + 0.5, col + 0.5)  # type: ignore[arg-type]
        lon, lat = transformer(image.grid.crs, "EPSG:4326").transform(x, y)
        for turned in (lon, (lon + 180) % 360 - 180, lon % 360):
            table = client.at_many(np.stack([turned, lat], axis=1), fields=("image", "row", "col", "class_id"))
            assert table["image"].unique().to_pylist() == [image.id]
            assert np.array_equal(table["row"].to_numpy(), row)
            assert np.array_equal(table["col"].to_numpy(), col)
            assert np.array_equal(table["class_id"].to_numpy(), image.arrays["mask"][row, col])
    assert client.at(0.0, 90.0).image == "pole"
    for lon in (-170.0, -80.0, 10.0, 100.0):  # whatever the longitude, it is the pole
        assert client.at(lon, -90.0).image == "corner-at-the-pole"
    assert client.at(0.0, 10.0).status == "outside"
    mask = client.mask((179.9, 9.9, -179.9, 9.95))
    assert mask.array.shape == (50, 200)
    assert np.array_equal(mask.array, images[0].arrays["mask"][50:100, 100:300])


def _utm1(lon: float, lat: float) -> tuple[float, float]:
    x, y = transformer("EPSG:4326", "EPSG:32601").transform(lon, lat)
    return x - 7500, y


def test_a_projection_does_not_turn_far_places_into_near_ones(tmp_path: Path) -> None:
    """Oblique and transverse projections give far points coordinates too; none of them may answer."""
    images = [FakeImage("a", Grid(200, 200, north_up(500_000.0, 100.0, 1.0), UTM))]
    write_output(open_store(tmp_path), images)
    lon, lat = np.meshgrid(np.linspace(-180, 180, 181), np.linspace(-90, 90, 91))
    table = Client(tmp_path).at_many(np.stack([lon.ravel(), lat.ravel()], axis=1))
    held = np.array(table["status"].to_pylist()) != "outside"
    assert {(x, y) for x, y in zip(lon.ravel()[held], lat.ravel()[held], strict=True)} <= {(15.0, 0.0)}


def test_points_of_every_shape(output: tuple[str, list[FakeImage]]) -> None:
    client = Client(output[0])
    assert client.at_many([]).num_rows == 0
    assert client.at_many([], fields=("lon", "datetime", "gsd", "item"), all=True).column_names[0] == "point"
    assert client.at_many([(E0 + 1, N0 - 1)], crs=32633, fields=["image"]).to_pylist() == [
        {"image": "plain", "status": "ok"}
    ]
    odd = [(math.nan, 1.0), (math.inf, 2.0), (500.0, 95.0), (E0 + 1, N0 - 1)]
    table = client.at_many(odd)
    assert table["status"].to_pylist() == ["invalid"] * 4  # metres taken for degrees are no place either
    assert "finite" in str(client.at(math.nan, 0.0).reason)
    for bad in ([1.0, 2.0, 3.0], [[1.0, 2.0, 3.0]], ["a"], 5.0):
        with pytest.raises(QueryError, match=r"\[n, 2\]"):
            client.at_many(bad)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="'colour' is unknown: allowed are class_id"):
        client.at_many([(0, 0)], fields=("colour",))
    with pytest.raises(QueryError, match="'EPSG:999999' is not known"):
        client.at(0, 0, crs="EPSG:999999")


def test_images_are_named_by_id_prefix_and_source(output: tuple[str, list[FakeImage]]) -> None:
    folder, images = output
    client = Client(folder)
    nowhere = images[6]
    for name in ("nowhere", "now", nowhere.source):
        pixel = client.at_pixel(name, 17, 41)
        assert pixel.image == "nowhere"
        assert pixel.class_id == nowhere.arrays["mask"][17, 41]
        assert pixel.height == nowhere.arrays["height"][17, 41] / 100
        assert (pixel.x, pixel.lon, pixel.crs, pixel.coverage) == (None, None, None, "full")
    with pytest.raises(QueryError, match="prefix of 2 images: twin-a, twin-b"):
        client.at_pixel("twin-", 0, 0)
    with pytest.raises(QueryError, match=r"no image 'rotatd'; near ones: rotated"):
        client.at_pixel("rotatd", 0, 0)
    with pytest.raises(QueryError, match=r"row 200, col 0 is outside image nowhere of 200 rows x 300 columns"):
        client.at_pixel("nowhere", 200, 0)
    with pytest.raises(QueryError, match="outside"):
        client.at_pixel("nowhere", -1, 0)
    assert client.at_pixel("parts", 600, 600).status == "uncommitted"
    assert client.at_pixel("parts", 310, 310).status == "nodata"


def test_datetime_chooses(output: tuple[str, list[FakeImage]]) -> None:
    client = Client(output[0])
    place = {"lon": E0 + 100.0, "lat": N0 - 15.0, "crs": UTM}
    assert client.at(**place).image == "parts"  # type: ignore[arg-type]
    for when in ("2019", "2019-05", "2019-05-01", date(2019, 5, 1), "../2020", "2018-12-31/2019-06", OLD):
        pixel = client.at(**place, datetime=when)  # type: ignore[arg-type]
        assert (pixel.image, pixel.datetime) == ("plain", OLD)
    pixel = client.at(**place, datetime="2020")  # type: ignore[arg-type]
    assert pixel.status == "outside"
    assert "2020" in str(pixel.reason)
    table = client.at_many([(E0 + 100.0, N0 - 15.0)], crs=UTM, datetime="2022/..", all=True)
    assert table["image"].to_pylist()[0] == "parts"
    with pytest.raises(QueryError, match="'yesterday' is not understood"):
        client.at(0, 0, datetime="yesterday")


def test_datetime_spans() -> None:
    def seconds(text: str) -> tuple[float | None, float | None]:
        interval = parse_datetime(text)
        assert interval is not None
        return tuple(None if v is None else v / 1e6 for v in (interval.start, interval.stop))  # type: ignore[return-value]

    day = datetime(2024, 2, 29, tzinfo=UTC).timestamp()
    assert seconds("2024-02-29") == (day, day + 86400)
    assert seconds("2024-02")[1] == day + 86400
    assert seconds("2023-12")[1] == datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    assert seconds("2023")[1] == datetime(2024, 1, 1, tzinfo=UTC).timestamp()
    assert seconds("2024-02-29T12:00:00+02:00")[0] == day + 36000
    assert seconds("2024-02-29T10:00:00Z")[0] == seconds("2024-02-29T10:00:00")[0] == day + 36000
    assert seconds("../2024-02-29") == (None, day + 86400)
    assert seconds("2024-02-29/") == (day, None)
    for bad in ("", "../..", "2024/2023", "2024-13", "24", "2024-02-30", "/"):
        with pytest.raises(QueryError, match="datetime="):
            parse_datetime(bad)


def test_several_products_must_be_chosen(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(QueryError, match="holds no product"):
        Client(store).at(0, 0)
    image = FakeImage("a", Grid(20, 30, north_up(E0, N0), UTM))
    first = write_output(store, [image], product_json("one"))
    assert Client(store).at(E0 + 1, N0 - 1, crs=UTM).product == first
    write_output(store, [], product_json("begun and nothing committed"))
    assert Client(store).at(E0 + 1, N0 - 1, crs=UTM).product == first
    second = write_output(store, [FakeImage("a", image.grid, seed=9)], product_json("two"))
    client = Client(store)
    with pytest.raises(QueryError, match=r"2 products, choose one with product=.*") as error:
        client.at(0, 0)
    assert first in str(error.value)
    assert second in str(error.value)
    for product, model in ((first, "one@"), (second[:6], "two@")):
        pixel = client.at(E0 + 1, N0 - 1, crs=UTM, product=product)
        assert pixel.model.startswith(model)
        assert pixel.product.startswith(product)
    with pytest.raises(QueryError, match="product 'zz' is no product"):
        client.at(0, 0, product="zz")


class CountingStore(Store):
    """A store that remembers what was asked of it."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.asked: list[str] = []

    def _call(self, verb: str, key: str, request: Any) -> Any:
        self.asked.append(f"{verb} {key}")
        return super()._call(verb, key, request)


def test_a_pixel_costs_few_requests(output_uri: str) -> None:
    """Local and on S3: cold two requests a raster beside the index, warm none, and one for a small raster."""
    store = open_store(output_uri)
    big = FakeImage(
        "big", Grid(1500, 1400, north_up(E0, N0), UTM), boxes=(Window(0, 0, 1024, 1400), Window(1024, 0, 476, 1400))
    )
    write_output(store, [big, FakeImage("small", Grid(60, 50, north_up(E0 + 1000, N0), UTM))])
    build_catalog(store)
    counting = CountingStore(output_uri)
    client = Client(counting)
    pixel = client.at(E0 + 250.1, N0 - 250.1, crs=UTM)
    assert pixel.class_id == big.arrays["mask"][1250, 1250]
    rasters = [asked for asked in counting.asked if "/masks/" in asked]
    assert 3 <= len(rasters) <= 6
    others = [asked for asked in counting.asked if "/masks/" not in asked]
    assert len(others) <= 6  # products, product.json, commits (and the end of each listing), the catalogue
    assert not any("/images/" in asked or (asked.endswith(".json") and "/commits/" in asked) for asked in others)
    counting.asked.clear()
    assert client.at(E0 + 250.1, N0 - 250.1, crs=UTM) == pixel
    assert client.at(E0 + 250.3, N0 - 250.1, crs=UTM).col == pixel.col + 1  # type: ignore[operator]
    assert not counting.asked
    client.at(E0 + 1001, N0 - 1, crs=UTM)
    assert len(counting.asked) == 3
    counting.asked.clear()
    client.at_many(around(50), crs=UTM)
    client.at(E0 + 5000, N0, crs=UTM)
    assert len(counting.asked) <= 9  # of three kinds: one more range of one part, header and range of the other
    assert client.at_many(around(50), crs=UTM).equals(Client(output_uri).at_many(around(50), crs=UTM))


def test_only_commits_are_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(tmp_path)
    first = FakeImage("first", Grid(40, 40, north_up(E0, N0), UTM))
    second = FakeImage("second", Grid(40, 40, north_up(E0 + 100, N0), UTM))
    places = [(E0 + 1, N0 - 1), (E0 + 101, N0 - 1)]

    def statuses(where: str | Path | Store) -> list[str]:
        return Client(where).at_many(places, crs=UTM)["status"].to_pylist()

    product = write_output(store, [first], bundle=False)
    build_catalog(store)
    assert statuses(store) == ["ok", "outside"]

    # A new commit that the catalogue does not know; then one that it knows and that is gone.
    write_output(store, [second], bundle=False)
    counting = CountingStore(str(tmp_path))
    assert statuses(counting) == ["ok", "ok"]
    assert sum("/commits/" in asked and asked.endswith(".json") for asked in counting.asked) == 1
    build_catalog(store)
    [commit] = [
        info.key for info in store.list(commit_prefix(product)) if item_id([(first, first.grid.window)]) in info.key
    ]
    saved = store.get(commit)
    store.delete(commit)
    assert statuses(store) == ["outside", "ok"]

    # With its commit back it counts again; a damaged catalogue is left aside, and said to be.
    store.put(commit, saved)
    counting = CountingStore(str(tmp_path))
    assert statuses(counting) == ["ok", "ok"]
    assert not any("/commits/" in asked and asked.endswith(".json") for asked in counting.asked)
    store.replace(CATALOG_IMAGES, b"PAR1 and no more")
    with caplog.at_level(logging.WARNING):
        assert statuses(store) == ["ok", "ok"]
    assert "gridscribe catalog" in caplog.text

    # Objects that no commit names do not exist.
    store.delete(commit)
    store.delete(CATALOG_IMAGES)
    assert store.exists(mask_key(product, "first"))
    assert statuses(store) == ["outside", "ok"]


def test_a_client_looks_again_when_told(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write_output(store, [FakeImage("first", Grid(40, 40, north_up(E0, N0), UTM))], bundle=False)
    client = Client(store)
    assert client.at(E0 + 101, N0 - 1, crs=UTM).status == "outside"
    write_output(store, [FakeImage("second", Grid(40, 40, north_up(E0 + 100, N0), UTM))], bundle=False)
    assert client.at(E0 + 101, N0 - 1, crs=UTM).status == "outside"
    client.refresh()
    assert client.at(E0 + 101, N0 - 1, crs=UTM).status == "ok"


def test_what_was_changed_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    image = FakeImage("a", Grid(40, 40, north_up(E0, N0), UTM))
    other = FakeImage("b", Grid(30, 40, north_up(E0, N0), UTM))
    product = write_output(store, [image])
    write_output(open_store(tmp_path / "other"), [other])
    mask = mask_key(product, "a")
    good = store.get(mask)
    store.replace(mask, open_store(tmp_path / "other").get(mask_key(product, "b")))
    with pytest.raises(LayoutError, match="30 x 40 px of uint8, its commit says 40 x 40 px"):
        Client(store).at(E0 + 1, N0 - 1, crs=UTM)
    store.replace(mask, good)
    table = images_key(product, item_id([(image, image.grid.window)]))
    rows = read_table(store.get(table), table)
    store.replace(table, write_table(rows.set_column(1, "source", rows["image"])))
    with pytest.raises(LayoutError, match=r"is not what .* committed"):
        Client(store).at(E0 + 1, N0 - 1, crs=UTM)


def test_threads_and_a_small_cache_give_the_same(output: tuple[str, list[FakeImage]]) -> None:
    folder, _ = output
    points = around(4000, seed=8)
    expected = Client(folder).at_many(points, crs=UTM)
    backend = ObjectsBackend(open_store(folder), cache_bytes=600_000)
    client = Client(backend)
    barrier = threading.Barrier(6)

    def ask(k: int) -> bool:
        barrier.wait()
        part = slice(k * 500, k * 500 + 1500)
        return client.at_many(points[part], crs=UTM).to_pylist() == expected.to_pylist()[part]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(6)))
    assert backend.tiles.cached_bytes <= 600_000


def test_queries_load_neither_torch_nor_ray_nor_gdal(output: tuple[str, list[FakeImage]]) -> None:
    code = f"""
        import sys
        import gridscribe
        heavy = ("torch", "ray", "rasterio", "mmseg", "pyarrow", "pyproj", "shapely", "numpy", "obstore")
        assert not [name for name in heavy if name in sys.modules], sys.modules.keys()
        client = gridscribe.Client({output[0]!r})
        assert client.at({E0 + 1}, {N0 - 1}, crs="{UTM}").status == "ok"
        assert client.mask(({E0}, {N0 - 9}, {E0 + 9}, {N0}), crs="{UTM}").coverage == "full"
        print([name for name in ("torch", "ray", "rasterio", "mmseg", "mmengine") if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


# masks


def test_a_mask_of_one_image_is_its_pixels(output: tuple[str, list[FakeImage]]) -> None:
    folder, images = output
    client, plain = Client(folder), images[0]
    for box in (Window(0, 0, 700, 600), Window(13, 500, 1, 1), Window(505, 90, 20, 444)):
        x0, y0 = plain.grid.xy(box.row1, box.col)
        x1, y1 = plain.grid.xy(box.row, box.col1)
        masks = client.mask((x0, y0, x1, y1), crs=UTM, datetime="2019", all=True)
        mask = next(mask for mask in masks if mask.images == ("plain",))
        assert np.array_equal(mask.array, plain.arrays["mask"][box.slices()])
        assert mask.transform == pytest.approx(plain.grid.window_transform(box))
        assert mask.crs == UTM
        assert mask.coverage == ("full" if (mask.array != 255).all() else "partial")
        assert mask.classes == NAMES


@pytest.mark.parametrize("when", [None, "2019", "2021/.."])
@pytest.mark.parametrize("at_once", [1 << 20, 700])
def test_a_mosaic_answers_as_its_pixels_do(
    output: tuple[str, list[FakeImage]], when: str | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pixel of the mosaic is what `at_many` says at its centre, whatever mixture of grids lies there."""
    monkeypatch.setattr(blocks, "AT_ONCE", at_once)
    client = Client(output[0])
    for bbox in ((E0 + 20, N0 - 60, E0 + 110, N0 - 15), (E0 + 150, N0 - 170, E0 + 200, N0 - 120)):
        if when == "2019" and bbox[0] > E0 + 100:
            continue
        mask = client.mask(bbox, crs=UTM, datetime=when)
        rows, cols = np.indices(mask.array.shape) + 0.5
        a, b, c, d, e, f = mask.transform
        points = np.stack([(a * cols + b * rows + c).ravel(), (d * cols + e * rows + f).ravel()], axis=1)
        table = client.at_many(points, crs=mask.crs, fields=("class_id",), datetime=when)
        expected = table["class_id"].fill_null(255).to_numpy().reshape(mask.array.shape)
        # what an image holds is cut to the box, so pixels whose centre is outside it may be empty
        inside = client.mask(bbox, crs=UTM, datetime=when).array != 255
        assert np.array_equal(mask.array[inside], expected[inside])
        to_utm = transformer(mask.crs, UTM)
        x, y = (v.reshape(mask.array.shape) for v in to_utm.transform(*points.T))
        within = (x > bbox[0]) & (x < bbox[2]) & (y > bbox[1]) & (y < bbox[3])
        assert within.mean() > 0.5
        assert np.array_equal(mask.array[within], expected[within])


def test_a_mask_says_what_it_covers(tmp_path: Path) -> None:
    holed = FakeImage("holed", Grid(100, 100, north_up(E0, N0, 1.0), UTM), nodata=Window(0, 0, 10, 10))
    empty = FakeImage("empty", Grid(100, 100, north_up(E0 + 100, N0, 1.0), UTM), nodata=Window(0, 0, 100, 100))
    write_output(open_store(tmp_path), [holed, empty])
    client = Client(tmp_path)
    for bbox, coverage in (
        ((20, -80, 60, -20), "full"),
        ((0, -50, 50, 0), "partial"),
        ((50, -50, 150, -20), "partial"),
        ((-10, -80, 20, -50), "partial"),
        ((110, -50, 150, -10), "none"),
    ):
        west, south, east, north = bbox
        mask = client.mask((E0 + west, N0 + south, E0 + east, N0 + north), crs=UTM)
        assert isinstance(mask, Mask)
        assert mask.coverage == coverage, bbox
    array, transform, crs = client.mask((E0 - 10, N0 - 30, E0 + 20, N0 + 99), crs=UTM)
    assert array.shape == (30, 20)
    assert (transform[2], transform[5], crs) == (E0, N0, UTM)
    lonlat = transformer(UTM, "EPSG:4326")
    west, south, east, north = lonlat.transform_bounds(E0 + 30, N0 - 70, E0 + 70, N0 - 30)
    mask = client.mask((west, south, east, north))
    assert mask.coverage == "full"
    assert abs(mask.array.shape[0] - 40) <= 2
    assert client.mask((-180, -90, 180, 90)).array.shape == (100, 200)


def test_masks_that_cannot_be(output: tuple[str, list[FakeImage]]) -> None:
    client = Client(output[0])
    with pytest.raises(QueryError, match=r"no image of product .* meets the box"):
        client.mask((0, 0, 1, 1))
    with pytest.raises(QueryError, match="taken in 1999"):
        client.mask((E0, N0 - 9, E0 + 9, N0), crs=UTM, datetime="1999")
    for bad in ((1, 2, 3), (2, 0, 1, 1, 0), (0, 1, 1, 0), (math.nan, 0, 1, 1)):
        with pytest.raises(QueryError, match="bbox="):
            client.mask(bad)
    with pytest.raises(QueryError, match="holds no area"):
        client.mask((5, 0, 1, 1), crs=UTM)
    small = Client(ObjectsBackend(open_store(output[0]), max_pixels=100))
    with pytest.raises(QueryError, match="45 x 45 px, more than 100"):
        small.mask((E0, N0 - 9, E0 + 9, N0), crs=UTM)
    enough = Client(ObjectsBackend(open_store(output[0]), max_pixels=45 * 45))
    assert enough.mask((E0, N0 - 9, E0 + 9, N0), crs=UTM).array.shape == (45, 45)


def test_a_latitude_beyond_the_poles_is_no_place(tmp_path: Path) -> None:
    grid = Grid(8, 8, (0.2, 0.0, 500_000.0, 0.0, -0.2, 5_000_000.0), "EPSG:32631")
    write_output(open_store(tmp_path), [FakeImage("a", grid)])
    client = Client(tmp_path)
    assert client.at(45.0, 100.0).status == "invalid"
    assert "longitude comes first" in str(client.at(45.0, 100.0).reason)
    assert client.at(45.0, 80.0).status == "outside"
    assert client.at_many([(45.0, -91.0), (45.0, 10.0)]).column("status").to_pylist() == ["invalid", "outside"]
    assert client.at(45.0, 1000.0, crs="EPSG:32631").status == "outside"


def test_the_limit_is_of_all_masks_together(tmp_path: Path) -> None:
    grid = Grid(30, 30, (0.2, 0.0, 500_000.0, 0.0, -0.2, 5_000_000.0), "EPSG:32631")
    write_output(open_store(tmp_path), [FakeImage(name, grid) for name in ("a", "b", "c")])
    box = (500_000.0, 4_999_994.0, 500_006.0, 5_000_000.0)
    for most, enough in ((900, False), (2699, False), (2700, True)):
        client = Client(ObjectsBackend(open_store(tmp_path), max_pixels=most))
        assert client.mask(box, crs="EPSG:32631").array.shape == (30, 30)
        if enough:
            assert len(client.mask(box, crs="EPSG:32631", all=True)) == 3
        else:
            with pytest.raises(QueryError, match=f"more than {most} in all"):
                client.mask(box, crs="EPSG:32631", all=True)
