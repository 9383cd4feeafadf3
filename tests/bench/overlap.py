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

from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.package import ModelPackage, load_package
from gridscribe.pipelines.datasets import LabelledImage, find_labelled
from gridscribe.pipelines.evaluation import Evaluator
from gridscribe.pipelines.scores import Scores, confusion

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
        measure(package, find_labelled("scenes", Path(place)))


def measure(package: ModelPackage, images: list[LabelledImage]) -> None:
    """Print the table."""
    labels = [image.read().labels for image in images]
    pixels = sum(one.size for one in labels)
    print("window stride  windows/Mpx  s/Mpx   mIoU  seam error")
    for window, strides in CHOICES:
        sized = dataclasses.replace(package, window=window)
        with Evaluator(sized, stride=window // 4) as evaluator:
            dense = [evaluator.mask(image) for image in images]
        for stride in strides:
            scores, differ = Scores(images[0].legend), 0
            with Evaluator(sized, stride=stride) as evaluator:
                started = time.perf_counter()
                masks = [evaluator.mask(image) for image in images]
                seconds = time.perf_counter() - started
            for truth, mask, reference in zip(labels, masks, dense, strict=True):
                scores.confusion += confusion(truth, mask, len(scores.legend.classes))
                differ += int((mask != reference).sum())
            print(
                f"{window:6} {stride:6} {1e6 / stride**2:12.1f} {seconds / pixels * 1e6:6.2f} "
                f"{scores.miou:6.4f} {differ / pixels:10.3%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
