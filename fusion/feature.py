"""`feature`: two independent streams, joined for the decode head alone."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.errors import UsageError
from gridscribe.fusion.base import FusedStage, StageFusion, StageShape

MODES = ("sum", "concat")


@MODELS.register_module()
class FeatureFusion(StageFusion):
    """Feature-level fusion of the GAMUS benchmark (arXiv 2305.14914): the maps of both streams are added (`sum`), or set side
    by side and mixed by a 1 x 1 convolution (`concat`). Neither stream sees the other.
    """

    def __init__(self, stage: StageShape, mode: str = "sum") -> None:
        super().__init__()
        if mode not in MODES:
            raise UsageError(f"FeatureFusion mode={mode!r}: must be one of {', '.join(MODES)}")
        self.join = nn.Conv2d(2 * stage.channels, stage.channels, kernel_size=1) if mode == "concat" else None

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:  # noqa: ARG002
        """See `StageFusion.forward`."""
        fused = rgb + height if self.join is None else self.join(torch.cat([rgb, height], dim=1))
        return FusedStage(rgb, height, fused, None)
