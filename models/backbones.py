"""Backbones for RGB + height: one encoder for what it is given (`SingleStream`), or two joined ones (`TwoStreams`)."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from gridscribe.errors import UsageError
from gridscribe.fusion.base import FusedStage, StageFusion, StageShape
from gridscribe.models.encoders import STAGES

CHANNELS = {"rgb": slice(0, 3), "height": slice(3, 5)}
"""Channels of `RGBHPreprocessor`'s output; height stands with its validity."""


@MODELS.register_module()
class SingleStream(BaseModule):
    """One encoder for all that it is given: `early` fusion, and the baselines `rgb` and `height`.

    Input float [B, 5, H, W] from `RGBHPreprocessor`, of which `use` names what the encoder sees, in this order; output
    four maps at strides 4, 8, 16 and 32.
    """

    def __init__(self, encoder: dict[str, Any], use: tuple[str, ...] = ("rgb", "height")) -> None:
        super().__init__()
        unknown = set(use) - set(CHANNELS)
        if unknown or not use:
            raise UsageError(f"SingleStream use={tuple(use)}: must name one or both of {', '.join(CHANNELS)}")
        self.parts = [CHANNELS[name] for name in use]
        channels = sum(part.stop - part.start for part in self.parts)
        self.encoder = MODELS.build({**encoder, "in_channels": channels})

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Float [B, 5, H, W] -> one map per stage."""
        x = torch.cat([x[:, part] for part in self.parts], dim=1)
        maps = []
        for k in range(STAGES):
            x = self.encoder.stage(k, x)
            maps.append(self.encoder.output(k, x))
        return tuple(maps)


class _Bridge(nn.Module):
    """Lets a fusion that needs equal widths join streams of unequal ones.

    The height map is brought to the RGB map's width by a 1 x 1 convolution; what the fusion changed in it goes back through
    another. A fusion that changes nothing leaves the height stream as it was.
    """

    def __init__(self, fusion: StageFusion, channels: int, height_channels: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.there = nn.Conv2d(height_channels, channels, 1)
        self.back = nn.Conv2d(channels, height_channels, 1, bias=False)

    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:
        """See `StageFusion.forward`."""
        given = self.there(height)
        found: FusedStage = self.fusion(rgb, given, shared)
        return found._replace(height=height + self.back(found.height - given))


@MODELS.register_module()
class TwoStreams(BaseModule):
    """An encoder for RGB and one for height, joined after every stage by a `StageFusion`.

    Input float [B, 5, H, W] from `RGBHPreprocessor`: channels 0..2 feed the RGB stream; 3 and 4 (height and its validity)
    the height stream. Output: the fused map of each stage at strides 4, 8, 16 and 32, as wide as the RGB stream's.
    Where an encoder norms what heads see (Swin), that of the RGB stream norms the fused map, and what flows on is not normed.
    `rgb` and `height` are configs of registered encoders, `fusion` that of a registered `StageFusion`, built once per stage;
    without one the streams never meet and the output is the maps of both, RGB first (for `LateFusionHead`).

    `share` gives both encoders, which must be of one kind, the same weights, except for the first layer (they see other
    channels) and the norms: TokenFusion's arrangement.
    """

    def __init__(
        self,
        rgb: dict[str, Any],
        height: dict[str, Any],
        fusion: dict[str, Any] | None = None,
        share: bool = False,
    ) -> None:
        super().__init__()
        counts = {name: part.stop - part.start for name, part in CHANNELS.items()}
        self.rgb = MODELS.build({**rgb, "in_channels": counts["rgb"]})
        self.height = MODELS.build({**height, "in_channels": counts["height"]})
        if share:
            _share_weights(self.rgb, self.height)
        self.fusions = None if fusion is None else nn.ModuleList(self._fusion(fusion, k) for k in range(STAGES))

    def _fusion(self, config: dict[str, Any], k: int) -> nn.Module:
        width, height_width = self.rgb.widths[k], self.height.widths[k]
        kind: Any = MODELS.get(config["type"])
        bridged = kind.equal_widths and width != height_width
        previous = self.rgb.widths[k - 1] if k else None
        shape = StageShape(k, width, width if bridged else height_width, self.rgb.heads[k], previous)
        module: StageFusion = MODELS.build({**config, "stage": shape})
        return _Bridge(module, width, height_width) if bridged else module

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Float [B, 5, H, W] -> the fused map of each stage, or (without a fusion) four of RGB and four of height."""
        rgb, height = x[:, CHANNELS["rgb"]], x[:, CHANNELS["height"]]
        shared: Tensor | None = None
        maps, height_maps = [], []
        for k in range(STAGES):
            rgb, height = self.rgb.stage(k, rgb), self.height.stage(k, height)
            if self.fusions is None:
                maps.append(self.rgb.output(k, rgb))
                height_maps.append(self.height.output(k, height))
            else:
                rgb, height, fused, shared = self.fusions[k](rgb, height, shared)
                maps.append(self.rgb.output(k, fused))
        return (*maps, *height_maps)


def _share_weights(one: nn.Module, two: nn.Module) -> None:
    """Let `two` use the parameters of `one`, but for norms and those of another shape (the first layer)."""
    if type(one) is not type(two):
        raise UsageError(
            f"share=True needs two encoders of one kind, got {type(one).__name__} and {type(two).__name__}"
        )
    for name, module in two.named_modules():
        if isinstance(module, (nn.LayerNorm, nn.modules.batchnorm._BatchNorm)):
            continue
        twin = one.get_submodule(name)
        own, theirs = dict(module.named_parameters(recurse=False)), dict(twin.named_parameters(recurse=False))
        if {k: p.shape for k, p in own.items()} == {k: p.shape for k, p in theirs.items()}:
            for key, parameter in theirs.items():
                setattr(module, key, parameter)
