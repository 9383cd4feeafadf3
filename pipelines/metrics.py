"""Measures of a segmentation beyond IoU: F1, boundary IoU, calibration. All sums can be added up over images."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.datasets import IGNORE

BINS = 15
TEMPERATURES = (0.1, 10.0)


def f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 (Dice) per class of a confusion [classes, classes], true class by row; NaN for a class that occurs nowhere."""
    hit = np.diag(confusion).astype(np.float64)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.divide(2 * hit, total, out=np.full(len(hit), np.nan), where=total > 0)


def boundary_counts(
    labels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int, distance: int, rows: slice = slice(None)
) -> NDArray[np.int64]:
    """[classes, 2]: intersection and union, in pixels, of the inner boundary bands of labels and mask.

    Boundary IoU (Cheng et al., CVPR 2021, equation 2): of each class, only pixels within `distance` of its contour count
    (`distance` erosions by a 3 x 3 square; the edge of the image is a contour, as in the authors' code). Pixels labelled 255
    belong to no class and to no mask. Only `rows` are counted: an image may be given in bands that overlap by `distance`.
    """
    known = labels != IGNORE
    counts = np.zeros((classes, 2), np.int64)
    kernel = np.ones((3, 3), np.uint8)
    for k in range(classes):
        bands = []
        for area in (labels == k, (mask == k) & known):
            padded = np.pad(area.astype(np.uint8), 1)
            inner = cv2.erode(padded, kernel, iterations=distance)[1:-1, 1:-1] > 0
            bands.append((area & ~inner)[rows])
        counts[k] = np.count_nonzero(bands[0] & bands[1]), np.count_nonzero(bands[0] | bands[1])
    return counts


@dataclass
class Calibration:
    """How far confidences are shares of right answers: counts in `BINS` equal bins of confidence."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS, np.float64))
    """Sum of confidences per bin."""

    def add(self, labels: NDArray[np.uint8], mask: NDArray[np.uint8], confidence: NDArray[np.floating]) -> None:
        """Count pixels with a label; `confidence` in 0..1."""
        known = labels != IGNORE
        sure = np.asarray(confidence, np.float64)[known]
        at = np.minimum((sure * BINS).astype(np.intp), BINS - 1)
        self.pixels += np.bincount(at, minlength=BINS)
        self.right += np.bincount(at, weights=labels[known] == mask[known], minlength=BINS).astype(np.int64)
        self.confidence += np.bincount(at, weights=sure, minlength=BINS)

    @property
    def error(self) -> float:
        """ECE (Guo et al., ICML 2017, equation 3): the mean over pixels of |confidence - accuracy| of their bin; NaN for none."""
        total = self.pixels.sum()
        return float(np.abs(self.confidence - self.right).sum() / total) if total else float("nan")


def fit_temperature(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    pixels: NDArray[np.integer] | None = None,
    weights: NDArray[np.floating] | None = None,
) -> float:
    """The temperature T by which logits are divided so that the mean -log p(label) is least (Guo et al., section 4.2).

    `probabilities` [n, classes] at T = 1 with labels [n]: softmax(logits / T) is their 1/T-th power, normalised, so logits are
    not needed. Where several answers are of one pixel, `pixels` [n] says which (0, 1, ...), and p is their mean under
    `weights` [n]. Sought in `TEMPERATURES` by golden section over its logarithm, to a thousandth.
    """
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-12))
    at = np.arange(len(labels)), np.asarray(labels, np.intp)
    pixels = np.arange(len(labels)) if pixels is None else pixels
    weights = np.ones(len(labels)) if weights is None else weights
    total = np.bincount(pixels, weights)

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        np.exp(scaled, out=scaled)
        of_label = np.bincount(pixels, weights * scaled[at] / scaled.sum(axis=1)) / total
        return float(-np.log(np.maximum(of_label, 1e-300)).mean())

    low, high = np.log(TEMPERATURES)
    ratio = (np.sqrt(5) - 1) / 2
    one, two = high - ratio * (high - low), low + ratio * (high - low)
    of_one, of_two = loss(one), loss(two)
    while high - low > 1e-3:
        if of_one < of_two:
            high, two, of_two = two, one, of_one
            one = high - ratio * (high - low)
            of_one = loss(one)
        else:
            low, one, of_one = one, two, of_two
            two = low + ratio * (high - low)
            of_two = loss(two)
    return float(np.exp((low + high) / 2))
