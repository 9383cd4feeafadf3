"""Vectors of text tokens: the n-grams of a spelling, hashed alike everywhere, summed as stated."""

from __future__ import annotations

import math

import pytest
import torch

from gridscribe.models.document.spelling import VOCABULARY, bucket, n_grams, spelling, token_ids
from gridscribe.models.document.token_space import TokenSpace


def test_n_grams_of_a_word_and_of_a_piece() -> None:
    assert n_grams("ab</w>") == ["<", "a", "b", ">", "<a", "ab", "b>", "<ab", "ab>", "<ab>"]
    assert n_grams("ab") == ["<", "a", "b", "<a", "ab", "<ab"]
    assert n_grams("aa").count("a") == 2
    assert max(map(len, n_grams("international</w>"))) == 4


def test_buckets_are_those_of_the_published_hash() -> None:
    assert bucket("", 1 << 32) == 0x811C9DC5
    assert bucket("a", 1 << 32) == 0xE40C292C  # test vectors of FNV-1a
    assert bucket("foobar", 1 << 32) == 0xBF9CF968
    assert bucket("foobar", 1000) == 0xBF9CF968 % 1000


def test_tokens_fold_case_and_spell_their_text() -> None:
    assert token_ids("Total  AMOUNT") == token_ids("total amount")
    assert "".join(spelling(t) for t in token_ids("Total: 1,234.50")).replace("</w>", "") == "total:1,234.50"


def test_a_vector_is_the_sum_of_its_n_grams() -> None:
    torch.manual_seed(0)
    space = TokenSpace(8, buckets=101)
    tokens = [*token_ids("total amount zzz"), 0, VOCABULARY - 1]
    found = space(tokens)
    for vector, token in zip(found, tokens, strict=True):
        grams = n_grams(spelling(token))
        wanted = torch.stack([space.grams.weight[bucket(gram, 101)] for gram in grams]).sum(dim=0)
        torch.testing.assert_close(vector, wanted / math.sqrt(len(grams)), atol=1e-6, rtol=1e-5)
    assert torch.equal(space(torch.tensor(tokens)), found)
    assert space([]).shape == (0, 8)
    with pytest.raises(ValueError, match="49408"):
        space([VOCABULARY])


def test_what_is_spelled_alike_lies_near() -> None:
    torch.manual_seed(1)
    space = TokenSpace(64)
    near, far = space([*token_ids("amount"), *token_ids("amounts")]), space(token_ids("zebra"))
    with torch.no_grad():
        alike = torch.nn.functional.cosine_similarity(near[0], torch.stack([near[1], far[0]]), dim=1)
    assert alike[0] > 0.5 > alike[1] + 0.2
