"""Keeping what is text: by each token alone, and only where the probability is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import UsageError
from gridscribe.models.pruning import Candidates, pruner_from_json
from gridscribe.models.pruning.text_prior import TextPrior
from gridscribe.tokens import TokenFrame, join
from gridscribe.values import Window


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 7), cols=st.integers(1, 9), seed=st.integers(0, 99), threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    holes=st.booleans(),
)  # fmt: skip
def test_what_is_likely_enough_stays_and_nothing_else(
    rows: int, cols: int, seed: int, threshold: float, holes: bool
) -> None:
    rng = np.random.default_rng(seed)
    frame = TokenFrame(rows, cols, 7)
    text = rng.choice([0.0, 0.3, 0.5, 0.9, 1.0], rows * cols).astype(np.float32)
    valid = rng.random(rows * cols) < 0.6 if holes else None
    pruner = TextPrior(threshold)
    grid = pruner.select(Candidates(frame, significance=text, valid=valid)).grid
    wanted = [k for k in range(rows * cols) if text[k] >= np.float32(threshold) and (valid is None or valid[k])]
    assert grid.index.tolist() == wanted
    assert grid.parent is None
    halves = []
    for box in (Window(0, 0, rows, cols // 2), Window(0, cols // 2, rows, cols - cols // 2)):
        if box:
            part = frame.with_box(box)
            local = frame.local(part.indices())
            cut = Candidates(part, significance=text[local], valid=None if valid is None else valid[local])
            halves.append(pruner.select(cut).grid)
    assert join(halves).index.tolist() == wanted  # however the image is cut


def test_what_it_needs_is_said() -> None:
    assert pruner_from_json({"method": "text-prior", "threshold": 0.2}) == TextPrior(0.2)
    assert pruner_from_json(TextPrior(0.2).to_json()) == TextPrior(0.2)
    with pytest.raises(UsageError, match=r"threshold is 1\.5"):
        TextPrior(1.5)
    with pytest.raises(ValueError, match="the probability of text, which pages have"):
        TextPrior().select(Candidates(TokenFrame(1, 1, 7)))
