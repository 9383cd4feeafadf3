"""Pruning methods: each against its formula written the slow way, and what all of them promise."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import UsageError
from gridscribe.models.pruning import Candidates, Pruner, pruner_from_json
from gridscribe.models.pruning.bipartite import BipartiteMerging
from gridscribe.models.pruning.pixels import DropNodata, MergeDuplicates, PixelPrune
from gridscribe.models.pruning.pooling import TokenPooling
from gridscribe.models.pruning.simple import KeepAll, RandomTokens
from gridscribe.models.pruning.ward import WardPooling
from gridscribe.tokens import TokenFrame, TokenGrid, join
from gridscribe.values import Window

PATCH, BLOCK = 2, 4
ALL: list[Pruner] = [
    KeepAll(),
    WardPooling(block=BLOCK),
    WardPooling(block=BLOCK, metric="cosine", keep=0.5),
    BipartiteMerging(block=BLOCK),
    BipartiteMerging(block=BLOCK, step=1, keep=0.4),
    TokenPooling(block=BLOCK),
    TokenPooling(block=BLOCK, centres="means", keep=0.5),
    DropNodata(nodata=0),
    MergeDuplicates(block=BLOCK),
    PixelPrune(block=BLOCK),
    PixelPrune(block=BLOCK, tau=1),
    RandomTokens(block=BLOCK),
]
MERGING = [pruner for pruner in ALL if pruner.name in ("ward", "bipartite", "pooling")]
BUDGETED: list[Any] = [*MERGING, RandomTokens(block=BLOCK)]


def name_of(pruner: Pruner) -> str:
    return "-".join(str(value) for value in pruner.to_json().values())


def make(
    frame: TokenFrame, seed: int, *, distinct: int = 10**6, holes: bool = False, weights: bool = False
) -> Candidates:
    """Random tokens; with few `distinct` ones many are equal, as on a blank page."""
    rng = np.random.default_rng(seed)
    cells, box = frame.cells, frame.box
    vectors = rng.normal(size=(cells, 6)).astype(np.float32)
    if distinct < cells:
        vectors = vectors[rng.integers(0, distinct, cells)]
    return Candidates(
        frame,
        vectors,
        rng.integers(0, 3, (box.height * PATCH, box.width * PATCH, 1)).repeat(1, 2).astype(np.uint8)
        if distinct > 9
        else np.kron(rng.integers(0, 3, (box.height, box.width)), np.ones((PATCH, PATCH)))[..., None].astype(np.uint8),
        rng.random(cells) < 0.7 if holes else None,
        rng.random(cells).astype(np.float32) if weights else None,
        f"digest-{seed}",
    )


FRAMES = st.builds(TokenFrame, st.integers(1, 9), st.integers(1, 9), st.just(PATCH))
CANDIDATES = st.builds(
    make,
    FRAMES,
    st.integers(0, 999),
    distinct=st.sampled_from([1, 3, 10**6]),
    holes=st.booleans(),
    weights=st.booleans(),
)


# --- what all methods promise


@pytest.mark.parametrize("pruner", ALL, ids=name_of)
@settings(max_examples=25, deadline=None)
@given(CANDIDATES)
def test_every_token_is_accounted_for(pruner: Pruner, candidates: Candidates) -> None:
    grid = pruner.select(candidates).grid
    frame, index = candidates.frame, grid.index
    assert index.dtype == np.int32
    assert (np.diff(index) > 0).all()
    assert np.isin(index, frame.indices()).all()
    local = frame.local(index)
    assert candidates.usable[local].all()
    if grid.parent is not None:
        assert (grid.parent[local] == np.arange(len(index))).all()
        # merging loses no valid token and takes up no other
        assert np.array_equal(grid.parent >= 0, candidates.usable)
        sizes = np.bincount(grid.parent[grid.parent >= 0], minlength=len(index))
        assert sizes.sum() == candidates.usable.sum()
        assert (sizes > 0).all()
    states = [grid.token(int(i)).status for i in frame.indices()]
    assert states.count("kept") == len(index)
    assert states.count("kept") + states.count("merged") + states.count("dropped") == frame.cells


@pytest.mark.parametrize("pruner", ALL, ids=name_of)
@settings(max_examples=10, deadline=None)
@given(CANDIDATES)
def test_equal_input_gives_equal_bytes_and_vectors_go_round(pruner: Pruner, candidates: Candidates) -> None:
    selection, again = pruner.select(candidates), pruner.select(replace(candidates))
    assert selection.grid == again.grid
    assert candidates.vectors is not None
    grid = selection.tokens(candidates.vectors)
    dense, held = grid.scatter()
    assert np.array_equal(grid.gather(dense), grid.dense())
    assert held.sum() == (grid.source_map >= 0).sum()
    if selection.grid.vectors is None:
        assert np.array_equal(grid.dense(), candidates.vectors[candidates.frame.local(grid.index)])


@pytest.mark.parametrize("pruner", BUDGETED, ids=name_of)
@settings(max_examples=25, deadline=None)
@given(CANDIDATES)
def test_budgets_hold_in_every_block(pruner: Any, candidates: Candidates) -> None:
    """Also where all tokens are equal: not one cluster, but as many as were asked for."""
    frame = candidates.frame
    index = pruner.select(candidates).grid.index
    for window in frame.box.split(BLOCK):
        cells = frame.with_box(window).indices()
        usable = int(candidates.usable[frame.local(cells)].sum())
        expected = 0 if usable == 0 else max(1, int(usable * pruner.keep + 1e-9))
        assert np.isin(index, cells).sum() == expected


@pytest.mark.parametrize("pruner", ALL, ids=name_of)
def test_items_of_any_box_give_the_image(pruner: Pruner) -> None:
    frame = TokenFrame(11, 14, PATCH)
    whole = make(frame, 3, distinct=8, holes=True, weights=True)
    parts = []
    for box in (Window(0, 0, 4, 8), Window(0, 8, 4, 6), Window(4, 0, 7, 4), Window(4, 4, 7, 10)):
        part = frame.with_box(box)
        local = frame.local(part.indices())
        assert whole.vectors is not None
        assert whole.pixels is not None
        assert whole.valid is not None
        assert whole.significance is not None
        rows, cols = slice(box.row * PATCH, box.row1 * PATCH), slice(box.col * PATCH, box.col1 * PATCH)
        candidates = Candidates(
            part,
            whole.vectors[local],
            whole.pixels[rows, cols],
            whole.valid[local],
            whole.significance[local],
            whole.digest,
        )
        parts.append(pruner.select(candidates).grid)
    assert join(parts) == pruner.select(whole).grid


@pytest.mark.parametrize("pruner", BUDGETED, ids=name_of)
def test_a_box_that_cuts_a_block_is_refused(pruner: Pruner) -> None:
    with pytest.raises(ValueError, match=r"rows 2 to 6 of tokens cut a block of 4"):
        pruner.select(make(TokenFrame(8, 8, PATCH, Window(2, 0, 4, 4)), 0))


@pytest.mark.parametrize("pruner", [p for p in BUDGETED if p.name != "random"], ids=name_of)
@settings(max_examples=15, deadline=None)
@given(CANDIDATES)
def test_keeping_all_changes_no_bit(pruner: Any, candidates: Candidates) -> None:
    grid = replace(pruner, keep=1.0).select(candidates).grid
    assert candidates.vectors is not None
    assert np.array_equal(grid.index, candidates.frame.indices()[candidates.usable])
    assert grid.dense().tobytes() == candidates.vectors[candidates.usable].tobytes()


@settings(max_examples=15, deadline=None)
@given(CANDIDATES)
def test_keep_all_is_the_image(candidates: Candidates) -> None:
    assert candidates.vectors is not None
    grid = KeepAll().select(candidates).tokens(candidates.vectors)
    expected = TokenGrid(
        candidates.frame, candidates.frame.indices()[candidates.usable], None, candidates.vectors[candidates.usable]
    )
    assert grid == expected


@pytest.mark.parametrize("pruner", ALL, ids=name_of)
def test_an_image_without_data_and_one_of_a_single_token(pruner: Pruner) -> None:
    empty = replace(make(TokenFrame(3, 5, PATCH), 0), valid=np.zeros(15, np.bool_))
    assert len(pruner.select(empty).grid) == 0
    single = replace(make(TokenFrame(1, 1, PATCH), 0), pixels=np.full((PATCH, PATCH, 1), 7, np.uint8))
    assert pruner.select(single).grid.index.tolist() == [0]


# --- Ward


def unit_of(vectors: np.ndarray) -> np.ndarray:
    return np.array([v / np.linalg.norm(v) for v in vectors.astype(np.float64)])


def partition(grid: TokenGrid) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(grid.source_map == slot).tolist()) for slot in range(len(grid))}


def slow_ward(unit: np.ndarray, count: int) -> set[frozenset[int]]:
    """Merge the two clusters whose union adds least to the sum of squares about means, from the definition."""

    def squares(members: list[int]) -> float:
        return float(((unit[members] - unit[members].mean(axis=0)) ** 2).sum())

    clusters = [[i] for i in range(len(unit))]
    while len(clusters) > count:
        a, b = min(combinations(clusters, 2), key=lambda p: squares(p[0] + p[1]) - squares(p[0]) - squares(p[1]))
        clusters = [c for c in clusters if c not in (a, b)] + [a + b]
    return {frozenset(c) for c in clusters}


def slow_ward_of_distances(distance: np.ndarray, count: int) -> set[frozenset[int]]:
    """Lance and Williams' recurrence for Ward: d(s u t, v)**2 of squared distances weighted by sizes."""
    clusters = {i: [i] for i in range(len(distance))}
    d = {frozenset(pair): distance[pair] for pair in combinations(range(len(distance)), 2)}
    while len(clusters) > count:
        s, t = min(combinations(sorted(clusters), 2), key=lambda pair: d[frozenset(pair)])
        a, b, st_ = len(clusters[s]), len(clusters[t]), d[frozenset((s, t))]
        new = max(clusters) + 1
        for v in set(clusters) - {s, t}:
            c = len(clusters[v])
            sv, tv = d[frozenset((s, v))], d[frozenset((t, v))]
            d[frozenset((new, v))] = np.sqrt(((a + c) * sv**2 + (b + c) * tv**2 - c * st_**2) / (a + b + c))
        clusters[new] = clusters.pop(s) + clusters.pop(t)
    return {frozenset(c) for c in clusters.values()}


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 999), st.sampled_from([0.1, 0.2, 0.5, 0.8]))
def test_ward_is_ward(rows: int, cols: int, seed: int, keep: float) -> None:
    candidates = make(TokenFrame(rows, cols, PATCH), seed)
    assert candidates.vectors is not None
    unit = unit_of(candidates.vectors)
    assert len(np.unique(unit, axis=0)) == len(unit)  # no ties: one answer is right
    count = max(1, int(len(unit) * keep + 1e-9))
    grid = WardPooling(keep=keep).select(candidates).grid
    assert partition(grid) == slow_ward(unit, count)
    cosine = WardPooling(keep=keep, metric="cosine").select(candidates).grid
    assert partition(cosine) == slow_ward_of_distances(1 - unit @ unit.T, count)
    for result in (grid, cosine):
        for slot, index in enumerate(result.index):
            members = np.flatnonzero(result.source_map == slot)
            mean = unit[members].mean(axis=0)
            inside = [((unit[members] - unit[m]) ** 2).sum() for m in members]
            assert np.isclose(inside[members.tolist().index(index)], min(inside))
            expected = candidates.vectors[index] if len(members) == 1 else mean / np.linalg.norm(mean)
            assert np.allclose(result.dense()[slot], expected, atol=1e-6)


# --- bipartite matching


def slow_bipartite(vectors: np.ndarray, count: int, step: int | None) -> list[list[int]]:
    """The members of each surviving token, in order; every pair's cosine on its own, means from the members."""
    tokens = [[i] for i in range(len(vectors))]
    while len(tokens) > count:
        mean = [vectors[members].astype(np.float64).mean(axis=0) for members in tokens]
        edges = []
        for a in range(0, len(tokens), 2):
            likeness = [
                (mean[a] @ mean[b]) / (np.linalg.norm(mean[a]) * np.linalg.norm(mean[b]))
                for b in range(1, len(tokens), 2)
            ]
            edges.append((-max(likeness), a, 2 * int(np.argmax(likeness)) + 1))
        for _, a, b in sorted(edges)[: min(len(tokens) - count, len(tokens) // 2, step or len(tokens))]:
            tokens[b] = tokens[b] + tokens[a]
            tokens[a] = []
        tokens = [members for members in tokens if members]
    return tokens


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 999),
    st.sampled_from([0.2, 0.5]),
    st.sampled_from([None, 1, 3]),
)
def test_bipartite_merging_is_its_formula(rows: int, cols: int, seed: int, keep: float, step: int | None) -> None:
    frame = TokenFrame(rows, cols, PATCH)
    vectors = np.random.default_rng(seed).normal(size=(frame.cells, 6)).astype(np.float32)
    grid = BipartiteMerging(keep=keep, step=step).select(Candidates(frame, vectors)).grid
    groups = slow_bipartite(vectors, max(1, int(frame.cells * keep + 1e-9)), step)
    assert partition(grid) == {frozenset(group) for group in groups}
    for slot in range(len(grid)):  # the mean weighted by size is the mean of the sources
        members = grid.source_map == slot
        assert np.allclose(grid.dense()[slot], vectors[members].mean(axis=0), atol=1e-6)


# --- token pooling


def objective(unit: np.ndarray, weights: np.ndarray, grid: TokenGrid, centres: np.ndarray) -> float:
    return float((weights * ((unit - centres[grid.source_map]) ** 2).sum(axis=1)).sum())


def slow_pooling(unit: np.ndarray, weights: np.ndarray, chosen: list[int], steps: int, *, medoids: bool) -> Any:
    """Lloyd's steps in loops: (group of each token, centres)."""
    centres = [unit[i] for i in chosen]
    for _ in range(steps):
        group = [int(np.argmin([((f - c) ** 2).sum() for c in centres])) for f in unit]
        for j in range(len(chosen)):
            members = [i for i in range(len(unit)) if group[i] == j]
            if medoids:
                cost = [sum(weights[i] * ((unit[i] - unit[m]) ** 2).sum() for i in members) for m in members]
                chosen[j] = next(m for m, c in zip(members, cost, strict=True) if c <= min(cost) * (1 + 1e-9) + 1e-15)
                centres[j] = unit[chosen[j]]
            else:
                centres[j] = sum(weights[i] * unit[i] for i in members) / sum(weights[i] for i in members)
    return group, chosen if medoids else centres


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 999), st.booleans(), st.integers(1, 4), st.booleans())
def test_token_pooling_is_lloyd(rows: int, cols: int, seed: int, weighted: bool, steps: int, medoids: bool) -> None:
    frame = TokenFrame(rows, cols, PATCH)
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(frame.cells, 6)).astype(np.float32)
    weights = rng.random(frame.cells).astype(np.float32) + np.float32(0.1)
    count = max(1, frame.cells // 4)
    first = (
        sorted(np.argsort(-weights)[:count].tolist()) if weighted else [j * frame.cells // count for j in range(count)]
    )
    candidates = Candidates(frame, vectors, significance=weights if weighted else None)
    pruner = TokenPooling(steps=steps, centres="medoids" if medoids else "means")
    grid = pruner.select(candidates).grid
    unit, w = unit_of(vectors), weights.astype(float) if weighted else np.ones(frame.cells)
    group, centres = slow_pooling(unit, w, first, steps, medoids=medoids)
    assert partition(grid) == {frozenset(np.flatnonzero(np.array(group) == j).tolist()) for j in range(count)}
    if medoids:
        assert grid.index.tolist() == sorted(centres)
        assert grid.dense().tobytes() == vectors[grid.index].tobytes()
    else:
        for slot, index in enumerate(grid.index):
            centre = centres[group[index]]
            alone = (grid.source_map == slot).sum() == 1
            expected = vectors[index] if alone else centre / np.linalg.norm(centre)
            assert np.allclose(grid.dense()[slot], expected, atol=1e-6)


def test_of_a_pair_the_first_is_the_medoid() -> None:
    """Both are equally near to their mean; rounding must not choose."""
    frame = TokenFrame(1, 2, PATCH)
    for seed in range(200):
        candidates = make(frame, seed)
        for pruner in (WardPooling(), BipartiteMerging(), TokenPooling(), TokenPooling(centres="means")):
            assert pruner.select(candidates).grid.index.tolist() == [0], name_of(pruner)


@pytest.mark.parametrize("distinct", [3, 10**6])
def test_more_steps_never_raise_the_objective(distinct: int) -> None:
    for seed in range(5):
        candidates = make(TokenFrame(8, 8, PATCH), seed, distinct=distinct, weights=True)
        assert candidates.vectors is not None
        assert candidates.significance is not None
        unit, weights = unit_of(candidates.vectors), candidates.significance.astype(float)
        costs = []
        for steps in (1, 2, 3, 6):
            grid = TokenPooling(steps=steps).select(candidates).grid
            costs.append(objective(unit, weights, grid, unit[grid.index]))
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(costs))


def test_pooling_beats_random_at_equal_budget() -> None:
    """Why one would merge at all: the squared distance from each token to what stands for it."""
    rng = np.random.default_rng(0)
    frame = TokenFrame(16, 16, PATCH)
    prototypes = rng.normal(size=(12, 16))
    vectors = (prototypes[rng.integers(0, 12, 256)] + 0.3 * rng.normal(size=(256, 16))).astype(np.float32)
    candidates = Candidates(frame, vectors, digest="d")
    unit = unit_of(vectors)

    def error(grid: TokenGrid) -> float:
        return float(((unit[:, None] - unit_of(grid.dense())[None]) ** 2).sum(axis=2).min(axis=1).sum())

    by_chance = error(RandomTokens().select(candidates).tokens(vectors))
    for pruner in (WardPooling(), BipartiteMerging(), TokenPooling(), TokenPooling(centres="means")):
        assert error(pruner.select(candidates).tokens(vectors)) < 0.9 * by_chance, name_of(pruner)


# --- pixels


def patch_of(pixels: np.ndarray, row: int, col: int) -> np.ndarray:
    return pixels[row * PATCH : (row + 1) * PATCH, col * PATCH : (col + 1) * PATCH].astype(np.float64)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 999), st.sampled_from([0.0, 1.0, 3.0]), st.integers(2, 9))
def test_pixelprune_is_its_rule(rows: int, cols: int, seed: int, tau: float, levels: int) -> None:
    """In one block: the predictor on rebuilt pixels, in raster order."""
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, levels, (rows, cols)), np.ones((PATCH, PATCH), int))[..., None].repeat(3, 2)
    pixels = (pixels + (rng.random(pixels.shape) < 0.02)).astype(np.uint8)
    rebuilt: dict[tuple[int, int], np.ndarray] = {}
    kept = []

    def like(p: np.ndarray, q: np.ndarray) -> bool:
        return bool(np.abs(p - q).max() <= tau)

    for r in range(rows):
        for c in range(cols):
            x = patch_of(pixels, r, c)
            a, b, corner = (rebuilt.get(at) for at in ((r, c - 1), (r - 1, c), (r - 1, c - 1)))
            prediction = a if a is not None else b
            if a is not None and b is not None and corner is not None and like(corner, a) and not like(corner, b):
                prediction = b
            if prediction is None or not like(x, prediction):
                kept.append(r * cols + c)
                prediction = x
            rebuilt[r, c] = prediction
    frame = TokenFrame(rows, cols, PATCH)
    grid = PixelPrune(tau=tau).select(Candidates(frame, pixels=pixels)).grid
    assert grid.index.tolist() == kept
    for index in range(frame.cells):  # the map rebuilds the image, within tau
        source = grid.token(index).source
        assert source is not None
        assert np.array_equal(patch_of(pixels, *divmod(source, cols)), rebuilt[divmod(index, cols)])
        assert np.abs(patch_of(pixels, *divmod(source, cols)) - patch_of(pixels, *divmod(index, cols))).max() <= tau


@settings(max_examples=30, deadline=None)
@given(FRAMES, st.integers(0, 999))
def test_duplicates_are_merged_into_the_first(frame: TokenFrame, seed: int) -> None:
    pixels = make(frame, seed, distinct=3).pixels
    assert pixels is not None
    grid = MergeDuplicates(block=BLOCK).select(Candidates(frame, pixels=pixels)).grid
    for index in range(frame.cells):
        row, col = divmod(index, frame.grid_w)
        here = row // BLOCK, col // BLOCK
        cells = [divmod(i, frame.grid_w) for i in range(frame.cells)]
        block = [i for i, (r, c) in enumerate(cells) if (r // BLOCK, c // BLOCK) == here]
        mine = patch_of(pixels, row, col)
        first = next(i for i in block if np.array_equal(patch_of(pixels, *divmod(i, frame.grid_w)), mine))
        assert grid.token(index).source == first


def test_nodata_and_nan() -> None:
    pixels = np.ones((2 * PATCH, 3 * PATCH, 2), np.float32)
    pixels[:PATCH, :PATCH] = np.nan
    pixels[:PATCH, PATCH : 2 * PATCH, 0] = np.nan
    pixels[PATCH:, :PATCH] = -9
    pixels[PATCH:, PATCH : 2 * PATCH, 1] = -9
    candidates = Candidates(TokenFrame(2, 3, PATCH), pixels=pixels)
    assert DropNodata().select(candidates).grid.index.tolist() == [1, 2, 3, 4, 5]
    assert DropNodata(nodata=-9).select(candidates).grid.index.tolist() == [1, 2, 4, 5]
    pixels[PATCH:, PATCH:] = pixels[:PATCH, PATCH:]  # NaN in the same places, and a zero of the other sign
    pixels[0, -1], pixels[PATCH, -1] = 0.0, -0.0
    expected = [0, 1, 2, 3, 1, 2]
    by_prediction = [0, 1, 2, 3, 4, 2]  # of token 4 the left one is expected; of token 5 the upper one
    for pruner, sources in (
        (MergeDuplicates(), expected),
        (PixelPrune(), by_prediction),
        (PixelPrune(tau=0.5), by_prediction),
    ):
        grid = pruner.select(Candidates(TokenFrame(2, 3, PATCH), pixels=pixels)).grid
        assert [grid.token(i).source for i in range(6)] == sources, name_of(pruner)


def test_pixels_of_unsigned_types_do_not_wrap() -> None:
    pixels = np.array([[255, 255, 0, 0], [255, 255, 0, 0]], np.uint8)[..., None]
    grid = PixelPrune(tau=2).select(Candidates(TokenFrame(1, 2, PATCH), pixels=pixels)).grid
    assert grid.index.tolist() == [0, 1]


# --- lots


def test_lots_are_splitmix() -> None:
    """The generator in Python's integers."""
    import hashlib

    frame, mask = TokenFrame(4, 4, PATCH), 2**64 - 1
    state = int.from_bytes(hashlib.sha256(b"abc 5").digest()[:8], "little")
    lots = []
    for _ in range(16):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        lots.append(z ^ (z >> 31))
    chosen = RandomTokens(seed=5).select(Candidates(frame, digest="abc")).grid.index.tolist()
    assert chosen == sorted(sorted(range(16), key=lots.__getitem__)[:4])
    with pytest.raises(ValueError, match="digest"):
        RandomTokens().select(Candidates(frame))


def test_every_token_has_the_same_chance() -> None:
    frame = TokenFrame(4, 4, PATCH)
    counts = np.zeros(16)
    for image in range(2000):
        counts[RandomTokens().select(Candidates(frame, digest=str(image))).grid.index] += 1
    assert (np.abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()


# --- settings


@pytest.mark.parametrize("pruner", ALL, ids=name_of)
def test_settings_are_data(pruner: Pruner) -> None:
    data = pruner.to_json()
    assert pruner_from_json(data) == pruner
    assert pruner_from_json({"method": pruner.name}).to_json().keys() == data.keys()
    assert pruner.select(make(TokenFrame(4, 4, PATCH), 0)).placement == pruner.placement


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"method": "wart"}, r"'wart' is unknown: allowed are all, ward"),
        ({}, "None is unknown"),
        ({"method": "ward", "kept": 1}, r"no setting 'kept': it has keep, block, metric"),
        ({"method": "ward", "keep": 0}, r"keep is 0, allowed is a share"),
        ({"method": "ward", "keep": "half"}, "not understood"),
        ({"method": "ward", "metric": "l1"}, "'l1'"),
        ({"method": "bipartite", "block": 65}, "block is 65 .* 1 to 64"),
        ({"method": "bipartite", "step": 0}, "step is 0"),
        ({"method": "pooling", "centres": "x"}, "'x'"),
        ({"method": "pooling", "steps": 0}, "steps is 0"),
        ({"method": "pixelprune", "tau": -1}, "tau is -1"),
        ({"method": "random", "placement": "between"}, "'between'"),
    ],
)
def test_settings_that_cannot_be(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pruner_from_json(data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vectors": np.zeros((3, 2), np.float32)}, r"float32 \[4, D\], got float32 \[3, 2\]"),
        ({"vectors": np.full((4, 2), np.nan, np.float32)}, "4 of 4 tokens have NaN"),
        ({"valid": np.ones(4, np.int8)}, "valid needs bool"),
        ({"significance": np.full(4, -1, np.float32)}, "significance must be"),
        ({"pixels": np.zeros((4, 3, 1))}, r"\[4, 4, bands\].*pad"),
    ],
)
def test_candidates_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Candidates(TokenFrame(2, 2, PATCH), **fields)


def test_what_a_method_needs_is_named() -> None:
    bare = Candidates(TokenFrame(2, 2, PATCH))
    with pytest.raises(ValueError, match=r"'ward' works on vectors"):
        WardPooling().select(bare)
    with pytest.raises(ValueError, match=r"'pixelprune' works on pixels"):
        PixelPrune().select(bare)
    with pytest.raises(ValueError, match=r"float32 \[4, D\]"):
        KeepAll().select(bare).tokens(np.zeros((3, 2), np.float32))
