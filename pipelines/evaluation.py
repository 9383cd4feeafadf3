"""Scoring a model on labelled images by the masks that a job would write: the same windows, blending, engine and files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import rasterio
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.engines import Engine, EngineSpec, SharedEngine, open_engine, resolve_engine
from gridscribe.models.package import TEMPERATURES, MaskClasses, ModelPackage
from gridscribe.pipelines.blend import CONFIDENCE_LEVELS
from gridscribe.pipelines.calibrating import ProbabilitySample
from gridscribe.pipelines.cog import CONFIDENCE, MASK
from gridscribe.pipelines.datasets import IGNORE, LabelledImage, Legend, Scene, open_labelled
from gridscribe.pipelines.items import Item, Part
from gridscribe.pipelines.metrics import Calibration, boundary_counts
from gridscribe.pipelines.predicted import Watch, predict_item
from gridscribe.pipelines.reading import WindowPlan
from gridscribe.pipelines.scores import Scores, confusion
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.writing import PartFiles
from gridscribe.values import Window

BAND = 1024  # rows scored at a time: memory is bounded by a band, not by the image
BOUNDARY_SHARE = 0.02
"""Width of boundary bands over the diagonal of the model's window: the share of the image's diagonal in Cheng et al."""

Predict = Callable[[Scene], NDArray[np.uint8]]


class MaskEvaluator:
    """Masks and scores of one open engine, whatever it runs; use it in a `with`."""

    def __init__(self, package: MaskClasses, engine: Engine, windows: WindowPlan) -> None:
        """Takes the engine over: `close` closes it. `package` names and colours its classes."""
        self._named = package
        self._engine = SharedEngine(engine)
        self.windows = windows

    @property
    def spec(self) -> EngineSpec:
        """The engine in use."""
        return self._engine.spec

    @contextmanager
    def predicted(
        self, image: LabelledImage, watch: Watch | None = None, box: Window | None = None
    ) -> Iterator[PartFiles]:
        """The rasters of a whole image (or of `box`) as a job writes them, for as long as the `with` lasts.

        Raises InputError where the image cannot be read.
        """
        item = Item((Part(image.image, box or image.image.grid.window),))
        with tempfile.TemporaryDirectory(prefix="gridscribe-evaluate-") as scratch:
            deadline = Deadline(float("inf"))
            done, failed = predict_item(
                item, self.windows, self._engine, self._named, "evaluation", Path(scratch), deadline, watch
            )
            for broken in failed:
                raise broken.error
            yield done[0]

    def mask(self, image: LabelledImage, box: Window | None = None) -> NDArray[np.uint8]:
        """The mask of the whole image or of `box`, uint8 [H, W], 255 where RGB is missing."""
        with self.predicted(image, box=box) as files, rasterio.open(files.paths[MASK.name]) as raster:
            mask: NDArray[np.uint8] = raster.read(1)
            return mask

    def score(self, images: Sequence[LabelledImage]) -> Scores:
        """Scores on `images`. Raises UsageError where the classes differ, InputError where an image cannot be read."""
        legend = check_classes(images, tuple(c.name for c in self._named.classes))
        diagonal = self.windows.window * 2**0.5
        scores = Scores(legend, boundary_pixels=max(1, round(BOUNDARY_SHARE * diagonal)), calibration=Calibration())
        for image in images:
            with self.predicted(image) as files:
                _add(scores, image, files)
        return scores

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Evaluator(MaskEvaluator):
    """A model package, its engine open, for scoring images; use it in a `with`."""

    def __init__(self, package: ModelPackage, engine_name: str = "auto", *, stride: int | None = None) -> None:
        """`stride` in place of the package's. Raises UsageError or EngineError where the engine cannot be had."""
        self.package = package
        windows = WindowPlan(package.window, stride or package.stride, package.gsd, strict_gsd=False)
        super().__init__(package, open_engine(resolve_engine(engine_name, package), package), windows)

    def fit_temperature(self, images: Sequence[LabelledImage]) -> float:
        """The temperature (see `metrics.fit_temperature`) that suits `images` best, the package's present one included."""
        check_classes(images, tuple(c.name for c in self.package.classes))
        sample = ProbabilitySample(images, self.windows)
        for number, image in enumerate(images):
            with self.predicted(image, sample.of(image, number)):
                pass
        return round(float(np.clip(self.package.temperature * sample.fit(), *TEMPERATURES)), 4)


def evaluate(package: ModelPackage, images: Sequence[LabelledImage], engine_name: str = "auto") -> Scores:
    """Scores of a package, as stored, on `images`: see `Evaluator.score`."""
    with Evaluator(package, engine_name) as evaluator:
        return evaluator.score(images)


def score(predict: Predict, images: Sequence[LabelledImage], names: tuple[str, ...]) -> Scores:
    """Scores of any way to get a mask of a scene. Raises UsageError where `names`, the masks' classes, are not the labels'."""
    scores = Scores(check_classes(images, names))
    for image in images:
        scene = image.read()
        scores.confusion += confusion(scene.labels, predict(scene), len(names))
        scores.images += 1
    return scores


def check_classes(images: Sequence[LabelledImage], names: tuple[str, ...]) -> Legend:
    """The legend of `images`. Raises UsageError where there is none, or its classes are not `names`."""
    if not images:
        raise UsageError("no image to score on")
    legend = images[0].legend
    if names != legend.classes:
        raise UsageError(
            f"masks of classes {list(names)} cannot be scored on labels of {list(legend.classes)}: use data with the model's "
            "classes, in their order"
        )
    return legend


def _add(scores: Scores, image: LabelledImage, files: PartFiles) -> None:
    """Count one image, in bands of rows."""
    rows, cols = image.image.grid.shape
    margin, count = scores.boundary_pixels, len(scores.legend.classes)
    with (
        rasterio.open(files.paths[MASK.name]) as masks,
        rasterio.open(files.paths[CONFIDENCE.name]) as confidences,
        open_labelled(image) as reader,
    ):
        for row in range(0, rows, BAND):
            inner = Window(row, 0, min(BAND, rows - row), cols)
            first, last = max(0, row - margin), min(rows, inner.row1 + margin)
            outer = Window(first, 0, last - first, cols)
            labels, mask = reader.read_labels(outer), masks.read(1, window=_rasterio(outer))
            kept = inner.slices(outer)
            scores.boundary += boundary_counts(labels, mask, count, margin, kept[0])
            labels, mask = labels[kept], mask[kept]
            scores.confusion += confusion(labels, mask, count)
            scores.unpredicted += int(((labels != IGNORE) & (mask == IGNORE)).sum())
            if scores.calibration is not None:
                labels[mask == IGNORE] = IGNORE
                confidence = confidences.read(1, window=_rasterio(inner)) / np.float32(CONFIDENCE_LEVELS)
                scores.calibration.add(labels, mask, confidence)
    scores.images += 1


def _rasterio(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)
