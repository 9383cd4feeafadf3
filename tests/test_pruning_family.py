"""Methods of selection after the encoder: what all promise, and the formula of each by the slow way."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import UsageError
from gridscribe.models.pruning import METHODS, Candidates, Pruner, pruner_from_json
from gridscribe.models.pruning.core import CoreTokens, elbow, overlap
from gridscribe.models.pruning.correlation import CorrelationGuided, density, outliers, sample
from gridscribe.models.pruning.events import EventPatches, spikes
from gridscribe.models.pruning.flexible import FlexiblePooling
from gridscribe.models.pruning.pagerank import PageRankTokens, importance
from gridscribe.models.pruning.pyramid import PyramidBudgets, shares
from gridscribe.models.pruning.script import GraphDPP, graph_scores, greedy_map
from gridscribe.models.pruning.skip import SkipTokens
from gridscribe.models.pruning.transition import TransitionTokens
from gridscribe.models.pruning.zeroth_order import ZerothOrder, sensitivity
from gridscribe.quantise import normalised
from gridscribe.tokens import TokenFrame, join
from gridscribe.values import Window

BLOCK = 4
FAMILY: list[Any] = [
    GraphDPP(block=BLOCK),
    GraphDPP(block=BLOCK, keep=0.6, edge=0.0),
    PageRankTokens(block=BLOCK),
    ZerothOrder(block=BLOCK),
    CoreTokens(block=BLOCK),
    PyramidBudgets(block=BLOCK, tile=2),
    FlexiblePooling(block=BLOCK, side=2),
    TransitionTokens(block=BLOCK),
    CorrelationGuided(block=BLOCK, alpha=0.3, beta=0.1),
]
BUDGETED = [pruner for pruner in FAMILY if hasattr(pruner, "keep")]


def name_of(pruner: Pruner) -> str:
    return "-".join(str(value) for value in pruner.to_json().values())


def make(rows: int, cols: int, seed: int, distinct: int, *, holes: bool) -> Candidates:
    rng = np.random.default_rng(seed)
    cells = rows * cols
    vectors = rng.normal(size=(cells, 6)).astype(np.float32)
    if distinct < cells:
        vectors = vectors[rng.integers(0, distinct, cells)]
    return Candidates(
        TokenFrame(rows, cols, 2), vectors, None, rng.random(cells) < 0.7 if holes else None,
        rng.random(cells).astype(np.float32), f"digest-{seed}", vectors[:, ::-1].copy(),
        rng.random(cells).astype(np.float32),
    )  # fmt: skip


CANDIDATES = st.builds(
    make, st.integers(1, 9), st.integers(1, 9), st.integers(0, 999), st.sampled_from([1, 3, 10**6]), holes=st.booleans()
)


@pytest.mark.parametrize("pruner", FAMILY, ids=name_of)
@settings(max_examples=30, deadline=None)
@given(candidates=CANDIDATES)
def test_indices_are_kept_and_nothing_is_made_up(pruner: Any, candidates: Candidates) -> None:
    grid = pruner.select(candidates).grid
    frame = candidates.frame
    assert grid.index.dtype == np.int32
    assert (np.diff(grid.index) > 0).all()
    assert candidates.usable[grid.index].all()
    assert pruner.select(replace(candidates)).grid == grid
    assert candidates.vectors is not None
    if grid.parent is None:
        tokens = pruner.select(candidates).tokens(candidates.vectors)
        np.testing.assert_array_equal(
            tokens.dense(), candidates.vectors[grid.index]
        )  # kept rows are the encoder's, bit for bit
    else:
        np.testing.assert_array_equal(grid.parent >= 0, candidates.usable)
    for window in frame.whole.split(BLOCK):
        cells = frame.with_box(window).indices()
        usable, kept = candidates.usable[cells].sum(), np.isin(cells, grid.index).sum()
        assert (kept > 0) == (usable > 0)
        if pruner in BUDGETED:
            assert kept == (max(1, int(usable * pruner.keep + 1e-9)) if usable else 0)


@pytest.mark.parametrize("pruner", FAMILY, ids=name_of)
@settings(max_examples=15, deadline=None)
@given(candidates=CANDIDATES)
def test_nothing_depends_on_how_an_image_is_cut(pruner: Any, candidates: Candidates) -> None:
    frame, whole = candidates.frame, pruner.select(candidates).grid
    assert candidates.vectors is not None
    assert candidates.significance is not None
    assert candidates.keys is not None
    assert candidates.shallow is not None
    parts = []
    for box in frame.whole.split(BLOCK):
        part = frame.with_box(box)
        at = part.indices()
        valid = None if candidates.valid is None else candidates.valid[at]
        cut = Candidates(
            part, candidates.vectors[at], None, valid, candidates.significance[at], candidates.digest, candidates.keys[at],
            candidates.shallow[at],
        )  # fmt: skip
        parts.append(pruner.select(cut).grid)
    assert join(parts).index.tolist() == whole.index.tolist()
    if frame.grid_w > BLOCK:
        box = Window(0, 0, frame.grid_h, BLOCK - 1)
        at = frame.with_box(box).indices()
        with pytest.raises(ValueError, match="cut a block"):
            pruner.select(
                Candidates(
                    frame.with_box(box), candidates.vectors[at], significance=candidates.significance[at],
                    keys=candidates.keys[at], shallow=candidates.shallow[at], digest="page",
                )
            )  # fmt: skip


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_a_method_says_whose_it_is_and_what_differs(method: Any) -> None:
    if method.fidelity == "ours":
        assert method in [one for one in METHODS.values() if not one.source]
    else:
        assert method.fidelity in ("as published", "adapted")
        assert method.source
        assert method.differs
    assert pruner_from_json(method().to_json()) == method()


# --- Script


@settings(max_examples=30, deadline=None)
@given(m=st.integers(2, 7), count=st.integers(1, 4), seed=st.integers(0, 999))
def test_each_step_of_the_dpp_makes_the_determinant_greatest(m: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(m, 8))
    kernel = points @ points.T
    chosen: list[int] = []
    for _ in range(min(count, m)):
        rest = [k for k in range(m) if k not in chosen]
        chosen.append(max(rest, key=lambda k: np.linalg.det(kernel[np.ix_([*chosen, k], [*chosen, k])])))
    assert greedy_map(kernel, min(count, m)).tolist() == chosen


def test_equal_tokens_add_nothing_and_the_lowest_follow() -> None:
    assert greedy_map(np.ones((5, 5)), 3).tolist() == [0, 1, 2]


def test_graph_scores_by_hand() -> None:
    similar = np.array([[1.0, 0.5, 0.3, 0.1], [0.5, 1.0, 0.1, 0.1], [0.3, 0.1, 1.0, 0.1], [0.1, 0.1, 0.1, 1.0]])
    wanted = [2 * math.exp(0.4 - 0.2) * 2 / 4, math.exp(0.5 - 0.2) / 4, math.exp(0.3 - 0.2) / 4, 0.0]
    np.testing.assert_allclose(graph_scores(similar.copy(), 0.2), wanted)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_script_takes_what_both_want_and_then_the_diverse(seed: int) -> None:
    candidates = make(4, 4, seed, 10**6, holes=False)
    points = normalised(candidates.vectors)  # type: ignore[arg-type]
    r = candidates.significance.astype(np.float64)  # type: ignore[union-attr]
    r = (r - r.min()) / (r.max() - r.min())
    similar = points @ points.T
    dpp = greedy_map(r[:, None] * similar * r, 4).tolist()
    graph = sorted(range(16), key=lambda k: -graph_scores(similar.copy(), 0.2)[k])[:4]
    wanted = [k for k in dpp if k in graph] + [k for k in dpp if k not in graph]
    assert set(GraphDPP(block=BLOCK).select(candidates).grid.index.tolist()) == set(wanted[:4])


# --- PageRank


def test_importance_is_where_a_walk_stands() -> None:
    rng = np.random.default_rng(0)
    points = normalised(rng.normal(size=(9, 5)))
    similar = points @ points.T
    at = np.full(9, 1 / 9)
    for _ in range(5):
        after = np.zeros(9)
        for i in range(9):
            weights = np.exp(similar[i] / 0.1)
            for j in range(9):
                after[j] += at[i] * weights[j] / weights.sum()
        at = after
    found = importance(similar, 0.1, 5)
    np.testing.assert_allclose(found, at, rtol=1e-9)
    assert abs(found.sum() - 1) < 1e-12


# --- ZOO-Prune


def test_sensitivity_is_that_of_the_jacobian() -> None:
    """Of a smooth map, over many directions: E|J u| by the exact Jacobian and the same directions' law."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.LayerNorm(6), torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 5))

    def mapping(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = network(torch.from_numpy(x)).numpy()
        return found

    inputs = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)
    found = sensitivity(mapping, inputs, "page", directions=4000)
    rng = np.random.default_rng(5)
    drawn = rng.normal(size=(4000, 6))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    for x, value in zip(inputs, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(network, torch.from_numpy(x)).numpy()
        assert value == pytest.approx(np.linalg.norm(drawn @ jacobian.T, axis=1).mean(), rel=0.03)
    np.testing.assert_array_equal(found, sensitivity(mapping, inputs, "page", directions=4000))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_zeroth_order_weighs_sensitivity_with_novelty(seed: int) -> None:
    candidates = make(4, 4, seed, 10**6, holes=False)
    s = candidates.significance.astype(np.float64)  # type: ignore[union-attr]
    points = normalised(candidates.vectors)  # type: ignore[arg-type]
    level = (s - s.min()) / (s.max() - s.min())
    chosen = [int(s.argmax())]
    while len(chosen) < 4:
        rest = [k for k in range(16) if k not in chosen]
        chosen.append(max(rest, key=lambda k: level[k] * (1 - max(points[k] @ points[j] for j in chosen))))
    assert ZerothOrder(block=BLOCK).select(candidates).grid.index.tolist() == sorted(chosen)
    with pytest.raises(ValueError, match="none was given"):
        ZerothOrder(block=BLOCK).select(replace(candidates, significance=None))


# --- CoreMatching


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(0, 50), min_size=1, max_size=12))
def test_the_elbow_is_farthest_from_the_chord(values: list[float]) -> None:
    falling = np.array(sorted(values, reverse=True))
    n = len(falling)
    if n < 3:
        assert elbow(falling) == 0
        return
    (x0, y0), (x1, y1) = (0, falling[0]), (n - 1, falling[-1])
    away = [abs((y1 - y0) * k - (x1 - x0) * (falling[k] - y0)) / math.hypot(x1 - x0, y1 - y0) for k in range(n)]
    assert away[elbow(falling)] >= max(away) - 1e-9 * (1 + max(away))


def test_overlap_by_hand() -> None:
    points = np.array([[0.9, 0.5, 0.1, -1.0], [0.8, -1.0, 0.7, 0.1], [0.9, 0.6, -0.2, 0.5], [-1.0, -1.0, -1.0, -1.0]])
    # at or above the median of what is positive: {0, 1}, {0, 2}, {0, 1}, {}; the two most frequent: 0 and 1
    assert overlap(points, 0.5, 0.5).tolist() == [2, 1, 2, 0]
    frame = TokenFrame(2, 2, 2)
    assert CoreTokens(block=4).select(Candidates(frame, points.astype(np.float32))).grid.index.tolist()


# --- pyramid budgets


@settings(max_examples=80, deadline=None)
@given(data=st.data(), tiles=st.integers(1, 6))
def test_shares_sum_up_and_stay_within_tiles(data: Any, tiles: int) -> None:
    sizes = np.array(data.draw(st.lists(st.integers(0, 9), min_size=tiles, max_size=tiles)))
    saliency = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 3.0]), min_size=tiles, max_size=tiles)))
    total = data.draw(st.integers(0, int(sizes.sum())))
    found = shares(saliency, sizes, total)
    assert found.sum() == total
    assert (found <= sizes).all()
    assert (found >= 0).all()
    if total >= (sizes > 0).sum():
        assert (found[sizes > 0] >= 1).all()


def test_shares_follow_saliency() -> None:
    assert shares(np.array([3.0, 1.0]), np.array([100, 100]), 42).tolist() == [31, 11]  # 1 each, then 40 as 3 to 1
    assert shares(np.array([3.0, 1.0]), np.array([5, 100]), 42).tolist() == [5, 37]


def test_pyramid_keeps_the_most_significant_of_each_tile() -> None:
    candidates = make(4, 4, 3, 10**6, holes=False)
    index = PyramidBudgets(block=4, tile=2, keep=0.25).select(candidates).grid.index.tolist()
    assert candidates.significance is not None
    weights = candidates.significance.reshape(4, 4)
    for r, c in itertools.product((0, 2), (0, 2)):
        tile = weights[r : r + 2, c : c + 2]
        best = np.unravel_index(tile.argmax(), (2, 2))
        assert (r + best[0]) * 4 + c + best[1] in index


# --- flexible pooling


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 8), cols=st.integers(1, 8), seed=st.integers(0, 99))
def test_rectangles_are_averaged(rows: int, cols: int, seed: int) -> None:
    candidates = make(rows, cols, seed, 10**6, holes=False)
    pruner = FlexiblePooling(block=8, side=3)
    grid = pruner.select(candidates).grid
    assert grid.parent is not None
    unit = normalised(candidates.vectors).reshape(rows, cols, 6)  # type: ignore[arg-type]
    starts = [[math.floor(i * size / min(3, size)) for i in range(min(3, size))] + [size] for size in (rows, cols)]
    slots = grid.parent.reshape(rows, cols)
    for r0, r1 in itertools.pairwise(starts[0]):
        for c0, c1 in itertools.pairwise(starts[1]):
            (slot,) = set(slots[r0:r1, c0:c1].ravel().tolist())
            if (r1 - r0) * (c1 - c0) > 1:
                np.testing.assert_allclose(grid.dense()[slot], unit[r0:r1, c0:c1].mean(axis=(0, 1)), atol=1e-6)
    assert len(grid) == min(3, rows) * min(3, cols)


# --- TokenCorrCompressor


@settings(max_examples=30, deadline=None)
@given(
    m=st.integers(1, 12),
    seed=st.integers(0, 99),
    alpha=st.sampled_from([-0.2, 0.1, 0.6]),
    beta=st.sampled_from([0, 0.3]),
)
def test_density_is_the_share_that_few_resemble(m: int, seed: int, alpha: float, beta: float) -> None:
    keys = normalised(np.random.default_rng(seed).normal(size=(m, 3)))
    similar = keys @ keys.T
    redundant = 0
    for i in range(m):
        alike = sum(1 for j in range(m) if j != i and similar[i, j] > alpha)
        redundant += alike > beta * (m - 1)
    assert density(similar, alpha, beta) == pytest.approx(1 - redundant / m)


def test_outliers_are_above_the_upper_quartile() -> None:
    assert outliers(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 100]), 1.5).tolist() == [False] * 8 + [True]
    assert not outliers(np.ones(5), 1.5).any()


def test_a_sample_follows_the_weights() -> None:
    """Of many draws of one, each is drawn as often as its share of the weights; of weight 0, last of all."""
    weights, often = np.array([1.0, 2.0, 5.0, 0.0]), np.zeros(4)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        drawn = rng.integers(0, 2**64, 4, dtype=np.uint64)
        often[sample(weights, drawn, 1)[0]] += 1
        assert sample(weights, drawn, 4)[3] == 3
    np.testing.assert_allclose(often / 4000, weights / 8, atol=0.03)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_the_rest_is_summed_up_where_its_keys_are_nearest(seed: int) -> None:
    candidates = make(4, 4, seed, 10**6, holes=False)
    grid = CorrelationGuided(block=4, alpha=0.2, beta=0.2).select(candidates).grid
    keys, vectors = normalised(candidates.keys), normalised(candidates.vectors)  # type: ignore[arg-type]
    kept = grid.index.tolist()
    assert grid.parent is not None
    assert candidates.shallow is not None
    groups: dict[int, list[int]] = {k: [k] for k in kept}
    for token in set(range(16)) - set(kept):
        nearest = max(kept, key=lambda k: keys[token] @ keys[k])
        assert kept[grid.parent[token]] == nearest
        groups[nearest].append(token)
    for slot, k in enumerate(kept):
        members = sorted(groups[k])
        if len(members) > 1:
            weights = candidates.shallow[members].astype(np.float64)
            wanted = (vectors[members] * weights[:, None]).sum(axis=0) / weights.sum()
            np.testing.assert_allclose(grid.dense()[slot], wanted, atol=1e-6)
    with pytest.raises(ValueError, match="one was not given"):
        CorrelationGuided(block=4).select(replace(candidates, keys=None))


# --- SkipViT, Spiking Patches


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), keep=st.sampled_from([0.1, 0.5, 1.0]))
def test_skip_names_those_that_go_through(seed: int, keep: float) -> None:
    candidates = make(3, 5, seed, 10**6, holes=True)
    assert candidates.significance is not None
    chosen = SkipTokens(keep=keep).select(candidates)
    usable = np.flatnonzero(candidates.usable)
    best = sorted(usable, key=lambda k: -candidates.significance[k])[: max(1, round(keep * len(usable)))]  # type: ignore[index]
    assert chosen.placement == "within"
    assert chosen.grid.index.tolist() == sorted(best if len(usable) else [])


def test_events_are_counted_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    frame = TokenFrame(3, 4, 4)
    before = rng.uniform(0.2, 1, (12, 16, 3))
    now = before.copy()
    now[2:7, 5:11] *= 1.9
    now[8, 0] = np.nan
    candidates = Candidates(frame, pixels=now, earlier=before)
    wanted = np.zeros(12, np.int64)
    for row in range(12):
        for col in range(16):
            a, b = before[row, col].mean(), now[row, col].mean()
            if not math.isnan(b):
                wanted[(row // 4) * 4 + col // 4] += math.floor(abs(math.log(b / a)) / 0.2 + 1e-9)
    np.testing.assert_array_equal(spikes(candidates, 1, 0.2), wanted)
    np.testing.assert_array_equal(spikes(candidates, 7, 0.2), wanted // 7)
    kept = EventPatches(sigma=7, contrast=0.2).select(candidates).grid.index
    np.testing.assert_array_equal(kept, np.flatnonzero(wanted >= 7))
    assert len(EventPatches().select(Candidates(frame, pixels=before, earlier=before)).grid) == 0  # nothing changed
    dark = np.zeros((12, 16, 1), np.uint8)
    assert len(EventPatches().select(Candidates(frame, pixels=dark, earlier=dark)).grid) == 0
    with pytest.raises(ValueError, match="`earlier` was not given"):
        EventPatches().select(Candidates(frame, pixels=now))
    with pytest.raises(ValueError, match="the same bands"):
        EventPatches().select(Candidates(frame, pixels=now, earlier=dark))


def test_no_two_methods_choose_the_same_throughout() -> None:
    """Each with the signal that it asks for, at one budget: a method that is another one under a second name would."""
    named = {"keep": 0.4, "nodata": 0.0}
    distinct: list[Any] = [
        method(**{key: value for key, value in named.items() if key in method.__dataclass_fields__})
        for method in METHODS.values()
    ]
    variants: tuple[dict[str, Any], ...] = (
        {"method": "ward", "metric": "cosine"},
        {"method": "bipartite", "step": 8},
        {"method": "pooling", "centres": "means"},
    )
    distinct += [pruner_from_json({**one, "keep": 0.4}) for one in variants]
    distinct.append(pruner_from_json({"method": "random", "keep": 0.4, "seed": 1}))
    chosen = [[pruner.select(image_for(pruner, seed)).grid.index.tobytes() for seed in range(6)] for pruner in distinct]
    for (a, mine), (b, theirs) in itertools.combinations(zip(distinct, chosen, strict=True), 2):
        assert mine != theirs, f"{name_of(a)} and {name_of(b)} choose the same tokens of every image"


def image_for(pruner: Any, seed: int) -> Candidates:
    """A grid with all that any method asks for; `significance` is the signal that this one takes."""
    rng = np.random.default_rng((seed, 7))
    own = np.random.default_rng((seed, ["text", "attention", "transition", "sensitivity"].index(pruner.signal)))
    pixels = rng.choice([0, 0, 90, 200], (16, 24, 1)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    pixels[:32] += rng.integers(0, 2, (32, 192, 1), np.uint8)
    cells = 16 * 24
    keys = rng.normal(size=(3, 4))[rng.integers(0, 3, cells)] + rng.normal(0, 0.1, (cells, 4))
    return Candidates(
        TokenFrame(16, 24, 8), rng.normal(size=(cells, 8)).astype(np.float32), pixels, None,
        own.random(cells).astype(np.float32), f"page-{seed}", keys.astype(np.float32), rng.random(cells).astype(np.float32),
        np.roll(pixels, 40, axis=1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"method": "script", "edge": 1.0}, "edge is 1.0"), ({"method": "pagerank", "steps": 0}, "steps 0"),
        ({"method": "core", "beta": 0}, "beta 0"), ({"method": "pyramid", "tile": 99}, "tile is 99"),
        ({"method": "flexible", "side": 0}, "side is 0"), ({"method": "correlation", "beta": 1}, "beta 1"),
        ({"method": "skip", "first": 3, "last": 3}, "layers 3 to 3"), ({"method": "events", "sigma": 0}, "sigma is 0"),
        ({"method": "transition", "keep": 2}, "keep is 2"), ({"method": "zeroth-order", "keep": 0}, "keep is 0"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told.replace(".", r"\.")):
        pruner_from_json(wrong)
