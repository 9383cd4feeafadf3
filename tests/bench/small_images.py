"""What planning and committing cost per image, from a thousand to a hundred thousand small images in one tar.

    python tests/bench/small_images.py [1000 10000 100000]

The tar holds pairs of 32 x 32 px tiles. Planning is `plan_raster` (index, digests, header checks, cutting); the commit is
what a worker does after prediction: encoded rasters put, table and commit written, in bundles, local disk. The
network is left out: it costs the same for every image. The figures should be flat.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from gridscribe.commits import read_commits
from gridscribe.coverage import coverage_of
from gridscribe.pipelines.config import raster_job
from gridscribe.pipelines.items import Item
from gridscribe.pipelines.lattice import Lattice
from gridscribe.pipelines.plan import plan_raster, remaining
from gridscribe.pipelines.raster import RasterPipeline
from gridscribe.pipelines.reading import Opened, Seen
from gridscribe.pipelines.scale import work_grid
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.writing import PartFiles, PartWriter
from gridscribe.store import open_store

SIZE = 32
SAMPLED_ITEMS = 12  # bundles really committed at each size: their cost does not depend on how many there are


def tile(seed: int, bands: int, dtype: str) -> bytes:
    """A small GeoTIFF."""
    pixels = np.random.default_rng(seed).integers(0, 200, (bands, SIZE, SIZE)).astype(dtype)
    profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": bands, "dtype": dtype}
    with MemoryFile() as memory:
        transform = Affine(0.2, 0, 500_000 + seed * 10, 0, -0.2, 5e6)
        with memory.open(**profile, crs="EPSG:32631", transform=transform) as file:
            file.write(pixels)
        return bytes(memory.read())


def write_tar(path: Path, count: int) -> None:
    """`count` pairs; a hundred different contents, told apart by name."""
    contents = [(tile(seed, 3, "uint8"), tile(seed, 1, "float32")) for seed in range(100)]
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            for suffix, data in zip(("rgb", "ndsm"), contents[number % 100], strict=True):
                info = tarfile.TarInfo(f"{number // 1000:03}/t{number:06}_{suffix}.tif")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def commit(pipeline: RasterPipeline, item: Item, scratch: Path) -> None:
    """A worker's part after prediction: rasters encoded, put and committed."""
    done: list[PartFiles] = []
    for number, part in enumerate(item.parts):
        work = work_grid(part.image.grid, part.image.gsd, pipeline.spec.segmentor.windows.gsd, strict=False)
        lattice = Lattice(*work.grid.shape, 512, 384)
        writer = PartWriter(
            Opened(part, work, lattice, part.box), scratch / str(number), pipeline.spec.segmentor, pipeline.spec.product
        )
        answers = np.full((len(pipeline.spec.segmentor.classes), 512, 512), 0.1, np.float32)
        height, valid = np.ones((SIZE, SIZE), np.float32), np.ones((SIZE, SIZE), np.bool_)
        writer.add(Seen(0, 0, None, part.box, height, valid), answers)
        done.append(writer.finish())
    pipeline._commit(item, done, {}, Deadline(600))


def measure(count: int) -> None:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        write_tar(root / "tiles.tar", count)
        started = time.perf_counter()
        plan = plan_raster([str(root / "tiles.tar")], raster_job({"alignment": None}))
        planned = time.perf_counter() - started
        pipeline = RasterPipeline(plan.spec(str(root / "out")))
        items = list(plan.items[:SAMPLED_ITEMS])
        started = time.perf_counter()
        for number, item in enumerate(items):
            commit(pipeline, item, root / "scratch" / str(number))
        committed = time.perf_counter() - started
        images = sum(len(item.parts) for item in items)
        started = time.perf_counter()
        left = remaining(plan.items, coverage_of(read_commits(open_store(root / "out"), plan.product)))
        resumed = time.perf_counter() - started
        assert len(left) == len(plan.items) - len(items)
        print(
            f"{count:>7} images: plan {planned / count * 1e3:6.3f} ms, commit {committed / images * 1e3:6.3f} ms an image "
            f"({len(plan.items)} items, {images} images committed), finding what is left {resumed * 1e3:.0f} ms",
            flush=True,
        )


if __name__ == "__main__":
    for argument in sys.argv[1:] or ["1000", "10000", "100000"]:
        measure(int(argument))
