"""The losses of FarSLIP (arXiv 2511.14901): global contrast, region-category contrast, patch-to-patch distillation.

Formulas follow the paper's released training code as the project's notes have them. Every vector that comes in may be of any
length: all are normalised here, so that what is compared is always the cosine.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gridscribe.errors import UsageError


def global_contrast(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's symmetric loss (Radford et al. 2021, figure 3): image [B, D] and text [B, D], row i of one belonging to row i.

    `logit_scale` is what cosines are multiplied by, a scalar. Returns a scalar, float32.
    """
    if image.shape != text.shape:
        raise UsageError(f"images are {tuple(image.shape)}, texts {tuple(text.shape)}: as many of both are needed")
    logits = _cosines(image, text) * logit_scale
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def region_contrast(region: Tensor, text: Tensor, truth: Tensor, logit_scale: Tensor) -> Tensor:
    """Multi-positive contrast of regions [N, D] with texts [M, D] (FarSLIP, stage 2).

    `truth`, bool [N, M], says which texts are true of which regions. Targets are spread evenly over all that is true, in both
    directions, and the two soft cross entropies averaged. Regions that nothing is true of, and texts that are true of nothing,
    are left out; 0, with a gradient of 0, where none is left. FarSLIP's own texts name a category and no more, and are true
    of every region of it.
    """
    if region.shape[1:] != text.shape[1:] or truth.shape != (len(region), len(text)):
        raise UsageError(
            f"regions are {tuple(region.shape)}, texts {tuple(text.shape)}, truth {tuple(truth.shape)}: vectors of one "
            "length, and a truth for each pair, are needed"
        )
    if not truth.any():
        return (region.sum() + text.sum()) * 0.0
    named, true = truth.any(dim=1), truth.any(dim=0)
    logits = _cosines(region[named], text[true]) * logit_scale
    right = truth[named][:, true].to(logits.dtype)
    of_region = F.cross_entropy(logits, right / right.sum(dim=1, keepdim=True))
    return (of_region + F.cross_entropy(logits.T, (right / right.sum(dim=0)).T)) / 2


def roi_vectors(tokens: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
    """The mean token of each box: tokens [B, H, W, D], boxes [N, 4] (x0, y0, x1, y1 in 0..1), the image of each [N] -> [N, D].

    RoI alignment (He et al., ICCV 2017) onto a grid of H x W, as many samples to a cell as fit, half a cell off (`aligned`), then
    the mean; zero for a box without area. Differentiable in the tokens.
    """
    from torchvision.ops import roi_align

    _, rows, cols, _ = tokens.shape
    scale = torch.tensor([cols, rows, cols, rows], dtype=torch.float32, device=tokens.device)
    rois = torch.cat([image.float()[:, None], boxes.float() * scale], dim=1)
    grid = tokens.permute(0, 3, 1, 2).float()
    return roi_align(grid, rois, (rows, cols), spatial_scale=1.0, sampling_ratio=-1, aligned=True).mean(dim=(2, 3))


def distillation(region: Tensor, teacher: Tensor) -> Tensor:
    """1 - the mean cosine of regions [N, D], cut out of the tokens of the whole image, and their teachers [N, D].

    For patch-to-patch distillation the teacher of a region is the mean of the tokens of its own crop; for patch-to-CLS
    (CLIPSelf) it is the class vector of the crop. 0, with a gradient of 0, where there is no region.
    """
    if region.shape != teacher.shape:
        raise UsageError(
            f"regions are {tuple(region.shape)}, teachers {tuple(teacher.shape)}: as many of both are needed"
        )
    if not len(region):
        return (region.sum() + teacher.sum()) * 0.0
    return 1 - F.cosine_similarity(region.float(), teacher.float(), dim=1).mean()


def _cosines(one: Tensor, other: Tensor) -> Tensor:
    return F.normalize(one.float(), dim=-1) @ F.normalize(other.float(), dim=-1).T
