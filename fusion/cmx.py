"""`cmx`: rectification of each stream by the other, then linear cross-attention and a merge.

CMX, Zhang et al., "CMX: Cross-Modal Fusion for RGB-X Semantic Segmentation with Transformers", IEEE T-ITS 2023
(arXiv 2203.04838), sections III-B (CM-FRM) and III-C (FFM).
"""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.fusion.base import FusedStage, StageFusion, StageShape
from gridscribe.fusion.layout import to_map, to_pixels

WEIGHT = 0.5  # lambda_C and lambda_S of the paper


class Rectification(nn.Module):
    """CM-FRM: `out1 = x1 + 0.5 Wc2 * x2 + 0.5 Ws2 * x2` and the same the other way round.

    Channel weights: mean and maximum of both maps through an MLP (4C -> 4C -> 2C, sigmoid). Spatial weights: two 1 x 1
    convolutions over both maps (2C -> C -> 2, sigmoid).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels), nn.ReLU(), nn.Linear(4 * channels, 2 * channels), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, 2, 1), nn.Sigmoid()
        )

    def forward(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        """Both float [B, C, H, W]."""
        both = torch.cat([one, two], dim=1)
        pooled = torch.cat([both.mean(dim=(2, 3)), both.amax(dim=(2, 3))], dim=1)
        of_one, of_two = self.channel(pooled)[:, :, None, None].chunk(2, dim=1)
        at_one, at_two = self.spatial(both).chunk(2, dim=1)
        return one + WEIGHT * (of_two + at_two) * two, two + WEIGHT * (of_one + at_one) * one


class _Exchange(nn.Module):
    """The first half of FFM: each stream's queries meet the other's d x d context `softmax(K^T V)`, linear in pixels."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        self.project = nn.ModuleList(nn.Linear(channels, 2 * channels) for _ in range(2))
        self.key_value = nn.ModuleList(nn.Linear(channels, 2 * channels, bias=False) for _ in range(2))
        self.out = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(2))
        self.norm = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        """Both float [B, N, C]."""
        kept, queries, contexts = [], [], []
        for x, project, key_value in zip((one, two), self.project, self.key_value, strict=True):
            residual, interactive = torch.relu(project(x)).chunk(2, dim=-1)
            key, value = key_value(interactive).chunk(2, dim=-1)
            query, key, value = (
                t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (interactive, key, value)
            )  # [B, h, N, d]
            kept.append(residual)
            queries.append(query)
            contexts.append(torch.softmax(key.transpose(-2, -1) @ value * self.scale, dim=-2))
        found = []
        for k, x in enumerate((one, two)):
            read = (queries[k] @ contexts[1 - k]).transpose(1, 2).flatten(2)
            found.append(self.norm[k](x + self.out[k](torch.cat([kept[k], read], dim=-1))))
        return found[0], found[1]


class _Merge(nn.Module):
    """The second half of FFM: both streams side by side through a 1 x 1 - depthwise 3 x 3 - 1 x 1 path, and a 1 x 1 path."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.path = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, both: Tensor) -> Tensor:
        """Float [B, 2C, H, W] -> [B, C, H, W]."""
        out: Tensor = self.norm(self.residual(both) + self.path(both))
        return out


@MODELS.register_module()
class CMXFusion(StageFusion):
    """CM-FRM on both streams, which go on rectified; FFM of them for the decode head."""

    def __init__(self, stage: StageShape) -> None:
        super().__init__()
        self.rectify = Rectification(stage.channels)
        self.exchange = _Exchange(stage.channels, stage.heads)
        self.merge = _Merge(stage.channels)

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:  # noqa: ARG002
        """See `StageFusion.forward`."""
        rows, cols = rgb.shape[2:]
        rgb, height = self.rectify(rgb, height)
        one, two = self.exchange(to_pixels(rgb), to_pixels(height))
        return FusedStage(rgb, height, self.merge(to_map(torch.cat([one, two], dim=-1), rows, cols)), None)
