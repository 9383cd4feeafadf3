"""The classes of each kind of labelled data: names, colours, and which of them stay outside the mean score."""

from __future__ import annotations

from dataclasses import dataclass

from gridscribe.errors import UsageError
from gridscribe.ingest.scenes.classes import CLASSES

Color = tuple[int, int, int]

IGNORE = 255
"""The label of a pixel that has none: neither trained on nor scored."""


@dataclass(frozen=True, slots=True)
class Legend:
    """Names and colours of classes 0, 1, ... in order. Raises UsageError where they do not fit each other."""

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    """(R, G, B) in 0..255 for each class."""
    ignored_in_mean: tuple[int, ...] = ()
    """Classes that are trained and predicted, but stay outside the mean of the scores."""

    def __post_init__(self) -> None:
        # configs state tuples as lists
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "palette", tuple(tuple(color) for color in self.palette))
        object.__setattr__(self, "ignored_in_mean", tuple(self.ignored_in_mean))
        count = len(self.classes)
        if not 2 <= count <= IGNORE:
            raise UsageError(f"classes: {count} given, {list(self.classes)}: 2 to {IGNORE} are needed")
        if len(set(self.classes)) != count:
            raise UsageError(f"classes: a name stands twice in {list(self.classes)}: give each class its own")
        if len(self.palette) != count:
            raise UsageError(f"palette: {len(self.palette)} colours for {count} classes: give one to each")
        for color in self.palette:
            if len(color) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in color):
                raise UsageError(f"palette: {color} is no colour: three whole numbers from 0 to 255 are needed")
        outside = [k for k in self.ignored_in_mean if not 0 <= k < count]
        if outside or len(set(self.ignored_in_mean)) >= count:
            raise UsageError(
                f"ignored_in_mean: {self.ignored_in_mean} of {count} classes: give ids from 0 to {count - 1}, not all of them"
            )


GAMUS = Legend(tuple(c.name for c in CLASSES), tuple(c.color for c in CLASSES), ignored_in_mean=(0,))
"""The order of the authors' README; their tables leave class 0 ("others") out of the mean. Generated scenes have the same."""

ISPRS = Legend(
    ("impervious surface", "building", "low vegetation", "tree", "car", "clutter"),
    ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)),
    ignored_in_mean=(5,),
)
"""The colours are those of the benchmark's label files. Clutter is outside the mean, as in the published tables."""

_FLAIR: tuple[tuple[str, Color], ...] = (
    ("building", (226, 62, 50)),
    ("pervious surface", (206, 184, 146)),
    ("impervious surface", (96, 98, 108)),
    ("bare soil", (160, 110, 60)),
    ("water", (44, 112, 220)),
    ("coniferous", (12, 70, 40)),
    ("deciduous", (22, 130, 48)),
    ("brushwood", (120, 150, 40)),
    ("vineyard", (130, 40, 130)),
    ("herbaceous vegetation", (150, 214, 96)),
    ("agricultural land", (240, 226, 90)),
    ("plowed land", (196, 160, 90)),
    ("swimming pool", (70, 210, 230)),
    ("snow", (245, 245, 250)),
    ("clear cut", (170, 140, 150)),
    ("mixed", (60, 110, 90)),
    ("ligneous", (90, 120, 20)),
    ("greenhouse", (190, 170, 240)),
    ("other", (176, 60, 190)),
)
_OTHER = _FLAIR[-1]
FLAIR_KEPT = 12
"""Classes that stay themselves where the rare ones are merged."""

FLAIR = Legend(tuple(n for n, _ in _FLAIR), tuple(c for _, c in _FLAIR), ignored_in_mean=(18,))
FLAIR_MERGED = Legend(
    (*(n for n, _ in _FLAIR[:FLAIR_KEPT]), _OTHER[0]),
    (*(c for _, c in _FLAIR[:FLAIR_KEPT]), _OTHER[1]),
    ignored_in_mean=(FLAIR_KEPT,),
)
"""Stored values above 12 are one class, "other", outside the mean: as in FLAIR's own baselines."""
