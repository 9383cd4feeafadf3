"""Answers in a notebook: frames, pictures, HTML, and the tutorial."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import geopandas
import matplotlib as mpl
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import xarray
from affine import Affine
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image
from pyproj import CRS

from gridscribe import Client
from gridscribe.cli import cli
from gridscribe.client import (
    Heatmap,
    Label,
    Mask,
    Match,
    Matches,
    Page,
    PageMatch,
    PageMatches,
    PageToken,
    Pixel,
    Region,
    TextMask,
    geodataframe,
)  # fmt: skip
from gridscribe.client.colors import CLASSES as COLORS
from gridscribe.client.colors import FOUND
from gridscribe.client.found import PointOnImage
from gridscribe.client.match_tables import matches_schema
from gridscribe.errors import QueryError, StoreError
from gridscribe.store import Store, open_store
from gridscribe.values import Grid, Window
from tests.embedded import aligned, stored_rows, write_regions
from tests.outputs import FakeImage
from tests.tiny_clip import tiny_alignment

mpl.use("Agg")

UTM = "EPSG:32633"
TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
HOSTILE = "<script>alert('x')</script>&\"<b>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """One image on Earth, one across the antimeridian, one in pixels alone, all with regions."""
    folder = tmp_path_factory.mktemp("notebook")
    package = tiny_alignment(folder / "words")
    store = open_store(folder / "out")
    images = [
        FakeImage("one", Grid(120, 100, (0.5, 0.0, 5e5, 0.0, -0.5, 5e6), UTM), datetime(2021, 5, 1, tzinfo=UTC)),
        FakeImage("edge", Grid(60, 80, (1e-5, 0.0, 179.9996, 0.0, -1e-5, 10.0), "EPSG:4326")),
        FakeImage("pixels", Grid(80, 90)),
    ]
    return store, write_regions(store, images, aligned(package.uri, package.digest))


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def mask_of(array: np.ndarray, transform: Any = (2.0, 0.0, 100.0, 0.0, -3.0, 900.0), **changes: Any) -> Mask:
    told: dict[str, Any] = {
        "crs": UTM, "coverage": "full", "images": ("one",), "classes": {0: "other", 3: "low vegetation"},
        "product": "p" * 16, "model": "scenes@0123456789ab",
    }  # fmt: skip
    return Mask(array=np.asarray(array, np.uint8), transform=transform, **(told | changes))


def heat_of(array: Any, **changes: Any) -> Heatmap:
    array = np.asarray(array, np.float32)
    told: dict[str, Any] = {
        "transform": (8.0, 0.0, 100.0, 0.0, -8.0, 900.0), "crs": UTM, "query": "text", "image": "one", "product": "p",
        "alignment": "a@0", "pixel_transform": (16.0, 0.0, 32.0, 0.0, 16.0, 48.0), "box": Window(3, 2, *array.shape),
        "grid_h": 9, "grid_w": 9, "bias": 0.3, "coverage": "partial",
    }  # fmt: skip
    return Heatmap(array=array, **(told | changes))


def text_of(array: Any, **changes: Any) -> TextMask:
    array = np.asarray(array, np.bool_)
    told: dict[str, Any] = {
        "transform": None, "crs": None, "query": "concept", "image": "one", "product": "p", "alignment": "a@0",
        "window": Window(40, 7, *array.shape), "method": "heatmap", "threshold": 0.25,
    }  # fmt: skip
    return TextMask(array=array, **(told | changes))


def page_of(name: str = "invoice") -> Page:
    never: Any = lambda *_: pytest.fail("storage was read")  # noqa: E731
    return Page(
        document=name, page=0, source=name, width=595.0, height=842.0, dpi=72.0, grid_h=60, grid_w=42, kept=7, flags=(name,),
        text_mask=None, product="p", model="pages@0", _at=never, _match=never, _thumbnail=never, _latents=never,
    )  # fmt: skip


def page_match(name: str = "invoice", score: float = 0.5) -> PageMatch:
    box = (100.0, 200.0, 180.0, 220.0)
    return PageMatch(score=score, document=name, page=0, source=name, box=box, box_px=box, product="p", model="m@0")


def region_of(kind: Any = Match, geometry: Any = None, name: str = "house", **more: Any) -> Any:
    extra = (
        {"embedding": np.linspace(0, 1, 77, dtype=np.float32)} if kind is Region else {"score": 0.5, "query": "text"}
    )
    told: dict[str, Any] = {
        "region_id": f"{name}-7", "image": name, "class_id": 3, "class_name": name, "confidence": 0.75, "area_px": 12,
        "area_m2": None, "height_mean": None, "height_p95": None, "geometry": geometry,
        "geometry_px": shapely.box(4, 10, 8, 13), "labels": (Label(name, 0.5),), "product": "p", "model": "m@0",
        "alignment": None, "source": name, "datetime": None,
    }  # fmt: skip
    return kind(**(told | extra | more))


# xarray


def test_a_mask_lies_on_the_centres_of_its_pixels(made: tuple[Store, str]) -> None:
    client = Client(made[0])
    mask = client.mask((5e5 + 3, 5e6 - 40, 5e5 + 31, 5e6 - 7), crs=UTM)
    laid = mask.to_xarray()
    assert np.array_equal(laid.values, mask.array)
    assert laid.dtype == np.uint8
    for row, col in ((0, 0), (5, 9), (laid.sizes["y"] - 1, laid.sizes["x"] - 1)):
        x, y = Affine(*mask.transform) @ (col + 0.5, row + 0.5)
        assert (float(laid.x[col]), float(laid.y[row])) == (x, y)
        assert int(laid.sel(x=x + 0.1, y=y - 0.1, method="nearest")) == client.at(x, y, crs=UTM).class_id
    assert laid.attrs["crs"] == mask.crs == UTM
    assert laid.attrs["_FillValue"] == 255
    assert {int(key): name for key, name in json.loads(laid.attrs["classes"]).items()} == mask.classes
    assert dict(zip(laid.flag_values.tolist(), laid.flag_meanings.split(), strict=True))[2] == "low_vegetation"
    assert CRS.from_cf(laid.spatial_ref.attrs) == CRS(UTM)
    assert tuple(map(float, laid.spatial_ref.GeoTransform.split())) == Affine(*mask.transform).to_gdal()
    assert (laid.x.attrs["standard_name"], laid.y.attrs["standard_name"]) == (
        "projection_x_coordinate",
        "projection_y_coordinate",
    )
    there = replace(mask, crs="EPSG:4326").to_xarray()
    assert (there.x.attrs["standard_name"], there.y.attrs["standard_name"]) == ("longitude", "latitude")


def test_a_turned_grid_has_a_place_for_each_pixel() -> None:
    turned = Affine.translation(500, 900) @ Affine.rotation(30) @ Affine.scale(2, -3)
    mask = mask_of(np.arange(12).reshape(3, 4), tuple(turned)[:6])
    laid = mask.to_xarray()
    assert laid.dims == ("row", "col")
    for row, col in np.ndindex(3, 4):
        wanted = turned @ (col + 0.5, row + 0.5)
        assert (float(laid.x[row, col]), float(laid.y[row, col])) == pytest.approx(wanted)


def test_a_heat_map_and_a_phrases_pixels_as_arrays() -> None:
    heat = heat_of([[0.1, np.nan], [0.3, -0.2]])
    laid = heat.to_xarray()
    assert np.array_equal(laid.values, heat.array, equal_nan=True)
    assert (laid.x.values.tolist(), laid.y.values.tolist()) == ([104, 112], [896, 888])
    assert (laid.attrs["crs"], laid.bias, laid.coverage) == (UTM, 0.3, "partial")
    plain = heat_of(heat.array, transform=None, crs=None).to_xarray()  # in pixels of the image
    assert (plain.x.values.tolist(), plain.y.values.tolist()) == ([40, 56], [56, 72])
    assert "crs" not in plain.attrs
    assert "spatial_ref" not in plain.coords
    found = text_of([[True, False, True]]).to_xarray()
    assert found.dtype == np.bool_
    assert (found.x.values.tolist(), found.y.values.tolist()) == ([7.5, 8.5, 9.5], [40.5])
    assert found.threshold == 0.25


@pytest.mark.parametrize("answer", [mask_of([[0, 3], [9, 3]]), heat_of([[0.5, np.nan]]), text_of([[True]])])
def test_arrays_can_be_written_as_netcdf(answer: Any) -> None:
    laid = answer.to_xarray()
    if laid.dtype == np.uint8:  # of which netCDF 3, that needs no further package, has none
        del laid.attrs["_FillValue"]
        laid = laid.astype(np.int16).assign_attrs(flag_values=laid.flag_values.astype(np.int16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = laid.to_netcdf(engine="scipy")
    back = xarray.open_dataarray(io.BytesIO(bytes(data)), engine="scipy", mask_and_scale=False, decode_coords="all")
    assert np.array_equal(back.values, laid.values, equal_nan=laid.dtype.kind == "f")
    assert np.array_equal(back.x, laid.x)


# GeoDataFrames and tables


def test_a_regions_table_as_a_frame(made: tuple[Store, str]) -> None:
    table = Client(made[0]).regions()
    frame = geodataframe(table)
    rows = {row["region_id"]: row for row in stored_rows(*made)}
    assert frame.crs == CRS("EPSG:4326")
    assert frame.region_id.tolist() == table["region_id"].to_pylist()
    assert set(frame.columns) == set(table.column_names) - {"bbox"}
    assert set(frame.image) == {"one", "edge", "pixels"}
    for name, shape, pixels in zip(frame.region_id, frame.geometry, frame.geometry_px, strict=True):
        wkb = rows[name]["geometry"]
        assert (shape is None) == (wkb is None) == name.startswith("pixels")
        assert shape is None or shape.equals(shapely.from_wkb(wkb))
        assert pixels.equals(shapely.from_wkb(rows[name]["geometry_px"]))
    one = frame[frame.image == "one"].to_crs(UTM)
    assert one.area.sum() == pytest.approx(one.area_m2.sum(), rel=2e-3)
    assert geodataframe(table.slice(0, 0)).empty


def test_points_as_a_frame(made: tuple[Store, str]) -> None:
    client = Client(made[0])
    lon, lat = geodataframe(client.regions()).geometry[0].representative_point().coords[0]
    table = client.at_many([(lon, lat), (0.0, 0.0)], fields=("class_name", "lon", "lat"))
    frame = geodataframe(table)
    assert frame.geometry[0].equals(shapely.Point(table["lon"][0].as_py(), table["lat"][0].as_py()))
    assert frame.geometry[1] is None
    assert frame.class_name[0] == client.at(lon, lat).class_name
    with pytest.raises(QueryError, match=r"no places: .*\"lon\", \"lat\""):
        geodataframe(client.at_many([(lon, lat)]))


def test_matches_as_tables(made: tuple[Store, str], tmp_path: Path) -> None:
    client = Client(made[0])
    wanted = list(client.match("pool", top_k=999))
    matches = client.match("pool", top_k=999)
    table = matches.to_arrow()
    assert table.schema.equals(matches_schema(), check_metadata=True)
    rows = {row["region_id"]: row for row in stored_rows(*made)}
    shared = (
        "image",
        "class_id",
        "class_name",
        "confidence",
        "area_px",
        "area_m2",
        "height_mean",
        "height_p95",
        "bbox",
    )
    shared += ("geometry_px", "geometry", "labels")
    assert len(table) == len(wanted) > 20
    for row, match in zip(table.to_pylist(), wanted, strict=True):
        assert {name: row[name] for name in shared} == {name: rows[match.region_id][name] for name in shared}
        rest = {name: getattr(match, name) for name in table.column_names if name not in shared}
        assert {name: row[name] for name in rest} == rest
    frame = matches.to_geodataframe()
    assert frame.crs == CRS("EPSG:4326")
    assert frame.score.tolist() == [match.score for match in wanted]
    assert [shape is None for shape in frame.geometry] == [match.geometry is None for match in wanted]
    pq.write_table(table, tmp_path / "m.parquet")
    assert geopandas.read_parquet(tmp_path / "m.parquet").geometry.isna().sum() == frame.geometry.isna().sum() > 0
    file = tmp_path / "m.geojson"
    asked = ["match", made[0].uri, "pool", "--top-k", "999", "--geojson", str(file)]
    CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert json.loads(file.read_text()) == json.loads(json.dumps(matches.to_geojson()))


def test_page_matches_as_a_table() -> None:
    found = [page_match("a", 0.5), page_match("b", 0.25)]
    table = PageMatches(iter(found), "x").to_arrow()
    assert table.column_names == [entry.name for entry in fields(PageMatch)]
    assert table["score"].to_pylist() == [0.5, 0.25]
    assert table["box"][1].as_py() == {"x0": 100.0, "y0": 200.0, "x1": 180.0, "y1": 220.0}
    assert PageMatches(iter(()), "x").to_arrow().schema == table.schema


# what a search finds


def test_matches_are_read_when_they_are_asked_for() -> None:
    read: list[int] = []

    def source() -> Iterator[Match]:
        for k in range(5):
            read.append(k)
            yield region_of(region_id=f"r-{k}")

    matches = Matches(source(), "pool")
    assert matches._repr_html_()
    assert repr(matches) == "<Matches pool: 0 read>"
    assert iter(matches) is matches
    assert next(matches).region_id == "r-0"
    assert next(matches).region_id == "r-1"
    assert read == [0, 1]
    assert "goes on" in matches._repr_html_()
    assert read == [0, 1]
    assert matches.to_arrow()["region_id"].to_pylist() == [f"r-{k}" for k in range(5)]
    assert matches.load() is matches
    assert [match.region_id for match in matches] == ["r-2", "r-3", "r-4"]  # where it was
    assert next(matches, None) is None
    assert len(matches.to_geojson()["features"]) == 5
    assert repr(matches) == "<Matches pool: 5 read, all>"
    assert "goes on" not in matches._repr_html_()
    assert "nothing was found" in Matches(iter(()), "pool").load()._repr_html_()


def test_a_search_that_failed_is_not_taken_for_a_whole_one() -> None:
    def source() -> Iterator[Match]:
        yield region_of()
        raise StoreError("gone")

    matches = Matches(source(), "pool")
    next(matches)
    for ask in (lambda: next(matches), matches.load, matches.to_arrow, matches.to_geojson, matches.plot):
        with pytest.raises(StoreError, match="gone"):
            ask()
    assert "goes on" in matches._repr_html_()


def test_the_client_answers_with_them(made: tuple[Store, str]) -> None:
    client = Client(made[0])
    assert isinstance(client.match("pool"), Matches)
    first = next(client.match("pool"))
    alike = client.similar(region=first.region_id, top_k=3)
    assert isinstance(alike, Matches)
    assert first.region_id in repr(alike)
    with pytest.raises(QueryError):
        client.match("pool", top_k=0)  # by the call


# HTML


class Tags(HTMLParser):
    """Which elements there are; raises where one is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.said = ""
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def answers(name: str) -> list[Any]:
    """One of each, with `name` wherever a text may stand."""
    pixel = Pixel(
        status="ok", coverage="full", class_id=3, class_name=name, confidence=0.5, height=1.5, region=name, model=name,
        labels=(Label(name, 0.5),), embedding=np.linspace(0, 1, 77, dtype=np.float32), product=name, image=name, source=name,
        row=3, col=4, x=5.0, y=6.0, crs=name, lon=7.0, lat=8.0, gsd=0.2, datetime=datetime(2021, 5, 1, tzinfo=UTC),
        flags=(name,), item=name, embedding_of="region",
    )  # fmt: skip
    token = PageToken(
        state="kept", index=3, row=0, col=3, box=(0.0, 1.0, 2.0, 3.0), embedding=np.zeros(77, np.float32), product=name,
        model=name,
    )  # fmt: skip
    words = {"image": name, "product": name, "alignment": name, "crs": name}
    return [
        pixel,
        Pixel(status="outside", coverage="none", reason=name, product=name, model=name),
        mask_of([[3]], classes={3: name}, images=(name,), product=name, model=name, crs=name),
        heat_of([[0.5]], **words),
        text_of([[True]], **words),
        region_of(name=name),
        region_of(Region, name=name, geometry=shapely.box(1, 2, 3, 4), datetime=datetime(2021, 5, 1, tzinfo=UTC)),
        page_of(name),
        token,
        page_match(name),
        Matches(iter([region_of(name=name)]), name).load(),
        PageMatches(iter([page_match(name)]), name).load(),
    ]


@pytest.mark.parametrize("number", range(len(answers("x"))))
def test_html_is_escaped_and_whole(number: int) -> None:
    plain, hostile = (answers(name)[number]._repr_html_() for name in ("x", HOSTILE))
    assert Tags(hostile).seen == Tags(plain).seen
    assert HOSTILE in Tags(hostile).said
    assert "script" not in Tags(hostile).seen


def test_html_tells_the_facts(made: tuple[Store, str]) -> None:
    client = Client(made[0])
    match = next(match for match in client.match("pool") if match.geometry is not None)
    assert match.geometry is not None
    place = match.geometry.representative_point()
    pixel = client.at(place.x, place.y, embedding=True)
    said = Tags(pixel._repr_html_()).said
    for value in (pixel.class_name, pixel.image, pixel.region, pixel.model, f"{pixel.confidence:.3f}", "float32 [24]"):
        assert str(value) in said
    assert pixel.embedding is not None
    assert f"{pixel.embedding[0]:.4f}" not in pixel._repr_html_()
    region = Tags(client.region(match.region_id)._repr_html_())
    assert match.region_id in region.said
    assert "float32 [24]" in region.said
    assert "path" in region.seen
    assert "embedding" not in Tags(match._repr_html_()).said
    found = client.match("pool", top_k=3).load()
    assert all(f"{one.score:.4f}" in found._repr_html_() for one in found)


def picture_of(html: str) -> np.ndarray:
    (data,) = re.findall(r"base64,([A-Za-z0-9+/=]+)", html)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def test_the_picture_of_a_mask_has_its_colours() -> None:
    html = mask_of([[3, 3, 0], [255, 3, 3]])._repr_html_()
    shown = picture_of(html)
    assert shown.shape == (2, 3, 4)
    assert shown[0].tolist() == [[*COLORS[3], 255], [*COLORS[3], 255], [*COLORS[0], 255]]
    assert shown[1, 0, 3] == 0
    said = Tags(html).said
    for part in ("low vegetation", "66.7%", "16.7%", "no class"):
        assert part in said
    large = picture_of(mask_of(np.full((3000, 1500), 3))._repr_html_())
    assert max(large.shape) <= 320
    assert (large == [*COLORS[3], 255]).all()


SHAPES = st.tuples(st.integers(0, 5), st.integers(0, 5)) | st.sampled_from([(1, 2000), (700, 1)])


@settings(max_examples=60, deadline=None)
@given(
    mask=SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)),
    heat=SHAPES.flatmap(lambda shape: arrays(np.float32, shape)),
    found=SHAPES.flatmap(lambda shape: arrays(np.bool_, shape)),
)
def test_html_never_raises(mask: np.ndarray, heat: np.ndarray, found: np.ndarray) -> None:
    for answer in (mask_of(mask), heat_of(heat), text_of(found, threshold=float("inf"))):
        Tags(answer._repr_html_())


# pictures


def color_at(ax: Axes, x: float, y: float) -> tuple[int, ...]:
    """The colour drawn at a place of the axes."""
    canvas: Any = ax.figure.canvas
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    across, up = ax.transData.transform((x, y))
    return tuple(pixels[pixels.shape[0] - 1 - round(up), round(across)].tolist()[:3])


@pytest.mark.parametrize("turn", [0, 40])
def test_a_mask_is_drawn_where_it_lies(turn: float) -> None:
    array = np.zeros((6, 9), np.uint8)
    array[1, 7], array[4, 0] = 3, 255
    transform = Affine.translation(500, 900) @ Affine.rotation(turn) @ Affine.scale(2, -3)
    ax = mask_of(array, tuple(transform)[:6]).plot()
    assert isinstance(ax, Axes)
    for (row, col), color in {(1, 7): COLORS[3], (4, 0): (255, 255, 255), (1, 6): COLORS[0], (5, 8): COLORS[0]}.items():
        assert color_at(ax, *(transform @ (col + 0.5, row + 0.5))) == color
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["other", "low vegetation"]
    assert not ax.yaxis_inverted()


def test_a_large_mask_is_drawn_where_it_lies() -> None:
    array = np.zeros((3001, 2500), np.uint8)
    array[2000:2200, 400:700] = 3
    ax = mask_of(array, (1.0, 0.0, 0.0, 0.0, -1.0, 3001.0)).plot()
    assert color_at(ax, 550, 901) == COLORS[3]
    assert color_at(ax, 550, 1030) == color_at(ax, 390, 901) == color_at(ax, 2400, 100) == COLORS[0]


def test_pictures_of_phrases() -> None:
    ax = heat_of([[0.0, np.nan], [0.0, 1.0]], transform=None, crs=None).plot()
    assert ax.yaxis_inverted()  # rows go down
    low, high = (tuple(int(255 * c) for c in mpl.colormaps["viridis"](value)[:3]) for value in (0.0, 1.0))
    assert color_at(ax, 40, 56) == pytest.approx(low, abs=1)
    assert color_at(ax, 56, 72) == pytest.approx(high, abs=1)
    assert color_at(ax, 56, 56) == (255, 255, 255)
    point = PointOnImage(row=40.5, col=9.5, positive=True, level=1.0, region=None)
    ax = text_of([[True, False, False, False]], points=(point,)).plot()
    assert color_at(ax, 7.5, 40.5) == FOUND
    assert color_at(ax, 8.5, 40.4) == (255, 255, 255)
    assert ax.lines[0].get_xydata().tolist() == [[9.5, 40.5]]  # type: ignore[union-attr]


def test_outlines_are_drawn_where_they_lie() -> None:
    holed = shapely.box(10, 50, 11, 51).difference(shapely.box(10.4, 50.4, 10.6, 50.6))
    ax = region_of(geometry=holed).plot()
    assert color_at(ax, 10.5, 50.5) == (255, 255, 255)
    assert color_at(ax, 10.2, 50.2) != (255, 255, 255)
    assert ax.get_xlabel() == "longitude"
    ax = region_of().plot()
    assert ax.yaxis_inverted()
    assert color_at(ax, 6, 12) != (255, 255, 255)


def test_matches_are_drawn(made: tuple[Store, str]) -> None:
    client = Client(made[0])
    _, given_ax = plt.subplots()
    mixed = client.match("pool", top_k=999)
    assert mixed.plot(ax=given_ax) is given_ax
    missing = sum(match.geometry is None for match in mixed)
    assert missing
    assert f"{missing} without a place" in given_ax.get_title()
    ax = client.match("pool", image="pixels", top_k=5).plot()
    assert (ax.get_xlabel(), ax.get_title()) == ("column", "5 matches")
    assert Matches(iter(()), "x").plot().get_title() == "0 matches"
    two = [region_of(name="a"), region_of(name="b")]
    with pytest.raises(QueryError, match=r"2 images without a place on Earth \(a, b\)"):
        Matches(iter(two), "x").plot()


def test_a_page_is_drawn_with_its_matches() -> None:
    ax = page_of().plot(matches=[page_match()])
    boxes = [patch.get_bbox().extents.tolist() for patch in ax.patches]  # type: ignore[attr-defined]
    assert boxes == [[0, 0, 595, 842], [100, 200, 180, 220]]
    assert ax.get_ylim() == (842, 0)
    with pytest.raises(QueryError, match="page 0 of other, this is page 0 of invoice"):
        page_of().plot(matches=[page_match("other")])


@pytest.mark.parametrize("answer", [mask_of(np.empty((0, 3))), heat_of([[np.nan]]), text_of(np.empty((2, 0)))])
def test_nothing_can_be_drawn_too(answer: Any) -> None:
    answer.plot().figure.canvas.draw()


# what is loaded, and what is missing


def test_nothing_is_loaded_before_it_is_needed() -> None:
    heavy = ("matplotlib", "geopandas", "pandas", "xarray", "PIL", "torch", "ray")
    code = f"import gridscribe.client, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("package", "ask"),
    [
        ("xarray", lambda: mask_of([[0]]).to_xarray()),
        ("xarray", lambda: heat_of([[0]]).to_xarray()),
        ("xarray", lambda: text_of([[0]]).to_xarray()),
        ("geopandas", lambda: Matches(iter([region_of()]), "x").to_geodataframe()),
        ("geopandas", lambda: geodataframe(Matches(iter([region_of()]), "x").to_arrow())),
    ],
)
def test_a_missing_package_is_named(package: str, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(QueryError, match=f"`pip install {package}`"):
        ask()


# the tutorial


def outputs_of(cell: dict[str, Any]) -> dict[str, str]:
    """By media type, what a cell of the tutorial left when it was run."""
    found = {}
    for output in cell["outputs"]:
        for kind, value in output.get("data", {}).items():
            found[kind] = "".join(value)
    return found


def test_the_tutorial_as_it_lies() -> None:
    """It was run from top to bottom without an error, is small, and names no machine."""
    text = TUTORIAL.read_text()
    assert len(text) < 300_000
    told = re.sub(r'"image/png": "[^"]*"|base64,[\w+/=]+', "", text)
    paths = re.findall(r"(?<![\w.<>/-])/(?:[\w.-]+/)+[\w.-]*", told)  # absolute ones, of whatever machine
    assert not paths
    for word in ("site-packages", ".venv", "://"):
        assert word not in told, word
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert set(kinds) <= {"execute_result", "display_data"}
    assert sum("image/png" in outputs_of(cell) for cell in code) == 3


@pytest.mark.timeout(600)
def test_every_cell_of_the_tutorial_runs(tmp_path: Path) -> None:
    """Anew, in a folder of its own, where it leaves nothing; and it still says what it said."""
    script = Path(__file__).with_name("notebook_cells.py")
    done = subprocess.run(
        [sys.executable, str(script), str(TUTORIAL)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(tmp_path.iterdir())
    told = {value["id"]: value for value in map(json.loads, done.stdout.splitlines())}
    cells = {cell["id"]: cell for cell in json.loads(TUTORIAL.read_text())["cells"] if cell["cell_type"] == "code"}
    assert list(told) == list(cells)
    for name, value in told.items():
        stored = outputs_of(cells[name])
        assert value["figures"] == int("image/png" in stored), name
        assert (value["html"] is not None) == ("text/html" in stored and "image/png" not in stored), name
    by_type = {value["type"]: value for value in told.values()}
    assert eval(by_type["dict"]["repr"]) == {"images": 2, "done": 2, "skipped": 4, "failed": 0, "left": 0}
    kept = {kind: Tags(outputs_of(cells[value["id"]]).get("text/html", "")).said for kind, value in by_type.items()}
    assert kept["Pixel"].startswith("building")
    assert Tags(by_type["Pixel"]["html"]).said.startswith("building")
    for said in (kept["Mask"], Tags(by_type["Mask"]["html"]).said):
        assert {"water", "tree", "road", "building"} <= set(re.findall(r"[a-z]+", said))
    for said in (kept["Matches"], Tags(by_type["Matches"]["html"]).said):
        assert "water" in "".join(said.split("scene-7-00001")[:2])  # the pool is one of the best two
    for said in (kept["PageMatches"], Tags(by_type["PageMatches"]["html"]).said):
        assert "page-7-00000" in said.partition("page 0")[0]  # the form, and not the map
