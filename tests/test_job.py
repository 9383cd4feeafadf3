"""Jobs from beginning to end with the in-process executor: accounting, resuming, and pixels that do not depend on the cutting."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from gridscribe.manifest import read_manifest, read_manifest_inputs
from gridscribe.status import job_statuses
from gridscribe.store import open_store
from gridscribe.workers.run import RunRequest, RunResult, dry_run_report, run_job
from tests.tiny import MASKS_JOB, tiny_package, tree_bytes, write_pair


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_package(folder)
    return folder


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    for k in range(5):
        write_pair(folder, f"t{k}", 90 + 10 * k, 130, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    write_pair(folder, "big", 1100, 700, seed=9, origin=(600_000, 5_000_000), nodata_corner=70)
    (folder / "t0_labels.tif").write_bytes((folder / "t0_rgb.tif").read_bytes())
    (folder / "notes.txt").write_text("not a raster")
    return folder


def run(tiles: Path, out: Path, model: Path, stop: threading.Event | None = None, **options: Any) -> RunResult:
    overrides = {"model": str(model), **options.pop("overrides", {})}
    request = RunRequest(MASKS_JOB, (str(tiles),), str(out), executor="local", overrides=overrides, **options)
    return run_job(request, stop=stop)


def masks(out: Path, product: str) -> dict[str, np.ndarray]:
    """Mask and confidence of every image, joined by its VRT where it has several parts."""
    found = {}
    for kind in ("", ".confidence", ".height"):
        for path in sorted((out / "products" / product / "masks").glob("*")):
            name, _, rest = path.name.partition(".")
            if rest in (f"{kind[1:]}.tif".lstrip("."), f"{kind[1:]}.vrt".lstrip(".")):
                with rasterio.open(path) as file:
                    found[name + kind] = file.read(1)
    return found


def test_run_accounts_for_every_input_and_a_second_run_writes_nothing(tiles: Path, model: Path, tmp_path: Path) -> None:
    first = run(tiles, tmp_path, model)
    assert (first.counts["done"], first.counts["failed"], first.counts["skipped"]) == (6, 0, 2)
    assert not first.stopped
    before = tree_bytes(tmp_path, ".")
    second = run(tiles, tmp_path, model)
    assert second.nothing_to_do
    assert second.computed == 0
    assert tree_bytes(tmp_path, ".") == before
    store = open_store(tmp_path)
    manifest = read_manifest(store, first.job)
    assert manifest is not None
    rows = read_manifest_inputs(store, manifest).to_pylist()
    assert sorted(Path(row["source"]).name for row in rows if row["state"] == "skipped") == [
        "notes.txt",
        "t0_labels.tif",
    ]
    assert all(row["reason"] for row in rows if row["state"] == "skipped")
    assert len({row["source"] for row in rows}) == len(rows) == 8


def test_the_account_does_not_depend_on_when_items_were_committed(tiles: Path, model: Path, tmp_path: Path) -> None:
    """An image of several items, one of them committed by a later run than the others."""
    cut = {"overrides": {"item_size": 512}}
    first = run(tiles, tmp_path, model, **cut)
    shared = [path for path in tmp_path.glob("products/*/commits/*.json") if '"big-' in path.read_text()]
    assert len(shared) > 2
    before = tree_bytes(tmp_path, ".")
    min(shared).unlink()
    second = run(tiles, tmp_path, model, **cut)
    assert (second.computed, second.counts) == (1, first.counts)
    assert tree_bytes(tmp_path, ".") == before
    assert run(tiles, tmp_path, model, **cut).nothing_to_do


def test_pixels_do_not_depend_on_item_size(tiles: Path, model: Path, tmp_path: Path) -> None:
    whole = run(tiles, tmp_path / "whole", model)
    expected = masks(tmp_path / "whole", whole.product)
    assert len(expected) == 18
    assert len(set(np.unique(expected[next(n for n in expected if n.startswith("big"))]))) > 1
    for size in (512, 1024):
        cut = run(tiles, tmp_path / str(size), model, overrides={"item_size": size})
        assert cut.product == whole.product
        found = masks(tmp_path / str(size), cut.product)
        assert found.keys() == expected.keys()
        for name, pixels in expected.items():
            np.testing.assert_array_equal(found[name], pixels, err_msg=name)


def test_one_added_tile_computes_one_tile_and_leaves_the_rest_alone(tiles: Path, model: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    for k in range(3):
        write_pair(inputs, f"b{k}", 80, 80, seed=k)
    first = run(inputs, tmp_path / "out", model)
    before = tree_bytes(tmp_path / "out")
    write_pair(inputs, "a-new-one-that-sorts-first", 80, 80, seed=7)
    second = run(inputs, tmp_path / "out", model)
    assert (second.computed, second.counts["done"]) == (1, 4)
    after = tree_bytes(tmp_path / "out")
    assert {key: after[key] for key in before} == before
    assert first.product == second.product


def test_a_second_product_leaves_the_first_alone(tiles: Path, model: Path, tmp_path: Path) -> None:
    first = run(tiles, tmp_path, model)
    before = tree_bytes(tmp_path)
    second = run(tiles, tmp_path, model, overrides={"stride": 32})
    assert second.product != first.product
    after = tree_bytes(tmp_path)
    assert {key: after[key] for key in before} == before
    assert len(after) > len(before)


def test_a_stopped_job_goes_on_and_ends_with_the_same_bytes(tiles: Path, model: Path, tmp_path: Path) -> None:
    overrides = {"item_size": 512, "bundle_pixels": 20_000}
    run(tiles, tmp_path / "a", model, overrides=overrides)
    stop = threading.Event()
    seen = []

    class Stopping:
        def say(self, text: str) -> None: ...
        def start(self, total: int, unit: str) -> None: ...
        def finish(self) -> None: ...
        def advance(self, done: int, note: str = "") -> None:
            seen.append(done)
            if len(seen) == 3:
                stop.set()

    request = RunRequest(
        MASKS_JOB, (str(tiles),), str(tmp_path / "b"), executor="local", overrides={"model": str(model), **overrides}
    )
    first = run_job(request, Stopping(), stop)
    assert first.stopped
    assert first.counts["left"] > 0
    again = run(tiles, tmp_path / "b", model, overrides=overrides)
    assert not again.stopped
    assert 0 < again.computed < 11
    assert tree_bytes(tmp_path / "b") == tree_bytes(tmp_path / "a")


def test_dry_run_says_what_would_run_and_writes_nothing(tiles: Path, model: Path, tmp_path: Path) -> None:
    request = RunRequest(
        MASKS_JOB, (str(tiles),), str(tmp_path / "o"), executor="local", overrides={"model": str(model)}
    )
    report = dry_run_report(request)
    assert (report["images"], report["items_left"]) == (6, report["items"])
    assert report["bytes"] > 0
    assert report["hours"] > 0
    assert not (tmp_path / "o").exists()
    json.dumps(report)
    done = run(tiles, tmp_path / "o", model)
    assert report["windows_left"] >= done.windows
    assert dry_run_report(request)["items_left"] == 0


def test_a_failed_input_is_tried_again_only_when_asked_for(tiles: Path, model: Path, tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    for k in range(3):
        write_pair(inputs, f"b{k}", 600, 600, seed=k)
    data = bytearray((inputs / "b1_rgb.tif").read_bytes())
    with rasterio.open(inputs / "b1_rgb.tif") as file:
        profile = file.profile | {"compress": "deflate"}
        pixels = file.read()
    with rasterio.open(inputs / "b1_rgb.tif", "w", **profile) as file:
        file.write(pixels)
    data = bytearray((inputs / "b1_rgb.tif").read_bytes())
    data[-2000:-1000] = bytes(1000)  # inside the compressed strips: the header and the sizes stay sound
    (inputs / "b1_rgb.tif").write_bytes(data)
    first = run(inputs, tmp_path / "out", model)
    assert (first.counts["done"], first.counts["failed"]) == (2, 1)
    assert "b1_rgb.tif" in first.failures[0]["source"]
    second = run(inputs, tmp_path / "out", model)
    assert second.nothing_to_do
    assert second.counts["failed"] == 1
    third = run(inputs, tmp_path / "out", model, retry_failed=True)
    assert third.counts["failed"] == 1
    assert len(list((tmp_path / "out" / "jobs" / first.job / "failed").iterdir())) == 2


def test_status_counts_what_the_job_asked_for_and_nothing_else(tiles: Path, model: Path, tmp_path: Path) -> None:
    """Another job's boxes of the same images, and overlapping ones, are no progress of this one."""
    import re

    run(tiles, tmp_path, model, overrides={"item_size": 512})
    store = open_store(tmp_path)
    (status,) = job_statuses(store)
    assert (status.done, status.left, status.state) == (6, 0, "done")
    assert status.pixels_done == status.pixels
    gone = [
        p for p in tmp_path.glob("products/*/commits/*.json") if re.search(r'"big-[^}]*"window":\[512,', p.read_text())
    ]
    assert gone
    for path in gone:
        path.unlink()
    (status,) = job_statuses(store)
    assert (status.done, status.left) == (5, 1)
    assert status.pixels_done < status.pixels
