"""Regions against the slow, obvious way: scipy's labels of the whole image, burnt-back polygons, statistics one by one."""

from __future__ import annotations

import io
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import duckdb
import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import rasterio.features
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gridscribe import Client, layout
from gridscribe.cog_reader import read_header
from gridscribe.commits import read_commits
from gridscribe.errors import LayoutError, QueryError, RefusedError, UsageError
from gridscribe.export import FORMATS, export
from gridscribe.gc import collect_garbage
from gridscribe.pipelines.cog import REGIONS, RasterKind, encode_cog
from gridscribe.pipelines.config import MIN_PIXELS, RasterJob, RegionOptions, as_settings, raster_job
from gridscribe.pipelines.region_items import RegionItem, RegionPart, remaining_regions
from gridscribe.pipelines.regions import image as image_module
from gridscribe.pipelines.regions import outlines as outlines_module
from gridscribe.pipelines.regions import rows as rows_module
from gridscribe.pipelines.regions import stage as stage_module
from gridscribe.pipelines.regions.cells import cell_of
from gridscribe.pipelines.regions.outlines import outlines
from gridscribe.pipelines.regions.rows import confidence_mean, height_statistics
from gridscribe.pipelines.regions.stage import RegionStage
from gridscribe.pipelines.regions.strips import REGION, Strip, settled
from gridscribe.pipelines.stages import Deadline
from gridscribe.regions import CELL, region_id, regions_schema, value_dtype
from gridscribe.store import Store, open_store
from gridscribe.values import Grid, Window

sys.path.insert(0, str(Path(__file__).parent))

from outputs import CLASSES, FakeImage, write_output

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NAMES = {label.id: label.name for label in CLASSES}
UTM = "EPSG:32633"


def slow_labels(classes: np.ndarray) -> tuple[np.ndarray, int]:
    """1..n for each 4-connected area of one class but 255, by scipy, class after class."""
    out, count = np.zeros(classes.shape, np.int32), 0
    for value in np.unique(classes[classes != 255]).tolist():
        found, more = ndimage.label(classes == value)
        out[found > 0] = found[found > 0] + count
        count += more
    return out, count


def slow_values(classes: np.ndarray, min_pixels: int, cell: int = CELL, box: Window | None = None) -> np.ndarray:
    """The raster of regions of a whole image (or of a box of it), from the definition."""
    whole = Window(0, 0, *classes.shape)
    box = box or whole
    seen = np.full(classes.shape, 255, np.uint8)
    seen[box.slices()] = classes[box.slices()]
    labels, _ = slow_labels(seen)
    index = np.arange(whole.area).reshape(whole.shape)
    values = np.zeros(whole.shape, np.int64)
    cuts = list(whole.split(cell))
    for label, (rows, cols) in ndimage.value_indices(labels, ignore_value=0).items():
        if max(np.ptp(rows), np.ptp(cols)) + 1 > cell:
            for window in cuts:
                inside = labels[window.slices()] == label
                pieces, _ = ndimage.label(inside)
                for where in ndimage.value_indices(pieces, ignore_value=0).values():
                    values[window.slices()][where] = index[window.slices()][where].min() + 1
        elif len(rows) >= min_pixels:
            values[rows, cols] = index[rows, cols].min() + 1
    return values[box.slices()]


@st.composite
def rasters(draw: st.DrawFn) -> np.ndarray:
    """Small rasters of every sort: noise, blobs, stripes; with and without nodata."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = np.array(draw(st.sampled_from([(0, 1), (0, 255), (0, 1, 255), (0, 1, 2, 3), (3,), (255,)])), np.uint8)
    grain = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    coarse = rng.choice(values, (height // grain[0] + 1, width // grain[1] + 1), p=rng.dirichlet(np.ones(len(values))))
    fine = coarse.repeat(grain[0], 0).repeat(grain[1], 1)[:height, :width]
    noise = rng.random(fine.shape) < draw(st.sampled_from([0.0, 0.05]))
    return np.ascontiguousarray(np.where(noise, rng.choice(values, fine.shape), fine))


def strips(classes: np.ndarray, cell: int, box: Window | None = None) -> Iterator[Strip]:
    rows: dict[int, list[Window]] = {}
    for window in (box or Window(0, 0, *classes.shape)).split(cell):
        rows.setdefault(window.row, []).append(window)
    for windows in rows.values():
        yield Strip([cell_of(np.ascontiguousarray(classes[w.slices()]), w, classes.shape[1]) for w in windows])


@settings(max_examples=300, deadline=None)
@given(classes=rasters(), data=st.data())
def test_components_are_those_of_the_whole_image(classes: np.ndarray, data: st.DataObject) -> None:
    """Whatever crosses what: spirals, combs and areas over many cells; also in a box that begins inside a cell."""
    height, width = classes.shape
    cell = data.draw(st.integers(2, 24))
    min_pixels = data.draw(st.integers(1, cell))
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    row, col = data.draw(st.sampled_from([(0, 0), (row, col)]))
    box = Window(row, col, height - row, width - col)
    expected = slow_values(classes, min_pixels, cell, box)
    found = np.zeros(box.shape, np.int64)
    regions = []
    for held, begun in settled(strips(classes, cell, box), min_pixels, cell):
        window = held[0].window
        found[window.slices(box)] = np.concatenate(list(held[0].parts(window.row, window.row1, "int64")), axis=1)
        assert len(held) <= 2
        first_rows = (begun["value"] - 1) // width
        assert ((first_rows >= window.row) & (first_rows < window.row1)).all()
        for strip in held:
            known = np.concatenate(list(strip.parts(strip.window.row, strip.window.row1, "int64")), axis=1)
            mine = np.isin(known, begun["value"])
            assert np.array_equal(known[mine], expected[strip.window.slices(box)][mine])
        regions.append(begun)
    assert np.array_equal(found, expected)
    table = np.concatenate(regions)
    assert sorted(table["value"].tolist()) == sorted(set(expected[expected > 0].tolist()))
    for region in table:
        rows, cols = np.nonzero(expected == region["value"])
        assert region["area"] == len(rows)
        assert (region["top"], region["bottom"]) == (rows.min() + row, rows.max() + row + 1)
        assert (region["left"], region["right"]) == (cols.min() + col, cols.max() + col + 1)
        assert (classes[box.slices()][rows, cols] == region["class_id"]).all()


@settings(max_examples=300, deadline=None)
@given(classes=rasters(), rows=st.sampled_from([1, 2, 3, 512]))
def test_outlines_hold_exactly_their_pixels(classes: np.ndarray, rows: int) -> None:
    labels, count = slow_labels(classes)
    with patch.object(outlines_module, "ROWS_AT_ONCE", rows):
        polygons = outlines(labels, count)
    assert len(polygons) == count
    assert shapely.is_valid(polygons).all(), [shapely.is_valid_reason(p) for p in polygons]
    assert np.array_equal(shapely.area(polygons), np.bincount(labels.ravel(), minlength=count + 1)[1:])
    assert all(polygon.exterior.is_ccw for polygon in polygons)
    assert not any(ring.is_ccw for polygon in polygons for ring in polygon.interiors)
    if count:
        burnt = rasterio.features.rasterize(zip(polygons, range(1, count + 1), strict=True), out_shape=labels.shape)
        assert np.array_equal(burnt, labels)
    assert np.array_equal(
        shapely.get_num_coordinates(polygons), shapely.get_num_coordinates(shapely.simplify(polygons, 0))
    )


@settings(max_examples=100, deadline=None)
@given(data=st.data(), count=st.integers(0, 40), cell=st.sampled_from([512, 1024, 2048]))
def test_groups_hold_every_region_once_in_windows_that_are_bounded(data: st.DataObject, count: int, cell: int) -> None:
    width, row = 5000, 2 * cell
    regions = np.zeros(count, REGION)
    for region in regions:
        height, across = data.draw(st.integers(1, cell)), data.draw(st.integers(1, cell))
        top, left = row + data.draw(st.integers(0, cell - 1)), data.draw(st.integers(0, width - across))
        first = data.draw(st.integers(left, left + across - 1))
        region["value"], region["top"], region["left"] = top * width + first + 1, top, left
        region["bottom"], region["right"] = top + height, left + across
    groups = image_module._groups(regions, row, width, cell)
    assert sorted(np.concatenate([regions[:0], *groups])["value"]) == sorted(regions["value"])
    assert len(groups) <= count
    for group in groups:
        columns = (group["value"] - 1) % width // cell
        assert len(set(columns.tolist())) == 1
        assert (np.diff(group["value"]) >= 0).all()
        area = int(
            np.ptp([group["top"].min(), group["bottom"].max()]) * np.ptp([group["left"].min(), group["right"].max()])
        )
        assert len(group) == 1 or area <= (cell + 512) ** 2


@settings(max_examples=100, deadline=None)
@given(
    classes=rasters(),
    seed=st.integers(0, 2**32 - 1),
    missing=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
    pixels=st.sampled_from([1, 7, 40, 1 << 20]),
)
def test_statistics_are_those_of_the_pixels(classes: np.ndarray, seed: int, missing: float, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    labels, count = slow_labels(classes)
    confidence = rng.integers(0, 255, classes.shape).astype(np.uint8)
    height = rng.integers(-32767, 32768, classes.shape).astype(np.int16)
    confidence[rng.random(classes.shape) < missing] = 255
    height[rng.random(classes.shape) < missing] = -32768
    with patch.object(rows_module, "PIXELS_AT_ONCE", pixels):
        trust, (mean, high) = confidence_mean(labels, confidence, count), height_statistics(labels, height, count)
    for label in range(1, count + 1):
        values, metres = confidence[labels == label], height[labels == label]
        values, metres = values[values != 255] / 254, metres[metres != -32768] / 100
        for got, slow in (
            (trust[label - 1], values.mean() if len(values) else np.nan),
            (mean[label - 1], metres.mean() if len(metres) else np.nan),
            (high[label - 1], np.percentile(metres, 95) if len(metres) else np.nan),
        ):
            assert got == pytest.approx(slow, rel=1e-9, abs=1e-9, nan_ok=True)


def part_of(image: FakeImage, box: Window | None = None) -> RegionPart:
    planned: Any = SimpleNamespace(image_id=image.id, grid=image.grid, source=image.source)
    return RegionPart(planned, box or image.grid.window)


def make_regions(
    store: Store, product: str, groups: Sequence[Sequence[RegionPart]], min_pixels: int = MIN_PIXELS
) -> None:
    """The stage, as a worker runs it, over items made by hand."""
    stage = RegionStage(store, product, CLASSES, RegionOptions(min_pixels))  # type: ignore[arg-type]
    items = [RegionItem(tuple(group)) for group in groups]
    for item in remaining_regions(items, list(read_commits(store, product))):
        assert stage.process(item, Deadline(100)).commits == (item.id,)


def table_of(store: Store, product: str) -> pa.Table:
    keys = [r.key for c in read_commits(store, product) for r in c.objects if r.key.endswith(".parquet") and c.regions]
    return pa.concat_tables([pq.read_table(io.BytesIO(store.get(key))) for key in sorted(keys)])


def scene() -> list[FakeImage]:
    cut = tuple(Window(0, 0, 700, 700).split(512))
    return [
        FakeImage("whole", Grid(300, 260, (0.5, 0.0, 5e5, 0.0, -0.5, 5e6), UTM), nodata=Window(10, 20, 30, 40)),
        FakeImage(
            "parts", Grid(700, 700, (0.2, 0.0, 5e5, 0.0, -0.2, 5e6), UTM), boxes=cut, nodata=Window(400, 90, 9, 99)
        ),
        FakeImage("rotated", Grid(90, 80, (0.4, 0.3, 5e5, 0.3, -0.4, 5e6), UTM)),
        FakeImage("pixels", Grid(70, 90)),
        FakeImage("degrees", Grid(120, 110, (1e-5, 0.0, 12.0, 0.0, -1e-5, 48.0), "EPSG:4326")),
        FakeImage("empty", Grid(40, 50, (0.5, 0.0, 6e5, 0.0, -0.5, 5e6), UTM), nodata=Window(0, 0, 40, 50)),
        FakeImage("date-line", Grid(200, 300, (0.001, 0.0, 179.9, 0.0, -0.001, -17.0), "EPSG:4326")),
    ]


@pytest.fixture(scope="module", params=[CELL, 64], ids=["cell", "small-cell"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str, int]:
    """(store, product, cell) with regions of `scene`: three images in one item, the others alone."""
    store = open_store(tmp_path_factory.mktemp("regions"))
    images = scene()
    product = write_output(store, images)
    groups = [[part_of(image) for image in images[2:5]], *([part_of(image)] for image in (*images[:2], *images[5:]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_module.ImageRegions.__init__, "__defaults__", (request.param,))
        make_regions(store, product, groups)
    return store, product, request.param


@pytest.mark.parametrize("image", scene(), ids=lambda image: image.id)
def test_tables_and_rasters_agree_with_the_masks(made: tuple[Store, str, int], image: FakeImage) -> None:
    store, product, cell = made
    with rasterio.open(Path(store.uri) / layout.region_raster_key(product, image.id)) as file:
        values = file.read(1)
        assert (file.dtypes[0], file.nodata) == ("uint32", 0)
        assert file.crs == image.grid.crs
        assert file.tags()["GRIDSCRIBE_REGION_MIN_PIXELS"] == str(MIN_PIXELS)
    assert np.array_equal(values, slow_values(image.arrays["mask"], MIN_PIXELS, cell))
    rows = [row for row in table_of(store, product).to_pylist() if row["image"] == image.id]
    assert sorted(row["value"] for row in rows) == np.unique(values[values > 0]).tolist()
    assert bool(rows) == (image.id != "empty")
    trust, height = image.arrays["confidence"], image.arrays["height"]
    pixels = ndimage.value_indices(values, ignore_value=0)
    assert set(pixels) == {row["value"] for row in rows}
    for row in random.Random(0).sample(rows, min(1000, len(rows))):
        inside = pixels[row["value"]]
        first = int(np.ravel_multi_index(inside, values.shape).min())
        assert row["region_id"] == f"{image.id}-{first}" == region_id(image.id, row["value"])
        assert row["class_id"] == image.arrays["mask"].ravel()[first]
        assert row["class_name"] == NAMES[row["class_id"]]
        assert row["area_px"] == len(inside[0])
        assert row["confidence"] == pytest.approx((trust[inside] / 254).mean(), rel=1e-6)
        assert row["height_mean"] == pytest.approx((height[inside] / 100).mean(), rel=1e-5, abs=1e-5)
        assert row["height_p95"] == pytest.approx(np.percentile(height[inside] / 100, 95), rel=1e-5, abs=1e-5)
        assert (row["labels"], row["embedding"], row["scale"]) == (None, None, None)
        outline = shapely.from_wkb(row["geometry_px"])
        assert outline.is_valid
        left, top, right, bottom = (int(edge) for edge in outline.bounds)
        local = shapely.transform(outline, lambda xy: xy - (left, top))  # noqa: B023
        burnt = rasterio.features.rasterize([local], out_shape=(bottom - top, right - left))
        assert np.array_equal(burnt == 1, values[top:bottom, left:right] == row["value"])
        assert burnt.sum() == row["area_px"]
        if image.grid.crs is None:
            assert (row["geometry"], row["bbox"], row["area_m2"]) == (None, None, None)
            continue
        place = shapely.from_wkb(row["geometry"])
        assert place.is_valid
        assert tuple(row["bbox"].values()) == place.bounds
        assert -180 <= place.bounds[0] <= place.bounds[2] <= 180
        ground, _ = pyproj_geod().geometry_area_perimeter(shapely.segmentize(place, 0.01))
        assert row["area_m2"] == pytest.approx(abs(ground), rel=2e-3)


def pyproj_geod() -> Any:
    import pyproj

    return pyproj.Geod(ellps="WGS84")


def test_places_are_those_of_the_pixels(made: tuple[Store, str, int]) -> None:
    """Centres of pixels lie in the geometry of their region and in no other's, on both sides of the antimeridian too."""
    import pyproj

    store, product, _ = made
    table = table_of(store, product)
    rng = np.random.default_rng(0)
    for image in scene():
        if image.grid.crs is None:
            continue
        mine = table.filter(pa.compute.equal(table["image"], image.id))
        tree = shapely.STRtree(shapely.from_wkb(mine["geometry"].to_numpy()))
        with rasterio.open(Path(store.uri) / layout.region_raster_key(product, image.id)) as file:
            values = file.read(1)
        rows, cols = (rng.integers(0, size, 500) for size in image.grid.shape)
        to_lonlat = pyproj.Transformer.from_crs(image.grid.crs, "OGC:CRS84", always_xy=True)
        lon, lat = to_lonlat.transform(*image.grid.xy(rows + 0.5, cols + 0.5))  # type: ignore[arg-type]
        lon = (lon + 180) % 360 - 180
        found = {point: set() for point in range(500)}
        for point, which in tree.query(shapely.points(lon, lat), predicate="intersects").T.tolist():
            found[point].add(mine["value"][which].as_py())
        assert [found[k] for k in range(500)] == [{v} - {0} for v in values[rows, cols].tolist()]
    line = table.filter(pa.compute.equal(table["image"], "date-line"))
    kinds = {shapely.from_wkb(value).geom_type for value in line["geometry"].to_pylist()}
    assert kinds == {"Polygon", "MultiPolygon"}


def test_a_region_around_the_pole_holds_it(tmp_path: Path) -> None:
    """Antarctic polar stereographic: the pole inside an area, and a ring around it."""
    inner = np.zeros((200, 200), np.uint8)
    inner[60:140, 60:140] = 1
    inner[90:110, 90:110] = 2
    image = FakeImage("pole", Grid(200, 200, (1000.0, 0.0, -1e5, 0.0, -1000.0, 1e5), "EPSG:3031"))
    image.arrays["mask"] = inner
    store = open_store(tmp_path)
    product = write_output(store, [image])
    make_regions(store, product, [[part_of(image)]])
    cap, ring = None, None
    for row in table_of(store, product).to_pylist():
        place = shapely.from_wkb(row["geometry"])
        assert place.is_valid
        cap, ring = (place if row["class_id"] == 2 else cap), (place if row["class_id"] == 1 else ring)
    assert cap is not None
    assert ring is not None
    for lon in (-179.0, -90.0, 0.5, 91.0, 179.0):
        assert cap.covers(shapely.Point(lon, -89.99))
        assert not ring.covers(shapely.Point(lon, -89.99))
        assert ring.covers(shapely.Point(lon, -89.75))
        assert not cap.covers(shapely.Point(lon, -89.75))


def test_a_transform_that_leaves_the_earth_refuses_the_image(tmp_path: Path) -> None:
    from gridscribe.pipelines.regions.ground import on_earth

    grid = Grid(10, 10, (1.0, 0.0, 0.0, 0.0, -1.0, 95.0), "EPSG:4326")
    with pytest.raises(RefusedError, match=r"row 0, col \d has no place on Earth"):
        on_earth(np.array([shapely.box(0, 0, 4, 4)], object), grid)


def test_tables_open_in_geopandas_and_duckdb(made: tuple[Store, str, int]) -> None:
    store, product, _ = made
    folder = Path(store.uri) / "products" / product / "regions"
    count = 0
    for path in sorted(folder.glob("*.parquet")):
        frame = geopandas.read_parquet(path)
        plain = pq.read_table(path)
        assert frame.crs == "OGC:CRS84"
        assert len(frame) == len(plain)
        assert plain.schema.metadata[b"geo"] == regions_schema().metadata[b"geo"]
        if len(frame) and frame.geometry.notna().any():
            count += 1
            west, south, east, north = frame.total_bounds.tolist()
            middle = (west, south, (west + east) / 2, (south + north) / 2)
            known = frame[frame.geometry.notna()]
            expected = known[known.bounds.minx.le(middle[2]) & known.bounds.miny.le(middle[3])].region_id
            query = f"SELECT region_id FROM '{path}' WHERE bbox.xmin <= {middle[2]!r} AND bbox.ymin <= {middle[3]!r}"
            assert sorted(row[0] for row in duckdb.sql(query).fetchall()) == sorted(expected)
            assert len(geopandas.read_parquet(path, bbox=middle)) <= len(frame)
    assert count >= 4
    (total,) = duckdb.sql(f"SELECT count(*), max(scale) FROM '{folder}/*.parquet'").fetchall()
    assert total == (len(table_of(store, product)), None)


def test_pixels_say_their_region(made: tuple[Store, str, int]) -> None:
    store, product, _ = made
    client = Client(store)
    rng = np.random.default_rng(1)
    for image in scene():
        with rasterio.open(Path(store.uri) / layout.region_raster_key(product, image.id)) as file:
            values = file.read(1)
        for _ in range(20):
            row, col = (int(rng.integers(0, size)) for size in image.grid.shape)
            value = int(values[row, col])
            assert client.at_pixel(image.id, row, col).region == (region_id(image.id, value) if value else None)
    pixel = client.at_pixel("whole", 200, 200)
    assert pixel.lon is not None
    assert pixel.lat is not None
    assert pixel.region in {found.region for found in client.at(pixel.lon, pixel.lat, all=True)}
    columns = client.at_many([(pixel.lon, pixel.lat), (0.0, 0.0)], fields=("region", "image"), all=True)
    names = dict(zip(columns["image"].to_pylist(), columns["region"].to_pylist(), strict=True))
    assert names["whole"] == pixel.region
    assert names[None] is None


def test_regions_of_a_box_are_those_that_meet_it(made: tuple[Store, str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    from gridscribe.client import region_tables as reading

    store, product, _ = made
    table = table_of(store, product)
    everything = Client(store).regions()
    assert sorted(everything["region_id"].to_pylist()) == sorted(table["region_id"].to_pylist())
    assert everything.schema == regions_schema()
    geometry = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    whole = next(image for image in scene() if image.id == "whole")
    west, south, east, north = shapely.bounds(geometry[np.array(table["image"].to_pylist()) == "whole"]).T
    boxes = [
        (west.min(), south.min(), (west.min() + east.max()) / 2, (south.min() + north.max()) / 2),
        (11.0, 47.0, 13.0, 49.0),
        (179.95, -18.0, -179.99, -17.05),
        (0.0, 0.0, 1.0, 1.0),
        (-180.0, -90.0, 180.0, 90.0),
    ]
    assert whole.grid.crs is not None
    for limit in (1 << 20, 0):  # tables at once, and by range
        monkeypatch.setattr(reading, "WHOLE", limit)
        client = Client(store)
        for box in boxes:
            for name in (None, "road"):
                sides = [box] if box[0] <= box[2] else [(box[0], box[1], 180, box[3]), (-180, box[1], box[2], box[3])]
                meets = np.logical_or.reduce([shapely.intersects(geometry, shapely.box(*side)) for side in sides])
                slow = table.filter(pa.array(meets))
                slow = slow if name is None else slow.filter(pa.compute.equal(slow["class_name"], name))
                found = client.regions(box, name)
                assert sorted(found["region_id"].to_pylist()) == sorted(slow["region_id"].to_pylist())
    assert len(Client(store).regions((0.0, 0.0, 1.0, 1.0))) == 0
    for bad in ((0, 1, 2), (0, 1, 2, 1), (3, 0, 3, 1), (0, 0, float("nan"), 1)):
        with pytest.raises(QueryError, match="bbox="):
            Client(store).regions(bad)
    with pytest.raises(QueryError, match=r"class 'lava' is none .* road"):
        Client(store).regions(class_name="lava")


def test_row_groups_outside_the_box_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gridscribe.client import region_tables as reading

    monkeypatch.setattr(stage_module, "ROW_GROUP", 50)
    monkeypatch.setattr(reading, "WHOLE", 0)
    monkeypatch.setattr(image_module.ImageRegions.__init__, "__defaults__", (64,))
    image = FakeImage("wide", Grid(300, 900, (1.0, 0.0, 5e5, 0.0, -1.0, 5e6), UTM))
    store = open_store(tmp_path)
    product = write_output(store, [image])
    make_regions(store, product, [[part_of(image)]])
    key = layout.regions_key(product, RegionItem((part_of(image),)).id)
    groups = pq.ParquetFile(Path(store.uri) / key).metadata
    assert groups.num_row_groups > 20
    assert {groups.row_group(k).num_rows for k in range(groups.num_row_groups - 1)} == {50}
    opened: list[int] = []
    plain = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, k, **more: opened.append(k) or plain(self, k, **more)
    )
    pixel = Client(store).at_pixel("wide", 150, 20)
    assert pixel.lon is not None
    assert pixel.lat is not None
    tiny = 1e-6
    found = Client(store).regions((pixel.lon - tiny, pixel.lat - tiny, pixel.lon + tiny, pixel.lat + tiny))
    assert found["region_id"].to_pylist() == [pixel.region]
    assert 1 <= len(opened) <= 6
    assert Client(store).regions().num_rows == groups.num_rows


@pytest.mark.parametrize("format_", ["gpkg", "fgb", "parquet"])
def test_export_gives_the_regions(made: tuple[Store, str, int], format_: str, tmp_path: Path) -> None:
    store, product, _ = made
    table = table_of(store, product)
    for image in scene():
        done = export(store, image.id, format_, tmp_path / f"{image.id}{FORMATS[format_]}")
        frame = geopandas.read_parquet(done.path) if format_ == "parquet" else geopandas.read_file(done.path)
        rows = {row["region_id"]: row for row in table.to_pylist() if row["image"] == image.id}
        assert done.features == len(frame) == len(rows)
        assert frame.crs == image.grid.crs
        for name, shape in zip(frame.get("region_id", []), frame.geometry, strict=True):
            outline = shapely.from_wkb(rows[name]["geometry_px"])
            if image.grid.transform is not None:
                outline = shapely.transform(outline, lambda xy: np.stack(image.grid.xy(xy[:, 1], xy[:, 0]), 1))  # noqa: B023
            assert shape.normalize().equals_exact(outline.normalize(), 1e-6 if image.grid.crs == UTM else 1e-11)
        if len(frame):
            assert frame.height_p95.tolist() == pytest.approx([rows[n]["height_p95"] for n in frame.region_id])


def test_a_box_has_regions_of_its_own_until_the_whole_image_has(tmp_path: Path) -> None:
    image = FakeImage("boxes", Grid(700, 1100, (0.2, 0.0, 5e5, 0.0, -0.2, 5e6), UTM))
    box = Window(0, 512, 512, 512)
    store = open_store(tmp_path)
    product = write_output(store, [image])
    make_regions(store, product, [[part_of(image, box)]])
    item = RegionItem((part_of(image, box),))
    with rasterio.open(Path(store.uri) / layout.region_raster_key(product, "boxes", item.id)) as file:
        assert np.array_equal(file.read(1), slow_values(image.arrays["mask"], MIN_PIXELS, box=box))
        assert (file.transform.c, file.transform.f) == image.grid.xy(0, 512)
    client = Client(store)
    assert client.at_pixel("boxes", 600, 100).region is None
    inside = client.at_pixel("boxes", 100, 600).region
    assert inside is not None
    assert len(client.regions()) == len(table_of(store, product))

    make_regions(store, product, [[part_of(image)]])
    client.refresh()
    assert client.at_pixel("boxes", 600, 100).region is not None
    names = client.regions()["region_id"].to_pylist()
    assert len(names) == len(set(names)) < len(table_of(store, product))
    assert remaining_regions([item], list(read_commits(store, product))) == []


def test_garbage_of_regions_goes_and_committed_regions_stay(tmp_path: Path) -> None:
    from datetime import timedelta

    image = FakeImage("kept", Grid(70, 90))
    store = open_store(tmp_path)
    product = write_output(store, [image])
    make_regions(store, product, [[part_of(image)]])
    lost = [layout.region_raster_key(product, "lost"), layout.region_raster_key(product, "kept", "regions-0"),
            layout.regions_key(product, "regions-lost")]  # fmt: skip
    for key in lost:
        store.put(key, b"of a killed worker")
    before = {info.key for info in store.list()}
    gone = collect_garbage(store, timedelta(0))
    assert sorted(info.key for info in gone.removed) == sorted(lost)
    assert {info.key for info in store.list()} == before - set(lost)
    assert gone.foreign == ()


def test_values_of_very_large_images_are_64_bits_wide(tmp_path: Path) -> None:
    assert (value_dtype(2**32 - 1), value_dtype(2**32)) == ("uint32", "uint64")
    kind = RasterKind("regions", "uint64", 0, 1)
    pixels = np.full((600, 530), 0, np.uint64)
    pixels[3:580, 4:520] = 2**32 + 17
    encode_cog(tmp_path / "wide.tif", kind, pixels, Grid(600, 530))
    data = (tmp_path / "wide.tif").read_bytes()
    header = read_header(lambda start, length: data[start : start + length], "wide")
    block = header.decode(data[header.offsets[0] : header.offsets[0] + header.counts[0]])
    assert np.array_equal(block, pixels[:512, :512])
    with rasterio.open(tmp_path / "wide.tif") as file:
        assert np.array_equal(file.read(1), pixels)
        assert set(np.unique(file.read(1, out_shape=(300, 265))).tolist()) <= {0, 2**32 + 17}
    assert REGIONS.scale is None  # what has a scale gets overviews by averages


def test_settings_are_checked_and_decide_the_product_only_where_they_are_not_the_default() -> None:
    assert raster_job({}).regions == RegionOptions()
    assert raster_job({"regions": {}}).regions == RegionOptions()
    assert raster_job({"regions": {"min_pixels": 3}}).regions == RegionOptions(3)
    for off in (None, "off", False):
        assert raster_job({"regions": off}).regions is None
    default = as_settings(RasterJob())
    assert "regions" not in default
    assert as_settings(RasterJob(regions=None)) == default
    assert as_settings(RasterJob(regions=RegionOptions(3))) == {**default, "regions": {"min_pixels": 3}}
    for bad, told in (
        ({"min_pixels": 0}, "min_pixels=0: must be 1 to 2048"),
        ({"min_pixels": 2049}, "min_pixels=2049: must be 1 to 2048"),
        ({"min_pixels": 1.5}, "min_pixels=1.5: must be a whole number"),
        ({"min_pixel": 3}, "unknown key 'min_pixel'; allowed: min_pixels"),
        (7, "regions=7: must be a dict, or None"),
    ):
        with pytest.raises(UsageError, match=re.escape(told)):
            raster_job({"regions": bad})


def test_a_table_of_another_version_is_refused(tmp_path: Path) -> None:
    image = FakeImage("kept", Grid(70, 90))
    store = open_store(tmp_path)
    product = write_output(store, [image])
    make_regions(store, product, [[part_of(image)]])
    path = Path(store.uri) / layout.regions_key(product, RegionItem((part_of(image),)).id)
    pq.write_table(pq.read_table(path).drop_columns("labels"), path)
    with pytest.raises(LayoutError, match="not a regions table of this version"):
        Client(store).regions()
