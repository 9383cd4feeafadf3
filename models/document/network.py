"""A vision transformer for pages, in the manner of TokenFD (Guan et al., ICCV 2025, arXiv 2503.02304).

Patches of the page, without those that were dropped; blocks with rotary positions; a head of transposed convolutions onto a
finer grid; a projection into the space of text tokens. What differs from the paper: positions are rotary and not a table, so that
pages have any size; a patch is read by two linear maps, not one; the head's normalisation is over channels of a cell and not over
a batch, so that no page depends on another; the encoder is small and trained from nothing (InternViT there).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridscribe.errors import UsageError
from gridscribe.models.document.architecture import PageArchitecture
from gridscribe.models.document.rotary import rotate, turns
from gridscribe.models.document.trunks import Trunk, open_trunk


class BlockTrace(NamedTuple):
    """What a block does with tokens."""

    middle: Tensor
    """[B, N, width], after attention."""
    out: Tensor
    """[B, N, width], after the feed-forward part: the block's answer."""
    received: Tensor
    """[B, N]: the attention that each token gets, the mean over heads and over the tokens that give it; sums to 1."""
    keys: Tensor
    """[B, heads, N, width / heads], before they are turned by positions."""


class Block(nn.Module):
    """A pre-norm transformer block whose queries and keys are turned by their positions."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, int(width * mlp_ratio)), nn.GELU(), nn.Linear(int(width * mlp_ratio), width)
        )

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], keys: Tensor | None) -> Tensor:
        """`x` [B, N, width]; `turn` of its positions [B, N, head / 2]; `keys` bool [B, N], false where there is no token."""
        q, k, v = self.heads_of(x)
        cos, sin = (t[:, None] for t in turn)
        seen = None if keys is None else keys[:, None, None]
        mixed = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, attn_mask=seen)
        x = x + self.out(mixed.transpose(1, 2).reshape(*x.shape[:2], -1))
        return x + self.mlp(self.norm2(x))

    def heads_of(self, x: Tensor) -> Tensor:
        """Queries, keys and values of `x`, before they are turned: [3, B, heads, N, width / heads]."""
        made: Tensor = self.qkv(self.norm1(x))
        return made.reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def traced(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> BlockTrace:
        """The same with what happens on the way, for tokens without padding."""
        q, k, v = self.heads_of(x)
        cos, sin = (t[:, None] for t in turn)
        scores = rotate(q, cos, sin) @ rotate(k, cos, sin).transpose(-1, -2) / q.shape[-1] ** 0.5
        weights = scores.softmax(dim=-1)
        middle = x + self.out((weights @ v).transpose(1, 2).reshape(*x.shape[:2], -1))
        return BlockTrace(middle, middle + self.mlp(self.norm2(middle)), weights.mean(dim=(1, 2)), k)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each cell of [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class FinerGrid(nn.Module):
    """The head: `doublings` transposed convolutions (kernel 4, stride 2, padding 1, as TokenFD's), then LayerNorm, linear, GELU,
    linear into the space of tokens.

    Cells of dropped patches are zero before each convolution, as those beyond the page's edge are: what is kept does not
    depend on how much empty grid a batch puts around a page.
    """

    def __init__(self, arch: PageArchitecture) -> None:
        super().__init__()
        widths = [arch.width] + [arch.head_width] * arch.doublings
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1), ChannelNorm(b), nn.GELU())
            for a, b in itertools.pairwise(widths)
        )
        self.project = nn.Sequential(
            nn.LayerNorm(widths[-1]),
            nn.Linear(widths[-1], 2 * widths[-1]),
            nn.GELU(),
            nn.Linear(2 * widths[-1], arch.embed_dim),
        )

    def forward(self, grid: Tensor, held: Tensor) -> Tensor:
        """`grid` [B, width, H, W] and `held` bool [B, H, W] -> [B, s H, s W, embed_dim], zero where nothing is held."""
        cells, held = self.cells(grid, held)
        return self.project(cells) * held[..., None]

    def kept(self, x: Tensor, near: Sequence[Tensor]) -> Tensor:
        """The same for the cells of kept patches alone, which are all that is computed: tokens [n, width] and, for each
        doubling, `neighbours` int64 [cells, 9] -> [n * s * s, embed_dim], in the order of `neighbours.positions`."""
        for stage, around in zip(self.up, near, strict=True):
            assert isinstance(stage, nn.Sequential)
            conv, norm, activation = stage
            assert isinstance(conv, nn.ConvTranspose2d)
            assert isinstance(norm, ChannelNorm)
            x = activation(
                F.layer_norm(_children(conv, x, around), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
            )
        found: Tensor = self.project(x)
        return found

    def cells(self, grid: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """The same before it is projected, [B, s H, s W, head_width], and which cells are held, [B, s H, s W]."""
        for stage in self.up:
            grid = stage(grid * held[:, None])
            held = held.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        return grid.movedim(1, -1), held


TAPS = ((1, 0), (3, -1)), ((2, 0), (0, 1))
"""Of a kernel of 4 at stride 2 with padding 1: the (tap, step to the cell that it reads) of the first child and of the second."""


def _children(conv: nn.ConvTranspose2d, x: Tensor, around: Tensor) -> Tensor:
    """A transposed convolution as four matrix products: cells [n, C] and their surroundings [n, 9] -> children [n * 4, D]."""
    read = torch.cat([x, x.new_zeros(1, x.shape[1])])[around]  # [n, 9, C]; what is not kept is zero
    out = []
    for rows in TAPS:
        for cols in TAPS:
            taps = [(ky, kx, 3 * (down + 1) + across + 1) for ky, down in rows for kx, across in cols]
            weight = torch.cat([conv.weight[:, :, ky, kx] for ky, kx, _ in taps])  # [4 C, D]
            out.append(torch.cat([read[:, place] for _, _, place in taps], dim=1) @ weight)
    children = torch.stack(out, dim=1).flatten(0, 1)
    return children if conv.bias is None else children + conv.bias


class PageEncoder(nn.Module):
    """Pages to vectors of a fine grid, in the space of text tokens."""

    def __init__(self, arch: PageArchitecture) -> None:
        super().__init__()
        self.arch = arch
        self.trunk: Trunk | None = open_trunk(arch) if arch.trunk else None
        if self.trunk is None:
            self.embed = _stem(3 * arch.patch**2, arch)
            self.blocks = nn.ModuleList(Block(arch.width, arch.heads, arch.mlp_ratio) for _ in range(arch.layers))
            self.norm = nn.LayerNorm(arch.width)
        self.head = FinerGrid(arch)
        for name, part in self.named_children():
            if name != "trunk":
                part.apply(_begin)

    def patches(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, H, W], H and W whole patches, as [B, H/p * W/p, 3 p p]: row-major patches of channel-major pixels."""
        b, c, h, w = pixels.shape
        p = self.arch.patch
        if c != 3 or h % p or w % p:
            raise UsageError(f"pages need [B, 3, H, W] padded to whole patches of {p} px, got {list(pixels.shape)}")
        return pixels.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * p * p)

    def tokens(self, patches: Tensor, position: Tensor, keys: Tensor | None = None) -> Tensor:
        """Patches [B, N, 3 p p] at `position` [B, N, 2] (row and col on their page's own full grid) -> [B, N, width].

        `keys`, bool [B, N], is false for padding: nothing attends to it, and its own rows mean nothing. The tokens of a page
        depend on nothing but that page's, in whatever order they come.
        """
        if self.trunk is not None:
            found: Tensor = self.trunk(patches, position, keys)
            return found
        turn = turns(position, self.arch.width // self.arch.heads)
        x = self.embed(patches)
        for block in self.blocks:
            x = block(x, turn, keys)
        return self.norm(x)

    def layers(self) -> list[Block]:
        """The blocks, in order. UsageError where they are another library's: nothing is known of what happens between those."""
        if self.trunk is not None:
            raise UsageError(f"the blocks of trunk {self.arch.trunk!r} are another library's and cannot be looked into")
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
        """Vectors float [B, s H/p, s W/p, embed_dim] of pages [B, 3, H, W], s = 2 ** doublings cells to a patch's side.

        `kept`, bool [B, H/p, W/p], says which patches exist: the others are never computed, and their cells are zero. Positions
        are those of the full grid. A page of which nothing is kept is all zero.
        """
        return self.head(*self.grid(pixels, kept))

    def grid(self, pixels: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the head takes: the blocks' answer [B, width, H/p, W/p], and which patches exist; arguments as `forward`'s."""
        patches = self.patches(pixels)
        b, (rows, cols) = len(pixels), (side // self.arch.patch for side in pixels.shape[2:])
        full = torch.cartesian_prod(
            torch.arange(rows, device=pixels.device), torch.arange(cols, device=pixels.device)
        ).reshape(rows * cols, 2)
        if kept is None:
            kept = torch.ones(b, rows, cols, dtype=torch.bool, device=pixels.device)
            x = self.tokens(patches, full.expand(b, -1, -1))
        else:
            x = self._kept(patches, full, kept.reshape(b, -1))
        return x.transpose(1, 2).reshape(b, -1, rows, cols), kept

    def _kept(self, patches: Tensor, full: Tensor, kept: Tensor) -> Tensor:
        """[B, rows * cols, width]: the kept tokens computed alone, padded to the fullest page, and put back at their places."""
        out = patches.new_zeros(*kept.shape, self.arch.width)
        most = int(kept.sum(dim=1).max())
        if not most:
            return out
        order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]  # the kept ones first, by index
        keys = kept.gather(1, order)
        some = keys.any(dim=1)  # a page of which nothing is kept has no row to attend with
        given = patches[some].gather(1, order[some][..., None].expand(-1, -1, patches.shape[2]))
        x = self.tokens(given, full[order[some]], keys[some])
        page, slot = keys[some].nonzero(as_tuple=True)
        out = out.to(x.dtype)
        out[some.nonzero()[:, 0][page], order[some][page, slot]] = x[page, slot]
        return out


def _stem(pixels: int, arch: PageArchitecture) -> nn.Module:
    """From a patch's own pixels to its first channels: no patch sees another's, so dropped ones are missed by none."""
    if not arch.stem_width:
        return nn.Linear(pixels, arch.width)
    return nn.Sequential(nn.Linear(pixels, arch.stem_width), nn.GELU(), nn.Linear(arch.stem_width, arch.width))


def _begin(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
