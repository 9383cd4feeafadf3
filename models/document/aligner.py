"""The document encoder in training: TokenFD (Guan et al., ICCV 2025) for MMEngine's Runner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from gridscribe.errors import UsageError
from gridscribe.models.document.architecture import PageArchitecture
from gridscribe.models.document.characters import CHARACTERS, IGNORED
from gridscribe.models.document.losses import distance, mask_means, pairwise_sigmoid, similarity
from gridscribe.models.document.network import PageEncoder
from gridscribe.models.document.spelling import BACKGROUND
from gridscribe.models.document.token_space import TokenSpace
from gridscribe.models.document.trunks import load_trunk

LOSSES = ("distance", "similarity", "sigmoid", "characters")
LARGEST_SCALE = math.log(100)


@MODELS.register_module()
class PageAligner(BaseModel):
    """A page encoder and a space of tokens, drawn together by TokenFD's three losses on token-mask pairs.

    What differs from the paper: tokens' vectors are trained too (there they are a language model's, and stand still), by the
    sigmoid loss alone, since distance and similarity would be least where all vectors are one; cells of paper without text are
    drawn to a vector of their own, one cell at a time, so that every cell tells text from background. And while it is trained, a
    linear map tells the character that each cell shows (`characters`): a token-mask pair says that some dozens of cells are one
    of thousands of tokens, and a small encoder that begins from nothing learns from it slowly what letters look like.
    """

    def __init__(
        self,
        architecture: dict[str, Any],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        weights: Mapping[str, float],
        buckets: int = 16384,
        trunk_weights: str | None = None,
    ) -> None:
        """`mean` and `std` are of R, G, B in 0..1; `weights` of the losses in `LOSSES`; `trunk_weights` a checkpoint of timm or
        open_clip that the architecture's trunk begins with."""
        super().__init__()
        if set(weights) - set(LOSSES) or min(weights.values(), default=-1) < 0 or not weights.get("sigmoid"):
            raise UsageError(
                f"weights={dict(weights)}: 0 or more of {', '.join(LOSSES)}, and some of sigmoid, are needed"
            )
        self.architecture = PageArchitecture.from_json(architecture)
        self.weights, self.mean, self.std = dict(weights), tuple(mean), tuple(std)
        self.encoder, self.space = PageEncoder(self.architecture), TokenSpace(self.architecture.embed_dim, buckets)
        if trunk_weights is not None:
            if self.encoder.trunk is None:
                raise UsageError(f"trunk_weights={trunk_weights!r}: the architecture has no trunk")
            load_trunk(self.encoder.trunk, trunk_weights)
        self.letters = nn.Linear(self.architecture.head_width, CHARACTERS) if weights.get("characters") else None
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.logit_bias = nn.Parameter(torch.tensor(-5.0))
        for name, value in (("shift", mean), ("spread", std)):
            self.register_buffer(name, torch.tensor(value).reshape(1, 3, 1, 1) * 255, persistent=False)

    def forward(
        self,
        pages: Tensor,
        tokens: Tensor,
        page: Tensor,
        masks: Tensor,
        blank_page: Tensor,
        blank_cell: Tensor,
        characters: Tensor,
        mode: str = "loss",
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Pages uint8 [B, 3, S, S]; tokens int64 [N], the page of each [N] and how much of each cell it covers, uint8 [N, H, W];
        cells without text, by their page [M] and their row-major number there [M]; the character that each cell shows, int64
        [B, H, W], 0 for paper, -100 where it is not said (`characters.py`).
        """
        if mode != "loss":
            raise UsageError(f"mode={mode!r}: a PageAligner is for training; package it to use it")
        with torch.no_grad():
            self.logit_scale.clamp_(0, LARGEST_SCALE)
        grid, kept = self.encoder.grid((pages.float() - self.get_buffer("shift")) / self.get_buffer("spread"))
        cells, _ = self.encoder.head.cells(grid, kept)
        features = self.encoder.head.project(cells).float()
        with torch.autocast(pages.device.type, enabled=False):  # cosines are compared in float32
            losses = self._losses(features, tokens, page, masks, blank_page, blank_cell)
            if self.letters is not None:
                said = self.letters(cells.float()).flatten(0, 2)
                losses["loss_characters"] = F.cross_entropy(said, characters.flatten(), ignore_index=IGNORED)
        return {
            name: value * float(self.weights.get(name.removeprefix("loss_"), 0.0)) for name, value in losses.items()
        }

    def _losses(
        self, features: Tensor, tokens: Tensor, page: Tensor, masks: Tensor, blank_page: Tensor, blank_cell: Tensor
    ) -> dict[str, Tensor]:
        blanks = features.flatten(1, 2)[blank_page, blank_cell]
        found = torch.cat([mask_means(features, masks, page), blanks])
        said = torch.cat([tokens, torch.full_like(blank_page, BACKGROUND)])
        kinds, kind = torch.unique(said, return_inverse=True)
        vectors = self.space(kinds)
        same = kind[:, None] == torch.arange(len(kinds), device=kind.device)
        wanted = vectors.detach()[kind]
        return {
            "loss_distance": distance(found, wanted),
            "loss_similarity": similarity(found, wanted),
            "loss_sigmoid": pairwise_sigmoid(found, vectors, same, self.logit_scale.exp(), self.logit_bias),
        }
