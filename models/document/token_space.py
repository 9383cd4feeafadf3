"""Where text tokens lie: a vector for every byte-pair token, made of its spelling.

TokenFD takes the input embeddings of a large language model. Here is none, and a table of our own would leave every token that
no training page shows where it began. So a token's vector is the sum of trained vectors of its character n-grams (Bojanowski
et al., TACL 2017, fastText's subwords): tokens that look alike on a page lie near each other, and a word never seen in training
has a place that its letters give it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

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


class TokenSpace(nn.Module):
    """Vectors of tokens: the sum of those of a token's n-grams over the root of their number."""

    def __init__(self, embed_dim: int, buckets: int = 16384) -> None:
        super().__init__()
        self.grams = nn.EmbeddingBag(buckets, embed_dim, mode="sum")
        nn.init.normal_(self.grams.weight, std=1.0 / math.sqrt(embed_dim))
        self._rows: dict[int, Tensor] = {}

    def forward(self, tokens: Sequence[int] | Tensor) -> Tensor:
        """Ids [N], `BACKGROUND` among them, -> float32 [N, embed_dim], differentiable in the vectors of n-grams."""
        rows = [self._row(int(token)) for token in tokens]
        device = self.grams.weight.device
        if not rows:
            return self.grams.weight.new_zeros(0, self.grams.weight.shape[1])
        lengths = torch.tensor([len(row) for row in rows])
        starts = (lengths.cumsum(0) - lengths).to(device)
        summed: Tensor = self.grams(torch.cat(rows).to(device), starts)
        return summed / lengths.to(device).sqrt()[:, None]

    def _row(self, token: int) -> Tensor:
        if token not in self._rows:
            if not BACKGROUND <= token < VOCABULARY:
                raise ValueError(f"token {token} is not in the vocabulary: 0 to {VOCABULARY - 1}, or {BACKGROUND} for none")
            grams = [" "] if token == BACKGROUND else n_grams(spelling(token))
            found = [bucket(gram, self.grams.num_embeddings) for gram in grams]
            self._rows[token] = torch.tensor(found)
        return self._rows[token]
