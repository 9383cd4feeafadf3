"""Footprints against the obvious: every pixel's place is inside, places beside the image are not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from gridscribe.errors import RefusedError
from gridscribe.footprint import footprint, footprint_wkb, lonlat_bbox
from gridscribe.values import Grid

DATA = Path(__file__).parents[2] / "shared" / "data"
METRE = 1 / 111_000  # degrees, about


def places(grid: Grid, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Longitudes in [-180, 180] and latitudes of fractional pixel positions, one at a time and without any of the
    code tested."""
    assert grid.transform is not None
    assert grid.crs is not None
    a, b, c, d, e, f = grid.transform
    to_lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    found = []
    for row, col in zip(rows.ravel(), cols.ravel(), strict=True):
        lon, lat = to_lonlat.transform(a * col + b * row + c, d * col + e * row + f)
        found.append(((lon + 180) % 360 - 180, lat))
    return np.array(found)


def check(grid: Grid, outside: float = 1.0) -> shapely.Geometry:
    """Pixel centres are inside, and points `outside` pixels beyond the edges are not; the geometry is sound."""
    shape = footprint(grid)
    assert shape is not None
    assert shape.is_valid
    assert -180 <= shape.bounds[0] < shape.bounds[2] <= 180
    steps = np.linspace(0, 1, 12)  # between the samples that the code takes
    rows, cols = np.meshgrid(0.5 + steps * (grid.height - 1), 0.5 + steps * (grid.width - 1))
    inside = places(grid, rows, cols)
    # exactly on the cut, a point may be rounded to the other side of the world
    near = shapely.buffer(shape, 1e-9)
    missed = inside[~shapely.contains_xy(near, inside[:, 0], inside[:, 1])]
    assert not len(missed), missed
    along = np.linspace(0.0, 1.0, 7)
    zero = np.zeros(7)
    height, width = float(grid.height), float(grid.width)
    edges = [
        (along * height, zero - outside),
        (along * height, zero + width + outside),
        (zero - outside, along * width),
        (zero + height + outside, along * width),
    ]
    for row, col in edges:
        beside = places(grid, row, col)
        assert not shapely.contains_xy(shape, beside[:, 0], beside[:, 1]).any()
    for part in shapely.get_parts(shape):
        assert part.exterior.is_ccw
    assert shapely.from_wkb(footprint_wkb(grid)).equals(shape)
    return shape


@settings(max_examples=40, deadline=None)
@given(
    zone=st.sampled_from([32601, 32631, 32660, 32733, 2154, 3857, 3035]),
    east=st.floats(-150_000, 150_000),
    north=st.floats(0, 2_000_000),
    size=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    pixel=st.sampled_from([0.05, 0.2, 1.0, 7.5]),
    angle=st.floats(0, 2 * math.pi),
    flip=st.booleans(),
)
def test_any_grid_in_a_projection(
    zone: int, east: float, north: float, size: tuple[int, int], pixel: float, angle: float, flip: bool
) -> None:
    origin = {2154: (600_000, 6_000_000), 3857: (300_000, 5_000_000), 3035: (4_000_000, 2_000_000)}
    x, y = origin.get(zone, (500_000, 3_000_000))
    cos, sin = pixel * math.cos(angle), pixel * math.sin(angle)
    sign = 1 if flip else -1
    check(Grid(*size, (cos, sign * sin, x + east, sin, -sign * cos, y + north), f"EPSG:{zone}"))


def test_a_small_tile_is_four_corners() -> None:
    shape = check(Grid(512, 512, (0.2, 0.0, 651_000.0, 0.0, -0.2, 6_861_000.0), "EPSG:2154"))
    assert shape.geom_type == "Polygon"
    assert len(shape.exterior.coords) == 5


def test_a_wide_image_follows_its_bent_edges() -> None:
    """100 km at 80 degrees north: straight lines between the corners, or between a few points, would cut off pixels."""
    grid = Grid(50_000, 50_000, (2.0, 0.0, 200_000.0, 0.0, -2.0, 9_000_000.0), "EPSG:32631")
    shape = check(grid)
    corners = Grid(1, 1, (100_000.0, 0.0, 200_000.0, 0.0, -100_000.0, 9_000_000.0), "EPSG:32631")
    straight = shapely.Polygon(places(corners, np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])))
    assert shapely.hausdorff_distance(shape, straight) > 50 * 10 * METRE


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32660", (100.0, 0.0, 800_000.0, 0.0, -100.0, 100_000.0)),
        ("EPSG:32601", (100.0, 0.0, 250_000.0, 0.0, -100.0, 6_000_000.0)),
        ("EPSG:3832", (1000.0, 0.0, 3_000_000.0, 0.0, -1000.0, -1_000_000.0)),
        ("EPSG:4326", (0.01, 0.0, 175.0, 0.0, -0.01, 10.0)),
    ],
)
def test_across_the_antimeridian_the_outline_is_cut(crs: str, transform: tuple[float, ...]) -> None:
    shape = check(Grid(1000, 1000, transform, crs))  # type: ignore[arg-type]
    assert shape.geom_type == "MultiPolygon"
    assert len(shape.geoms) == 2
    west, south, east, north = lonlat_bbox(shape)
    assert west > east, "RFC 7946: west > east says that the box crosses"
    assert (180 - west) + (east + 180) < 20
    assert south < north


def test_beyond_the_antimeridian_longitudes_come_back() -> None:
    """UTM zone 1 west of its zone: longitudes below -180."""
    shape = check(Grid(1000, 1000, (100.0, 0.0, 150_000.0, 0.0, -100.0, 6_000_000.0), "EPSG:32601"))
    assert shape.geom_type == "Polygon"
    assert 177 < shape.bounds[0] < shape.bounds[2] < 180


def test_a_box_that_ends_at_the_antimeridian_does_not_cross_it() -> None:
    shape = check(Grid(100, 100, (0.1, 0.0, 170.0, 0.0, -0.1, 10.0), "EPSG:4326"))
    assert lonlat_bbox(shape) == (170.0, 0.0, 180.0, 10.0)


@pytest.mark.parametrize("west", [-180.0, 0.0, -90.0])
def test_the_whole_earth(west: float) -> None:
    shape = footprint(Grid(180, 360, (1.0, 0.0, west, 0.0, -1.0, 90.0), "EPSG:4326"))
    assert shape is not None
    assert shape.equals(shapely.box(-180, -90, 180, 90))
    assert lonlat_bbox(shape) == (-180, -90, 180, 90)


@pytest.mark.parametrize(("crs", "pole"), [("EPSG:3413", 90.0), ("EPSG:3031", -90.0)])
def test_an_image_around_a_pole_reaches_it(crs: str, pole: float) -> None:
    grid = Grid(1000, 1000, (5000.0, 0.0, -2_500_000.0, 0.0, -5000.0, 2_500_000.0), crs)
    shape = footprint(grid)
    assert shape is not None
    assert shape.is_valid
    rng = np.random.default_rng(0)
    inside = places(grid, *(rng.uniform(0, 1000, (2, 200))))
    assert shapely.contains_xy(shape, inside[:, 0], inside[:, 1]).all()
    for lon in (-179.0, -90.0, 0.0, 77.0, 179.0):
        assert shapely.contains_xy(shape, lon, pole * (1 - 1e-6))
        assert not shapely.contains_xy(shape, lon, pole * 0.5)
    assert lonlat_bbox(shape)[0] == -180.0


def test_an_image_beside_a_pole_does_not_hold_it() -> None:
    grid = Grid(1000, 1000, (100.0, 0.0, 100_000.0, 0.0, -100.0, 50_000.0), "EPSG:3031")
    shape = check(grid, outside=2.0)
    assert not shapely.contains_xy(shape, 90.0, -89.9)


def test_wkt_without_a_code_works() -> None:
    from pyproj import CRS

    grid = Grid(100, 100, (0.2, 0.0, 651_000.0, 0.0, -0.2, 6_861_000.0), CRS("EPSG:2154").to_wkt("WKT1_GDAL"))
    assert check(grid).equals(footprint(Grid(100, 100, grid.transform, "EPSG:2154")))


def test_what_has_no_place_has_no_footprint() -> None:
    assert footprint(Grid(10, 10)) is None
    assert footprint(Grid(10, 10, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0))) is None
    assert footprint_wkb(Grid(10, 10)) is None


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (Grid(10, 10, (0.0, 0.0, 5.0, 0.0, -1.0, 5.0), "EPSG:32631"), "degenerate"),
        (Grid(10, 10, (1e7, 0.0, 5e7, 0.0, -1e7, 5e9), "EPSG:32631"), "no place on Earth"),
        (Grid(10, 10, (1.0, 0.0, 0.0, 0.0, -1.0, 95.0), "EPSG:4326"), "no place on Earth"),
        (Grid(10, 10, (1.0, 0.0, 5.0, 0.0, -1.0, 5.0), "EPSG:999999"), "not known to PROJ"),
        (Grid(10, 10, (1.0, 0.0, 5.0, 0.0, -1.0, 5.0), "nonsense"), "not known to PROJ"),
    ],
)
def test_a_wrong_place_is_refused_with_its_reason(grid: Grid, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        footprint(grid)


@pytest.mark.real
def test_real_tiles_lie_where_gdal_puts_them() -> None:
    import rasterio
    from rasterio.warp import transform_bounds

    tiles = sorted((DATA / "rasters").rglob("*rgb*.tif")) if DATA.exists() else []
    if not tiles:
        pytest.skip("no real rasters beside the checkout")
    for tile in tiles:
        with rasterio.open(tile) as raster:
            grid = Grid(raster.height, raster.width, tuple(raster.transform)[:6], raster.crs.to_wkt())
            expected = transform_bounds(raster.crs, "OGC:CRS84", *raster.bounds)
        assert np.allclose(check(grid).bounds, expected, atol=1e-7)
