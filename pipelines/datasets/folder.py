"""A folder of one's own: images, heights and labels by patterns with one `*`, which stands for the same in all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gridscribe.errors import InputError, UnpairedError, UsageError
from gridscribe.ingest.images import InputOptions
from gridscribe.pipelines.datasets.building import Builder
from gridscribe.pipelines.datasets.labelled import LabelledImage
from gridscribe.pipelines.datasets.labels import colors, ids
from gridscribe.pipelines.datasets.legends import Legend


def find_folder(
    root: Path,
    split: str | None,
    *,
    legend: Legend,
    images: str,
    labels: str,
    heights: str | None = None,
    coded: Literal["ids", "colors"] = "ids",
    reading: Mapping[str, Any] | None = None,
) -> list[LabelledImage]:
    """The images that all patterns have, by what `*` stands for.

    `images`, `heights`, `labels`: paths below `root` with one `*`, and `{split}` where splits are told apart by it
    ("{split}/rgb/*.tif"). Without `heights`: band `height_band` of the images. `coded`: labels are class ids 0, 1, ... with 255 =
    ignore, or the palette's colours with black = ignore unless black is a class. `reading`: input options of ingest
    (`height_scale`, `rgb_bands`, `gsd`, ...). Raises UsageError where an argument cannot be used, UnpairedError where a file
    has no partner.
    """
    patterns = {"images": images, "labels": labels} | ({} if heights is None else {"heights": heights})
    if split is None and any("{split}" in p for p in patterns.values()):
        raise UsageError("folder: its patterns have '{split}', and no split is chosen: set 'split'")
    if split is not None and not any("{split}" in p for p in patterns.values()):
        raise UsageError(f"folder: split {split!r}, and no pattern has '{{split}}' in it: add it, or leave 'split' out")
    if heights is None and (reading is None or reading.get("height_band") is None):
        raise UsageError("folder: no 'heights' pattern, and no 'height_band' in 'reading': give one of them")
    if coded not in ("ids", "colors"):
        raise UsageError(f"folder: coded {coded!r}: choose 'ids' or 'colors'")
    try:
        options = InputOptions(**(reading or {}))
    except TypeError as exc:
        raise UsageError(
            f"folder: option 'reading': {exc}; allowed: {', '.join(InputOptions.__annotations__)}"
        ) from exc
    black = None if (0, 0, 0) in legend.palette else (0, 0, 0)
    coding = ids(len(legend.classes)) if coded == "ids" else colors(legend.palette, black)
    files = {what: _match(root, what, p.replace("{split}", split or "")) for what, p in patterns.items()}
    for what, there in files.items():
        for stem, path in there.items():
            for other, pattern in patterns.items():
                if stem not in files[other]:
                    raise UnpairedError(
                        f"{path}: no file of '{other}' belongs to it: {pattern!r} matches none for * = {stem!r}: add it, "
                        f"or take this one out of '{what}'"
                    )
    builder = Builder(legend, coding, options)
    heights_by_stem = files.get("heights", {})
    return [
        builder.image(stem, files["images"][stem], heights_by_stem.get(stem), files["labels"][stem])
        for stem in files["images"]
    ]


def _match(root: Path, what: str, pattern: str) -> dict[str, Path]:
    """Files by what `*` stands for."""
    if pattern.count("*") != 1 or any(c in pattern for c in "?[]"):
        raise UsageError(f"folder: pattern {what}={pattern!r}: exactly one '*' is needed, and no '?' or '[...]'")
    if Path(pattern).is_absolute():
        raise UsageError(f"folder: pattern {what}={pattern!r}: give a path below the root {root}")
    before, after = (len(part) for part in pattern.split("*"))
    found: dict[str, Path] = {}
    for path in sorted(root.glob(pattern)):
        text = path.relative_to(root).as_posix()
        if path.is_file():
            found[text[before : len(text) - after]] = path
    if not found:
        raise InputError(f"{root}: no file matches {what}={pattern!r}: check the root and the pattern")
    return found
