"""GAMUS (arXiv 2305.14914): aerial tiles of 1024 x 1024 pixels at 0.33 m, in HDF5.

`images|heights|classes/{train,val,test}/`, the array `image` in each file. Names are `{base}RGB.h5` or `{base}IMG.h5`, by
city, with `{base}AGL.h5` (float32 metres, with NaN and negative artefacts of LiDAR) and `{base}CLS.h5` (0 to 6).
"""

from __future__ import annotations

from pathlib import Path

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.images import InputOptions
from gridscribe.pipelines.datasets.building import Builder, existing_folder, partner
from gridscribe.pipelines.datasets.labelled import LabelledImage
from gridscribe.pipelines.datasets.labels import ids
from gridscribe.pipelines.datasets.legends import GAMUS

SPLITS = ("train", "val", "test")
GSD = 0.33  # metres; the files do not say
_ENDS = ("RGB.h5", "IMG.h5")


def find_gamus(root: Path, split: str | None) -> list[LabelledImage]:
    """The images of a split, by name. Raises UsageError for another split, InputError where files are amiss."""
    if split not in SPLITS:
        raise UsageError(f"gamus: split {split!r}: choose one of {', '.join(SPLITS)}")
    folder = existing_folder(root / "images" / split, "*_RGB.h5 or *_IMG.h5")
    builder = Builder(GAMUS, ids(len(GAMUS.classes), ignore=None), InputOptions(gsd=GSD))
    found: dict[str, LabelledImage] = {}
    for rgb in sorted(folder.glob("*.h5")):
        if not rgb.name.endswith(_ENDS):
            raise InputError(f"{rgb}: its name does not end in {' or '.join(_ENDS)}: rename it, or take it out")
        base = rgb.name[: -len(_ENDS[0])]
        name = base.rstrip("_-.") or base
        if name in found:
            raise InputError(
                f"{rgb}: {found[name].image.rgb.name} has the same base name {base!r}: take one of them out"
            )
        height = partner(rgb, [root / "heights" / split / f"{base}AGL.h5"], "height")
        labels = partner(rgb, [root / "classes" / split / f"{base}CLS.h5"], "label file")
        found[name] = builder.image(name, rgb, height, labels)
    return list(found.values())
