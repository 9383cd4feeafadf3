"""Points per second of `at_many` and latency of `at`, warm and cold, over images on local disk.

`python tests/bench/at_many.py [IMAGES] [POINTS]`: images of 2048 x 2048 px in a mosaic with 10 % overlap, points spread
over all of them. One core: the process is pinned.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from outputs import FakeImage, write_output

from gridscribe import Client
from gridscribe.client.places import transform
from gridscribe.store import open_store
from gridscribe.values import Grid

SIZE, GSD, ORIGIN = 2048, 0.2, (500_000.0, 5_000_000.0)


def mosaic(count: int) -> list[FakeImage]:
    """Images in rows of eight, each overlapping its neighbours by a tenth."""
    step = SIZE * GSD * 0.9
    corners = [(ORIGIN[0] + i % 8 * step, ORIGIN[1] - i // 8 * step) for i in range(count)]
    return [
        FakeImage(f"tile-{i:04d}", Grid(SIZE, SIZE, (GSD, 0.0, x, 0.0, -GSD, y), "EPSG:32633"))
        for i, (x, y) in enumerate(corners)
    ]


def points_over(images: list[FakeImage], count: int) -> np.ndarray:
    """Longitudes and latitudes, uniform over the images' pixels."""
    rng = np.random.default_rng(1)
    picked = rng.integers(0, len(images), count)
    transforms = np.array([image.grid.transform for image in images])[picked]
    col, row = rng.uniform(0, SIZE, (2, count))
    x, y = transforms[:, 0] * col + transforms[:, 2], transforms[:, 4] * row + transforms[:, 5]
    return np.stack(transform("EPSG:32633", "OGC:CRS84", x, y), axis=1)


def main(count: int = 24, number: int = 400_000) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    with tempfile.TemporaryDirectory() as folder:
        images = mosaic(count)
        write_output(open_store(folder), images, bundle=False)
        points = points_over(images, number)
        fast = ("class_name", "confidence")
        cold = Client(folder)
        began = time.perf_counter()
        cold.at(*points[0])
        print(f"first `at` of a new client: {(time.perf_counter() - began) * 1e3:.1f} ms")
        began = time.perf_counter()
        cold.at_many(points, fields=fast)
        print(f"at_many {fast}, blocks cold: {number / (time.perf_counter() - began):,.0f} points/s")
        for fields in (fast, None):
            seconds = []
            for _ in range(5):
                began = time.perf_counter()
                table = cold.at_many(points, fields=fields)
                seconds.append(time.perf_counter() - began)
            assert table["status"].unique().to_pylist() == ["ok"]
            print(f"at_many {fields or 'all fields'}, warm: {number / min(seconds):,.0f} points/s")
        seconds = []
        for lon, lat in points[:1000]:
            began = time.perf_counter()
            cold.at(lon, lat)
            seconds.append(time.perf_counter() - began)
        p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
        print(f"at, warm: p50 {p50:.3f} ms, p99 {p99:.3f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
