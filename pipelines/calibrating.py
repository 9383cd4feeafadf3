"""A sample of labelled pixels with the answers of all windows that see them: what a temperature is fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.pipelines.blend import taper
from gridscribe.pipelines.datasets import IGNORE, LabelledImage, open_labelled
from gridscribe.pipelines.metrics import fit_temperature
from gridscribe.pipelines.predicted import Watch
from gridscribe.pipelines.predicting import Predicted
from gridscribe.pipelines.reading import Opened, WindowPlan
from gridscribe.pipelines.scale import work_grid
from gridscribe.values import Window

PIXELS = 200_000  # in all: enough for one number, and they fit into memory whatever the data


@dataclass(frozen=True, slots=True)
class Sampled:
    """Answers at labelled pixels: n of them, as many for a pixel as windows see it."""

    probabilities: NDArray[np.float32]
    """[n, classes], each by one window alone."""
    pixels: NDArray[np.intp]
    """[n]: which pixel, 0, 1, ..."""
    weights: NDArray[np.float32]
    """[n]: how much the answer counts where it is blended."""
    labels: NDArray[np.uint8]
    """[n]: the label of the pixel."""


class ProbabilitySample:
    """Pixels drawn evenly from all images; the same ones whenever the same images are seen.

    Confidences are those of blended windows, so a pixel counts with the answer of every window that sees it, weighted as it is
    blended: a temperature that suited single windows would leave blended confidences too low where windows disagree.
    """

    def __init__(self, images: Sequence[LabelledImage], windows: WindowPlan, pixels: int = PIXELS) -> None:
        weights = taper(windows.window, windows.stride)
        self._taper = np.outer(weights, weights)
        self._grids = [work_grid(one.image.grid, one.image.gsd, windows.gsd, strict=False).grid for one in images]
        self._share = min(1.0, pixels / sum(grid.window.area for grid in self._grids))
        self._labels: list[NDArray[np.uint8]] = []
        self._pixels: list[NDArray[np.intp]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._probabilities: list[NDArray[np.float32]] = []
        self._drawn = 0

    def of(self, image: LabelledImage, number: int) -> Watch:
        """What to show the windows of `image`, the `number`-th of the images."""
        grid, rng = self._grids[number], np.random.default_rng(number)
        count = max(1, round(self._share * grid.window.area))
        places = np.sort(rng.integers(0, grid.window.area, count))
        rows, cols = np.divmod(places, grid.width)
        labels = np.full(count, IGNORE, np.uint8)
        self._labels.append(labels)
        first = self._drawn
        self._drawn += count

        def watch(opened: Opened, predicted: Predicted) -> None:
            seen, found = predicted.seen, predicted.probabilities
            window = opened.lattice.at(seen.k_row, seen.k_col)
            if found is None:
                return
            start, stop = np.searchsorted(rows, [window.row, window.row1])
            inside = start + np.flatnonzero((cols[start:stop] >= window.col) & (cols[start:stop] < window.col1))
            own = inside[_within(rows[inside], cols[inside], seen.owned)]
            own = own[seen.valid[rows[own] - seen.owned.row, cols[own] - seen.owned.col]]
            if own.size:
                labels[own] = _labels_at(image, opened, rows[own], cols[own])
            at = rows[inside] - window.row, cols[inside] - window.col
            self._pixels.append(first + inside)
            self._weights.append(self._taper[at])
            self._probabilities.append(found[:, at[0], at[1]].T)

        return watch

    def gathered(self) -> Sampled:
        """All that was seen of pixels with a label. Raises UsageError where there is none."""
        labels = np.concatenate(self._labels) if self._labels else np.empty(0, np.uint8)
        pixels = np.concatenate(self._pixels) if self._pixels else np.empty(0, np.intp)
        known = labels[pixels] != IGNORE
        if not known.any():
            raise UsageError("no pixel that was predicted has a label: nothing can be fitted")
        pixels = pixels[known]
        weights, probabilities = np.concatenate(self._weights)[known], np.concatenate(self._probabilities)[known]
        return Sampled(probabilities, np.unique(pixels, return_inverse=True)[1], weights, labels[pixels])

    def fit(self) -> float:
        """The temperature, on top of the one that the windows were predicted with. Raises UsageError without any label."""
        found = self.gathered()
        return fit_temperature(found.probabilities, found.labels, found.pixels, found.weights)


def _within(rows: NDArray[np.intp], cols: NDArray[np.intp], box: Window) -> NDArray[np.bool_]:
    return (rows >= box.row) & (rows < box.row1) & (cols >= box.col) & (cols < box.col1)


def _labels_at(
    image: LabelledImage, opened: Opened, rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Labels of work pixels: those of the image's pixels at their centres."""
    grid, factor = image.image.grid, opened.work.factor
    rows = np.minimum(((rows + 0.5) / factor).astype(np.intp), grid.height - 1)
    cols = np.minimum(((cols + 0.5) / factor).astype(np.intp), grid.width - 1)
    row, col = int(rows.min()), int(cols.min())
    box = Window(row, col, int(rows.max()) + 1 - row, int(cols.max()) + 1 - col)
    with open_labelled(image) as reader:
        return reader.read_labels(box)[rows - row, cols - col]
