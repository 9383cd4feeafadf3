"""What a model loses where images have no height: scores on generated scenes, and on the same with every height missing.

    python tests/bench/missing_height.py [--model scenes ...]

The scenes are the 24 that `train_demo` holds out. Of each a copy is made whose height raster holds nodata alone, which is
what the network sees of an image without one.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import rasterio

from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.package import load_package
from gridscribe.pipelines.datasets import find_labelled
from gridscribe.pipelines.evaluation import Evaluator
from gridscribe.pipelines.train_demo import GSD, HELD_OUT_COUNT, HELD_OUT_SEED, SIZE


def without_height(scenes: Path, copies: Path) -> None:
    """The same files, heights blanked."""
    copies.mkdir()
    for path in scenes.iterdir():
        if not path.name.endswith("_ndsm.tif"):
            shutil.copy(path, copies)
            continue
        with rasterio.open(path) as file:
            profile, metres = file.profile, file.read()
        metres[:] = profile["nodata"]
        with rasterio.open(copies / path.name, "w", **profile) as file:
            file.write(metres)


def main() -> None:
    """Both scores of each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["scenes"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole, blank = Path(folder) / "whole", Path(folder) / "blank"
        write_scenes(whole, HELD_OUT_COUNT, HELD_OUT_SEED, SIZE, GSD)
        without_height(whole, blank)
        for model in options.model:
            with Evaluator(load_package(model)) as evaluator:
                for name, place in (("with height", whole), ("without", blank)):
                    scores = evaluator.score(find_labelled("scenes", place)).to_json()
                    ious = ", ".join(f"{label} {value:.2f}" for label, value in scores["iou"].items())
                    print(
                        f"{model:24} {name:12} mIoU {scores['miou']:.3f} (1.. {scores['miou_without_other']:.3f})  {ious}"
                    )


if __name__ == "__main__":
    main()
