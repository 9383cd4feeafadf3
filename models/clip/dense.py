"""Tokens that can be compared with text: CLIP's last block, changed so that each patch speaks for itself.

Blocks 0..L-2 of the image tower run as they are. In the last one, with q, k, v of its normalised input, s = 1/sqrt(head
width) and A(x, y) = softmax(s x y^T), patches take, instead of A(q, k) v:

- `vanilla`: A(q, k) v, the block as it is;
- `maskclip`: v alone (Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022), residual and MLP kept;
- `sclip`: (A(q, q) + A(k, k)) v (Wang et al., "SCLIP", ECCV 2024), residual and MLP kept;
- `clearclip`: A(q, q) v, without residual and MLP (Lan et al., "ClearCLIP", ECCV 2024);
- `segearth`: (A(q, q) + A(k, k) + A(v, v)) v, without residual and MLP (Li et al., "SegEarth-OV", CVPR 2025).

The class token is a key and value among the others everywhere; its own output is always that of the block as it is.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.clip.encoder import VARIANTS

_ATTENDS = {
    "vanilla": [("q", "k")],
    "maskclip": [],
    "sclip": [("q", "q"), ("k", "k")],
    "clearclip": [("q", "q")],
    "segearth": [("q", "q"), ("k", "k"), ("v", "v")],
}
_WHOLE_BLOCK = {"vanilla", "maskclip", "sclip"}
"""Variants that keep the residual and the MLP."""


class Normalise(nn.Module):
    """R, G, B in 0..255 to what the tower was trained on; float32 [B, 3, H, W] to the same."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        """See the class."""
        return (raw - cast(Tensor, self.mean)) / cast(Tensor, self.std)


class DenseTower(nn.Module):
    """An image tower that gives a vector per patch. In: float32 [B, 3, H, W], R, G, B in 0..255, H and W multiples of the patch.

    Out: the class vector [B, D], equal to `encode_image`, and the patches' [B, H / patch, W / patch, D], both projected into
    the space of the text tower and not normalised.
    """

    def __init__(
        self, visual: Any, variant: str, mean: tuple[float, ...] = (0, 0, 0), std: tuple[float, ...] = (1, 1, 1)
    ) -> None:
        """`visual` is open_clip's `VisionTransformer`. Raises ModelError for one that is built otherwise than CLIP's."""
        super().__init__()
        if variant not in VARIANTS:
            raise UsageError(f"variant={variant!r}: must be one of {', '.join(VARIANTS)}")
        _check_tower(visual)
        self.visual, self.variant, self.normalise = visual, variant, Normalise(mean, std)
        self._tables: dict[tuple[int, int], tuple[torch.device, int, Tensor]] = {}

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See the class. Raises UsageError where H or W is no multiple of the patch."""
        visual = self.visual
        patch_h, patch_w = visual.patch_size
        height, width = int(raw.shape[2]), int(raw.shape[3])
        if height % patch_h or width % patch_w or not height or not width:
            raise UsageError(f"window is {height} x {width}; both must be positive multiples of the patch ({patch_h})")
        grid_h, grid_w = height // patch_h, width // patch_w
        hidden = visual.conv1(self.normalise(raw)).flatten(2).transpose(1, 2)
        start = visual.class_embedding.to(hidden.dtype).expand(len(hidden), 1, -1)
        hidden = torch.cat([start, hidden], dim=1) + self.positions(grid_h, grid_w).to(hidden.dtype)
        hidden = visual.ln_pre(hidden)
        for block in visual.transformer.resblocks[:-1]:
            hidden = block(hidden)
        cls, tokens = last_block(visual.transformer.resblocks[-1], hidden, self.variant)
        cls, tokens = (visual.ln_post(x) @ visual.proj for x in (cls, tokens))
        return cls[:, 0], tokens.reshape(len(tokens), grid_h, grid_w, -1)

    def positions(self, grid_h: int, grid_w: int) -> Tensor:
        """The table of positions for a grid, [1 + grid_h * grid_w, width]: the tower's own, or it resized once.

        Resized as open_clip does at loading: bicubic, antialiased, corners not aligned, class position as it is.
        """
        table = self.visual.positional_embedding
        if (grid_h, grid_w) == tuple(self.visual.grid_size):
            return cast(Tensor, table)
        learning = torch.is_grad_enabled() and table.requires_grad
        kept = self._tables.get((grid_h, grid_w))
        if learning or kept is None or kept[:2] != (table.device, table._version):
            with torch.inference_mode(mode=False), torch.set_grad_enabled(learning):
                new = _resized(table, tuple(self.visual.grid_size), (grid_h, grid_w))
            if learning:
                return new
            kept = self._tables[grid_h, grid_w] = (table.device, table._version, new)
        return kept[2]


def _resized(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    with torch.autocast(table.device.type, enabled=False):
        own = table[1:].float().reshape(1, *old, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(own, new, mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([table[:1].float(), grid.permute(0, 2, 3, 1).flatten(0, 2)])


def last_block(block: Any, hidden: Tensor, variant: str) -> tuple[Tensor, Tensor]:
    """The last block on `hidden` [B, 1 + N, width]: the class token's output [B, 1, width] and the patches' [B, N, width]."""
    attn = block.attn
    batch, count, _ = hidden.shape
    packed = F.linear(block.ln_1(hidden), attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = packed.view(batch, count, 3, attn.num_heads, -1).permute(
        2, 0, 3, 1, 4
    )  # each [B, heads, 1 + N, head width]
    named = {"q": q, "k": k, "v": v}

    def joined(heads: Tensor) -> Tensor:
        return cast(Tensor, attn.out_proj(heads.transpose(1, 2).flatten(2)))

    def rest(before: Tensor, attended: Tensor) -> Tensor:
        summed = before + attended
        return cast(Tensor, summed + block.mlp(block.ln_2(summed)))

    cls = rest(hidden[:, :1], joined(F.scaled_dot_product_attention(q[:, :, :1], k, v)))
    seen = v[:, :, 1:]
    if attends := _ATTENDS[variant]:  # a sum of attentions over the same values is the attention of summed weights
        parts = [F.scaled_dot_product_attention(named[a][:, :, 1:], named[b], v) for a, b in attends]
        seen = parts[0]
        for part in parts[1:]:
            seen = seen + part
    tokens = joined(seen)
    return cls, rest(hidden[:, 1:], tokens) if variant in _WHOLE_BLOCK else tokens


def _check_tower(visual: Any) -> None:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    plain = isinstance(visual, VisionTransformer) and all(
        isinstance(block, ResidualAttentionBlock)
        and isinstance(block.ls_1, nn.Identity)
        and isinstance(block.ls_2, nn.Identity)
        and block.attn.in_proj_weight is not None
        for block in visual.transformer.resblocks
    )
    if not plain or visual.attn_pool is not None or visual.pool_type != "tok" or visual.final_ln_after_pool:
        raise ModelError(
            f"dense tokens need open_clip's VisionTransformer of default blocks, pooled by its class token, "
            f"without layer scale; this is a {type(visual).__name__} of another build"
        )
