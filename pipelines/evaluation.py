"""Scoring masks on labelled images: intersection over union per class, over all pixels of all images together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.engines import SharedEngine, open_engine, resolve_engine
from gridscribe.models.package import ModelPackage
from gridscribe.pipelines.blend import Blender
from gridscribe.pipelines.datasets import IGNORE, LabelledImage, Scene, find_labelled
from gridscribe.pipelines.lattice import Lattice, reflect
from gridscribe.values import Window

Predict = Callable[[Scene], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Results on a set of scenes."""

    confusion: NDArray[np.int64]
    """[classes, classes]: pixels of true class (row) that were given a class (column)."""
    names: tuple[str, ...]
    scenes: int
    ignored_in_mean: tuple[int, ...] = (0,)
    """Classes that `miou_without_other` leaves out."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class; NaN for a class that neither labels nor masks hold."""
        hit = np.diag(self.confusion).astype(np.float64)
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - hit
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    @property
    def miou(self) -> float:
        """Mean over all classes."""
        return float(np.nanmean(self.iou))

    @property
    def miou_without_other(self) -> float:
        """Mean over the classes that published tables report: all but GAMUS's class 0 ("other"), ISPRS's clutter, ..."""
        return float(np.nanmean(np.delete(self.iou, self.ignored_in_mean)))

    @property
    def accuracy(self) -> float:
        """Share of labelled pixels given their class."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def to_json(self) -> dict[str, Any]:
        """Plain data, rounded to four digits, for a package's metrics."""
        return {
            "scenes": self.scenes,
            "miou": round(self.miou, 4),
            "miou_without_other": round(self.miou_without_other, 4),
            "accuracy": round(self.accuracy, 4),
            "iou": {name: round(float(value), 4) for name, value in zip(self.names, self.iou, strict=True)},
        }


def confusion(labels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """[classes, classes] counts of (label, mask), without pixels labelled 255."""
    known = labels != IGNORE
    pairs = labels[known].astype(np.int64) * classes + mask[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def predict_scene(scene: Scene, engine: SharedEngine, package: ModelPackage) -> NDArray[np.uint8]:
    """The mask of a whole scene as a raster job computes it: window lattice, reflection at the edges, taper."""
    rows, cols = scene.labels.shape
    lattice = Lattice(rows, cols, engine.spec.window, package.stride)
    whole = Window(0, 0, rows, cols)
    blender = Blender(lattice, whole, engine.num_classes)
    mask = np.empty((rows, cols), np.uint8)
    raw = np.concatenate([scene.rgb.astype(np.float32), scene.height.astype(np.float32)[None]])
    places = list(lattice.meeting(whole))
    windows = (
        raw[:, reflect(at.row, at.height, rows)[:, None], reflect(at.col, at.width, cols)]  # a copy
        for at in (lattice.at(*k) for k in places)
    )
    for k, found in zip(places, engine.stream(windows), strict=True):
        cell, decided, _ = blender.add(*k, found)
        mask[cell.slices()] = decided
    return mask


def score(predict: Predict, data: Path | Sequence[LabelledImage], names: tuple[str, ...]) -> Scores:
    """Scores of any way to get a mask of a scene, on every image of `data`: labelled images, or a folder of generated scenes.

    Raises UsageError where `names`, the classes of the masks, are not those of the labels.
    """
    images = find_labelled("scenes", data) if isinstance(data, Path) else data
    if not images:
        raise UsageError("no image to score on")
    legend = images[0].legend
    if names != legend.classes:
        raise UsageError(
            f"masks of classes {list(names)} cannot be scored on labels of {list(legend.classes)}: use data with the model's "
            "classes, in their order"
        )
    total = np.zeros((len(names), len(names)), np.int64)
    for image in images:
        scene = image.read()
        total += confusion(scene.labels, predict(scene), len(names))
    return Scores(total, names, len(images), legend.ignored_in_mean)


def evaluate(package: ModelPackage, data: Path | Sequence[LabelledImage], engine_name: str = "auto") -> Scores:
    """Scores of a package, as stored, on every image of `data` (see `score`)."""
    with SharedEngine(open_engine(resolve_engine(engine_name, package), package)) as engine:
        return score(lambda scene: predict_scene(scene, engine, package), data, tuple(c.name for c in package.classes))
