"""An alignment model from generated scenes alone: its towers trained in five stages, examined and packaged.

    python -m gridscribe.pipelines.train_align [--work-dir DIR] [--scale 1.0]

Two stages stand in for the weights of CLIP that FarSLIP starts from (crops of objects, then views), stages 1 and 2 are FarSLIP's
(`configs/alignment`), and the last teaches what a square is about. `--scale` multiplies the steps of all five. Run again, it goes
on where it stopped. The examination is that of `gridscribe evaluate`, on scenes that were not trained on, and is left in
DIR/evaluation.md and DIR/evaluation.json, with the offsets that it fitted. The package is DIR/surroundings/package.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from gridscribe.models.clip.concepts import concepts_path
from gridscribe.models.clip.package import AlignmentPackage, load_alignment
from gridscribe.models.engines import restart_with_malloc_environment
from gridscribe.models.package_files import MODEL_FILE
from gridscribe.pipelines.alignment.evaluation import Examination, evaluate_alignment
from gridscribe.pipelines.alignment.evaluation_report import markdown
from gridscribe.pipelines.alignment.training import train_alignment
from gridscribe.pipelines.made_scenes import MadeScenes
from gridscribe.progress import reporter

SCENES = MadeScenes(train=(1001, 800), held_out=(2002, 16), size=768, gsd=0.2)
STEPS = {"crops": 4200, "stage0": 1600, "stage1": 80, "stage2": 500, "surroundings": 700}
SEED = 0


def train_stages(data: Path, work_dir: Path, scale: float = 1.0) -> AlignmentPackage:
    """The stages one after another, each from the one before; those that are done are not done again."""
    before: Path | None = None
    for stage, steps in STEPS.items():
        folder = work_dir / stage
        if not (folder / "package" / MODEL_FILE).exists():
            train_alignment(
                f"alignment/{stage}",
                folder,
                data=data,
                pretrained=before,
                threads=max(1, (os.cpu_count() or 1) - 1),  # one core makes views
                steps=max(2, round(steps * scale)),
                seed=SEED,
            )
        before = folder / "package"
    assert before is not None
    return load_alignment(before)


def main() -> None:
    """The command line of this module (see above)."""
    restart_with_malloc_environment()
    parser = argparse.ArgumentParser(
        prog="python -m gridscribe.pipelines.train_align", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/align"))
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    data, held_out = SCENES.in_folder(options.work_dir)
    package = train_stages(data, options.work_dir, options.scale)
    scores = evaluate_alignment(package, Examination(held_out, data, concepts_path("gamus"), seed=SEED), reporter())
    (options.work_dir / "evaluation.json").write_text(json.dumps(scores.to_json(), indent=1) + "\n")
    (options.work_dir / "evaluation.md").write_text(markdown(scores))
    sys.stdout.write(markdown(scores))


if __name__ == "__main__":
    main()
