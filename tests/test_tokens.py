"""Tokens as values: quantised vectors within their bounds; pixel, cell and index; scatter, gather, crop and join."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gridscribe.quantise import Quantised, normalised, quantise
from gridscribe.tokens import TokenAt, TokenFrame, TokenGrid, join
from gridscribe.values import Grid, Window

FLOATS = st.floats(-1e3, 1e3, width=32)
VECTORS = npst.arrays(np.float32, st.tuples(st.integers(0, 6), st.integers(1, 24)), elements=FLOATS)


@st.composite
def frames(draw: st.DrawFn, *, boxed: bool = True) -> TokenFrame:
    frame = TokenFrame(draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.sampled_from([1, 4, 14])))
    if not boxed:
        return frame
    row, col = draw(st.integers(0, frame.grid_h - 1)), draw(st.integers(0, frame.grid_w - 1))
    height, width = draw(st.integers(1, frame.grid_h - row)), draw(st.integers(1, frame.grid_w - col))
    return frame.with_box(Window(row, col, height, width))


@st.composite
def grids(draw: st.DrawFn, frame: TokenFrame | None = None, merging: bool | None = None) -> TokenGrid:
    """Any tokens kept, none and all among them; with a map, absorbed tokens go to any slot or nowhere."""
    frame = frame or draw(frames())
    kept = np.array(draw(st.lists(st.booleans(), min_size=frame.cells, max_size=frame.cells)), np.bool_)
    index = frame.indices()[kept]
    parent = None
    if draw(st.booleans()) if merging is None else merging:
        slots = st.lists(st.integers(-1, len(index) - 1), min_size=frame.cells, max_size=frame.cells)
        parent = np.array(draw(slots), np.int32)
        parent[kept] = np.arange(len(index))
    vectors = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(len(index), 3)).astype(np.float32)
    return TokenGrid(frame, index, parent, quantise(vectors) if draw(st.booleans()) else vectors)


# --- quantised vectors


@settings(deadline=None)
@given(VECTORS)
def test_int8_errors_are_within_half_a_step(vectors: np.ndarray) -> None:
    unit, stored = normalised(vectors), quantise(vectors)
    back = stored.values.astype(np.float64) * stored.scale.astype(np.float64)[:, None]
    assert np.array_equal(stored.dequantised(), back.astype(np.float32))
    assert (np.abs(back - unit) <= stored.scale.astype(np.float64)[:, None] / 2 * (1 + 1e-12)).all()
    assert (np.abs(stored.values.astype(int)) <= 127).all()
    step = np.abs(unit).max(axis=1, initial=0) / 127
    assert (stored.scale >= step).all()
    # the smallest float16 that is not below the step: no step is wasted either
    smaller = np.nextafter(stored.scale, np.float16(-1))
    assert ((smaller < step) | (step == 0)).all()


@settings(deadline=None)
@given(VECTORS)
def test_float16_errors_are_within_half_a_unit_in_the_last_place(vectors: np.ndarray) -> None:
    unit, stored = normalised(vectors), quantise(vectors, "float16")
    error = np.abs(stored.dequantised().astype(np.float64) - unit)
    assert (error <= np.maximum(np.abs(unit) * 2.0**-11, 2.0**-25)).all()
    assert (stored.scale == 1).all()


@settings(deadline=None)
@given(VECTORS)
def test_a_vector_is_stored_the_same_whatever_stands_beside_it(vectors: np.ndarray) -> None:
    for kind in ("int8", "float16"):
        together = quantise(vectors, kind)
        for i in range(len(vectors)):
            assert together.take(slice(i, i + 1)) == quantise(vectors[i : i + 1], kind)


def test_zero_tiny_and_huge_vectors() -> None:
    vectors = np.array([[0, 0], [1e-40, 0], [3e38, 3e38]], np.float32)
    for kind in ("int8", "float16"):
        back = quantise(vectors, kind).dequantised()
        assert (back[0] == 0).all()
        assert np.allclose(np.linalg.norm(back[1:], axis=1), 1, atol=0.01)
    assert quantise(vectors).scale[0] == 0


def test_negation_is_exact() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    assert np.array_equal(quantise(-vectors).values, -quantise(vectors).values)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.array([[1.0], [np.nan]]), r"1 of 2 vectors hold NaN .* row 1"),
        (np.ones(3), r"\[3\]"),
        (np.array([["a"]]), "numbers"),
    ],
)
def test_what_cannot_be_quantised_is_named(vectors: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantise(vectors)


def test_damaged_quantised_vectors_are_refused() -> None:
    values = np.zeros((2, 3), np.int8)
    for bad in (np.ones(2, np.float32), np.ones(3, np.float16), np.array([1, np.nan], np.float16)):
        with pytest.raises(ValueError, match="scale"):
            Quantised(values, bad)
    with pytest.raises(ValueError, match="int8 or float16"):
        Quantised(values.astype(np.int16), np.ones(2, np.float16))
    with pytest.raises(ValueError, match="one array"):
        Quantised.concatenate([quantise(np.ones((1, 2))), quantise(np.ones((1, 3)))])


# --- frames


@given(frames(boxed=False), st.data())
def test_each_pixel_is_in_the_cell_of_the_design(frame: TokenFrame, data: Any) -> None:
    row = data.draw(st.integers(0, frame.grid_h * frame.patch - 1))
    col = data.draw(st.integers(0, frame.grid_w * frame.patch - 1))
    index = frame.index_at(row, col)
    assert index == (row // frame.patch) * frame.grid_w + col // frame.patch
    p = float(frame.patch)
    affine = TokenFrame(frame.grid_h, frame.grid_w, frame.patch, transform=(p, 0.0, 0.0, 0.0, p, 0.0))
    assert affine.index_at(row, col) == index
    (x0, y0), _, (x1, y1), _ = frame.corners(index)
    assert x0 <= col + 0.5 < x1
    assert y0 <= row + 0.5 < y1


def test_a_resampled_image_is_asked_in_its_own_pixels() -> None:
    """Grid.resampled(0.5): a token of 4 pixels of the lattice is 8 of the image."""
    lattice = Grid(10, 21).resampled(0.5)
    frame = TokenFrame.of_image(lattice.height, lattice.width, 4, (8.0, 0.0, 0.0, 0.0, 8.0, 0.0))
    assert (frame.grid_h, frame.grid_w) == (2, 3)
    assert [frame.index_at(9, col) for col in (0, 7, 8, 20)] == [3, 3, 4, 5]


def test_a_rotated_page() -> None:
    """A quarter turn: the grid's columns run down the page."""
    frame = TokenFrame(2, 3, 10, transform=(0.0, -10.0, 20.0, 10.0, 0.0, 0.0))
    for index in range(6):
        xs, ys = zip(*frame.corners(index), strict=True)
        assert frame.index_at(int(min(ys)) + 5, int(min(xs)) + 5) == index


@given(frames())
def test_local_positions_and_indices_are_inverse(frame: TokenFrame) -> None:
    index = frame.indices()
    assert index.dtype == np.int32
    assert (np.diff(index) > 0).all()
    assert np.array_equal(frame.local(index), np.arange(frame.cells))
    outside = np.setdiff1d(np.arange(frame.grid_h * frame.grid_w), index)
    for other in outside:
        with pytest.raises(ValueError, match=f"token {other} is not in the box"):
            frame.local(np.array([other]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 16), "0 x 3"),
        ((65536, 65536, 16), "2147483647"),
        ((2, 2, 16, Window(1, 1, 1, 2)), "inside the grid of 2 x 2"),
        ((2, 2, 16, None, (1.0, 2.0, 0.0, 2.0, 4.0, 0.0)), "inverted"),
    ],
)
def test_frames_that_cannot_be(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenFrame(*arguments)


# --- grids


@settings(deadline=None)
@given(grids())
def test_scatter_and_gather_are_inverse(grid: TokenGrid) -> None:
    for merged in (True, False):
        dense, held = grid.scatter(merged=merged)
        assert np.array_equal(grid.gather(dense), grid.dense())
        assert np.isnan(dense[~held]).all()
        assert not np.isnan(dense[held]).any()
    held_all = grid.scatter()[1]
    assert np.array_equal(held_all.ravel(), grid.source_map >= 0)
    numbers, _ = grid.scatter(np.arange(len(grid)), -1)
    assert np.array_equal(numbers.ravel(), grid.source_map)


@settings(deadline=None)
@given(grids())
def test_every_pixel_of_the_box_has_an_answer(grid: TokenGrid) -> None:
    """Against the definition: look for the index among the kept, then in the source map."""
    frame, kept = grid.frame, grid.index.tolist()
    for row in range(frame.box.row, frame.box.row1):
        for col in range(frame.box.col, frame.box.col1):
            index = row * frame.grid_w + col
            at = grid.token_at(row * frame.patch + frame.patch - 1, col * frame.patch)
            place = (row - frame.box.row) * frame.box.width + col - frame.box.col
            if index in kept:
                expected = TokenAt("kept", index, row, col, kept.index(index), index)
            elif grid.parent is not None and grid.parent[place] >= 0:
                slot = int(grid.parent[place])
                expected = TokenAt("merged", index, row, col, slot, kept[slot])
            else:
                expected = TokenAt("dropped", index, row, col, None, None)
            assert at == expected


@settings(deadline=None)
@given(frames(boxed=False), st.data())
def test_boxes_of_an_image_join_into_the_whole(frame: TokenFrame, data: Any) -> None:
    edge = data.draw(st.integers(1, 4))
    merging = data.draw(st.booleans())
    parts = [
        TokenGrid(part.frame, part.index, part.parent, part.dense())
        for box in frame.whole.split(edge)
        for part in [data.draw(grids(frame.with_box(box), merging))]
    ]
    whole = join(data.draw(st.permutations(parts)))
    assert whole.frame == frame
    assert len(whole) == sum(len(part) for part in parts)
    for part in parts:
        back = whole.crop(part.frame.box)
        assert back == part
        for row, col in ((part.frame.box.row, part.frame.box.col), (part.frame.box.row1 - 1, part.frame.box.col1 - 1)):
            index = row * frame.grid_w + col
            mine, theirs = whole.token(index), part.token(index)
            assert (mine.status, mine.source) == (theirs.status, theirs.source)
            if mine.slot is not None and theirs.slot is not None:
                assert np.array_equal(whole.dense()[mine.slot], part.dense()[theirs.slot])


def test_keep_all_none_and_one() -> None:
    frame = TokenFrame(2, 3, 8)
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    everything = TokenGrid(frame, frame.indices(), None, values)
    assert np.array_equal(everything.scatter()[0], values.reshape(2, 3, 2))
    nothing = TokenGrid(frame, np.empty(0, np.int32), None, np.empty((0, 2), np.float32))
    dense, held = nothing.scatter()
    assert np.isnan(dense).all()
    assert not held.any()
    assert nothing.token_at(15, 23).status == "dropped"
    single = TokenGrid(TokenFrame(1, 1, 8), np.zeros(1, np.int32), np.zeros(1, np.int32), values[:1])
    assert single.token_at(7, 7) == TokenAt("kept", 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="row 8, col 0"):
        single.token_at(8, 0)
    assert join([single]) == single


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("index", "parent", "vectors", "message"),
    [
        (np.array([0, 1]), None, None, "int64"),
        (i32(1, 0), None, None, "1 is followed by 0 at position 1"),
        (i32(1, 1), None, None, "strictly increasing"),
        (i32(0, 4), None, None, "token 4 is not in the box"),
        (i32(-1), None, None, "token -1"),
        (i32(1), i32(0, 0), None, r"int32 \[4\]"),
        (i32(1), i32(0, 0, 1, 0), None, "parent 1 is no slot"),
        (i32(1), i32(0, 0, -2, 0), None, "parent -2 is no slot"),
        (i32(1, 2), i32(0, 1, 1, 1), None, "slot 0 has parent 1"),
        (i32(1), i32(0, -1, -1, -1), None, "slot 0 has parent -1"),
        (i32(1), None, np.zeros((2, 3), np.float32), "1 kept tokens need as many vectors, got 2"),
        (i32(1), None, np.zeros((1, 3)), "float64"),
    ],
)
def test_grids_that_cannot_be(index: Any, parent: Any, vectors: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenGrid(TokenFrame(2, 2, 16), index, parent, vectors)


def test_what_cannot_be_joined_or_cropped_is_named() -> None:
    frame = TokenFrame(2, 2, 16)
    top, bottom = (TokenGrid(frame.with_box(Window(r, 0, 1, 2)), i32(2 * r)) for r in (0, 1))
    with pytest.raises(ValueError, match=r"2 of 4 tokens .* first is 2"):
        join([top])
    with pytest.raises(ValueError, match="both hold token 0"):
        join([top, top, bottom])
    with pytest.raises(ValueError, match="different grids"):
        join([top, TokenGrid(TokenFrame(2, 2, 14, Window(1, 0, 1, 2)), i32())])
    with pytest.raises(ValueError, match="different kinds"):
        join([top, bottom.with_vectors(np.zeros((1, 2), np.float32))])
    with pytest.raises(ValueError, match="no boxes"):
        join([])
    whole = TokenGrid(frame, i32(0), i32(0, 0, 0, -1))
    with pytest.raises(ValueError, match="token 2 is inside"):
        whole.crop(Window(1, 0, 1, 2))
    with pytest.raises(ValueError, match="not inside"):
        whole.crop(Window(0, 0, 3, 2))
    with pytest.raises(ValueError, match="no vectors"):
        whole.scatter()
    with pytest.raises(ValueError, match="filled with NaN"):
        whole.scatter(np.zeros(1, np.int8))


def test_arrays_cannot_be_changed_behind_the_value() -> None:
    grid = TokenGrid(TokenFrame(1, 1, 4), i32(0), i32(0), np.ones((1, 2), np.float32))
    for array in (grid.index, grid.parent, grid.vectors):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0  # type: ignore[index]
