"""The window lattice: coverage, counts, reflection, against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridscribe.pipelines.lattice import Axis, Lattice, reflect
from gridscribe.values import Window


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    window = draw(st.integers(1, 40))
    return Axis(draw(st.integers(1, 200)), window, draw(st.integers(1, window)))


@given(axes())
def test_windows_cover_every_pixel_and_none_is_needless(axis: Axis) -> None:
    covered = np.zeros(axis.count * axis.stride + axis.window, int)
    for k in range(axis.count):
        covered[k * axis.stride : k * axis.stride + axis.window] += 1
    assert covered[: axis.size].min() >= 1
    if axis.count > 1:  # without the last window the far edge would be bare
        assert (axis.count - 2) * axis.stride + axis.window < axis.size


@given(axes(), st.data())
def test_meeting_is_exactly_the_windows_that_hold_a_pixel(axis: Axis, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, axis.size - 1))
    stop = data.draw(st.integers(start + 1, axis.size))
    slow = [
        k
        for k in range(axis.count)
        if set(range(k * axis.stride, k * axis.stride + axis.window)) & set(range(start, stop))
    ]
    assert list(axis.meeting(start, stop)) == slow


@given(axes())
def test_owners_tile_the_axis_inside_their_windows(axis: Axis) -> None:
    position = 0
    for k in range(axis.count):
        start, stop = axis.owner(k)
        assert start == position
        assert start < stop
        assert k * axis.stride <= start
        assert stop <= k * axis.stride + axis.window
        position = stop
    assert position == axis.size


@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 100))
def test_reflect_equals_numpy(size: int, before: int, length: int) -> None:
    padded = np.pad(np.arange(size), (0, before + length), mode="reflect")
    np.testing.assert_array_equal(reflect(before, length, size), padded[before : before + length])


@given(st.integers(1, 90), st.integers(1, 90), st.integers(4, 32), st.data())
def test_lattice_rows_and_columns(height: int, width: int, window: int, data: st.DataObject) -> None:
    lattice = Lattice(height, width, window, data.draw(st.integers(1, window)))
    box = Window(0, 0, height, width)
    met = list(lattice.meeting(box))
    assert met == sorted(met)
    assert len(met) == lattice.count(box) == lattice.rows.count * lattice.cols.count


def test_default_item_adds_at_most_15_percent_windows() -> None:
    lattice = Lattice(8192, 8192, 512, 384)
    whole = lattice.count(Window(0, 0, 8192, 8192))
    from gridscribe.pipelines.config import RasterJob

    parts = sum(lattice.count(box) for box in Window(0, 0, 8192, 8192).split(RasterJob().item_size))
    assert parts <= 1.15 * whole
    # and on an image far larger than an item
    big = Lattice(32768, 32768, 512, 384)
    whole = big.count(Window(0, 0, 32768, 32768))
    parts = sum(big.count(box) for box in Window(0, 0, 32768, 32768).split(RasterJob().item_size))
    assert parts <= 1.15 * whole


def test_axis_refuses_gaps() -> None:
    with pytest.raises(ValueError, match="stride"):
        Axis(10, 4, 5)
