"""As few latents as a crop of a page needs, a few more with every pass: ALIT (Duggal et al., ICLR 2025, arXiv 2411.02393).

The tokens of a crop and all latents so far go through one encoder again and again; each pass adds some new latents, and quantises
them; a decoder makes the tokens anew from the latents alone. What is kept is the answer of the first pass that is good enough.
Latents stand for a crop as a whole: they have no place on its grid, so they are a product of their own and no token grid.

What differs from the paper: the tokens are the page encoder's vectors, averaged to `side` x `side`, and not a VQGAN's codes, so
there is no pixel decoder, no adversarial and no perceptual loss; a token stops taking part when the mean difference of its
components is below `halt`, where the paper asks how probable its right code is; the network is small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gridscribe.errors import UsageError

PASS_WEIGHTS = 2.5, 2.0, 1.5, 1.25, 1.0, 1.0, 1.0, 1.0
"""Of the losses of the first passes, as published; later ones count 1."""
COMMITMENT = 0.25


@dataclass(frozen=True, slots=True)
class LatentSettings:
    """Sizes, as data: what `model.json` states."""

    dim: int
    """Components of a token."""
    side: int = 16
    """Tokens along a crop's side, averages of its cells."""
    width: int = 128
    layers: int = 2
    """Of the encoder, and of the decoder."""
    heads: int = 4
    step: int = 8
    """New latents of a pass."""
    passes: int = 8
    codes: int = 1024
    code_dim: int = 12
    halt: float = 0.005

    def __post_init__(self) -> None:
        for name in ("dim", "side", "width", "layers", "heads", "step", "passes", "code_dim"):
            if getattr(self, name) < 1:
                raise UsageError(f"latents: {name} is {getattr(self, name)}, must be at least 1")
        if self.width % self.heads or not 2 <= self.codes <= 1 << 16 or not self.halt >= 0:
            raise UsageError(
                f"latents: width {self.width} must be a multiple of heads {self.heads}, codes {self.codes} from 2 to 65,536, "
                f"halt {self.halt} at least 0"
            )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatentSettings:
        """From plain data; UsageError for a key that is unknown."""
        unknown = sorted(set(data) - set(cls.__dataclass_fields__))
        if unknown:
            raise UsageError(f"latents have no {unknown[0]!r}: they have {', '.join(cls.__dataclass_fields__)}")
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Every size as plain data."""
        return asdict(self)


class Pass(NamedTuple):
    """What a pass gives."""

    codes: Tensor
    """int64 [B, latents so far]."""
    rebuilt: Tensor
    """[B, N, dim]: the tokens as the latents tell them."""
    commitment: Tensor
    """The quantiser's loss."""
    halted: Tensor
    """bool [B, N]: tokens that took no part in it."""


class AdaptiveLatents(nn.Module):
    """See the module."""

    def __init__(self, settings: LatentSettings) -> None:
        super().__init__()
        self.settings = settings
        s = settings
        self.read, self.write = nn.Linear(s.dim, s.width), nn.Linear(s.width, s.dim)
        self.place, self.seeds = _table(s.side**2, s.width), _table(s.step * s.passes, s.width)
        self.slots, self.blank = _table(s.step * s.passes, s.width), _table(1, s.width)
        self.down, self.up = nn.Linear(s.width, s.code_dim), nn.Linear(s.code_dim, s.width)
        self.codebook = _table(s.codes, s.code_dim, 1.0)
        self.encoder, self.decoder = _blocks(s), _blocks(s)

    def passes(self, tokens: Tensor) -> Iterator[Pass]:
        """Pass after pass, `settings.passes` of them, of tokens [B, side ** 2, dim]."""
        s = self.settings
        x = self.read(tokens) + self.place
        count = x.shape[1]
        latents = x.new_zeros(len(x), 0, s.width)
        halted = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        for number in range(s.passes):
            new = self.seeds[number * s.step : (number + 1) * s.step].expand(len(x), -1, -1)
            latents = torch.cat([latents, new], dim=1)
            out = F.pad(halted, (0, latents.shape[1]), value=False)
            latents = _through(self.encoder, torch.cat([x, latents], dim=1), out)[:, count:]
            codes, quantised, commitment = self.quantised(latents)
            rebuilt = self.rebuilt(quantised)
            yield Pass(codes, rebuilt, commitment, halted)
            halted = halted | ((rebuilt - tokens).detach().abs().mean(dim=2) < s.halt)

    def quantised(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes int64 [B, n] of latents [B, n, width], the codebook's unit vectors (gradients pass through them), the loss."""
        found, book = F.normalize(self.down(latents), dim=-1), F.normalize(self.codebook, dim=-1)
        codes = (found @ book.T).argmax(dim=-1)
        chosen = book[codes]
        commitment = F.mse_loss(chosen, found.detach()) + COMMITMENT * F.mse_loss(found, chosen.detach())
        return codes, found + (chosen - found).detach(), commitment

    def rebuilt(self, quantised: Tensor) -> Tensor:
        """Tokens [B, side ** 2, dim] from vectors of codes [B, n, code_dim]."""
        count = len(self.place)
        blank = (self.blank + self.place).expand(len(quantised), -1, -1)
        told = self.up(quantised) + self.slots[: quantised.shape[1]]
        answer: Tensor = self.write(_through(self.decoder, torch.cat([blank, told], dim=1), None)[:, :count])
        return answer

    def from_codes(self, codes: Tensor) -> Tensor:
        """Tokens [B, side ** 2, dim] from codes int64 [B, n]."""
        return self.rebuilt(F.normalize(self.codebook, dim=-1)[codes])

    def loss(self, tokens: Tensor) -> Tensor:
        """The weighted mean over passes of the mean difference between tokens and rebuilt ones, and the quantiser's."""
        total, weights = tokens.new_zeros(()), 0.0
        for number, one in enumerate(self.passes(tokens)):
            weight = PASS_WEIGHTS[number] if number < len(PASS_WEIGHTS) else 1.0
            total = total + weight * ((one.rebuilt - tokens).abs().mean() + one.commitment)
            weights += weight
        return total / weights


def shortest(
    network: AdaptiveLatents, tokens: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.uint16], float]:
    """(codes, error): those of the first pass over tokens [side ** 2, dim] whose mean difference is below `threshold`, else the
    last's, and that difference."""
    with torch.inference_mode():
        given = torch.from_numpy(tokens)[None]
        for one in network.passes(given):
            codes, error = one.codes, float((one.rebuilt - given).abs().mean())
            if error < threshold:
                break
    return codes[0].numpy().astype(np.uint16), error


def pooled(vectors: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A crop's vectors [cells, cells, D], of unit length each (0 stays 0), averaged to [side ** 2, D]. UsageError where `side`
    does not divide."""
    cells, _, dim = vectors.shape
    if cells % side:
        raise UsageError(f"latents of {side} x {side} tokens do not divide a crop of {cells} x {cells} cells")
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), np.float32(1e-9))
    part = cells // side
    result: NDArray[np.float32] = unit.reshape(side, part, side, part, dim).mean(axis=(1, 3)).reshape(side * side, dim)
    return result


def _table(rows: int, width: int, std: float = 0.02) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, width) * std)


def _blocks(s: LatentSettings) -> nn.ModuleList:
    return nn.ModuleList(
        nn.TransformerEncoderLayer(s.width, s.heads, 4 * s.width, 0.0, "gelu", batch_first=True, norm_first=True)
        for _ in range(s.layers)
    )


def _through(blocks: nn.ModuleList, x: Tensor, out: Tensor | None) -> Tensor:
    for block in blocks:
        x = block(x, src_key_padding_mask=out)
    return x
