"""The coded height layer: codes against the slow way, and what an index says of which place is higher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import Client
from gridscribe.client.tiles import TileReader
from gridscribe.errors import QueryError
from gridscribe.height_code import CODES, UNKNOWN, HeightCoder, bounds, cell_of, cells, encode
from gridscribe.tables import as_images_table
from gridscribe.values import Window
from gridscribe.workers.run import RunRequest, run_job
from tests.tiny import tiny_package, write_pair

NODATA = -32768


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 99), step=st.integers(1, 60))
def test_codes_of_a_box(height: int, width: int, seed: int, step: int) -> None:
    """Cell by cell, pixel by pixel, however the rows come."""
    rng = np.random.default_rng(seed)
    metres = rng.integers(-300, 5000, (height, width)).astype(np.int16)
    metres[rng.random(metres.shape) < rng.choice([0.0, 0.3, 0.95])] = NODATA
    coder = HeightCoder(height, width)
    for k in range(0, height, step):
        coder.add(k, metres[k : k + step], NODATA)
    codes = np.frombuffer(coder.codes(), np.uint8)
    assert len(codes) == cells(height) * cells(width) <= 100

    held: dict[int, list[int]] = {}
    box = Window(7, 11, height, width)
    for row in range(height):
        for col in range(width):
            cell = int(cell_of(box, np.array([row + 7]), np.array([col + 11]))[0])
            held.setdefault(cell, []).append(int(metres[row, col]))
    assert sorted(held) == list(range(len(codes)))
    for cell, values in held.items():
        there = [value for value in values if value != NODATA]
        if not there:
            assert codes[cell] == UNKNOWN
            continue
        low, high = bounds(codes[cell : cell + 1])
        assert low[0] - 1e-9 <= np.mean(there) / 100 <= high[0] + 1e-9


@pytest.mark.parametrize(("height", "width"), [(641, 2000), (3000, 330), (1280, 1279)])
def test_large_boxes_are_sampled(height: int, width: int) -> None:
    """Every n-th pixel each way, so many that no cell has fewer than 32 a side; however the rows come."""
    rng = np.random.default_rng(height)
    metres = rng.integers(0, 3000, (height, width)).astype(np.int16)
    metres[rng.random(metres.shape) < 0.4] = NODATA
    found = []
    for step in (7, 512):
        coder = HeightCoder(height, width)
        for k in range(0, height, step):
            coder.add(k, metres[k : k + step], NODATA)
        found.append(coder.codes())
    assert found[0] == found[1]
    rows, cols = np.arange(0, height, max(1, height // 320)), np.arange(0, width, max(1, width // 320))
    sample = metres[np.ix_(rows, cols)]
    cell = (rows * 10 // height)[:, None] * 10 + cols * 10 // width
    for k, code in enumerate(found[0]):
        assert min((rows * 10 // height == k // 10).sum(), (cols * 10 // width == k % 10).sum()) >= 32
        there = sample[(cell == k) & (sample != NODATA)]
        low, high = bounds(np.array([code], np.uint8))
        assert low[0] - 1e-9 <= there.mean() / 100 <= high[0] + 1e-9


def test_codes_compare_as_heights_do() -> None:
    metres = np.linspace(-5, 230, 20_000)
    codes = encode(metres)
    assert (np.diff(codes.astype(int)) >= 0).all()
    assert set(codes.tolist()) == set(range(1, CODES))
    low, high = bounds(codes)
    assert (low <= metres).all()
    assert (metres <= high).all()
    inner = (metres > 1) & (metres < 30)
    assert (high - low)[inner].max() < 1.3
    assert encode(np.array([np.nan])).tolist() == [UNKNOWN]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heights")
    package = tiny_package(folder / "model", optional_bands=("height",))
    assert package is not None
    for name, origin, seed in (("a", (500_000, 5_000_000), 1), ("b", (500_400, 5_000_000), 2)):
        write_pair(folder / "tiles", name, 600, 500, seed=seed, origin=origin)
        path = folder / "tiles" / f"{name}_ndsm.tif"
        with rasterio.open(path) as file:
            profile = file.profile
        steps = np.add.outer(np.arange(600) // 60 * 3.0, np.arange(500) // 50 * 0.1).astype(np.float32)
        steps[:60] = np.nan if name == "b" else steps[:60]
        with rasterio.open(path, "w", **profile) as file:
            file.write(np.where(np.isnan(steps), profile["nodata"], steps).astype(profile["dtype"]), 1)
    run_job(
        RunRequest(
            "raster", (str(folder / "tiles"),), str(folder / "out"), executor="local",
            overrides={"model": str(folder / "model"), "alignment": None},
        )
    )  # fmt: skip
    return folder / "out"


def test_which_is_higher_without_a_raster(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_raster(*_: object) -> None:
        raise AssertionError("a raster was read")

    monkeypatch.setattr(TileReader, "fetch", no_raster)
    (image, _) = sorted(out.glob("products/*/masks/*.confidence.tif"))
    with rasterio.open(image) as file:
        crs, at = file.crs.to_string(), [file.xy(row, 20) for row in (30, 330, 590, 331)]
    far = (0.0, 0.0)
    found = Client(out).height_order([*at, far], crs).to_pylist()
    assert [row["rank"] for row in found] == [4, 2, 1, 2, None]
    for row, metres in zip(found, (0.0, 15.0, 27.0, 15.0), strict=False):
        assert row["low"] <= metres <= row["high"]
        assert row["status"] == "ok"
    assert found[4]["status"] == "outside"
    assert found[4]["low"] is found[4]["image"] is None
    with pytest.raises(QueryError, match="shape"):
        Client(out).height_order([1, 2, 3])


def test_no_height_is_said(out: Path) -> None:
    (_, image) = sorted(out.glob("products/*/masks/*.confidence.tif"))
    with rasterio.open(image) as file:
        crs, at = file.crs.to_string(), [file.xy(30, 20), file.xy(100, 20)]
    found = Client(out).height_order(at, crs).to_pylist()
    assert [row["status"] for row in found] == ["no height", "ok"]
    assert [row["rank"] for row in found] == [None, 1]
    assert found[0]["image"] == found[1]["image"]


def test_tables_without_codes_read_as_such(out: Path) -> None:
    (path,) = out.glob("products/*/images/*.parquet")
    table = pq.read_table(path)
    assert all(len(code) == 100 for code in table["height_code"].to_pylist())
    assert as_images_table(table.drop_columns("height_code"), "old")["height_code"].null_count == len(table)
