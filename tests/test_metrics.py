"""Measures against their definitions, written the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.pipelines.metrics import BINS, Calibration, boundary_counts, f1, fit_temperature


def test_f1_by_hand() -> None:
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    found = f1(confusion)
    assert found[:2].tolist() == [2 * 6 / (2 * 6 + 1 + 2), 2 * 3 / (2 * 3 + 2 + 1)]
    assert np.isnan(found[2])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.integers(0, 1000))
def test_boundary_counts_are_of_pixels_near_a_contour(rows: int, cols: int, distance: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, mask = (rng.integers(0, 3, (rows, cols)).repeat(2, 0).repeat(2, 1).astype(np.uint8) for _ in range(2))
    labels[rng.random(labels.shape) < 0.1] = 255
    found = boundary_counts(labels, mask, 3, distance)

    def band(area: np.ndarray) -> np.ndarray:
        out = np.zeros_like(area)
        for r, c in np.argwhere(area):
            for i in range(r - distance, r + distance + 1):
                for j in range(c - distance, c + distance + 1):
                    if not (0 <= i < area.shape[0] and 0 <= j < area.shape[1]) or not area[i, j]:
                        out[r, c] = True
        return out

    for k in range(3):
        one, two = band(labels == k), band((mask == k) & (labels != 255))
        assert found[k].tolist() == [(one & two).sum(), (one | two).sum()]


def test_calibration_error_by_hand() -> None:
    calibration = Calibration()
    labels = np.array([[0, 0, 1, 255]], np.uint8)
    calibration.add(labels, np.array([[0, 1, 1, 1]], np.uint8), np.array([[0.95, 0.95, 0.5, 0.1]]))
    assert calibration.pixels.sum() == 3
    assert calibration.error == pytest.approx((2 * abs(0.95 - 0.5) + abs(0.5 - 1)) / 3)
    calibration.add(labels, labels, np.ones(labels.shape))
    assert calibration.pixels[BINS - 1] == 5
    assert np.isnan(Calibration().error)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_fitted_temperature_is_the_one_that_the_labels_were_drawn_with(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (40_000, 4))

    def softmax(x: np.ndarray) -> np.ndarray:
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    drawn = softmax(logits / true)
    labels = (drawn.cumsum(1) > rng.random((len(drawn), 1))).argmax(1)
    assert fit_temperature(softmax(logits), labels) == pytest.approx(true, rel=0.04)


def test_a_temperature_suits_the_mean_of_all_answers_of_a_pixel() -> None:
    rng = np.random.default_rng(3)
    count, answers, true = 40_000, 2, 2.2
    logits = rng.normal(0, 3, (count, answers, 4))
    weights = rng.uniform(0.1, 1, (count, answers))

    def blended(temperature: float) -> np.ndarray:
        p = np.exp(logits / temperature)
        p /= p.sum(axis=2, keepdims=True)
        return (p * weights[..., None]).sum(axis=1) / weights.sum(axis=1)[:, None]

    labels = (rng.random((count, 1)) > blended(true).cumsum(axis=1)[:, :-1]).sum(axis=1)
    single = np.exp(logits)
    single /= single.sum(axis=2, keepdims=True)
    order = rng.permutation(count * answers)  # answers come window by window, not pixel by pixel
    pixels = np.repeat(np.arange(count), answers)[order]
    found = fit_temperature(single.reshape(-1, 4)[order], labels[pixels], pixels, weights.reshape(-1)[order])
    assert found == pytest.approx(true, rel=0.04)
    assert fit_temperature(single.reshape(-1, 4)[order], labels[pixels]) > 1.3 * true  # as if windows were alone
