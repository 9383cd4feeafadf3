"""`tokenfusion`: tokens that matter little in one stream give way to the other's."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.fusion.base import FusedStage, StageFusion, StageShape
from gridscribe.fusion.layout import to_map, to_pixels

THRESHOLD = 0.02
SPARSITY = 1e-4


class _Penalty(torch.autograd.Function):
    """Passes its input on, and in the backward pass adds the gradient of `weight * sum(input)` (the input is positive)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] + ctx.weight, None


@MODELS.register_module()
class TokenExchange(StageFusion):
    """TokenFusion (Wang et al., "Multimodal Token Fusion for Vision Transformers", CVPR 2022, equations 3 to 5).

    A small network scores every token of each stream, s in (0, 1). Tokens are scaled by their score; where s < 0.02, the token
    is replaced by the other stream's at that place. An L1 penalty (1e-4 per token and window) drives scores down; it is added
    in the backward pass, so that it needs no place among the losses. The head sees the mean of both streams.

    What differs: exchange happens after every stage, not after every block; the two streams share no weights unless
    the backbone is told to (`share=True`, as the paper has it); the paper's residual positional alignment is not needed,
    because both streams have one grid and no positional table.
    """

    def __init__(self, stage: StageShape) -> None:
        super().__init__()
        channels = stage.channels
        self.scores = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(channels),
                nn.Linear(channels, channels // 2),
                nn.GELU(),
                nn.Linear(channels // 2, 1),
                nn.Sigmoid(),
            )
            for _ in range(2)
        )

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:  # noqa: ARG002
        """See `StageFusion.forward`."""
        rows, cols = rgb.shape[2:]
        tokens = [to_pixels(rgb), to_pixels(height)]
        scores = [score(x) for score, x in zip(self.scores, tokens, strict=True)]
        if self.training:
            weight = SPARSITY / len(rgb)
            scores = [_Penalty.apply(s, weight) for s in scores]
        scaled = [x * s for x, s in zip(tokens, scores, strict=True)]
        new = [torch.where(scores[k] >= THRESHOLD, scaled[k], scaled[1 - k]) for k in range(2)]
        rgb, height = (to_map(x, rows, cols) for x in new)
        return FusedStage(rgb, height, (rgb + height) / 2, None)
