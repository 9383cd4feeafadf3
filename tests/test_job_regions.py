"""Regions as the second stage of a job: resumed, accounted and byte-equal however the job was cut or stopped."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

from gridscribe import Client
from gridscribe.catalog import build_catalog
from gridscribe.errors import RefusedError, StoreError
from gridscribe.gc import collect_garbage
from gridscribe.manifest import read_manifest, read_manifest_inputs
from gridscribe.pipelines.regions.image import ImageRegions
from gridscribe.pipelines.regions.stage import RegionStage
from gridscribe.status import job_statuses
from gridscribe.store import open_store
from gridscribe.workers.run import RunRequest, RunResult, run_job
from tests.tiny import MASKS_JOB, tiny_package, tree_bytes, write_pair


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_package(folder)
    return folder


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    for k in range(4):
        write_pair(folder, f"t{k}", 90 + 10 * k, 130, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    write_pair(folder, "big", 1100, 700, seed=9, origin=(600_000, 5_000_000), nodata_corner=70)
    return folder


def run(tiles: Path, out: Path, model: Path, stop: threading.Event | None = None, **options: Any) -> RunResult:
    overrides = {"model": str(model), **options.pop("overrides", {})}
    request = RunRequest(MASKS_JOB, (str(tiles),), str(out), executor="local", overrides=overrides, **options)
    return run_job(request, stop=stop)


def regions_of(out: Path) -> dict[str, bytes]:
    """Objects and commits of regions."""
    return {key: data for key, data in tree_bytes(out).items() if "/regions" in key}


def images_in(out: Path) -> list[str]:
    rows: list[str] = []
    for path in sorted(out.glob("products/*/commits/regions-*.json")):
        rows += [entry["image"] for entry in json.loads(path.read_text())["regions"]]
    return sorted(rows)


def test_objects_of_regions_do_not_depend_on_item_size_or_workers(tiles: Path, model: Path, tmp_path: Path) -> None:
    first = run(tiles, tmp_path / "whole", model)
    assert (first.regions, first.counts["done"]) == (5, 5)
    expected = regions_of(tmp_path / "whole")
    assert len(expected) == 5 + 2  # a raster for each image; one item: a table and a commit
    for size, workers in ((512, 1), (1024, 3)):
        out = tmp_path / str(size)
        assert run(tiles, out, model, overrides={"item_size": size}, workers=workers).product == first.product
        assert regions_of(out) == expected


def test_small_images_share_a_table_as_they_share_an_item(tiles: Path, model: Path, tmp_path: Path) -> None:
    done = run(tiles, tmp_path, model, overrides={"bundle_pixels": 30_000, "item_size": 512})
    tables = sorted((tmp_path / "products" / done.product / "regions").glob("*.parquet"))
    images = [pq.read_table(path)["image"].unique().to_pylist() for path in tables]
    assert sorted(map(len, images)) == [1, 2, 2]
    assert sorted(name for names in images for name in names) == images_in(tmp_path)
    for path in tables:
        commit = json.loads((tmp_path / "products" / done.product / "commits" / f"{path.stem}.json").read_text())
        assert commit["images"] == []
        assert [entry["image"] for entry in commit["regions"]] == pq.read_table(path)["image"].unique().to_pylist()
        assert commit["statistics"]["regions"] == pq.read_metadata(path).num_rows


def test_regions_come_later_to_a_job_without_them(tiles: Path, model: Path, tmp_path: Path) -> None:
    """The same product: masks stay as they are, and nothing of them is computed again."""
    without = run(tiles, tmp_path / "a", model, overrides={"regions": None})
    assert (without.regions, without.counts["done"]) == (0, 5)
    assert regions_of(tmp_path / "a") == {}
    assert run(tiles, tmp_path / "a", model, overrides={"regions": None}).nothing_to_do
    before = tree_bytes(tmp_path / "a")
    later = run(tiles, tmp_path / "a", model)
    assert later.product == without.product
    assert (later.computed, later.windows, later.regions) == (0, 0, 5)
    after = tree_bytes(tmp_path / "a")
    assert {key: after[key] for key in before} == before
    run(tiles, tmp_path / "b", model)
    assert tree_bytes(tmp_path / "b") == after
    assert run(tiles, tmp_path / "a", model).nothing_to_do
    assert all((status.done, status.left) == (5, 0) for status in job_statuses(open_store(tmp_path / "a")))

    other = run(tiles, tmp_path / "a", model, overrides={"regions.min_pixels": 40})
    assert other.product != later.product
    assert other.regions == 5


def test_a_job_that_broke_between_masks_and_regions_goes_on_with_regions(
    tiles: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = {"bundle_pixels": 30_000, "item_size": 512}
    run(tiles, tmp_path / "plain", model, overrides=overrides)
    commit = RegionStage._commit
    calls = []

    def breaks(self: RegionStage, *args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise StoreError("the disk is full")
        commit(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RegionStage, "_commit", breaks)
        with pytest.raises(StoreError, match="disk is full"):
            run(tiles, tmp_path / "out", model, overrides=overrides)
    store = open_store(tmp_path / "out")
    (status,) = job_statuses(store)
    assert status.state == "open"
    assert 0 < status.left <= 4
    assert status.pixels_done == status.pixels
    assert read_manifest(store, status.job) is None
    again = run(tiles, tmp_path / "out", model, overrides=overrides)
    assert (again.computed, again.windows, again.regions) == (0, 0, status.left)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "plain")
    assert run(tiles, tmp_path / "out", model, overrides=overrides).nothing_to_do
    removed = collect_garbage(store)
    assert removed.removed == ()
    assert removed.foreign == ()


def test_one_added_tile_makes_the_regions_of_one_tile(model: Path, tmp_path: Path) -> None:
    for k in range(3):
        write_pair(tmp_path / "in", f"b{k}", 80, 80, seed=k)
    run(tmp_path / "in", tmp_path / "out", model)
    before = tree_bytes(tmp_path / "out")
    write_pair(tmp_path / "in", "a-new-one-that-sorts-first", 80, 80, seed=7)
    second = run(tmp_path / "in", tmp_path / "out", model)
    assert (second.computed, second.regions, second.counts["done"]) == (1, 1, 4)
    after = tree_bytes(tmp_path / "out")
    assert {key: after[key] for key in before} == before
    assert len(images_in(tmp_path / "out")) == 4


def test_an_image_without_masks_has_no_regions_and_its_neighbours_have(model: Path, tmp_path: Path) -> None:
    for k in range(3):
        write_pair(tmp_path / "in", f"b{k}", 600, 600, seed=k)
    path = tmp_path / "in" / "b1_rgb.tif"
    with rasterio.open(path) as file:
        profile, pixels = file.profile | {"compress": "deflate"}, file.read()
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    data = bytearray(path.read_bytes())
    data[-2000:-1000] = bytes(1000)
    path.write_bytes(data)
    done = run(tmp_path / "in", tmp_path / "out", model)
    assert (done.counts["done"], done.counts["failed"], done.regions) == (2, 1, 2)
    assert [name[:2] for name in images_in(tmp_path / "out")] == ["b0", "b2"]
    assert run(tmp_path / "in", tmp_path / "out", model).nothing_to_do


def test_an_image_whose_regions_fail_is_failed_and_can_be_tried_again(
    tiles: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ImageRegions.write

    def refuses(self: ImageRegions, *args: Any) -> Any:
        if self._part.image.image_id.startswith("t1-"):
            raise RefusedError("its grid is no grid")
        yield from write(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ImageRegions, "write", refuses)
        first = run(tiles, tmp_path, model)
        assert (first.counts["done"], first.counts["failed"], first.regions) == (4, 1, 4)
        assert first.failures[0]["reason"] == "its grid is no grid"
        assert run(tiles, tmp_path, model).nothing_to_do
    store = open_store(tmp_path)
    (status,) = job_statuses(store)
    assert (status.done, status.failed, status.left) == (4, 1, 0)
    again = run(tiles, tmp_path, model, retry_failed=True)
    assert (again.counts["done"], again.counts["failed"], again.computed, again.regions) == (5, 0, 0, 1)
    manifest = read_manifest(store, again.job)
    assert manifest is not None
    assert set(read_manifest_inputs(store, manifest)["state"].to_pylist()) == {"done"}


def test_an_area_of_interest_has_the_regions_of_its_box(tiles: Path, model: Path, tmp_path: Path) -> None:
    area = {"type": "Polygon", "coordinates": [[list(place) for place in corners_of_big()]]}
    (tmp_path / "aoi.json").write_text(json.dumps(area))
    part = run(tiles, tmp_path / "out", model, aoi=tmp_path / "aoi.json", overrides={"item_size": 512})
    assert (part.counts["done"], part.regions) == (1, 1)
    (raster,) = (tmp_path / "out" / "products" / part.product / "regions").glob("*/*.regions.tif")
    with rasterio.open(raster) as file:
        assert file.shape != (1100, 700)
        box_values = file.read(1)
    whole = run(tiles, tmp_path / "out", model, overrides={"item_size": 512})
    assert (whole.product, whole.counts["done"], whole.regions) == (part.product, 5, 5)
    client = Client(tmp_path / "out")
    table = client.regions()
    names = table["region_id"].to_pylist()
    assert len(names) == len(set(names))
    assert box_values.any()
    (path,) = (tmp_path / "out" / "products" / whole.product / "regions").glob("big-*.regions.tif")
    with rasterio.open(path) as file:
        values = file.read(1)
    image = path.name.removesuffix(".regions.tif")
    for row, col in np.random.default_rng(0).integers(0, 700, (20, 2)).tolist():
        value = int(values[row, col])
        assert client.at_pixel(image, row, col).region == (f"{image}-{value - 1}" if value else None)
    assert set(names) >= {f"{image}-{value - 1}" for value in np.unique(values[values > 0]).tolist()}


def corners_of_big() -> list[tuple[float, float]]:
    """A box of 40 m about the middle of `big`, closed."""
    import pyproj

    to_lonlat = pyproj.Transformer.from_crs("EPSG:32631", "OGC:CRS84", always_xy=True)
    x, y = 600_000 + 70, 5_000_000 - 150
    corners = [(x - 20, y - 20), (x + 20, y - 20), (x + 20, y + 20), (x - 20, y + 20), (x - 20, y - 20)]
    return [to_lonlat.transform(*corner) for corner in corners]


def test_the_catalogue_passes_over_commits_of_regions(tiles: Path, model: Path, tmp_path: Path) -> None:
    run(tiles, tmp_path, model)
    rebuilt = build_catalog(open_store(tmp_path))
    assert (rebuilt.images, rebuilt.items, rebuilt.written) == (5, 5, 0)
    table = pq.read_table(tmp_path / "catalog" / "images.parquet")
    assert not pa.compute.any(pa.compute.starts_with(table["item"], "regions-")).as_py()
