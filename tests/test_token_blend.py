"""Tokens on one grid per image: equal to a slow whole-image reference, the same bits whatever box is worked on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridscribe.pipelines.lattice import Lattice, reflect
from gridscribe.pipelines.token_blend import TokenBand, TokenBlender, encode_box, patch_lattice, spread_windows
from gridscribe.values import Window

PATCH = 4
DIM = 5
Float32 = NDArray[np.float32]


class FakeEncoder:
    """Vectors that depend on a window's pixels and on the place in the window, as a network's do."""

    depth = 2

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.batches: list[int] = []

    def submit(self, windows: list[Float32]) -> Future[tuple[Float32, Float32]]:
        answer: Future[tuple[Float32, Float32]] = Future()
        answer.set_result(self.encode(np.stack(windows)))
        return answer

    def encode(self, batch: Float32) -> tuple[Float32, Float32]:
        self.batches.append(len(batch))
        grid = batch.shape[2] // PATCH
        means = batch.reshape(len(batch), 3, grid, PATCH, grid, PATCH).mean((1, 3, 5))
        mixer = np.random.default_rng(7).normal(size=(grid, grid, DIM))
        tokens = (means[..., None] * mixer + mixer[::-1]).astype(np.float32)
        return tokens.mean((1, 2)) + np.float32(0.5), tokens


def reader(image: Float32, blank: set[tuple[int, int]]) -> Callable[[Window], Float32 | None]:
    """Reads windows of an image, the far edge mirrored; windows that start at `blank` have no valid pixel."""

    def read(window: Window) -> Float32 | None:
        if (window.row, window.col) in blank:
            return None
        rows = reflect(window.row, window.height, image.shape[1])
        cols = reflect(window.col, window.width, image.shape[2])
        return image[:, rows][:, :, cols]

    return read


def picture(height: int, width: int) -> Float32:
    return np.random.default_rng(height * 1000 + width).uniform(0, 255, (3, height, width)).astype(np.float32)


def ramp(at: int, window: int, stride: int) -> float:
    """One number of the taper, by the formula of the docstring of `blend.taper`."""
    overlap = min(window - stride, window // 2)
    near = min(at, window - 1 - at)
    return 1.0 if near >= overlap else 0.5 - 0.5 * np.cos(np.pi * (near + 0.5) / overlap)


def slow(
    image: Float32, window: int, stride: int, blank: set[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[tuple[int, int], Float32]]:
    """Window by window over a whole image, cell by cell, in float64."""
    height, width = image.shape[1:]
    grid = -(-height // PATCH), -(-width // PATCH)
    total, weight = np.zeros((*grid, DIM)), np.zeros(grid)
    vectors = {}
    row = 0
    while True:
        col = 0
        while True:
            pixels = reader(image, blank)(Window(row, col, window, window))
            if pixels is not None:
                cls, tokens = FakeEncoder().encode(pixels[None])
                vectors[row // stride, col // stride] = cls[0]
                for i in range(window // PATCH):
                    for j in range(window // PATCH):
                        r, c = row // PATCH + i, col // PATCH + j
                        if r < grid[0] and c < grid[1]:
                            w = ramp(i, window // PATCH, stride // PATCH) * ramp(j, window // PATCH, stride // PATCH)
                            total[r, c] += w * tokens[0, i, j]
                            weight[r, c] += w
            if col + window >= width:
                break
            col += stride
        if row + window >= height:
            break
        row += stride
    return total / np.maximum(weight, 1e-12)[..., None], weight > 0, vectors


def joined(bands: list[TokenBand], box: Window) -> tuple[Float32, NDArray[np.bool_]]:
    """Bands as one array; they must tile the box from top to bottom."""
    assert [b.box.row for b in bands] == [box.row, *(b.box.row1 for b in bands[:-1])]
    assert bands[-1].box.row1 == box.row1
    assert all((b.box.col, b.box.width) == (box.col, box.width) for b in bands)
    assert all(b.tokens.dtype == b.cls.dtype == np.float32 for b in bands)
    return np.concatenate([b.tokens for b in bands]), np.concatenate([b.covered for b in bands])


SIZES = [(16, 12, 37, 50), (16, 8, 41, 33), (16, 4, 30, 30), (16, 16, 48, 35), (16, 8, 3, 90), (24, 12, 5, 1)]


@pytest.mark.parametrize(("window", "stride", "height", "width"), SIZES)
@pytest.mark.parametrize("blank", [set(), {(0, 0), (16, 24)}])
def test_a_whole_image_equals_the_slow_reference(
    window: int, stride: int, height: int, width: int, blank: set[tuple[int, int]]
) -> None:
    image = picture(height, width)
    lattice = patch_lattice(height, width, window, stride, PATCH)
    box = Window(0, 0, lattice.height, lattice.width)
    bands = list(encode_box(reader(image, blank), FakeEncoder(), lattice, box, patch=PATCH, dim=DIM))
    tokens, covered = joined(bands, box)
    wanted, seen, vectors = slow(image, window, stride, blank)
    assert np.array_equal(covered, seen)
    assert not tokens[~covered].any()
    np.testing.assert_allclose(tokens, wanted, rtol=1e-5, atol=1e-3)
    found = {place: cls for band in bands for place, cls in zip(band.places, band.cls, strict=True)}
    assert list(found) == sorted(vectors)
    for place, cls in vectors.items():
        assert np.array_equal(found[place], cls)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bits_do_not_depend_on_boxes_or_batches(data: st.DataObject) -> None:
    window, stride, height, width = data.draw(st.sampled_from(SIZES))
    blank = data.draw(st.sampled_from([set(), {(0, 0), (stride, 0)}]))
    image, lattice = picture(height, width), patch_lattice(height, width, window, stride, PATCH)
    whole = Window(0, 0, lattice.height, lattice.width)
    read = reader(image, blank)
    bands = list(encode_box(read, FakeEncoder(), lattice, whole, patch=PATCH, dim=DIM))
    wanted, seen = joined(bands, whole)
    row, col = data.draw(st.integers(0, lattice.height - 1)), data.draw(st.integers(0, lattice.width - 1))
    box = Window(
        row, col, data.draw(st.integers(1, lattice.height - row)), data.draw(st.integers(1, lattice.width - col))
    )
    batch = data.draw(st.integers(1, 5))
    parts = list(encode_box(read, FakeEncoder(batch), lattice, box, patch=PATCH, dim=DIM))
    tokens, covered = joined(parts, box)
    assert np.array_equal(tokens, wanted[box.slices()])
    assert np.array_equal(covered, seen[box.slices()])
    vectors = {place: cls for band in bands for place, cls in zip(band.places, band.cls, strict=True)}
    mine = {place: cls for band in parts for place, cls in zip(band.places, band.cls, strict=True)}
    assert list(mine) == [place for place in lattice.meeting(box) if place in vectors]
    assert all(np.array_equal(cls, vectors[place]) for place, cls in mine.items())
    scores = np.random.default_rng(0).normal(size=len(vectors)).astype(np.float32)
    everywhere = spread_windows(lattice, whole, list(vectors), scores)
    local = [list(vectors).index(place) for place in mine]
    assert np.array_equal(spread_windows(lattice, box, list(mine), scores[local]), everywhere[box.slices()])


def test_a_bias_of_windows_can_be_taken_off_when_the_question_is_asked() -> None:
    """Blending tokens and spreading the windows' cosines is blending each window's own biased score."""
    image, lattice = picture(60, 44), patch_lattice(60, 44, 16, 8, PATCH)
    box = Window(0, 0, lattice.height, lattice.width)
    phrase = np.random.default_rng(2).normal(size=DIM).astype(np.float32)
    read = reader(image, {(8, 8)})

    class Biased(FakeEncoder):
        def encode(self, batch: Float32) -> tuple[Float32, Float32]:
            cls, tokens = super().encode(batch)
            score = tokens @ phrase - np.float32(0.3) * (cls @ phrase)[:, None, None]
            return cls, np.repeat(score[..., None], DIM, axis=-1)

    wanted, _ = joined(list(encode_box(read, Biased(), lattice, box, patch=PATCH, dim=DIM)), box)
    bands = list(encode_box(read, FakeEncoder(3), lattice, box, patch=PATCH, dim=DIM))
    tokens, _ = joined(bands, box)
    places = [place for band in bands for place in band.places]
    bias = spread_windows(lattice, box, places, np.concatenate([band.cls for band in bands]) @ phrase)
    np.testing.assert_allclose(tokens @ phrase - 0.3 * bias, wanted[..., 0], rtol=1e-4, atol=1e-2)


def test_memory_is_that_of_a_row_of_windows() -> None:
    lattice = patch_lattice(40_000, 64, 16, 8, PATCH)
    blender = TokenBlender(lattice, Window(0, 0, lattice.height, lattice.width), DIM)
    assert blender._sum.shape == (4, 16, DIM)
    empty = np.zeros(DIM, np.float32), np.zeros((4, 4, DIM), np.float32)
    for place in list(lattice.meeting(Window(0, 0, 400, 16))):
        blender.add(place, empty)
        assert len(blender._row) <= lattice.cols.count
    assert blender._sum.shape == (4, 16, DIM)


def test_short_batches_only_at_the_end() -> None:
    encoder, lattice = FakeEncoder(3), patch_lattice(40, 40, 16, 8, PATCH)
    box = Window(0, 0, lattice.height, lattice.width)
    list(encode_box(reader(picture(40, 40), set()), encoder, lattice, box, patch=PATCH, dim=DIM))
    assert encoder.batches == [3, 3, 3, 3, 3, 1]


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 6), st.integers(1, 6), st.integers(1, 9))
def test_the_lattice_of_patches_has_the_windows_of_the_lattice_of_pixels(
    height: int, width: int, window: int, stride: int, patch: int
) -> None:
    stride = min(stride, window)
    pixels = Lattice(height, width, window * patch, stride * patch)
    patches = patch_lattice(height, width, window * patch, stride * patch, patch)
    assert (patches.rows.count, patches.cols.count) == (pixels.rows.count, pixels.cols.count)
    one, other = pixels.at(1, 2), patches.at(1, 2)
    assert (one.row, one.col, one.height) == (other.row * patch, other.col * patch, other.height * patch)


def test_misuse_is_refused() -> None:
    for window, stride in ((16, 6), (18, 8), (16, 0), (8, 16)):
        with pytest.raises(ValueError, match="stride"):
            patch_lattice(64, 64, window, stride, PATCH)
    lattice = patch_lattice(64, 64, 16, 8, PATCH)
    for box in (Window(0, 0, 17, 16), Window(0, 0, 0, 4), Window(-1, 0, 4, 4)):
        with pytest.raises(ValueError, match="must hold a cell and lie in the grid of 16 x 16"):
            TokenBlender(lattice, box, DIM)
    blender = TokenBlender(lattice, Window(0, 0, 16, 16), DIM)
    with pytest.raises(ValueError, match=r"window \(0, 1\) came, \(0, 0\) is due"):
        blender.add((0, 1), None)
