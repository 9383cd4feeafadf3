"""Attention between a few tokens and many pixels, at a cost linear in the pixels.

With k tokens, h heads and attention width D, keys, queries and values of the pixels are never formed: a product such as
`(X Wq) (T Wk)^T` is computed as `X (Wq (T Wk)^T)`, so that each pixel meets a C x (k * h) matrix instead of two C x D ones.
The results equal multi-head attention with the ordinary projections up to rounding (tests compare the two).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _TokenAttention(nn.Module):
    def __init__(self, channels: int, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide width, got width {width} and {heads} heads")
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.query = nn.Linear(channels, width)
        self.key = nn.Linear(channels, width)
        self.value = nn.Linear(channels, width)
        self.out = nn.Linear(width, channels)

    def _split(self, x: Tensor) -> Tensor:
        """[B, k, D] -> [B, h, k, D / h]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _per_head(self, linear: nn.Linear) -> tuple[Tensor, Tensor]:
        """The weight of a projection as [h, D / h, C] and its bias as [h, D / h, 1]."""
        weight, bias = linear.weight, linear.bias
        return weight.unflatten(0, (self.heads, -1)), bias.unflatten(0, (self.heads, -1)).unsqueeze(-1)


class GatherAttention(_TokenAttention):
    """Tokens read from pixels: multi-head cross-attention with tokens as queries and pixels as keys and values.

    The key bias is left out of the sums because a term that is equal for all keys cancels in the softmax.
    """

    def forward(self, tokens: Tensor, pixels: Tensor) -> Tensor:
        """`tokens` [B, k, C] and `pixels` [B, N, C] -> what each token read, [B, k, C]."""
        batch, count, channels = tokens.shape
        key, _ = self._per_head(self.key)
        value, value_bias = self._per_head(self.value)
        probe = (self._split(self.query(tokens)) * self.scale) @ key  # [B, h, k, C]: queries carried into pixel space
        scores = probe.reshape(batch, self.heads * count, channels) @ pixels.transpose(1, 2)  # [B, h * k, N]
        read = (
            torch.softmax(scores, dim=-1) @ pixels
        )  # rows of the softmax sum to one, so the value projection can wait
        read = read.reshape(batch, self.heads, count, channels)
        read = read @ value.transpose(1, 2) + value_bias.transpose(1, 2)  # [B, h, k, D / h]
        return self.out(read.transpose(1, 2).flatten(2))


class SpreadAttention(_TokenAttention):
    """Pixels read from tokens: multi-head cross-attention with pixels as queries and tokens as keys and values."""

    def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
        """`pixels` [B, N, C] and `tokens` [B, k, C] -> what each pixel read, [B, N, C]."""
        batch, count, channels = tokens.shape
        number = pixels.shape[1]
        query, query_bias = self._per_head(self.query)
        keys = self._split(self.key(tokens)) * self.scale  # [B, h, k, D / h]
        probe = (keys @ query).reshape(batch, self.heads * count, channels)
        offset = (keys @ query_bias).reshape(batch, 1, self.heads * count)
        scores = pixels @ probe.transpose(1, 2) + offset  # [B, N, h * k]
        weights = torch.softmax(scores.reshape(batch, number, self.heads, count), dim=-1)
        out = self.out.weight.unflatten(1, (self.heads, -1)).permute(1, 2, 0)  # [h, D / h, C]
        answer = (self._split(self.value(tokens)) @ out).reshape(batch, self.heads * count, channels)
        return weights.reshape(batch, number, self.heads * count) @ answer + self.out.bias
