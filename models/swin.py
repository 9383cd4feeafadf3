"""Swin (Liu et al., ICCV 2021) as an encoder of one stream."""

from __future__ import annotations

from mmseg.models import SwinTransformer
from mmseg.models.backbones.swin import WindowMSA
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw
from mmseg.registry import MODELS
from torch import Tensor, nn

STAGES = 4


@MODELS.register_module()
class SwinEncoder(SwinTransformer):
    """Swin-T unless the arguments say otherwise: windows of 7, patches of 4.

    MMSegmentation's own class: parameters, their names and the function computed are its own, at any input size (maps are
    padded with zeros to whole windows). What differs is where a stage begins: MMSegmentation merges patches at the end of the
    stage before, here the stage that needs them merged does it, so that a fusion sees, and may change, a stage's map at
    the stage's own size. What flows from stage to stage is the map as the blocks leave it; the norms `norm0` to `norm3`, which
    MMSegmentation applies to what it hands to the head, are `output`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dims: int = 96,
        depths: tuple[int, ...] = (2, 2, 6, 2),
        num_heads: tuple[int, ...] = (3, 6, 12, 24),
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            embed_dims=embed_dims,
            depths=depths,
            num_heads=num_heads,
            drop_path_rate=drop_path_rate,
        )
        self.heads = tuple(num_heads)
        self.widths = tuple(embed_dims * 2**k for k in range(STAGES))
        for module in self.modules():
            if isinstance(module, WindowMSA):
                # Follows from the window's size: no weight, and a file must not be able to change it.
                index = module.relative_position_index
                del module.relative_position_index
                module.register_buffer("relative_position_index", index, persistent=False)

    def init_weights(self) -> None:
        """Random weights, as the paper's code draws them (MMSegmentation's leaves the tables of positions at zero)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, WindowMSA):
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See `Encoder.stage`."""
        if index == 0:
            tokens, size = self.patch_embed(x)
        else:
            tokens, size = self.stages[index - 1].downsample(nchw_to_nlc(x), tuple(x.shape[2:]))
        for block in self.stages[index].blocks:
            tokens = block(tokens, size)
        out: Tensor = nlc_to_nchw(tokens, size)
        return out

    def output(self, index: int, x: Tensor) -> Tensor:
        """See `Encoder.output`: the layer norm that MMSegmentation puts between stage and head."""
        normed: Tensor = getattr(self, f"norm{index}")(x.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)
