"""Tokens of a part against the slow way: every window encoded, every cell averaged by hand, and images cut in many ways."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.models.pruning import Candidates
from gridscribe.models.pruning.simple import KeepAll
from gridscribe.models.pruning.ward import WardPooling
from gridscribe.pipelines.blend import taper
from gridscribe.pipelines.lattice import Lattice, reflect
from gridscribe.pipelines.padded import Padding
from gridscribe.pipelines.scale import WorkGrid, work_grid
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.tokens.embedding import PartEmbedder, PartTokens, TokenPlan, owned_tokens, token_frame
from gridscribe.quantise import quantise
from gridscribe.tokens import TokenFrame, TokenGrid, join
from gridscribe.values import Grid, Window

PATCH, WINDOW, STRIDE, DIM = 4, 16, 12, 5


class FakeReader:
    """Pixels from an array, with a hole without data."""

    def __init__(self, height: int, width: int, hole: Window | None = None, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.grid = Grid(height, width)
        self.rgb = rng.integers(1, 255, (3, height, width)).astype(np.uint8)
        self.valid = np.ones((height, width), np.bool_)
        if hole:
            self.valid[hole.slices()] = False
            self.rgb[:, ~self.valid] = 0

    def read_color(self, window: Window, grid: Grid | None = None) -> tuple[np.ndarray, np.ndarray]:
        assert grid is None
        assert self.grid.window.contains(window)
        return self.rgb[:, *window.slices()], self.valid[window.slices()]


class FakeEncoder:
    """A token is its patch's colours and something of the whole window, so that windows disagree about a cell."""

    depth = 2

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch

    def submit(self, windows: list[np.ndarray]) -> Future[tuple[np.ndarray, np.ndarray]]:
        answer: Future[tuple[np.ndarray, np.ndarray]] = Future()
        answer.set_result(self.encode(np.stack(windows)))
        return answer

    def encode(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count, _, side, _ = batch.shape
        patches = batch.reshape(count, 3, side // PATCH, PATCH, side // PATCH, PATCH).mean(axis=(3, 5))
        whole = batch.mean(axis=(2, 3))
        cls = np.concatenate([whole, whole[:, :2] - 100], axis=1).astype(np.float32)
        spread = np.broadcast_to(cls[:, None, None, 3:], (count, *patches.shape[2:], 2))
        return cls, np.concatenate([patches.transpose(0, 2, 3, 1) - 128, spread], axis=3).astype(np.float32)


def plan(**changes: Any) -> TokenPlan:
    known = {"window": WINDOW, "stride": STRIDE, "patch": PATCH, "dim": DIM, "gsd": (0.1, 0.5), "strict_gsd": False}
    return TokenPlan(**{**known, "pruner": WardPooling(block=4), **changes})


def embed(reader: FakeReader, box: Window, how: TokenPlan, batch: int = 3) -> PartTokens:
    fake: Any = reader
    return PartEmbedder(fake, box, None, how).embed(FakeEncoder(batch), Deadline(100))


def slow(reader: FakeReader, how: TokenPlan) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], np.ndarray]]:
    """(tokens [grid_h, grid_w, D], which have data, class vectors of the windows that have), window after window."""
    height, width = reader.grid.shape
    lattice = Lattice(height, width, how.window, how.stride)
    frame = TokenFrame.of_image(height, width, PATCH)
    total, weight = np.zeros((frame.grid_h, frame.grid_w, DIM)), np.zeros((frame.grid_h, frame.grid_w))
    ramp = taper(how.window // PATCH, how.stride // PATCH)
    classes = {}
    for k_row in range(lattice.rows.count):
        for k_col in range(lattice.cols.count):
            window = lattice.at(k_row, k_col)
            inside = window.intersection(reader.grid.window)
            if not reader.valid[inside.slices()].any():
                continue
            rows = reflect(window.row, window.height, height)
            cols = reflect(window.col, window.width, width)
            (cls,), (tokens,) = FakeEncoder().encode(reader.rgb[:, rows[:, None], cols].astype(np.float32)[None])
            classes[k_row, k_col] = cls
            for i in range(how.window // PATCH):
                for j in range(how.window // PATCH):
                    row, col = window.row // PATCH + i, window.col // PATCH + j
                    if row < frame.grid_h and col < frame.grid_w:
                        total[row, col] += ramp[i] * ramp[j] * tokens[i, j]
                        weight[row, col] += ramp[i] * ramp[j]
    valid = np.array(
        [
            [reader.valid[r * PATCH : (r + 1) * PATCH, c * PATCH : (c + 1) * PATCH].any() for c in range(frame.grid_w)]
            for r in range(frame.grid_h)
        ]
    )
    return total / np.maximum(weight, 1e-30)[..., None], valid, classes


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    hole=st.sampled_from([None, Window(0, 0, 25, 40), Window(3, 5, 30, 9)]),
    merged=st.booleans(),
)
def test_tokens_are_those_of_the_slow_way(height: int, width: int, hole: Window | None, *, merged: bool) -> None:
    hole = hole.intersection(Window(0, 0, height, width)) if hole else None
    reader = FakeReader(height, width, hole or None)
    how = plan(pruner=WardPooling(block=4)) if merged else plan(pruner=KeepAll())
    found = embed(reader, reader.grid.window, how)
    tokens, valid, classes = slow(reader, how)
    frame = TokenFrame.of_image(height, width, PATCH)
    assert found.grid.frame == frame
    if not merged:
        assert found.grid.index.tolist() == np.flatnonzero(valid).tolist()
        unit = tokens[valid] / np.linalg.norm(tokens[valid], axis=1, keepdims=True)
        np.testing.assert_allclose(found.grid.dense(), unit, atol=0.005)
    else:
        flat = tokens.reshape(-1, DIM).astype(np.float32)
        wanted = how.pruner.select(Candidates(frame, vectors=flat, valid=valid.ravel())).grid
        assert len(found.grid) == len(wanted)
        np.testing.assert_array_equal(found.grid.source_map < 0, ~valid.ravel())
    assert list(found.places) == sorted(classes)
    if classes:
        wanted_cls = np.stack([classes[place] for place in sorted(classes)])
        wanted_cls /= np.linalg.norm(wanted_cls, axis=1, keepdims=True)
        np.testing.assert_allclose(found.cls.dequantised(), wanted_cls, atol=0.005)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    item=st.sampled_from([8, 16, 32, 64]),
    block=st.sampled_from([1, 3, 4]),
    batch=st.integers(1, 5),
)
def test_tokens_do_not_depend_on_how_an_image_is_cut(
    height: int, width: int, item: int, block: int, batch: int
) -> None:
    reader, how = FakeReader(height, width, Window(0, 0, 1, 1)), plan(pruner=WardPooling(block=block, keep=0.5))
    whole = embed(reader, reader.grid.window, how)
    parts = [embed(reader, box, how, batch) for box in reader.grid.window.split(item)]
    grids = [part.grid for part in parts if part.grid.frame.box]
    assert join(grids) == whole.grid
    pairs = sorted(
        (place, row.tobytes()) for part in parts for place, row in zip(part.places, part.cls.values, strict=True)
    )
    assert pairs == sorted((place, row.tobytes()) for place, row in zip(whole.places, whole.cls.values, strict=True))


def test_an_image_without_data_has_no_tokens() -> None:
    found = embed(FakeReader(40, 50, Window(0, 0, 40, 50)), Window(0, 0, 40, 50), plan())
    assert len(found.grid) == len(found.places) == len(found.cls) == 0
    assert found.grid.n_total == 130


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    patch=st.sampled_from([8, 14, 16]),
    block=st.sampled_from([1, 4, 32]),
    factor=st.sampled_from([1.0, 0.5, 0.377, 2.0, 3.1]),
    item=st.sampled_from([512, 1024]),
)
def test_every_block_has_one_owner(height: int, width: int, patch: int, block: int, factor: float, item: int) -> None:
    grid = Grid(height, width)
    work = WorkGrid(grid, grid.resampled(factor) if factor != 1 else grid, factor)
    frame = token_frame(work, patch)
    owned = [owned_tokens(frame, factor, box, grid.window, block) for box in grid.window.split(item)]
    taken = np.zeros((frame.grid_h, frame.grid_w), np.int32)
    for box in owned:
        taken[box.slices()] += 1
        if box:
            assert box.row % block == 0
            assert box.col % block == 0
    assert (taken == 1).all()


def test_resampled_tokens_lie_on_the_image() -> None:
    grid = Grid(1000, 800, (0.05, 0, 5e5, 0, -0.05, 5e6), "EPSG:32633")
    work = work_grid(grid, 0.05, (0.1, 0.5), strict=False)
    frame = token_frame(work, 16)
    assert (frame.grid_h, frame.grid_w) == (32, 25)
    assert frame.transform == (32.0, 0.0, 0.0, 0.0, 32.0, 0.0)
    assert frame.index_at(999, 799) == 31 * 25 + 24


def test_padding_is_the_image_reflected_and_never_valid() -> None:
    reader, window = FakeReader(10, 7), Window(8, 4, 16, 16)
    fake: Any = reader
    embedder = PartEmbedder(fake, reader.grid.window, None, plan(pruner=KeepAll()))
    rows, cols = reflect(8, 16, 10), reflect(4, 16, 7)
    np.testing.assert_array_equal(embedder._read(window), reader.rgb[:, rows[:, None], cols])
    assert np.argwhere(embedder._valid).tolist() == [[2, 1]]  # of the 3 x 2 tokens the one that the window meets
    padding = Padding.of(window, reader.grid.window)
    assert padding.inside == Window(8, 4, 2, 3)
    assert padding.source == Window(0, 0, 10, 7)


def test_vectors_are_stored_as_asked() -> None:
    reader = FakeReader(32, 32)
    whole = embed(reader, reader.grid.window, plan(pruner=KeepAll(), kind="float16"))
    assert whole.grid.vectors == quantise(whole.grid.dense(), "float16")
    assert isinstance(whole.grid, TokenGrid)


def test_a_stride_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of the patch"):
        embed(FakeReader(20, 20), Window(0, 0, 20, 20), plan(stride=10))
