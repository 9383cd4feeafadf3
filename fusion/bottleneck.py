"""`timf`: bottleneck fusion tokens between the RGB and the height stream at every stage."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.fusion.base import FusedStage, StageFusion, StageShape
from gridscribe.fusion.tokens import GatherAttention, SpreadAttention


@MODELS.register_module()
class BottleneckFusion(StageFusion):
    """Intermediary fusion through a few tokens that both streams write to and read from.

    What is known: the GAMUS benchmark (Xiong et al., arXiv 2305.14914) names its own strategy TIMF, an intermediary
    fusion with transformers that joins RGB and height between encoder stages, as opposed to early, feature, late and
    cross-feature fusion. The module was never released in any revision of its public code, and its exact form is not
    reproduced here. This class is not that module. What is ours, after the bottleneck tokens of MBT (Nagrani et al.,
    "Attention Bottlenecks for Multimodal Fusion", NeurIPS 2021, section 3.2):

    1. each stage has k learned tokens; from the second stage on, a linear map of the stage before's tokens is added;
    2. the tokens read each stream separately by cross-attention over its pixels, and the two readings are averaged
       (MBT, equation 9: the tokens are the only way from one modality to the other);
    3. each stream reads the tokens back by cross-attention, added through a per-channel gate that starts at zero, so
       that training starts from two independent streams;
    4. the decode head sees a 1 x 1 convolution of both streams' maps, side by side.

    Both attentions are `width` channels wide (at most the stage's), with heads of 32, and cost O(N k C) for N pixels.
    Departures from MBT: cross-attention at the four stage ends of a hierarchical encoder instead of self-attention over
    pixels and tokens in every layer, and points 1, 3 and 4.
    """

    def __init__(self, stage: StageShape, tokens: int = 8, width: int = 64) -> None:
        super().__init__()
        channels = stage.channels
        width = min(width, channels)
        heads = max(1, width // 32)
        self.tokens = nn.Parameter(torch.randn(1, tokens, channels) * 0.5)
        self.carry = nn.Linear(stage.previous, channels) if stage.previous is not None else None
        self.token_norm = nn.LayerNorm(channels)
        self.shared_norm = nn.LayerNorm(channels)
        self.gather_rgb = GatherAttention(channels, width, heads)
        self.gather_height = GatherAttention(channels, width, heads)
        self.spread_rgb = SpreadAttention(channels, width, heads)
        self.spread_height = SpreadAttention(channels, width, heads)
        self.gate_rgb = nn.Parameter(torch.zeros(channels))
        self.gate_height = nn.Parameter(torch.zeros(channels))
        self.join = nn.Conv2d(2 * channels, channels, kernel_size=1)

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:
        """See `StageFusion.forward`; `shared` holds the tokens, float [B, k, C]."""
        batch, channels, rows, cols = rgb.shape
        pixels_rgb = rgb.permute(0, 2, 3, 1).reshape(batch, rows * cols, channels)
        pixels_height = height.permute(0, 2, 3, 1).reshape(batch, rows * cols, channels)
        tokens = self.tokens.expand(batch, -1, -1)
        if self.carry is not None and shared is not None:
            tokens = tokens + self.carry(shared)
        asked = self.token_norm(tokens)
        read = self.gather_rgb(asked, pixels_rgb) + self.gather_height(asked, pixels_height)
        shared = self.shared_norm(tokens + 0.5 * read)
        pixels_rgb = pixels_rgb + self.gate_rgb * self.spread_rgb(pixels_rgb, shared)
        pixels_height = pixels_height + self.gate_height * self.spread_height(pixels_height, shared)
        rgb = pixels_rgb.reshape(batch, rows, cols, channels).permute(0, 3, 1, 2)
        height = pixels_height.reshape(batch, rows, cols, channels).permute(0, 3, 1, 2)
        return FusedStage(rgb, height, self.join(torch.cat([rgb, height], dim=1)), shared)
