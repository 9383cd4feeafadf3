"""Naming from a large bank: the choice against one made by hand, and words of a real (untrained) model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import Client
from gridscribe.client import phrases
from gridscribe.client.naming import VARIED, named
from gridscribe.errors import QueryError, UsageError
from gridscribe.models.clip.concepts import concepts_path, parse_concepts, read_concepts
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.text import SATELLITE, TextEncoder
from gridscribe.workers.run import RunRequest, run_job
from tests.tiny import tiny_package, write_pair
from tests.tiny_clip import tiny_alignment


def unit(rng: np.random.Generator, count: int, dim: int = 6) -> np.ndarray:
    vectors = rng.normal(size=(count, dim)) + 1.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 12), top_k=st.integers(1, 14), seed=st.integers(0, 999))
def test_words_are_chosen_one_by_one(count: int, top_k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words, (region,) = unit(rng, count), unit(rng, 1)
    mean = words.astype(np.float64).mean(axis=0)
    about = [(w - mean) / np.linalg.norm(w - mean) for w in words.astype(np.float64)]
    itself = (region - mean) / np.linalg.norm(region - mean)
    scores = [float(a @ itself) for a in about]
    chosen: list[int] = []
    while len(chosen) < min(top_k, count):
        worth = {
            k: scores[k] - VARIED * max([0.0, *(float(about[k] @ about[c]) for c in chosen)])
            for k in range(count) if k not in chosen
        }  # fmt: skip
        chosen.append(max(worth, key=lambda k: worth[k]))
    found = named(region, words, top_k)
    assert sorted(k for k, _ in found) == sorted(chosen)
    np.testing.assert_allclose(
        [score for _, score in found], sorted((scores[k] for k in chosen), reverse=True), atol=1e-6
    )


def test_synonyms_do_not_fill_the_answer() -> None:
    """Three words that are nearly one, and one that is a little further: it is among the first two."""
    rng = np.random.default_rng(1)
    pool, car, others = *unit(rng, 2, 32), unit(rng, 40, 32)
    near = [pool + 0.02 * rng.normal(size=32) for _ in range(3)]
    words = np.stack([*near, car, *others]).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    region = (0.75 * pool + 0.7 * car).astype(np.float32)
    chosen = [k for k, _ in named(region / np.linalg.norm(region), words, 2)]
    assert 3 in chosen
    assert set(chosen) & {0, 1, 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("naming")
    tiny_package(folder / "masks")
    tiny_alignment(folder / "align")
    write_pair(folder / "tiles", "t", 200, 160, seed=4)
    overrides = {"model": str(folder / "masks"), "alignment": {"model": str(folder / "align"), "concepts": None}}
    run_job(RunRequest("raster", (str(folder / "tiles"),), str(folder / "out"), executor="local", overrides=overrides))
    return folder


def test_a_region_is_named_from_any_bank(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(place / "out")
    region = client.region(client.regions().to_pylist()[0]["region_id"])
    words = ["a boat", "three cows", "a lawn", "snow"]
    vectors = np.concatenate([TextEncoder(load_alignment(place / "align")).embed([word], SATELLITE) for word in words])
    assert region.embedding is not None
    wanted = [(words[k], score) for k, score in named(region.embedding, vectors, 3)]
    found = client.describe(region.region_id, words, top_k=3)
    assert [label.text for label in found] == [text for text, _ in wanted]
    np.testing.assert_allclose([label.score for label in found], [score for _, score in wanted], atol=1e-5)
    assert len(client.describe(region.region_id, top_k=7)) == 7

    with pytest.raises(QueryError, match="top_k=0"):
        client.describe(region.region_id, words, top_k=0)
    with pytest.raises(UsageError, match="'nothing'"):
        client.describe(region.region_id, "nothing")
    with pytest.raises(QueryError, match="no region 'x'"):
        client.describe("x", words)
    monkeypatch.setattr(phrases, "_missing", lambda: "torch (none)")
    with pytest.raises(QueryError, match=r"needs the text tower, and torch \(none\)"):
        Client(place / "out").describe(region.region_id, words)


def test_the_shipped_bank_is_large_and_in_order() -> None:
    bank = read_concepts(concepts_path("things"))
    assert len(bank.concepts) > 300
    assert parse_concepts(bank.to_text(), "again") == bank
