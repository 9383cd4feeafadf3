"""How the shipped model came about: scenes generated, a network trained, scored as stored, and packaged.

    python -m gridscribe.pipelines.train_demo [--work-dir DIR] [--only scenes|pixels] [--steps N]

`scenes` is the model that is shipped (RGB + height, `feature` fusion); `pixels` classifies each pixel by its own colour and
height. Both are scored on the same held-out scenes, and the scores are gathered in `scores.json`. Run again, it goes on where
it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from gridscribe.ingest.scenes import CLASSES
from gridscribe.models.engines import restart_with_malloc_environment
from gridscribe.models.package_files import SHIPPED
from gridscribe.pipelines.baselines import train_pixel_classifier
from gridscribe.pipelines.datasets import find_labelled
from gridscribe.pipelines.evaluation import score
from gridscribe.pipelines.made_scenes import MadeScenes
from gridscribe.pipelines.training import train

GSD = (0.1, 0.5)  # metres per pixel, drawn evenly on a log scale
SIZE = 768
TRAIN_SEED, TRAIN_COUNT = 1001, 240
HELD_OUT_SEED, HELD_OUT_COUNT = 2002, 24
SCENES = MadeScenes((TRAIN_SEED, TRAIN_COUNT), (HELD_OUT_SEED, HELD_OUT_COUNT), SIZE, GSD)
STEPS = 2400


def run(kind: str, work_dir: Path, steps: int | None = None) -> dict[str, Any]:
    """Train "scenes" or "pixels" and score it on the held-out scenes; returns the scores."""
    data, held_out = SCENES.in_folder(work_dir)
    if kind == "pixels":
        names = tuple(c.name for c in CLASSES)
        return score(train_pixel_classifier(data, len(names)), find_labelled("scenes", held_out), names).to_json()
    steps = steps or STEPS
    package = train("scenes", work_dir / kind, data=data, held_out=held_out, steps=steps, threads=os.cpu_count())
    shutil.copytree(work_dir / kind / "package", SHIPPED / "scenes", dirs_exist_ok=True)
    return {**package.metrics, "steps": steps}


def main() -> None:
    """The command line of this module (see above)."""
    restart_with_malloc_environment()
    parser = argparse.ArgumentParser(
        prog="python -m gridscribe.pipelines.train_demo", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    parser.add_argument(
        "--only", choices=["scenes", "pixels"], action="append", help="default: the shipped model alone"
    )
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    scores = options.work_dir / "scores.json"
    for kind in options.only or ["scenes"]:
        found = json.loads(scores.read_text()) if scores.exists() else {}
        found[kind] = run(kind, options.work_dir, options.steps)
        scores.write_text(json.dumps(found, indent=2) + "\n")
        sys.stdout.write(f"{kind}: {json.dumps(found[kind])}\n")


if __name__ == "__main__":
    main()
