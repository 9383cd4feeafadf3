"""IoU on the one real labelled tile, beside the plain rule on height and greenness.

    python tests/bench/real_tile.py [--data ../shared/data/rasters] [--model scenes ...]

The rule: higher than 2.5 m is a tree where green exceeds red and blue, else a building. Labels and height of this tile come
from one sensor, which flatters both the rule and every network that sees height: a smoke test, no ranking. Several models are
given by name or folder; those of one name (the seeds of a comparison) also get a row of their mean and standard deviation.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from gridscribe.models.package import load_package
from gridscribe.workers.run import RunRequest, run_job

BUILDING, TREE, IGNORE = 3, 6, 255


def iou(labels: NDArray[np.uint8], mask: NDArray[np.uint8], value: int) -> float:
    """Over labelled pixels."""
    known = labels != IGNORE
    hit, want = (mask == value) & known, labels == value
    return float((hit & want).sum() / (hit | want).sum())


def job_mask(tile: Path, model: str) -> NDArray[np.uint8]:
    """The mask that the job writes."""
    with tempfile.TemporaryDirectory() as out:
        result = run_job(
            RunRequest("raster", (str(tile),), out, executor="local", overrides={"model": model, "alignment": None})
        )
        (path,) = Path(out).glob(f"products/{result.product}/masks/*-????????.tif")
        with rasterio.open(path) as file:
            mask: NDArray[np.uint8] = file.read(1)
            return mask


def main() -> None:
    """Run the job on the tile with each model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data" / "rasters")
    parser.add_argument("--model", nargs="+", default=["scenes"])
    options = parser.parse_args()
    tile = options.data / "ign_lidar_hd"
    with rasterio.open(tile / "labels_nn3px.tif") as file:
        labels = file.read(1)
    with rasterio.open(tile / "rgb.tif") as file:
        red, green, blue = file.read().astype(int)
    with rasterio.open(tile / "ndsm.tif") as file:
        high = file.read(1) > 2.5
    green_pixel = (green > red) & (green > blue)
    rule = np.where(high & green_pixel, TREE, np.where(high, BUILDING, 1)).astype(np.uint8)
    print(f"{'':40}  building   tree")
    print(f"{'plain rule':40}  {iou(labels, rule, BUILDING):8.3f} {iou(labels, rule, TREE):6.3f}")
    found: dict[str, list[tuple[float, float]]] = {}
    for model in options.model:
        mask = job_mask(tile, model)
        scores = iou(labels, mask, BUILDING), iou(labels, mask, TREE)
        found.setdefault(load_package(model).name, []).append(scores)
        print(f"{Path(model).name[:40]:40}  {scores[0]:8.3f} {scores[1]:6.3f}", flush=True)
    for name, rows in found.items():
        if len(rows) > 1:
            building, tree = (f"{statistics.fmean(c):.3f} ± {statistics.stdev(c):.3f}" for c in zip(*rows, strict=True))
            print(f"{name + f', {len(rows)} models':40}  building {building}, tree {tree}")


if __name__ == "__main__":
    main()
