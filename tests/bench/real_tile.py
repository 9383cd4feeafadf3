"""IoU on the one real labelled tile, beside the plain rule on height and greenness.

    python tests/bench/real_tile.py [--data ../shared/data/rasters] [--output DIR]

The rule: higher than 2.5 m is a tree where green exceeds red and blue, else a building. Labels and height of this tile come
from one sensor, which flatters both the rule and every network that sees height.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from gridscribe.workers.run import RunRequest, run_job

BUILDING, TREE, IGNORE = 3, 6, 255


def iou(labels: NDArray[np.uint8], mask: NDArray[np.uint8], value: int) -> float:
    """Over labelled pixels."""
    known = labels != IGNORE
    hit, want = (mask == value) & known, labels == value
    return float((hit & want).sum() / (hit | want).sum())


def main() -> None:
    """Run the job on the folder and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data" / "rasters")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--model", default="scenes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.output or Path(scratch)
        overrides = {"model": options.model}
        result = run_job(RunRequest("raster", (str(options.data),), str(out), executor="local", overrides=overrides))
        print(f"counts: {result.counts}")
        (path,) = out.glob(f"products/{result.product}/masks/*ign*-????????.tif")
        tile = options.data / "ign_lidar_hd"
        with rasterio.open(path) as file:
            mask = file.read(1)
    with rasterio.open(tile / "labels_nn3px.tif") as file:
        labels = file.read(1)
    with rasterio.open(tile / "rgb.tif") as file:
        red, green, blue = file.read().astype(int)
    with rasterio.open(tile / "ndsm.tif") as file:
        high = file.read(1) > 2.5
    green_pixel = (green > red) & (green > blue)
    rule = np.where(high & green_pixel, TREE, np.where(high, BUILDING, 1)).astype(np.uint8)
    print("            building   tree")
    for name, found in (("gridscribe", mask), ("plain rule", rule)):
        print(f"{name:10}  {iou(labels, found, BUILDING):8.3f} {iou(labels, found, TREE):6.3f}")


if __name__ == "__main__":
    main()
