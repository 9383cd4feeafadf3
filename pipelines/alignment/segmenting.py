"""Open-vocabulary segmentation on labelled scenes: masks as a job writes them, offsets fitted, mean IoU beside guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.clip.encoder import DenseSpec, open_encoder
from gridscribe.models.clip.open_vocabulary import OpenVocabulary, OpenVocabularyEngine
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.pipelines.alignment.calibration import ClassOffsets, fit_offsets, sample_facts
from gridscribe.pipelines.calibrating import ProbabilitySample
from gridscribe.pipelines.datasets import LabelledImage, Scene
from gridscribe.pipelines.evaluation import MaskEvaluator, check_classes, score
from gridscribe.pipelines.reading import WindowPlan
from gridscribe.pipelines.scale import ANY_GSD
from gridscribe.pipelines.scores import Scores
from gridscribe.progress import Quiet, Reporter

SAMPLED_AT = 20.0
"""Scale of the answers that offsets are fitted on: sharp enough to tell classes apart, too mild to round chances to nothing."""
PIXELS = 20_000
LEVELS = 16
"""Of each colour, in the table of colours."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Scores by way of segmenting, and the offsets in use."""

    scores: dict[str, Scores]
    shuffled: float
    """Mean over all ways to move the names on by one or more, of the mean IoU without class 0 of the calibrated masks."""
    offsets: ClassOffsets

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "scores": {name: one.to_json() for name, one in self.scores.items()},
            "shuffled_names": {"miou_without_other": round(self.shuffled, 4)},
            "offsets": self.offsets.to_json(),
        }


def word_windows(package: AlignmentPackage, spec: DenseSpec, stride: int | None, *, strict_gsd: bool) -> WindowPlan:
    """The windows of masks by words: `stride` is half the window unless given, in whole patches.

    A package that states no range of ground sampling distance sees every image as it is. Raises UsageError for a stride that
    is no multiple of the patch, or leaves pixels out.
    """
    patch = package.patch
    stride = stride or max(1, spec.window // 2 // patch) * patch
    if stride % patch or stride > spec.window:
        raise UsageError(
            f"stride={stride}: must be a multiple of the patch ({patch}) and at most the window ({spec.window})"
        )
    return WindowPlan(spec.window, stride, package.gsd or ANY_GSD, strict_gsd)


def open_segmenter(
    package: AlignmentPackage, spec: DenseSpec, words: OpenVocabulary, stride: int | None = None
) -> MaskEvaluator:
    """Masks of scenes by words: `mask(image)`, `score(images)`; the windows, blending and files are the raster job's own."""
    windows = word_windows(package, spec, stride, strict_gsd=False)
    return MaskEvaluator(words, OpenVocabularyEngine(open_encoder(spec, package), words), windows)


def calibrate(
    package: AlignmentPackage,
    spec: DenseSpec,
    words: OpenVocabulary,
    concepts: str,
    images: Sequence[LabelledImage],
    *,
    stride: int | None = None,
    report: Reporter | None = None,
) -> ClassOffsets:
    """Offsets of the classes, and a scale, fitted on labelled images (`fit_offsets`). `concepts`: digest of the class file."""
    check_classes(images, tuple(one.name for one in words.classes))
    report = report or Quiet()
    mild = replace(words, scale=SAMPLED_AT)
    with open_segmenter(package, spec, mild, stride) as segmenter:
        sample = ProbabilitySample(images, segmenter.windows, PIXELS)
        report.start(len(images), "scenes calibrated on")
        for number, image in enumerate(images):
            with segmenter.predicted(image, sample.of(image, number)):
                report.advance(number + 1)
        report.finish()
    sampled = sample.gathered()
    fitted, found = fit_offsets(sampled, mild)
    names = [one.name for one in words.classes]
    return ClassOffsets(
        package.digest,
        concepts,
        spec.variant,
        spec.window,
        words.bias,
        fitted.scale,
        dict(zip(names, fitted.offsets, strict=True)),
        {**sample_facts([image.id for image in images], sampled), **found},
    )


def segmentation(
    package: AlignmentPackage,
    spec: DenseSpec,
    words: OpenVocabulary,
    offsets: ClassOffsets,
    images: Sequence[LabelledImage],
    learnt_from: Sequence[LabelledImage],
    *,
    stride: int | None = None,
    report: Reporter | None = None,
) -> Segmentation:
    """Scores on `images` with and without `offsets`, beside a colour table of `learnt_from`, one class for all, and chance."""
    report = report or Quiet()
    names = tuple(one.name for one in words.classes)
    scores: dict[str, Scores] = {}
    ways = {"calibrated": words.calibrated(offsets.scale, offsets.offsets), "uncalibrated": words}
    report.start(len(images) * len(ways), "scenes segmented")
    for number, (name, one) in enumerate(ways.items()):
        with open_segmenter(package, spec, one, stride) as segmenter:
            scores[name] = segmenter.score(images)
        report.advance((number + 1) * len(images))
    report.finish()
    calibrated = scores["calibrated"]
    scores["colour table"] = score(ColourTable.of(learnt_from, len(names)), images, names)
    truth = calibrated.confusion.sum(axis=1)
    most = int(_pixels_by_class(learnt_from, len(names)).argmax())
    scores["one class everywhere"] = _of_shares(calibrated, truth, np.eye(len(names))[most])
    scores["chance"] = _of_shares(calibrated, truth, np.full(len(names), 1 / len(names)))
    return Segmentation(scores, _shuffled(calibrated), offsets)


@dataclass(frozen=True, slots=True)
class ColourTable:
    """The most frequent class of each colour; call it on a scene for a mask, uint8 [H, W]."""

    classes: NDArray[np.uint8]
    """[LEVELS ** 3]."""

    @classmethod
    def of(cls, images: Sequence[LabelledImage], classes: int) -> ColourTable:
        """Counted on labelled images; a colour that none shows is of the class that is most frequent."""
        counts = np.zeros((LEVELS**3, classes), np.int64)
        for image in images:
            scene = image.read()
            known = scene.labels < classes
            cells = _cells(scene.rgb)[known] * classes + scene.labels[known]
            counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        most = counts.sum(axis=0).argmax()
        return cls(np.where(counts.any(axis=1), counts.argmax(axis=1), most).astype(np.uint8))

    def __call__(self, scene: Scene) -> NDArray[np.uint8]:
        return self.classes[_cells(scene.rgb)]


def _cells(rgb: NDArray[np.uint8]) -> NDArray[np.intp]:
    levels = rgb.astype(np.intp) * LEVELS // 256
    return (levels[0] * LEVELS + levels[1]) * LEVELS + levels[2]


def _pixels_by_class(images: Sequence[LabelledImage], classes: int) -> NDArray[np.int64]:
    return np.sum([np.bincount(image.read().labels.ravel(), minlength=256)[:classes] for image in images], axis=0)


def _of_shares(like: Scores, truth: NDArray[np.int64], shares: NDArray[np.float64]) -> Scores:
    """Of a mask that gives every pixel class k with chance `shares[k]`, whatever it shows: the expected counts."""
    found = Scores(like.legend, images=like.images)
    found.confusion += np.rint(np.outer(truth, shares)).astype(np.int64)
    return found


def _shuffled(scores: Scores) -> float:
    count = len(scores.confusion)
    found = []
    for shift in range(1, count):
        moved = Scores(scores.legend, images=scores.images)
        moved.confusion += np.roll(scores.confusion, shift, axis=1)
        found.append(moved.miou_without_other)
    return float(np.mean(found))
