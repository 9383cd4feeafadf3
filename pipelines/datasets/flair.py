"""FLAIR #1 (IGN, arXiv 2211.12979): patches of 512 x 512 pixels at 0.2 m, five bands of uint8.

R, G, B, near infrared, and height above ground at 0.2 m a level, as IGN's model cards say of the fifth band. Below the root,
`flair_aerial_train/**/img/IMG_*.tif` has its labels (1 to 19) in `flair_labels_train/**/msk/MSK_*.tif`; or `train/` has both.
"""

from __future__ import annotations

from pathlib import Path

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.images import InputOptions
from gridscribe.pipelines.datasets.building import Builder, partner
from gridscribe.pipelines.datasets.labelled import LabelledImage
from gridscribe.pipelines.datasets.labels import LabelCoding, ids
from gridscribe.pipelines.datasets.legends import FLAIR, FLAIR_KEPT, FLAIR_MERGED

SPLITS = ("train", "val", "test")
VAL_DOMAINS = frozenset(
    {"D004_2021", "D014_2020", "D029_2021", "D031_2019", "D058_2020", "D066_2021", "D067_2021", "D077_2021"}
)
"""The spatial domains of the training folder that IGN's baselines validate on."""
BANDS = 5
_METRES_PER_LEVEL = 0.2


def find_flair(
    root: Path, split: str | None, *, merge_other: bool = True, metres_per_level: float = _METRES_PER_LEVEL
) -> list[LabelledImage]:
    """The patches of a split, by path; "val" is the part of the training folder whose domain is in `VAL_DOMAINS`.

    `merge_other`: labels 13 to 19 are one class, as in IGN's baselines. `metres_per_level`: metres to one level of band 5.
    Raises UsageError for another split, InputError where files are amiss.
    """
    if split not in SPLITS:
        raise UsageError(f"flair: split {split!r}: choose one of {', '.join(SPLITS)}")
    legend = FLAIR_MERGED if merge_other else FLAIR
    options = InputOptions(height_band=BANDS, height_scale=metres_per_level)
    builder = Builder(legend, _coding(merge_other), options)
    found = []
    for rgb in _patches(root, split):
        labels = partner(rgb, _label_paths(root, rgb), "label file")
        name = "/".join(part for part in rgb.relative_to(root).with_suffix("").parts if part != "img")
        found.append(builder.image(name, rgb, None, labels))
    return found


def _coding(merge_other: bool) -> LabelCoding:
    coding = ids(len(FLAIR.classes), first=1, ignore=None)
    if not merge_other:
        return coding
    return LabelCoding(tuple((stored, min(k, FLAIR_KEPT)) for stored, k in coding.codes))


def _patches(root: Path, split: str) -> list[Path]:
    folder = "test" if split == "test" else "train"
    places = [p for p in sorted(root.glob("*")) if p.name == folder or p.name.endswith(f"_aerial_{folder}")]
    if not places:
        raise InputError(f"{root}: no folder {folder}/ or *_aerial_{folder}/ in it: check the root of the data set")
    if len(places) > 1:
        names = ", ".join(p.name for p in places)
        raise InputError(f"{root}: {names} all hold a {folder} split: keep one of them below the root")
    patches = sorted(places[0].glob("**/img/IMG_*.tif"))
    if folder == "train":
        patches = [p for p in patches if VAL_DOMAINS.isdisjoint(p.parts) == (split == "train")]
    return patches


def _label_paths(root: Path, rgb: Path) -> list[Path]:
    """Beside `img/`, or in the tree of labels: the same path with other words."""
    parts = rgb.relative_to(root).parts
    beside = [*parts[:-2], "msk", rgb.name.replace("IMG_", "MSK_", 1)]
    there = [part.replace("_aerial_", "_labels_") for part in beside]
    return [root.joinpath(*path) for path in dict.fromkeys((tuple(there), tuple(beside)))]
