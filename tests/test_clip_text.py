"""Phrases: as open_clip embeds them, averaged over templates, each by itself, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer

from gridscribe.errors import ModelError, QueryError, UsageError
from gridscribe.models.clip.converting import package_clip
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.text import PLAIN, SATELLITE, TextEncoder
from tests.tiny_clip import tiny_clip

torch.set_num_threads(1)
PHRASES = ["a swimming pool", "tennis court", "Überdachter Parkplatz", "a field of {} rows", "x"]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_clip()


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    torch.save(model.state_dict(), folder / "tiny.pt")
    package_clip(folder / "tiny.pt", folder / "package", quick_gelu=True)
    return folder / "package"


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder(load_alignment(folder, towers=("text",)))


@torch.no_grad()
@pytest.mark.parametrize("templates", [PLAIN, SATELLITE])
def test_phrases_equal_open_clips_whole_model(templates: tuple[str, ...], model: Any, encoder: TextEncoder) -> None:
    """The reference reads the whole context, the encoder each phrase's own length."""
    found = encoder.embed(PHRASES, templates)
    assert found.shape == (len(PHRASES), 24)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    for phrase, one in zip(PHRASES, found, strict=True):
        each = [model.encode_text(SimpleTokenizer()([t.replace("{}", phrase)]), normalize=True)[0] for t in templates]
        wanted = F.normalize(torch.stack(each).mean(0), dim=-1)
        np.testing.assert_allclose(one, wanted.numpy(), atol=1e-5)


def test_templates_are_normalised_before_they_are_averaged(encoder: TextEncoder) -> None:
    one, two = (encoder.embed(["harbour"], [template])[0] for template in SATELLITE)
    both = encoder.embed(["harbour"], SATELLITE)[0]
    np.testing.assert_allclose(both, (one + two) / np.linalg.norm(one + two), atol=1e-6)


def test_bits_depend_on_no_other_phrase(folder: Path, encoder: TextEncoder) -> None:
    together = encoder.embed(PHRASES)
    fresh = TextEncoder(load_alignment(folder))
    for k in reversed(range(len(PHRASES))):
        assert np.array_equal(fresh.embed([PHRASES[k]])[0], together[k])


def test_what_was_asked_is_kept_by_model_templates_and_phrase(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[Any, Any] = {}
    package = load_alignment(folder)
    encoder = TextEncoder(package, kept)
    first = encoder.embed(["roof", "roof"])
    assert list(kept) == [(package.digest, ("{}",), "roof")]
    encoder.embed(["roof"], SATELLITE)
    assert len(kept) == 2
    first[:] = 0  # the caller's own
    monkeypatch.setattr(TextEncoder, "_encode", lambda *_: pytest.fail("encoded again"))
    again = TextEncoder(package, kept).embed(["roof"])
    assert np.linalg.norm(again) == pytest.approx(1)


def test_phrases_that_cannot_be_embedded(encoder: TextEncoder, folder: Path) -> None:
    long = "word " * 80
    with pytest.raises(QueryError, match=r"has 82 tokens in its template, the model reads 77; shorten it"):
        encoder.embed([long])
    assert encoder.embed(["word " * 75]).shape == (1, 24)
    with pytest.raises(QueryError, match="is empty"):
        encoder.embed(["  "])
    with pytest.raises(UsageError, match="a list of phrases"):
        encoder.embed("roof")
    for templates in ([], "a {}", ["a photo"], ["{} and {}"]):
        with pytest.raises(UsageError, match="template"):
            encoder.embed(["roof"], templates)
    assert encoder.embed([]).shape == (0, 24)
    with pytest.raises(ModelError, match="its text tower was not loaded"):
        TextEncoder(load_alignment(folder, towers=("image",)))
