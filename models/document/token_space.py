"""Where text tokens lie, in training: a vector for every byte-pair token, made of its spelling (`spelling`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gridscribe.models.document.spelling import buckets_of


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
            self._rows[token] = torch.tensor(buckets_of(token, self.grams.num_embeddings))
        return self._rows[token]
