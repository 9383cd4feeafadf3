"""Blending: equal to a slow whole-image sum, and the same pixels whatever box is worked on."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridscribe.pipelines.blend import Blender, taper, taper_sum
from gridscribe.pipelines.lattice import Axis, Lattice
from gridscribe.values import Window

CLASSES = 3


def window_probabilities(lattice: Lattice, k: tuple[int, int]) -> NDArray[np.float32]:
    """A fixed random softmax for each window, a function of its place alone."""
    rng = np.random.default_rng(hash(k) % 2**32)
    logits = rng.normal(size=(CLASSES, lattice.window, lattice.window))
    e = np.exp(logits)
    return (e / e.sum(0)).astype(np.float32)


def empty(k: tuple[int, int], share: int) -> bool:
    """Whether the window is one without valid pixels; `share` in 256 of them are."""
    return (k[0] * 7919 + k[1] * 104729) % 256 < share


def blend(lattice: Lattice, box: Window, share: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    mask = np.full(box.shape, 200, np.uint8)
    confidence = mask.copy()
    blender = Blender(lattice, box, CLASSES)
    for k in lattice.meeting(box):
        part, m, c = blender.add(*k, None if empty(k, share) else window_probabilities(lattice, k))
        mask[part.slices(box)] = m
        confidence[part.slices(box)] = c
    return mask, confidence


def slow(lattice: Lattice, share: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    size = max(lattice.height, lattice.width) + 2 * lattice.window
    total = np.zeros((CLASSES, size, size))
    weight = np.zeros((size, size))
    t = taper(lattice.window, lattice.stride).astype(float)
    for k in lattice.meeting(Window(0, 0, lattice.height, lattice.width)):
        w = lattice.at(*k)
        if not empty(k, share):
            total[:, w.row : w.row1, w.col : w.col1] += window_probabilities(lattice, k) * np.outer(t, t)
        weight[w.row : w.row1, w.col : w.col1] += np.outer(t, t)
    mean = (total / np.maximum(weight, 1e-30))[:, : lattice.height, : lattice.width]
    return mean.argmax(0).astype(np.uint8), mean.max(0)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 16), st.data())
def test_blend_equals_slow_sum_and_any_box_gives_the_same_pixels(
    height: int, width: int, window: int, data: st.DataObject
) -> None:
    lattice = Lattice(height, width, window, data.draw(st.integers(1, window)))
    share = data.draw(st.sampled_from([0, 0, 60, 200]))
    mask, confidence = blend(lattice, Window(0, 0, height, width), share)
    slow_mask, slow_confidence = slow(lattice, share)
    assert (mask == slow_mask).mean() > 0.999  # float32 sums may break a tie of two classes the other way
    assert np.abs(confidence / 254 - slow_confidence).max() < 0.51 / 254 + 1e-5
    for box in Window(0, 0, height, width).split(data.draw(st.integers(3, 40))):
        part_mask, part_confidence = blend(lattice, box, share)
        np.testing.assert_array_equal(part_mask, mask[box.slices()])
        np.testing.assert_array_equal(part_confidence, confidence[box.slices()])


@given(st.integers(2, 64), st.data())
def test_taper_is_positive_and_sums_to_one_where_two_windows_meet(window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    t = taper(window, stride)
    assert t.shape == (window,)
    assert t.min() > 0
    assert t.dtype == np.float32
    np.testing.assert_array_equal(t, t[::-1])
    if 2 * stride >= window:
        total = taper_sum(Axis(10 * window, window, stride), window, 8 * window)
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_ties_go_to_the_lowest_class() -> None:
    lattice = Lattice(4, 4, 4, 4)
    blender = Blender(lattice, Window(0, 0, 4, 4), 3)
    found = np.array([0.2, 0.4, 0.4], np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    _, mask, confidence = blender.add(0, 0, found)
    assert (mask == 1).all()
    assert (confidence == round(0.4 * 254)).all()
