"""`find_labelled`: the labelled images of a data set, whichever kind it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gridscribe.errors import InputError, UsageError
from gridscribe.pipelines.datasets.flair import find_flair
from gridscribe.pipelines.datasets.folder import find_folder
from gridscribe.pipelines.datasets.gamus import find_gamus
from gridscribe.pipelines.datasets.isprs import find_isprs
from gridscribe.pipelines.datasets.labelled import LabelledImage
from gridscribe.pipelines.datasets.legends import Legend
from gridscribe.pipelines.datasets.scenes import find_generated

KINDS: dict[str, Callable[..., list[LabelledImage]]] = {
    "scenes": find_generated,
    "gamus": find_gamus,
    "isprs": find_isprs,
    "flair": find_flair,
    "folder": find_folder,
}


def find_labelled(
    kind: str, root: Path, split: str | None = None, *, legend: Legend | None = None, **options: Any
) -> list[LabelledImage]:
    """The images of a split of the data set in `root`, in a fixed order; at least one. Reads headers only.

    `options` are those of the kind: see `find_gamus`, `find_isprs`, `find_flair`, `find_generated`, `find_folder`. `legend`: a
    "folder" needs one; the other kinds have their own, and refuse one of other classes. Raises UsageError for a kind,
    split or option that there is not, InputError where files are missing or do not fit each other, naming them.
    """
    if kind not in KINDS:
        raise UsageError(f"data set of kind {kind!r}: choose one of {', '.join(KINDS)}")
    finder = KINDS[kind]
    _check_options(kind, finder, options)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected a data set of kind {kind!r}")
    if kind == "folder":
        if legend is None:
            raise UsageError("a data set of kind 'folder' needs a legend: name its classes and their colours")
        images = finder(root, split, legend=legend, **options)
    else:
        images = finder(root, split, **options)
    if not images:
        hint = f": make some with `gridscribe scenes {root} --count N`" if kind == "scenes" else ""
        what = "scene (<id>_rgb.tif)" if kind == "scenes" else f"image of the {split} split of a {kind!r} data set"
        raise InputError(f"{root} holds no {what}{hint}")
    own = images[0].legend.classes
    if legend is not None and legend.classes != own:
        raise UsageError(
            f"data set of kind {kind!r}: its classes are {list(own)}, asked for were {list(legend.classes)}: use the same, in "
            "this order"
        )
    return images


def _check_options(kind: str, finder: Callable[..., list[LabelledImage]], options: dict[str, Any]) -> None:
    known = {
        name: parameter
        for name, parameter in inspect.signature(finder).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "legend"
    }
    allowed = ", ".join(known) or "none"
    for name in options:
        if name not in known:
            raise UsageError(f"data set of kind {kind!r}: no option {name!r}; allowed: {allowed}")
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in options:
            raise UsageError(f"data set of kind {kind!r}: option {name!r} must be set; there are {allowed}")
