"""Window and overlap: what seams cost in pixels, and what avoiding them costs in time.

    python tests/bench/overlap.py [--model scenes] [--scenes 4]

For each window and stride: windows to predict per megapixel, mIoU on held-out scenes, and the seam error, which is the share
of pixels whose class differs from that of the same network with a dense stride (a quarter of the window). The default
of the shipped model is chosen from this table.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.engines import SharedEngine, open_engine, resolve_engine
from gridscribe.models.package import load_package
from gridscribe.pipelines.evaluation import Scores, confusion, predict_scene
from gridscribe.pipelines.scene_files import find_scenes, read_scene

CHOICES = ((256, (256, 224, 192, 128)), (512, (512, 448, 384, 256)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--scenes", type=int, default=3)
    options = parser.parse_args()
    package = load_package(options.model)
    with tempfile.TemporaryDirectory() as place:
        write_scenes(Path(place), options.scenes, 31337, 1536, (0.15, 0.3))
        scenes = [read_scene(files) for files in find_scenes(Path(place))]
    names = tuple(c.name for c in package.classes)
    print("window stride  windows/Mpx  s/Mpx   mIoU  seam error")
    for window, strides in CHOICES:
        engine = SharedEngine(open_engine(resolve_engine("auto", package, window=window), package))
        dense = [predict_scene(s, engine, dataclasses.replace(package, stride=window // 4)) for s in scenes]
        for stride in strides:
            chosen = dataclasses.replace(package, stride=stride)
            total, differ, started = np.zeros((len(names), len(names)), np.int64), 0, time.perf_counter()
            masks = [predict_scene(scene, engine, chosen) for scene in scenes]
            seconds = time.perf_counter() - started
            for scene, mask, reference in zip(scenes, masks, dense, strict=True):
                total += confusion(scene.labels, mask, len(names))
                differ += int((mask != reference).sum())
            pixels = sum(scene.labels.size for scene in scenes)
            print(
                f"{window:6} {stride:6} {1e6 / stride**2:12.1f} {seconds / pixels * 1e6:6.2f} "
                f"{Scores(total, names, len(scenes)).miou:6.4f} {differ / pixels:10.3%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
