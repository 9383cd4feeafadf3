"""`edft`: self-attention of the RGB stream, weakened between pixels of different height."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.fusion.base import FusedStage, StageFusion, StageShape
from gridscribe.fusion.layout import to_map, to_pixels

ALPHA = 0.5
CHUNK = 1024  # queries at a time


@MODELS.register_module()
class DepthAwareAttention(StageFusion):
    """The depth-aware self-attention of EDFT (Yan et al., "Efficient Depth Fusion Transformer for Aerial Image Semantic
    Segmentation", Remote Sensing 14(5) 1294, 2022; module "dsa-add"):

        d = Conv1x1(height);  S = softmax((Q K^T - 0.5 |d_i - d_j|) / sqrt(C));  out = LayerNorm(gamma S V + x)

    with one head and `gamma` starting at 0. The result is exact; what differs is the memory: queries are taken `CHUNK` at a
    time, so that the N x N map (16,384^2 for one 512 px window at stride 4) is never whole. The work stays quadratic.
    The height stream of EDFT has no transformer: pair this with the encoder `PatchPyramid`. It goes on unchanged.
    """

    equal_widths = False

    def __init__(self, stage: StageShape) -> None:
        super().__init__()
        channels = stage.channels
        self.scale = channels**-0.5
        self.depth = nn.Conv2d(stage.height_channels, 1, 1)
        self.query, self.key, self.value = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.gamma = nn.Parameter(torch.zeros(1))
        self.norm = nn.LayerNorm(channels)

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:  # noqa: ARG002
        """See `StageFusion.forward`."""
        rows, cols = rgb.shape[2:]
        depth = to_pixels(self.depth(height))  # [B, N, 1]
        query, key, value = (to_pixels(f(rgb)) for f in (self.query, self.key, self.value))
        read = []
        for first in range(0, rows * cols, CHUNK):
            part = slice(first, min(first + CHUNK, rows * cols))
            far = (depth[:, part] - depth.transpose(1, 2)).abs()
            scores = (query[:, part] @ key.transpose(1, 2) - ALPHA * far) * self.scale
            read.append(torch.softmax(scores, dim=-1) @ value)
        rgb = to_map(self.norm(self.gamma * torch.cat(read, dim=1) + to_pixels(rgb)), rows, cols)
        return FusedStage(rgb, height, rgb, None)
