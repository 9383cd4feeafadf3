"""Crops of regions: what training sees, to a rounding; the same by array and by reader; edges that go on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.pipelines.alignment.views import resized
from gridscribe.pipelines.region_crops import LEAST, crop_of, cut, square_around
from gridscribe.values import Grid, Window

HEIGHT, WIDTH = 90, 120


class Reader:
    """Gives windows inside the image alone, and remembers them."""

    def __init__(self, rgb: np.ndarray) -> None:
        self.grid = Grid(*rgb.shape[1:])
        self._rgb = rgb
        self.asked: list[Window] = []

    def read_color(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        assert window
        assert self.grid.window.contains(window)
        self.asked.append(window)
        return self._rgb[:, *window.slices()], np.ones(window.shape, bool)


def picture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = np.linspace(0, 255, HEIGHT)[:, None] * np.linspace(0, 1, WIDTH)
    noisy = smooth + rng.normal(0, 60, (3, HEIGHT, WIDTH))
    return np.clip(noisy, 0, 255).astype(np.uint8)


boxes = st.builds(
    Window, st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.integers(1, 80), st.integers(1, 100)
)


@settings(max_examples=60, deadline=None)
@given(box=boxes, side=st.sampled_from([8, 32, 57, 128]))
def test_a_crop_is_what_training_sees(box: Window, side: int) -> None:
    rgb = picture()
    found = crop_of(rgb, box, side)
    wanted = resized(cut(rgb, square_around(box)).astype(np.float32), side)
    assert found.shape == (3, side, side)
    assert found.dtype == np.uint8
    # two passes, each rounded to a whole number
    assert np.abs(found.astype(np.float64) - wanted).max() <= 1.51


@settings(max_examples=60, deadline=None)
@given(box=boxes, side=st.sampled_from([8, 32, 57]))
def test_a_reader_gives_the_crop_of_the_whole_image(box: Window, side: int) -> None:
    rgb = picture(1)
    reader = Reader(rgb)
    np.testing.assert_array_equal(crop_of(reader, box, side), crop_of(rgb, box, side))
    (asked,) = reader.asked
    assert square_around(box).contains(asked) or not square_around(box).intersection(reader.grid.window)


def test_beyond_the_image_its_edge_goes_on() -> None:
    rgb = np.zeros((3, 40, 40), np.uint8)
    rgb[:, :, 0] = 200
    found = crop_of(rgb, Window(10, 0, 4, 4), LEAST)
    assert (found[:, :, : LEAST // 2 - 1] == 200).all()
    assert (found[:, :, LEAST // 2 + 1 :] == 0).all()
    far = crop_of(rgb, Window(0, 500, 4, 4), 8)
    assert (far == 0).all()


@pytest.mark.parametrize(("box", "side"), [(Window(3, 3, 0, 5), 8), (Window(3, 3, 2, 5), 0)])
def test_nothing_cannot_be_looked_at(box: Window, side: int) -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        crop_of(picture(), box, side)


def test_crops_need_no_torch() -> None:
    code = (
        "import sys, gridscribe.pipelines.region_crops; print([m for m in ('torch', 'mmengine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
