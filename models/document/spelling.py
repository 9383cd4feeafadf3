"""How text tokens are spelled, and which n-grams they are made of; torch is not needed.

TokenFD takes the input embeddings of a large language model. Here is none, and a table of our own would leave every token that
no training page shows where it began. So a token's vector is the sum of trained vectors of its character n-grams (Bojanowski
et al., TACL 2017, fastText's subwords): tokens that look alike on a page lie near each other, and a word never seen in training
has a place that its letters give it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridscribe.byte_pairs import byte_pairs

VOCABULARY = 49408
"""Tokens of CLIP's byte-pair vocabulary, which comes with open_clip; its tokenizer folds case."""
LONGEST = 4
"""Characters of the longest n-gram."""
_END = "</w>"
BACKGROUND = -1
"""In place of a token's id: paper without text. Its vector is that of a blank, which is a part of no token (TokenFD asks with
" " for the same)."""


def n_grams(token: str) -> list[str]:
    """The n-grams of a token as the vocabulary spells it, 1 to `LONGEST` characters, repeated ones as often as they occur.

    `<` marks where it begins, `>` the end of a word: "ab</w>" has <, a, b, >, <a, ab, b>, <ab, ab>, <ab>.
    """
    marked = "<" + (token[: -len(_END)] + ">" if token.endswith(_END) else token)
    return [marked[at : at + n] for n in range(1, LONGEST + 1) for at in range(len(marked) - n + 1)]


def bucket(gram: str, buckets: int) -> int:
    """Which of `buckets` vectors an n-gram shares (FNV-1a, 32 bit, of its UTF-8): the same on every machine."""
    value = 0x811C9DC5
    for byte in gram.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value % buckets


def token_ids(text: str) -> list[int]:
    """The tokens of a text, without marks of its start and end; case and repeated white space are folded."""
    found: list[int] = byte_pairs().encode(text)
    return found


def spelling(token: int) -> str:
    """How the vocabulary spells a token, `</w>` at the end of a word."""
    found: str = byte_pairs().decoder[token]
    return found


def buckets_of(token: int, buckets: int) -> list[int]:
    """The buckets of a token's n-grams, `BACKGROUND`'s too; ValueError for an id that the vocabulary has not."""
    if not BACKGROUND <= token < VOCABULARY:
        raise ValueError(f"token {token} is not in the vocabulary: 0 to {VOCABULARY - 1}, or {BACKGROUND} for none")
    grams = [" "] if token == BACKGROUND else n_grams(spelling(token))
    return [bucket(gram, buckets) for gram in grams]


def token_vectors(grams: NDArray[np.float32], tokens: Sequence[int]) -> NDArray[np.float32]:
    """float32 [n, D]: of each token the sum of its n-grams' vectors (`grams` [buckets, D]) over the root of their number."""
    out = np.zeros((len(tokens), grams.shape[1]), np.float32)
    for row, token in enumerate(tokens):
        rows = grams[buckets_of(token, len(grams))].astype(np.float64)
        out[row] = rows.sum(axis=0) / np.sqrt(len(rows))
    return out
