"""The document model from generated pages alone: its encoder trained in two stages, its patch classifier, examined and packaged.

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
from gridscribe.models.document.package import (
    DocumentPackage,
    assemble,
    build_page_encoder,
    gram_vectors,
    load_document_model,
    write,
)
from gridscribe.models.engines import restart_with_malloc_environment
from gridscribe.models.package_files import MODEL_FILE
from gridscribe.models.weights import network_state
from gridscribe.pipelines.documents.evaluation import examine
from gridscribe.pipelines.documents.page_crops_data import CropPlan
from gridscribe.pipelines.documents.patch_training import examine_classifier, train_classifier
from gridscribe.pipelines.documents.training import train_documents

TRAIN, HELD_OUT = (1001, 1600), (2002, 96)
"""(seed, documents)."""
STEPS = {"crops": 5600, "pages": 160}
CLASSIFIER_STEPS = 400
SEED = 0


def made_pages(work_dir: Path) -> tuple[Path, Path]:
    """Folders of training and held-out pages; made once."""
    folders = work_dir / "train-pages", work_dir / "held-out-pages"
    for folder, (seed, count) in zip(folders, (TRAIN, HELD_OUT), strict=True):
        if not (folder / "complete").exists():
            write_pages(folder, count, seed, workers=os.cpu_count() or 1)
            (folder / "complete").touch()
    return folders


def train_stages(data: Path, work_dir: Path, scale: float = 1.0) -> DocumentPackage:
    """The encoder's stages one after another, each from the one before; those that are done are not done again."""
    before: Path | None = None
    for stage, steps in STEPS.items():
        folder = work_dir / stage
        if not (folder / "package" / MODEL_FILE).exists():
            train_documents(
                stage, folder, data=data, pretrained=before, threads=os.cpu_count(), steps=max(2, round(steps * scale)), seed=SEED
            )  # fmt: skip
        before = folder / "package"
    assert before is not None
    return load_document_model(before)


def with_classifier(encoder: DocumentPackage, data: Path, held_out: Path, folder: Path, steps: int) -> dict[str, Any]:
    """Train the patch classifier, and write both as one package into `folder`; returns the classifier's scores."""
    side = 2 * encoder.patch
    plan = CropPlan(encoder.crop, encoder.crop // encoder.architecture.cell, encoder.dpi)
    network = train_classifier(data, plan, side, steps=steps, seed=SEED)
    scores = asdict(examine_classifier(network, held_out, plan, side))
    package, described = assemble(
        network_state(build_page_encoder(encoder)),
        gram_vectors(encoder),
        name=encoder.name,
        description=encoder.description,
        architecture=encoder.architecture,
        crop=encoder.crop,
        dpi=encoder.dpi,
        mean=encoder.mean,
        std=encoder.std,
        scale=encoder.scale,
        bias=encoder.bias,
        source={**encoder.source, "classifier": {"steps": steps, "seed": SEED, "held_out": scores}},
        classifier=network_state(network),
    )
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
    data, held_out = made_pages(options.work_dir)
    encoder = train_stages(data, options.work_dir, options.scale)
    folder = options.work_dir / "package"
    if not (folder / MODEL_FILE).exists():
        with_classifier(encoder, data, held_out, folder, max(2, round(CLASSIFIER_STEPS * options.scale)))
    package = load_document_model(folder)
    found = {"classifier": package.source["classifier"]["held_out"], **examine(package, held_out, seed=SEED)}
    (options.work_dir / "evaluation.json").write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
