"""Places of phrases on pages against the slow way, and that they stand where the phrase was put."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.page_scores import NONE, best_places, place_scores, reach, smoothed


def noise(tokens: int, rows: int, cols: int, seed: int, holes: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    similar = rng.uniform(-0.2, 0.3, (tokens, rows, cols)).astype(np.float32)
    similar[:, rng.random((rows, cols)) < holes] = NONE
    return similar


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(1, 4), rows=st.integers(1, 9), cols=st.integers(1, 14), seed=st.integers(0, 99),
    holes=st.sampled_from([0.0, 0.6, 1.0]), length=st.integers(1, 5),
)  # fmt: skip
def test_a_place_scores_the_mean_of_the_best_about_it(
    tokens: int, rows: int, cols: int, seed: int, holes: float, length: int
) -> None:
    similar = noise(tokens, rows, cols, seed, holes)
    lengths = [length] * tokens
    found = place_scores(similar, lengths)
    down, across = reach(lengths)
    meant = [slow_smoothed(one, length) for one in similar]
    for one, slow in zip(similar, meant, strict=True):
        np.testing.assert_allclose(smoothed(one, length), slow, atol=1e-5)
    for r in range(rows):
        for c in range(cols):
            window = np.s_[max(0, r - down) : r + down + 1, max(0, c - across) : c + across + 1]
            assert abs(found[r, c] - np.mean([one[window].max() for one in meant])) < 1e-5
    assert (found <= similar.max(axis=(1, 2)).mean() + 1e-5).all()  # what archives are searched by bounds with


def slow_smoothed(one: np.ndarray, length: int) -> np.ndarray:
    """As scipy's uniform filter lies: an even side reaches one further up and left."""
    rows, cols = one.shape
    out = np.zeros(one.shape)
    for r in range(rows):
        for c in range(cols):
            cells = [
                one[i, j] if 0 <= i < rows and 0 <= j < cols else NONE
                for i in range(r - 1, r + 1)
                for j in range(c - length // 2, c - length // 2 + length)
            ]
            out[r, c] = np.mean(cells)
    return out


def test_a_phrase_stands_where_its_tokens_stand_together() -> None:
    similar = noise(2, 40, 60, 0, 0.3)
    for row, col in ((10, 20), (30, 5)):  # both words, once side by side, once as the first alone
        similar[0, row : row + 2, col : col + 5] = 0.9
    similar[1, 10:12, 27:33] = 0.9
    places = best_places(similar, [5, 6], 3)
    first = places[0]
    assert first.score > places[1].score + 0.1
    assert (first.row0, first.col0, first.row1, first.col1) == (10, 20, 12, 33)
    assert len(places) == 3
    taken = np.zeros((40, 60), int)
    for place in places:
        taken[place.row0 : place.row1, place.col0 : place.col1] += 1
    assert taken.max() == 1  # none over another


def test_a_page_without_tokens_has_no_place() -> None:
    assert best_places(np.full((2, 5, 7), NONE, np.float32), [3, 3], 4) == []
