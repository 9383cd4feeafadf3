"""`dformer`: self-attention of the RGB stream with height as a geometry prior, and no height stream at all."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.fusion.base import FusedStage, StageFusion, StageShape

LAST = 3  # the stage whose attention is not decomposed into axes


@MODELS.register_module()
class GeometryAttention(StageFusion):
    """Geometry self-attention after DFormerv2 (Yin et al., CVPR 2025): `softmax(Q K^T / sqrt(d) + G log beta) V` with
    G = w1 |z_i - z_j| + w2 (|y_i - y_j| + |x_i - x_j|), z the height at a pixel, beta in (0, 1) fixed per head and w1, w2 > 0
    learned: weights decay by beta^G, and add up to 1. That is what the authors' code computes. Their paper prints
    `(softmax(Q K^T) o beta^G) V`, whose weights add up to the less the more pixels there are: trained so on crops of 128 px, a
    network fell from mIoU 0.37 there to 0.04 in windows of 512 px.

    Attention runs along rows and then along columns, except in the last stage, where it is whole; a depthwise
    5 x 5 convolution of V is added, and a feed-forward layer follows, both with residuals. What differs: DFormerv2 has such
    attention, with rotary positions besides, in every block of an encoder of its own; here one such block follows each stage of
    any RGB encoder.
    Pair it with the encoder `HeightPyramid`: `height` is the pooled network input, height in its first channel.
    """

    equal_widths = False

    log_beta: Tensor

    def __init__(self, stage: StageShape) -> None:
        super().__init__()
        channels, self.heads = stage.channels, stage.heads
        self.whole = stage.index >= LAST
        self.norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.local = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.out = nn.Linear(channels, channels)
        self.feed = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        self.weights = nn.Parameter(torch.full((2,), 0.5413))  # of height and of place, through a softplus: 1 at first
        # Decays from slow to fast over the heads, as retentive networks have them: 1 - 2^-2 to 1 - 2^-6.
        exponents = torch.linspace(2.0, 6.0, self.heads)
        self.register_buffer("log_beta", torch.log(1 - 2.0**-exponents), persistent=False)

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:  # noqa: ARG002
        """See `StageFusion.forward`."""
        x = rgb.permute(0, 2, 3, 1)  # [B, H, W, C]
        z = height[:, 0]  # [B, H, W]
        query, key, value = self.query_key_value(self.norm(x)).chunk(3, dim=-1)
        local = self.local(value.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        read = self._whole(query, key, value, z) if self.whole else self._by_axes(query, key, value, z)
        x = x + self.out(read + local)
        x = x + self.feed(x)
        rgb = x.permute(0, 3, 1, 2)
        return FusedStage(rgb, height, rgb, None)

    def _by_axes(self, query: Tensor, key: Tensor, value: Tensor, z: Tensor) -> Tensor:
        along_rows = self._attend(query, key, value, z)
        query, key, value, z = (t.transpose(1, 2) for t in (query, key, along_rows, z))
        return self._attend(query, key, value, z).transpose(1, 2)

    def _whole(self, query: Tensor, key: Tensor, value: Tensor, z: Tensor) -> Tensor:
        rows, cols = z.shape[1:]
        query, key, value, z = (t.flatten(1, 2).unsqueeze(1) for t in (query, key, value, z))
        return self._attend(query, key, value, z, width=cols).squeeze(1).unflatten(1, (rows, cols))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, z: Tensor, width: int | None = None) -> Tensor:
        """Attention among the n pixels of each line: tensors [B, L, n, C], z [B, L, n]. Places are steps along the line, or
        those of a row-major map of `width` columns."""
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(2, 3) for t in (query, key, value))
        at = torch.arange(z.shape[-1], device=z.device)
        place = (at[:, None] - at).abs()
        if width is not None:
            row, col = at // width, at % width
            place = (row[:, None] - row).abs() + (col[:, None] - col).abs()
        of_height, of_place = nn.functional.softplus(self.weights)
        far = of_height * (z[..., :, None] - z[..., None, :]).abs() + of_place * place  # [B, L, n, n]
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5  # [B, L, h, n, n]
        prior = far.unsqueeze(2) * self.log_beta.view(-1, 1, 1)
        read = torch.softmax(scores + prior, dim=-1) @ value
        return read.transpose(2, 3).flatten(3)
