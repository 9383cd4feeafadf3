"""Memory is bounded by a band, not by the image: peak anonymous memory of whole jobs in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window

from gridscribe.ingest.scenes import write_scenes
from tests.tiny import MASKS_JOB, tiny_package

MIB = 1 << 20
ALLOWED = 300 * MIB  # over what a 2048 px image needs

MEASURE = """
import json, sys, threading, time
from gridscribe.workers.run import RunRequest, run_job
job, source, out, model, item = sys.argv[1:]
peak = 0
def watch():
    global peak
    while True:
        # Anonymous memory: the pages of a finished file that is mapped while it is put are the system's to take back.
        (line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
        peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
result = run_job(RunRequest(job, (source,), out, executor="local", overrides={"model": model, "item_size": int(item)}))
print(json.dumps({"peak": peak, "done": result.counts["done"], "windows": result.windows}))
"""


def write_big(folder: Path, size: int) -> Path:
    """A pair of `size` x `size` pixels, written block by block: never in memory here either."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    rgb = rng.integers(1, 255, (3, 512, 512)).astype(np.uint8).repeat(2, 1)[:, :512]
    ndsm = rng.uniform(0, 9, (1, 512, 512)).astype(np.float32)
    profile = {
        "driver": "GTiff",
        "height": size,
        "width": size,
        "crs": "EPSG:32631",
        "transform": Affine(0.2, 0, 500_000, 0, -0.2, 5_000_000),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "BIGTIFF": "IF_SAFER",
    }
    for name, block in (("big_rgb.tif", rgb), ("big_ndsm.tif", ndsm)):
        with rasterio.open(folder / name, "w", count=len(block), dtype=block.dtype, **profile) as file:
            for row in range(0, size, 512):
                for col in range(0, size, 512):
                    file.write(block, window=Window(col, row, min(512, size - col), min(512, size - row)))
    return folder


def measure(folder: Path, model: Path | str, size: int) -> dict[str, int]:
    return peak_of(MASKS_JOB, write_big(folder / f"in{size}", size), folder / f"out{size}", model)


def peak_of(job: str, source: Path, out: Path, model: Path | str, item: int = 8192) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, job, str(source), str(out), str(model), str(item)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["done"] == 1
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_package(folder, window=256, stride=192)
    measure(folder / "warm", folder, 512)  # converts and caches the network, which a first run pays in memory too
    return folder


def test_memory_is_flat_from_2048_to_4096(tmp_path: Path, model: Path) -> None:
    small, large = measure(tmp_path, model, 2048), measure(tmp_path, model, 4096)
    assert large["windows"] > 3 * small["windows"]
    assert large["peak"] - small["peak"] < ALLOWED, (small, large)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_memory_is_flat_to_32768(tmp_path: Path, model: Path) -> None:
    small, large = measure(tmp_path, model, 2048), measure(tmp_path, model, 32768)
    assert large["peak"] - small["peak"] < ALLOWED, (small, large)


def write_town(folder: Path, size: int) -> Path:
    """`size` x `size` pixels of one generated scene of 1024 px, laid side by side: real regions, tokens that merge."""
    write_scenes(folder / "scene", 1, 7, 1024, 0.2)
    town = folder / f"town{size}"
    town.mkdir()
    for kind in ("rgb", "ndsm"):
        (path,) = (folder / "scene").glob(f"*_{kind}.tif")
        with rasterio.open(path) as scene:
            pixels = scene.read()
            profile = {
                **scene.profile,
                "height": size,
                "width": size,
                "tiled": True,
                "blockxsize": 512,
                "blockysize": 512,
            }
        with rasterio.open(town / f"town_{kind}.tif", "w", **profile) as file:
            for row in range(0, size, 1024):
                for col in range(0, size, 1024):
                    file.write(pixels, window=Window(col, row, 1024, 1024))
    return town


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_memory_is_flat_with_embeddings_too(tmp_path: Path) -> None:
    """The default job with the shipped models: masks, regions with vectors and labels, tokens. Items are of 2048 x 2048 px, whose
    tokens lie in memory while they are merged, two at a time; an image of four of them, and an image of sixteen."""
    peaks = {}
    for size in (4096, 8192):
        place = tmp_path / str(size)
        place.mkdir()
        peaks[size] = peak_of("raster", write_town(place, size), place / "out", "scenes", item=2048)["peak"]
    assert peaks[8192] - peaks[4096] < ALLOWED, peaks
