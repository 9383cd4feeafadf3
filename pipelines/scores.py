"""What a segmentation scores on labelled images: sums over all pixels of all images together, and the measures of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.datasets import IGNORE, Legend
from gridscribe.pipelines.metrics import Calibration, f1

DIGITS = 4


def confusion(labels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """[classes, classes] counts of (label, mask), without pixels that either has at 255."""
    known = (labels != IGNORE) & (mask != IGNORE)
    pairs = labels[known].astype(np.int64) * classes + mask[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass
class Scores:
    """Sums, filled as images are scored."""

    legend: Legend
    images: int = 0
    confusion: NDArray[np.int64] = field(init=False)
    """[classes, classes]: pixels of true class (row) that were given a class (column)."""
    unpredicted: int = 0
    """Labelled pixels without a class in the mask, as their RGB is missing; in no measure."""
    boundary_pixels: int = 0
    """Width of the bands that boundary IoU looks at; 0 where it was not measured."""
    boundary: NDArray[np.int64] = field(init=False)
    """[classes, 2]: intersection and union of boundary bands."""
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        count = len(self.legend.classes)
        self.confusion = np.zeros((count, count), np.int64)
        self.boundary = np.zeros((count, 2), np.int64)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union per class; NaN for a class that neither labels nor masks hold."""
        hit = np.diag(self.confusion).astype(np.float64)
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - hit
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    @property
    def boundary_iou(self) -> NDArray[np.float64]:
        """Boundary IoU per class; NaN where it was not measured or the class occurs nowhere."""
        hit, union = self.boundary.astype(np.float64).T
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    @property
    def miou(self) -> float:
        """Mean over all classes."""
        return _mean(self.iou)

    @property
    def miou_without_other(self) -> float:
        """Mean over the classes that published tables report: all but GAMUS's class 0 ("other"), ISPRS's clutter, ..."""
        return _mean(self._reported(self.iou))

    @property
    def accuracy(self) -> float:
        """Share of labelled pixels given their class."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain data, rounded to four digits, for a package's metrics; None for what no pixel tells."""
        found: dict[str, Any] = {
            "images": self.images,
            "miou": _rounded(self.miou),
            "miou_without_other": _rounded(self.miou_without_other),
            "f1": _rounded(_mean(self._reported(f1(self.confusion)))),
            "accuracy": _rounded(self.accuracy),
            "iou": self._by_class(self.iou),
        }
        if self.boundary_pixels:
            found["boundary_pixels"] = self.boundary_pixels
            found["boundary_miou"] = _rounded(_mean(self._reported(self.boundary_iou)))
            found["boundary_iou"] = self._by_class(self.boundary_iou)
        if self.calibration is not None:
            found["ece"] = _rounded(self.calibration.error)
        if self.unpredicted:
            found["unpredicted_pixels"] = self.unpredicted
        return found

    def _reported(self, by_class: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.delete(by_class, self.legend.ignored_in_mean)

    def _by_class(self, values: NDArray[np.float64]) -> dict[str, float | None]:
        return {name: _rounded(float(value)) for name, value in zip(self.legend.classes, values, strict=True)}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, DIGITS)
