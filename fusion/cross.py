"""`cross`: attention with the queries of the two streams swapped."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.fusion.base import FusedStage, StageFusion, StageShape
from gridscribe.fusion.layout import to_map, to_pixels

REDUCTIONS = (8, 4, 2, 1)


class SwappedAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V with Q from one map and K, V from the other, whose sides are first divided by `reduction`.

    The reduction is SegFormer's (Xie et al., NeurIPS 2021, section 3.1: a convolution of that stride, then a layer norm), so
    that a fine stage of N pixels costs N^2 / reduction^2.
    """

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_asking, self.norm_answering = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query, self.key_value = nn.Linear(channels, channels), nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.reduce = nn.Conv2d(channels, channels, reduction, reduction) if reduction > 1 else None
        self.norm_reduced = nn.LayerNorm(channels) if reduction > 1 else None

    def forward(self, asking: Tensor, answering: Tensor) -> Tensor:
        """Both float [B, C, H, W]; what each pixel of `asking` read from `answering`, [B, H * W, C]."""
        query = self.query(self.norm_asking(to_pixels(asking)))
        source = self.norm_answering(to_pixels(answering))
        if self.reduce is not None and self.norm_reduced is not None:
            rows, cols = answering.shape[2:]
            step = self.reduce.stride[0]
            # a map smaller than the reduction is padded to it, so that something is left to attend to
            padded = F.pad(to_map(source, rows, cols), (0, max(0, step - cols), 0, max(0, step - rows)))
            source = self.norm_reduced(to_pixels(self.reduce(padded)))
        key, value = self.key_value(source).chunk(2, dim=-1)
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))
        read = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(read.transpose(1, 2).flatten(2))
        return out


@MODELS.register_module()
class CrossFusion(StageFusion):
    """Cross-feature fusion of the GAMUS benchmark (arXiv 2305.14914): the queries of one branch meet the keys and values of
    the other, both ways; each stream adds what it read to itself and goes on with it; the head sees their sum.

    The benchmark swaps the queries inside its transformer blocks and never released the code; here the swapped attention
    stands after each stage, so that it serves convolutional encoders too.
    """

    def __init__(self, stage: StageShape) -> None:
        super().__init__()
        reduction = REDUCTIONS[min(stage.index, len(REDUCTIONS) - 1)]
        self.rgb_reads = SwappedAttention(stage.channels, stage.heads, reduction)
        self.height_reads = SwappedAttention(stage.channels, stage.heads, reduction)

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:  # noqa: ARG002
        """See `StageFusion.forward`."""
        rows, cols = rgb.shape[2:]
        new_rgb = rgb + to_map(self.rgb_reads(rgb, height), rows, cols)
        new_height = height + to_map(self.height_reads(height, rgb), rows, cols)
        return FusedStage(new_rgb, new_height, torch.add(new_rgb, new_height), None)
