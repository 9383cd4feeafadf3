"""Exports opened with other programs: GDAL, geopandas, DuckDB; polygons burnt back give the mask."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.features
from rio_cogeo import cog_validate

from gridscribe import export as export_module
from gridscribe import polygons
from gridscribe.errors import QueryError, UsageError
from gridscribe.export import FORMATS, export
from gridscribe.layout import mask_key
from gridscribe.polygons import pixel_ground_area
from gridscribe.store import Store, open_store
from gridscribe.values import Grid, Window

sys.path.insert(0, str(Path(__file__).parent))

from outputs import CLASSES, FakeImage, write_output

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

UTM = "EPSG:32633"
NAMES = {label.id: label.name for label in CLASSES}


def images() -> list[FakeImage]:
    parts = (Window(0, 0, 512, 512), Window(0, 512, 512, 188), Window(512, 0, 188, 512))
    return [
        FakeImage("whole", Grid(300, 260, (0.5, 0.0, 5e5, 0.0, -0.5, 5e6), UTM), nodata=Window(10, 20, 30, 40)),
        FakeImage("parts", Grid(700, 700, (0.2, 0.0, 5e5, 0.0, -0.2, 5e6), UTM), boxes=parts),
        FakeImage("rotated", Grid(90, 80, (0.4, 0.3, 5e5, 0.3, -0.4, 5e6), UTM)),
        FakeImage("pixels", Grid(70, 90)),
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    opened = open_store(tmp_path_factory.mktemp("output"))
    write_output(opened, images())
    return opened


def expected(image: FakeImage) -> np.ndarray:
    array = np.full(image.grid.shape, 255, np.uint8)
    for box in image.boxes:
        array[box.slices()] = image.arrays["mask"][box.slices()]
    return array


@pytest.mark.parametrize("image", images(), ids=lambda image: image.id)
def test_cog(store: Store, image: FakeImage, tmp_path: Path) -> None:
    done = export(store, image.id, "cog", tmp_path / "sub" / "out.tif")
    assert (done.image, done.features, done.complete) == (image.id, None, image.id != "parts")
    assert cog_validate(str(done.path), strict=True, quiet=True) == (True, [], [])
    with rasterio.open(done.path) as file:
        assert np.array_equal(file.read(1), expected(image))
        assert (file.crs is None) == (image.grid.crs is None)
        assert tuple(file.transform[:6]) == (image.grid.transform or (1, 0, 0, 0, 1, 0))
        assert file.colormap(1)[3][:3] == CLASSES[3].color
        assert file.tags(1)["CLASS_6"] == "tree"
    if image.id == "whole":
        assert done.path.read_bytes() == store.get(mask_key(done.product, "whole"))


@pytest.mark.parametrize("format_", ["gpkg", "fgb", "parquet"])
@pytest.mark.parametrize(
    ("image", "cut"),
    [*((image, 8192) for image in images()), (images()[0], 128)],
    ids=lambda v: getattr(v, "id", str(v)),
)
def test_polygons(
    store: Store, image: FakeImage, format_: str, cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polygons, "CUT", cut)
    done = export(store, image.id, format_, tmp_path / f"out{FORMATS[format_]}")
    frame = geopandas.read_parquet(done.path) if format_ == "parquet" else geopandas.read_file(done.path)
    assert len(frame) == done.features
    assert frame.crs == image.grid.crs
    assert frame.geometry.is_valid.all()
    classes = expected(image)
    affine = rasterio.Affine(*image.grid.transform) if image.grid.transform else rasterio.Affine.identity()
    burnt = rasterio.features.rasterize(
        zip(frame.geometry, frame["class_id"].astype(int), strict=True),
        classes.shape,
        fill=255,
        transform=affine,
        dtype="uint8",
    )
    assert np.array_equal(burnt, classes)
    assert frame["area_px"].sum() == (classes != 255).sum()
    assert (frame["class_name"] == frame["class_id"].astype(int).map(NAMES)).all()
    if image.grid.georeferenced:
        # the scale of UTM on its central meridian is 0.9996
        assert frame["area_m2"].to_numpy() == pytest.approx(frame.geometry.area.to_numpy() / 0.9996**2, rel=1e-4)
    else:
        assert frame["area_m2"].isna().all()
    if format_ == "parquet":
        rows = duckdb.sql(f"select class_name, sum(area_px) from '{done.path}' group by 1").fetchall()
        assert dict(rows) == {NAMES[k]: (classes == k).sum() for k in np.unique(classes).tolist() if k != 255}
    if format_ == "gpkg":
        assert pyogrio.list_layers(done.path)[:, 0].tolist() == ["classes"]


def test_connected_areas_touch_along_edges(tmp_path: Path) -> None:
    """Two pixels that share a corner are two areas; a ring is one area with a hole, wound counter-clockwise."""
    mask = np.full((6, 6), 255, np.uint8)
    mask[0, 0] = mask[1, 1] = 3
    mask[2:5, 2:5] = 6
    mask[3, 3] = 1
    grid = Grid(6, 6, (2.0, 0.0, 0.0, 0.0, -2.0, 0.0), UTM)
    [batch] = polygons.polygon_batches(grid, lambda window: mask[window.slices()], NAMES)
    table = geopandas.GeoDataFrame(
        batch.to_pandas(), geometry=geopandas.GeoSeries.from_wkb(batch["geometry"].to_pylist())
    ).sort_values(["class_id", "area_px"])
    assert table["class_id"].tolist() == [1, 3, 3, 6]
    assert table["area_px"].tolist() == [1, 1, 1, 8]
    assert [len(geometry.interiors) for geometry in table.geometry] == [0, 0, 0, 1]
    assert all(geometry.exterior.is_ccw for geometry in table.geometry)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:3857", (1.0, 0.0, 1_500_000.0, 0.0, -1.0, 8_000_000.0)),
        ("EPSG:4326", (1e-5, 0.0, 179.9999, 0.0, -1e-5, -44.0)),
        ("EPSG:32633", (0.3, 0.4, 700_000.0, 0.4, -0.3, 6_500_000.0)),
        ("EPSG:2263", (3.0, 0.0, 1_000_000.0, 0.0, -3.0, 200_000.0)),  # feet
    ],
)
def test_ground_area_is_geodesic(crs: str, transform: tuple[float, float, float, float, float, float]) -> None:
    grid = Grid(100, 100, transform, crs)
    lonlat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    for row, col in ((50.0, 50.0), (0.0, 99.0)):
        ring = [grid.xy(row + r, col + c) for r, c in ((-50, -50), (-50, 50), (50, 50), (50, -50))]
        lon, lat = lonlat.transform(*np.transpose(ring))
        area, _ = pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)
        [found] = pixel_ground_area(grid, np.array([row]), np.array([col]))
        assert found * 10_000 == pytest.approx(abs(area), rel=1e-4)


def test_what_cannot_be_exported(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="format 'shp' is unknown: allowed are cog, gpkg, fgb, parquet"):
        export(store, "whole", "shp", tmp_path / "a.shp")
    (tmp_path / "there.tif").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        export(store, "whole", "cog", tmp_path / "there.tif")
    assert (tmp_path / "there.tif").read_bytes() == b"mine"
    with pytest.raises(QueryError, match="no image 'wholly'; near ones: whole"):
        export(store, "wholly", "cog", tmp_path / "b.tif")
    with pytest.raises(UsageError, match="cannot write to"):
        export(store, "whole", "cog", tmp_path / "there.tif" / "b.tif")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "_write_vector", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(store, "whole", "fgb", tmp_path / "half.fgb")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.tif"]


def test_command(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from gridscribe.cli.export import FORMATS as CHOICES
    from gridscribe.cli.export import command

    assert tuple(FORMATS) == CHOICES
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        command, [store.uri, "--image", "rot", "--format", "fgb", "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0
    value = json.loads(done.stdout)
    assert (value["path"], value["image"], value["complete"]) == ("rotated.fgb", "rotated", True)
    assert len(geopandas.read_file(tmp_path / "rotated.fgb")) == value["features"]
    done = CliRunner().invoke(command, [store.uri, "--image", "parts", "--format", "cog", "--to", "a/b.tif"])
    assert "not committed" in done.stdout
    assert (tmp_path / "a" / "b.tif").exists()
