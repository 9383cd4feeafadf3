"""Generated scenes: `<id>_rgb.tif`, `<id>_ndsm.tif` (perhaps on a coarser grid), `<id>_labels.tif` in one folder."""

from __future__ import annotations

from pathlib import Path

from gridscribe.errors import UnpairedError, UsageError
from gridscribe.ingest.images import InputOptions
from gridscribe.pipelines.datasets.building import Builder
from gridscribe.pipelines.datasets.labelled import LabelledImage
from gridscribe.pipelines.datasets.labels import ids
from gridscribe.pipelines.datasets.legends import GAMUS


def find_generated(root: Path, split: str | None) -> list[LabelledImage]:
    """The scenes of a folder, by id. Raises UnpairedError where a file of a scene is absent, UsageError for a split."""
    if split is not None:
        raise UsageError(f"scenes: split {split!r}: generated scenes have none; give each split a folder of its own")
    builder = Builder(GAMUS, ids(len(GAMUS.classes)), InputOptions())
    found = []
    for rgb in sorted(root.glob("*_rgb.tif")):
        name = rgb.name.removesuffix("_rgb.tif")
        height, labels = root / f"{name}_ndsm.tif", root / f"{name}_labels.tif"
        for path in (height, labels):
            if not path.is_file():
                raise UnpairedError(f"scene {name} has no {path.name} beside {rgb.name} in {root}")
        found.append(builder.image(name, rgb, height, labels))
    return found
