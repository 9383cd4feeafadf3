"""The one interface between the two encoder streams and a fusion strategy.

A backbone runs one stage of each stream, hands both feature maps to that stage's `StageFusion`, and goes on with what
comes back: the streams for their next stages, and the fused map for the decode head. Strategies differ only behind it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn


@dataclass(frozen=True)
class StageShape:
    """What a fusion module needs to know of the stage it joins."""

    index: int
    """0 for the first, finest stage."""
    channels: int
    """Channels of the RGB stream's map in this stage, and of the fused map."""
    height_channels: int
    """Channels of the height stream's map; equal to `channels` for a module with `equal_widths`."""
    heads: int
    """Attention heads that the encoder uses in this stage; divides `channels`."""
    previous: int | None
    """Channels of the stage before, None in the first."""


class FusedStage(NamedTuple):
    """What a fusion gives back for one stage; the maps are float [B, C, H, W] of the sizes that came in."""

    rgb: Tensor
    """What the RGB stream carries into its next stage."""
    height: Tensor
    """What the height stream carries into its next stage."""
    fused: Tensor
    """What the decode head sees of this stage."""
    shared: Tensor | None
    """What the fusion itself carries into the next stage (such as tokens [B, k, C]); None for strategies without memory."""


class StageFusion(nn.Module):
    """Joins the two streams at one stage.

    Subclasses are registered in MMSegmentation's `MODELS` and built with `stage=StageShape(...)` and their own options.
    """

    equal_widths = True
    """Whether both maps must have as many channels. Where they have not, the backbone brings the height map to the RGB map's
    width for the module, and what the module changed in it back to the height stream's."""

    @abstractmethod
    def forward(self, rgb: Tensor, height: Tensor, shared: Tensor | None) -> FusedStage:
        """Fuses `rgb`, float [B, C, H, W] with C = `stage.channels`, and `height`, [B, C', H, W], C' = `stage.height_channels`.

        `shared` is what the stage before returned under that name, None in the first stage.
        """
