"""Encoders of one stream: four stages at strides 4, 8, 16 and 32, run one at a time so that a fusion can stand between.

`MiTEncoder` and `ResNetEncoder` are MMSegmentation's own classes with that one method more: parameters, their names and the
function computed are theirs, so that checkpoints made for them load (see `models/pretrained.py`). `SwinEncoder` stands in
`models/swin.py`.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.models import MixVisionTransformer, ResNet
from mmseg.models.utils import PatchEmbed
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.models.mit import B0, run_stage, run_stage_plainly

STAGES = 4
_KERNELS, _STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)  # of SegFormer's overlapping patches


class Encoder(Protocol):
    """One stream's network, a module."""

    widths: tuple[int, ...]
    """Channels of each stage's map."""
    heads: tuple[int, ...]
    """Attention heads that suit each stage; they divide its width."""

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Stage `index` of the map before (of the input, for stage 0): float [B, C, H, W] -> [B, C', H', W']."""
        ...

    def output(self, index: int, x: Tensor) -> Tensor:
        """What a decode head sees of stage `index`, given its map or a fusion's: float [B, C, H, W], same out."""
        ...


class PlainOutputs:
    """For encoders whose heads see the stages' maps as they are."""

    def output(self, index: int, x: Tensor) -> Tensor:  # noqa: ARG002
        """See `Encoder.output`."""
        return x


@MODELS.register_module()
class MiTEncoder(PlainOutputs, MixVisionTransformer):
    """The encoder of SegFormer (Xie et al., NeurIPS 2021), B0 unless `options` of `MixVisionTransformer` say otherwise.

    `plain` computes with MMSegmentation's own modules instead of the faster equal form (see `run_stage`).
    """

    def __init__(self, in_channels: int = 3, plain: bool = False, **options: Any) -> None:
        options = {**B0, **options}
        super().__init__(in_channels=in_channels, num_stages=STAGES, **options)
        self.heads = tuple(self.num_heads)
        self.widths = tuple(self.embed_dims * heads for heads in self.heads)
        self._run = run_stage_plainly if plain else run_stage

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See `Encoder.stage`."""
        return self._run(self.layers[index], x)


@MODELS.register_module()
class ResNetEncoder(PlainOutputs, ResNet):
    """ResNet (He et al., CVPR 2016) of depth 18, 34, 50, 101 or 152; the first stage holds the stem too."""

    def __init__(self, in_channels: int = 3, depth: int = 18) -> None:
        super().__init__(depth=depth, in_channels=in_channels)
        expansion = self.block.expansion
        self.widths = tuple(64 * 2**k * expansion for k in range(STAGES))
        self.heads = tuple(width // 32 for width in self.widths)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See `Encoder.stage`."""
        if index == 0:
            x = self.maxpool(self.relu(self.norm1(self.conv1(x))))
        out: Tensor = getattr(self, self.res_layers[index])(x)
        return out


@MODELS.register_module()
class PatchPyramid(PlainOutputs, BaseModule):
    """EDFT's height branch (Remote Sensing 14(5) 1294, 2022): overlapping patch embeddings and no transformer."""

    def __init__(self, in_channels: int = 2, widths: tuple[int, ...] = (32, 64, 160, 256)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.heads = (1,) * STAGES
        self.embeddings = nn.ModuleList(
            PatchEmbed(before, width, kernel_size=k, stride=s, padding=k // 2, norm_cfg={"type": "LN"})
            for before, width, k, s in zip((in_channels, *widths), widths, _KERNELS, _STRIDES, strict=False)
        )

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See `Encoder.stage`."""
        pixels, (rows, cols) = self.embeddings[index](x)
        out: Tensor = pixels.transpose(1, 2).unflatten(2, (rows, cols))
        return out


class _PoolingMixer(nn.Module):
    """CMNeXt's parallel pooling mixer (Zhang et al., CVPR 2023, arXiv 2303.01480, section 3.3).

    `u = DW7x7(x)`; `w = sigmoid(Conv1x1(u + sum of mean pools of 3, 7 and 11))`; `x + w * x`; then a feed-forward layer and a
    squeeze-and-excitation of it, side by side.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_mix, self.norm_feed = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.spread = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.weigh = nn.Conv2d(channels, channels, 1)
        self.feed = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1),
            nn.Conv2d(4 * channels, 4 * channels, 3, padding=1, groups=4 * channels),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )
        squeezed = max(4, channels // 16)
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Float [B, C, H, W], same out."""
        normal = self.norm_mix(x)
        u = self.spread(normal)
        pools = sum(F.avg_pool2d(u, k, 1, k // 2, count_include_pad=False) for k in (3, 7, 11))
        x = x + normal + F.sigmoid(self.weigh(u + pools)) * normal
        normal = self.norm_feed(x)
        out: Tensor = x + self.feed(normal) + self.excite(normal) * normal
        return out


@MODELS.register_module()
class LightEncoder(PlainOutputs, BaseModule):
    """CMNeXt's light branch for a second modality: overlapping patches, and pooling mixers instead of attention.

    What differs from the paper: its self-query hub, which chooses among several extra modalities, has nothing to choose from
    here.
    """

    def __init__(
        self, in_channels: int = 2, widths: tuple[int, ...] = (32, 64, 160, 256), depths: tuple[int, ...] = (1, 1, 1, 1)
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.heads = (1,) * STAGES
        self.patches = PatchPyramid(in_channels, widths)
        self.mixers = nn.ModuleList(
            nn.Sequential(*(_PoolingMixer(width) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See `Encoder.stage`."""
        out: Tensor = self.mixers[index](self.patches.stage(index, x))
        return out


@MODELS.register_module()
class HeightPyramid(PlainOutputs, BaseModule):
    """No network: the input, averaged down to each stage's stride. What geometry priors take."""

    def __init__(self, in_channels: int = 2) -> None:
        super().__init__()
        self.widths = (in_channels,) * STAGES
        self.heads = (1,) * STAGES

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See `Encoder.stage`."""
        return F.avg_pool2d(x, _STRIDES[index], ceil_mode=True)
