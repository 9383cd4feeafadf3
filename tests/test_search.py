"""The search kernel against sorting all scores; ties, margins, and hits that come in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.client import search
from gridscribe.client.search import Best, Place, contenders, dots, doubt, scores, top_k
from gridscribe.quantise import Quantised, quantise


def unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow(vectors: Quantised, query: np.ndarray, k: int) -> list[tuple[int, float]]:
    """Sorted by score, then row, a row at a time."""
    all_ = []
    for row, (values, scale) in enumerate(zip(vectors.values, vectors.scale, strict=True)):
        products = values.astype(np.float64) * query.astype(np.float64)
        all_.append((-float(products.sum()) * float(scale), row))
    return [(row, -score) for score, row in sorted(all_)[:k]]


@st.composite
def stored(draw: st.DrawFn) -> Quantised:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, dim = draw(st.integers(0, 300)), draw(st.sampled_from([1, 2, 7, 24, 130]))
    distinct = draw(st.integers(1, 300))  # few: many rows are equal, and tie
    vectors = rng.normal(size=(distinct, dim))[rng.integers(0, distinct, count)]
    if draw(st.booleans()):
        vectors[rng.random(count) < 0.2] = 0
    return quantise(vectors)


@settings(max_examples=150, deadline=None)
@given(vectors=stored(), k=st.integers(1, 320), seed=st.integers(0, 99), at_once=st.sampled_from([1, 13, 1 << 16]))
def test_the_best_are_those_of_sorting_everything(vectors: Quantised, k: int, seed: int, at_once: int) -> None:
    queries = unit(np.random.default_rng(seed), 3, vectors.dim)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "AT_ONCE", at_once)
        patch.setattr(search, "CACHE", 4 * vectors.dim * 5)
        rows, found = top_k(vectors, queries, k)
    assert rows.shape == found.shape == (3, min(k, len(vectors)))
    for number, query in enumerate(queries):
        assert list(zip(rows[number].tolist(), found[number].tolist(), strict=True)) == slow(vectors, query, k)


@settings(max_examples=100, deadline=None)
@given(vectors=stored(), seed=st.integers(0, 99))
def test_rough_scores_miss_by_no_more_than_is_promised(vectors: Quantised, seed: int) -> None:
    query = unit(np.random.default_rng(seed), 1, vectors.dim)[0]
    rough = dots(vectors.values, query) * vectors.scale.astype(np.float32)
    assert (np.abs(rough - scores(vectors, query)) <= doubt(vectors)).all()


@pytest.mark.parametrize("dim", [16, 512, 1024])
def test_the_promise_holds_where_rounding_is_worst(dim: int) -> None:
    """Rows and a query of full swing, their products of one sign and of both."""
    rng = np.random.default_rng(0)
    values = rng.choice(np.array([-127, 127], np.int8), (500, dim))
    values[:250] = 127
    vectors = Quantised(values, np.full(500, np.float16(1.0)))
    query = np.full(dim, 1 / np.sqrt(dim), np.float32)
    miss = np.abs(dots(values, query).astype(np.float64) - scores(vectors, query))
    assert (miss <= doubt(vectors)).all()


def test_bits_of_a_score_depend_on_its_row_alone() -> None:
    rng = np.random.default_rng(1)
    vectors, query = quantise(rng.normal(size=(3000, 96))), unit(rng, 1, 96)[0]
    together = scores(vectors, query)
    for row in (0, 1, 1023, 1024, 2999):
        assert scores(vectors.take(slice(row, row + 1)), query)[0] == together[row]
    some = rng.permutation(3000)[:1500]
    assert np.array_equal(scores(vectors.take(some), query), together[some])


def test_rows_in_doubt_are_scored_again() -> None:
    """Two rows whose order float32 cannot tell: only the exact score may decide."""
    rough, slack = np.array([0.5, 0.5 + 1e-6, 0.2], np.float32), np.full(3, 1e-4, np.float32)
    assert contenders(rough, slack, 1, -np.inf).tolist() == [0, 1]
    assert contenders(rough, slack, 3, 0.50005).tolist() == [0, 1]
    assert contenders(rough, slack, 3, 0.6).tolist() == []


ENTRIES = st.lists(
    st.tuples(st.integers(0, 6).map(lambda v: v / 4), st.sampled_from("abcdefgh"), st.integers(0, 3)), max_size=40
)


@settings(max_examples=200, deadline=None)
@given(
    entries=ENTRIES,
    k=st.integers(1, 10),
    threshold=st.sampled_from([None, 0.0, 0.5]),
    without=st.sampled_from([None, "c"]),
    data=st.data(),
)
def test_hits_may_come_in_any_order(
    entries: list[tuple[float, str, int]], k: int, threshold: float | None, without: str | None, data: st.DataObject
) -> None:
    hits = [(score, name, Place(table, 0, 0)) for score, name, table in entries]
    best: dict[str, tuple[float, Place]] = {}
    for score, name, place in sorted(hits, key=lambda hit: (-hit[0], hit[2])):
        best.setdefault(name, (score, place))
    wanted = sorted((-score, name, place) for name, (score, place) in best.items())
    wanted = [w for w in wanted if (threshold is None or -w[0] >= threshold) and w[1] != without][:k]
    for order in (hits, data.draw(st.permutations(hits))):
        found = Best(k, threshold, without)
        bars = [found.bar]
        step = data.draw(st.integers(1, 5))
        for start in range(0, len(order), step):
            found.add(order[start : start + step])
            bars.append(found.bar)
        assert [(-hit.score, hit.region_id, hit.place) for hit in found.hits()] == wanted
        assert bars == sorted(bars)
        assert found.room == k + (without is not None)


def test_float16_vectors_have_products_too() -> None:
    rng: Any = np.random.default_rng(0)
    vectors, query = quantise(rng.normal(size=(50, 24)), "float16"), unit(rng, 1, 24)[0]
    np.testing.assert_allclose(dots(vectors.values, query), vectors.dequantised() @ query, atol=1e-6)
