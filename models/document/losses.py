"""TokenFD's three losses on token-mask pairs (Guan et al., ICCV 2025): distance, similarity, and the pairwise sigmoid.

A pair is a text token and where it stands on a page. The mean of the page's vectors there is drawn towards the token's own
vector. The weights of the three are not known from the paper; they are settings here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gridscribe.errors import UsageError


def mask_means(features: Tensor, weights: Tensor, page: Tensor) -> Tensor:
    """The mean vector under each mask: features [B, H, W, D], weights [N, H, W] >= 0 (how much of a cell the mask covers), the
    page of each [N] -> [N, D], float32. UsageError where a mask covers nothing."""
    total = weights.flatten(1).float().sum(dim=1)
    if (total <= 0).any():
        raise UsageError(f"mask {int((total <= 0).nonzero()[0])} of {len(total)} covers no cell: leave its token out")
    out = features.new_zeros(len(weights), features.shape[-1], dtype=torch.float32)
    for b in page.unique():  # a product for each page: no copy of the features for each token
        of = page == b
        out[of] = weights[of].flatten(1).float() @ features[b].flatten(0, 1).float()
    return out / total[:, None]


def distance(found: Tensor, wanted: Tensor) -> Tensor:
    """L1: the mean over tokens of the summed differences of components; [N, D] both. 0, with a gradient of 0, of none."""
    return (found - wanted).abs().sum(dim=1).mean() if len(found) else found.sum() * 0.0


def similarity(found: Tensor, wanted: Tensor) -> Tensor:
    """The mean over tokens of 1 - cosine; [N, D] both. 0, with a gradient of 0, of none."""
    return 1 - F.cosine_similarity(found, wanted, dim=1).mean() if len(found) else found.sum() * 0.0


def pairwise_sigmoid(found: Tensor, wanted: Tensor, same: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """SigLIP's loss (Zhai et al., ICCV 2023) over all pairs of found [N, D] and wanted [M, D] vectors, divided by N.

    `same`, bool [N, M], marks the pairs that belong together: every occurrence of a token with that token's vector, where
    SigLIP has one partner each. Logits are cosine * `scale` + `bias`. 0, with a gradient of 0, of none.
    """
    if same.shape != (len(found), len(wanted)):
        raise UsageError(f"`same` is {tuple(same.shape)}, needs a truth for each pair, {(len(found), len(wanted))}")
    if not len(found):
        return found.sum() * 0.0
    logits = F.normalize(found, dim=1) @ F.normalize(wanted, dim=1).T * scale + bias
    return -F.logsigmoid(torch.where(same, logits, -logits)).sum() / len(found)
