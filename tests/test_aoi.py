"""Areas of interest: the box holds every asked pixel and nothing further than the grain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyproj import Transformer
from shapely.geometry import Polygon, box, mapping

from gridscribe.errors import UsageError
from gridscribe.pipelines.aoi import aoi_box, read_aoi
from gridscribe.values import Grid, Window

GRID = Grid(2000, 3000, (0.2, 0, 500_000, 0, -0.2, 5_000_000), "EPSG:32631")


def lonlat(row: float, col: float) -> tuple[float, float]:
    return Transformer.from_crs("EPSG:32631", "OGC:CRS84", always_xy=True).transform(*GRID.xy(row, col))


def test_box_around_pixels() -> None:
    area = Polygon([lonlat(600, 700), lonlat(600, 900), lonlat(1000, 900), lonlat(1000, 700)])
    assert aoi_box(GRID, area) == Window(512, 512, 512, 512)
    area = Polygon([lonlat(-50, 700), lonlat(-50, 1100), lonlat(1900, 1100), lonlat(1900, 700)])
    assert aoi_box(GRID, area) == Window(0, 512, 2000, 1024)


def test_elsewhere_is_none() -> None:
    assert aoi_box(GRID, box(100, 10, 101, 11)) is None


@pytest.mark.parametrize("wrap", ["geometry", "feature", "collection"])
def test_read(tmp_path: Path, wrap: str) -> None:
    geometry = mapping(box(3, 45, 3.1, 45.1))
    data = {"type": "Feature", "geometry": geometry, "properties": {}} if wrap != "geometry" else geometry
    data = {"type": "FeatureCollection", "features": [data]} if wrap == "collection" else data
    (tmp_path / "a.geojson").write_text(json.dumps(data))
    assert read_aoi(tmp_path / "a.geojson").equals(box(3, 45, 3.1, 45.1))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"type": "Point", "coordinates": [1, 2]}', '{"type": "Polygon"}'])
def test_bad_files_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(UsageError, match=r"a\.geojson"):
        read_aoi(tmp_path / "a.geojson")


def test_metres_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps(mapping(box(500_000, 0, 500_100, 100))))
    with pytest.raises(UsageError, match="longitudes"):
        read_aoi(tmp_path / "a.geojson")
