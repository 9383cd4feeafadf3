"""`timf`: bottleneck fusion tokens between the RGB and the height stream at every stage."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.fusion.base import FusedStage, StageFusion, StageShape
from gridscribe.fusion.layout import to_map, to_pixels
from gridscribe.fusion.tokens import GatherAttention, SpreadAttention


def _zeros(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


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

    `adaptive` adds what the benchmark's abstract calls adaptive token-level fusion; how it adapts there is not known, and this is
    what we chose: in point 2, each token weighs the two readings by a learned sigmoid of itself (s and 1 - s) instead
    of averaging them; in point 4, each pixel weighs the two maps by a learned sigmoid of both (2s and 2 - 2s) before the
    convolution. Both start at one half, which is the fusion without them.

    Both attentions are `width` channels wide (at most the stage's), with heads of 32, and cost O(N k C) for N pixels.
    Departures from MBT: cross-attention at the four stage ends of a hierarchical encoder instead of self-attention over
    pixels and tokens in every layer, and points 1, 3 and 4.
    """

    def __init__(self, stage: StageShape, tokens: int = 8, width: int = 64, adaptive: bool = False) -> None:
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
        self.trust_tokens = _zeros(nn.Linear(channels, 1)) if adaptive else None
        self.trust_pixels = _zeros(nn.Linear(2 * channels, 1)) if adaptive else None

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:
        """See `StageFusion.forward`; `shared` holds the tokens, float [B, k, C]."""
        batch, channels, rows, cols = rgb.shape
        pixels_rgb, pixels_height = to_pixels(rgb), to_pixels(height)
        tokens = self.tokens.expand(batch, -1, -1)
        if self.carry is not None and shared is not None:
            tokens = tokens + self.carry(shared)
        asked = self.token_norm(tokens)
        share: Tensor | float = 0.5 if self.trust_tokens is None else torch.sigmoid(self.trust_tokens(asked))
        read = share * self.gather_rgb(asked, pixels_rgb) + (1 - share) * self.gather_height(asked, pixels_height)
        shared = self.shared_norm(tokens + read)
        pixels_rgb = pixels_rgb + self.gate_rgb * self.spread_rgb(pixels_rgb, shared)
        pixels_height = pixels_height + self.gate_height * self.spread_height(pixels_height, shared)
        rgb, height = to_map(pixels_rgb, rows, cols), to_map(pixels_height, rows, cols)
        both = torch.cat([rgb, height], dim=1)
        if self.trust_pixels is not None:
            trust = 2 * torch.sigmoid(self.trust_pixels(to_pixels(both)))
            weights = torch.cat([trust.expand(-1, -1, channels), (2 - trust).expand(-1, -1, channels)], dim=-1)
            both = both * to_map(weights, rows, cols)
        return FusedStage(rgb, height, self.join(both), shared)
