"""The document model from generated pages alone: an encoder in three stages and a patch classifier, examined and packaged.

    python -m gridscribe.pipelines.train_documents [--work-dir DIR] [--scale 1.0]

`--scale` multiplies the steps. Run again, it goes on where it stopped. The package is DIR/package, the examination is left in
DIR/evaluation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gridscribe.ingest.paperwork import write_pages
from gridscribe.models.document.package import DocumentPackage, extended, load_document_model, write
from gridscribe.models.engines import restart_with_malloc_environment
from gridscribe.models.package_files import MODEL_FILE
from gridscribe.models.weights import network_state
from gridscribe.pipelines.documents.evaluation import examine
from gridscribe.pipelines.documents.page_crops_data import CropPlan
from gridscribe.pipelines.documents.patch_training import examine_classifier, train_classifier
from gridscribe.pipelines.documents.training import train_documents

PLAIN, WIDE = ("shipped", "stems"), ("standard", "vocabulary")
"""Faces and words of generated pages: few of them, and many."""
PAGES = {
    "plain-pages": (1001, 1600, *PLAIN),
    "wide-pages": (3003, 1600, *WIDE),
    "held-out-plain-pages": (2002, 96, *PLAIN),
    "held-out-wide-pages": (4004, 96, *WIDE),
}
"""Folder: (seed, documents, faces, words)."""
STAGES = (("crops", "plain-pages", 5600), ("words", "wide-pages", 3600), ("pages", "wide-pages", 240))
"""(config, pages, steps), each from the weights of the one before."""
CLASSIFIER_STEPS = 800
SEED = 0


def made_pages(work_dir: Path) -> None:
    """The folders of `PAGES`; made once."""
    for name, (seed, count, fonts, words) in PAGES.items():
        folder = work_dir / name
        if not (folder / "complete").exists():
            write_pages(folder, count, seed, fonts, words, workers=os.cpu_count() or 1)  # type: ignore[arg-type]
            (folder / "complete").touch()


def train_stages(work_dir: Path, scale: float = 1.0) -> DocumentPackage:
    """The encoder's stages one after another, each from the one before; those that are done are not done again."""
    before: Path | None = None
    for stage, pages, steps in STAGES:
        folder = work_dir / stage
        if not (folder / "package" / MODEL_FILE).exists():
            train_documents(
                stage, folder, data=work_dir / pages, pretrained=before, threads=os.cpu_count(),
                steps=max(2, round(steps * scale)), seed=SEED,
            )  # fmt: skip
        before = folder / "package"
    assert before is not None
    return load_document_model(before)


def finished(encoder: DocumentPackage, data: Path, held_out: Path, folder: Path, scale: float = 1.0) -> dict[str, Any]:
    """Train the patch classifier, and write both as one package into `folder`; returns the classifier's scores."""
    side = 2 * encoder.patch
    plan = CropPlan(encoder.crop, encoder.crop // encoder.architecture.cell, encoder.dpi)
    steps = max(2, round(CLASSIFIER_STEPS * scale))
    classifier = train_classifier(data, plan, side, steps=steps, seed=SEED)
    scores = asdict(examine_classifier(classifier, held_out, plan, side))
    told = {"classifier": {"steps": steps, "seed": SEED, "held_out": scores}}
    package, described = extended(encoder, told, classifier=network_state(classifier))
    write(folder, package, described)
    return scores


def main() -> None:
    """The command line of this module (see above)."""
    restart_with_malloc_environment()
    parser = argparse.ArgumentParser(
        prog="python -m gridscribe.pipelines.train_documents", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/documents"))
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    made_pages(options.work_dir)
    encoder = train_stages(options.work_dir, options.scale)
    folder, held_out = options.work_dir / "package", options.work_dir / "held-out-wide-pages"
    if not (folder / MODEL_FILE).exists():
        finished(encoder, options.work_dir / "wide-pages", held_out, folder, options.scale)
    package = load_document_model(folder)
    found = {
        "classifier": package.source["classifier"]["held_out"],
        "plain pages": examine(package, options.work_dir / "held-out-plain-pages", seed=SEED),
        "wide pages": examine(package, held_out, seed=SEED),
    }
    (options.work_dir / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
