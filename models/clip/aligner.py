"""Image and text towers in training: FarSLIP (arXiv 2511.14901) for MMEngine's Runner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal, cast, get_args

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from gridscribe.errors import UsageError
from gridscribe.models.clip.architecture import check_config
from gridscribe.models.clip.dense import DenseTower
from gridscribe.models.clip.losses import distillation, global_contrast, region_contrast, roi_vectors
from gridscribe.models.clip.towers import encode_tokens, new_image_tower, new_text_tower

Teacher = Literal["active", "ema", "frozen"]
Target = Literal["patches", "cls", "both"]
LOSSES = {"contrast", "region", "roi", "distil"}
LARGEST_SCALE = math.log(100)
ABOVE_CHANCE = 0.9
"""Distillation begins when the contrast, in the mean over some 20 steps, is below this share of what guessing gives."""


@MODELS.register_module()
class Aligner(BaseModel):
    """The towers of one package and their losses, each with its weight:

    - `contrast`: whole views against their captions;
    - `region`: class vectors of crops against phrases, with several right answers (stage 2; there a phrase is "a satellite image
      of {category}", here something the data says of the object, and every phrase of the batch that is true of it is right);
    - `roi`: the same with the mean token of each box in the view's tokens in place of the class vector of its crop, which costs
      no crop (FarSLIP's `--local-itc-align roi`);
    - `distil`: the mean token of each crop's box in the view's tokens against the crop, encoded on its own (stage 1): the mean of
      its tokens (`target="patches"`, FarSLIP), its class vector (`cls`, CLIPSelf), or the mean of both losses (`both`).

    The `teacher` that encodes crops for distillation is the network itself with a gradient in both branches (`active`, as
    FarSLIP was released), a mean of its past (`ema`, momentum 0.99), or what it was at first (`frozen`, refused beside a
    contrast, as there: a teacher that stands still holds back what moves). FarSLIP starts from CLIP; a network that starts
    from nothing has nothing to distil, so distillation begins once the contrast is above chance.
    """

    def __init__(
        self,
        architecture: dict[str, Any],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        weights: Mapping[str, float],
        teacher: Teacher = "active",
        target: Target = "patches",
        momentum: float = 0.99,
        variant: str = "segearth",
    ) -> None:
        """`architecture` is open_clip's `model_cfg`; `mean` and `std` are of R, G, B in 0..1; `weights` of the losses above."""
        super().__init__()
        self.architecture = check_config(dict(architecture), "alignment config")
        for value, allowed, name in ((teacher, get_args(Teacher), "teacher"), (target, get_args(Target), "target")):
            if value not in allowed:
                raise UsageError(f"{name}={value!r}: must be one of {', '.join(allowed)}")
        if not weights or set(weights) - LOSSES or min(weights.values()) < 0:
            raise UsageError(f"weights={dict(weights)}: 0 or more for some of {', '.join(sorted(LOSSES))} are needed")
        if teacher == "frozen" and any(weights.get(name) for name in LOSSES - {"distil"}):
            raise UsageError("teacher='frozen' allows no contrast beside it; choose 'active' or 'ema'")
        if self.architecture["quick_gelu"] is None:
            raise UsageError("alignment config: architecture.quick_gelu must be true or false")
        self.weights, self.target, self.teacher, self.momentum = dict(weights), target, teacher, momentum
        self.mean, self.std = tuple(mean), tuple(std)
        self.dense = DenseTower(new_image_tower(self.architecture), variant, self.mean, self.std)
        self.text = new_text_tower(self.architecture)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.guide: DenseTower | None = None
        self.begin_teaching()
        self.register_buffer("recent", torch.ones(()))  # of the contrast, as a share of what guessing gives
        self.register_buffer("distilling", torch.tensor(not weights.get("contrast")))

    def begin_teaching(self) -> None:
        """Take the teacher from the weights as they are now: at first, and once other first weights are loaded."""
        if self.teacher != "active" and self.weights.get("distil"):
            self.guide = deepcopy(self.dense).requires_grad_(False)

    def forward(
        self,
        views: Tensor,
        texts: Tensor,
        boxes: Tensor,
        owner: Tensor,
        phrases: Tensor,
        truth: Tensor,
        crops: Tensor,
        drawn: Tensor,
        mode: str = "loss",
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Views [B, 3, S, S] in 0..255 and their captions, int64 [B, T]; boxes [N, 4] in views (0..1), the view of each [N], a
        phrase of each, int64 [N, T], and which phrases are true of which boxes, bool [N, N]; crops [R, 3, S, S] in 0..255 and
        the box that each shows [R].
        """
        if mode != "loss":
            raise UsageError(f"mode={mode!r}: an Aligner is for training; package it to use it")
        with torch.no_grad():
            self.logit_scale.clamp_(0, LARGEST_SCALE)
        scale = self.logit_scale.exp()
        losses: dict[str, Tensor] = {}
        pooled = views.new_empty(0)
        if any(self._weight(name) for name in LOSSES - {"region"}):  # crops alone need no view
            cls, tokens = self.dense(views)
            losses["loss_contrast"] = self._weight("contrast") * global_contrast(cls, self.encode_text(texts), scale)
            self._follow(losses["loss_contrast"].detach(), len(views))
            if self._weight("roi") or (self._weight("distil") and bool(self.distilling)):
                pooled = roi_vectors(tokens, boxes, owner)
        said = self.encode_text(phrases) if self._weight("region") or self._weight("roi") else phrases
        crop_cls, crop_tokens = self._crops(crops)
        if self._weight("roi"):
            losses["loss_roi"] = self._weight("roi") * region_contrast(pooled, said, truth, scale)
        if self._weight("region"):
            own = said.sum() * 0.0
            if len(crops):
                own = region_contrast(crop_cls, said[drawn], truth[drawn][:, drawn], scale)
            losses["loss_region"] = self._weight("region") * own
        if self._weight("distil") and bool(self.distilling):
            losses["loss_distil"] = self._weight("distil") * self._distil(pooled[drawn], crops, crop_cls, crop_tokens)
        return losses

    def encode_text(self, texts: Tensor) -> Tensor:
        """Text vectors [B, D] of int64 [B, T], each text encoded once and no further than the longest reaches."""
        once, where = torch.unique(texts, dim=0, return_inverse=True)
        length = int((once != 0).sum(dim=1).max()) if len(once) else 1
        return encode_tokens(self.text, once[:, :length])[where]

    def _weight(self, name: str) -> float:
        return float(self.weights.get(name, 0.0))

    def _crops(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Class vectors and tokens of the crops by the network itself, where a loss needs them."""
        active = self._weight("distil") and self.teacher == "active" and bool(self.distilling)
        if len(crops) and (self._weight("region") or active):
            return cast("tuple[Tensor, Tensor]", self.dense(crops))
        return crops.new_empty(0, 0), crops.new_empty(0, 0, 0, 0)

    def _distil(self, region: Tensor, crops: Tensor, crop_cls: Tensor, crop_tokens: Tensor) -> Tensor:
        if not len(crops):
            return region.sum() * 0.0
        if self.guide is not None:
            with torch.no_grad():
                crop_cls, crop_tokens = self.guide(crops)
        patches, whole = crop_tokens.mean(dim=(1, 2)), crop_cls
        if self.target == "both":
            return (distillation(region, patches) + distillation(region, whole)) / 2
        return distillation(region, patches if self.target == "patches" else whole)

    def _follow(self, contrast: Tensor, batch: int) -> None:
        """Once a step: is the contrast above chance; and where the teacher is a mean of the past, one step more of it."""
        if not self.training:
            return
        with torch.no_grad():
            if self._weight("contrast") and batch > 1:
                share = contrast.float() / (self._weight("contrast") * math.log(batch))
                recent = cast(Tensor, self.recent)
                recent.mul_(0.95).add_(0.05 * share)
                cast(Tensor, self.distilling).logical_or_(recent < ABOVE_CHANCE)
            if self.guide is not None and self.teacher == "ema":
                for old, new in zip(self.guide.parameters(), self.dense.parameters(), strict=True):
                    old.lerp_(new, 1 - self.momentum)
