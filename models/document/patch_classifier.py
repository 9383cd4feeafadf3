"""Is there text on a patch of a page? Told from its pixels, before anything else is computed.

Son, Choi and Yun, "Index-Preserving Lightweight Token Pruning" (arXiv 2509.06415): layer normalisation of the patch, a
convolution as large as the patch (256 channels), GELU, a linear map; kept is what has a logit above 0, and what touches it (3 x 3
max-pooling of the binary map). Every patch is judged by itself. Of 28 px it has 607,329 parameters with three colours, as the
released code has it (the paper's 203 thousand are those of one colour).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

HIDDEN = 256


class PatchClassifier(nn.Module):
    """Logits of text, [n], of patches [n, 3, side, side] of R, G, B in 0..1."""

    def __init__(self, side: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.norm = nn.LayerNorm([3, side, side])
        self.conv = nn.Conv2d(3, hidden, kernel_size=side, stride=side)
        self.out = nn.Linear(hidden, 1)

    def forward(self, patches: Tensor) -> Tensor:
        """See the class."""
        seen = nn.functional.gelu(self.conv(self.norm(patches)).flatten(1))
        found: Tensor = self.out(seen)[:, 0]
        return found


def dilated(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Each patch of a grid [rows, cols] that is kept or touches a kept one, corners too: max-pooling, 3 x 3, stride 1."""
    padded = np.pad(kept, 1)
    rows, cols = kept.shape
    out = np.zeros_like(kept)
    for down in range(3):
        for across in range(3):
            out |= padded[down : down + rows, across : across + cols]
    return out


def blocks_of(page: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """uint8 [rows * cols, 3, side, side]: the patches of pixels [rows * side, cols * side, 3], row-major."""
    rows, cols = page.shape[0] // side, page.shape[1] // side
    cut = page.reshape(rows, side, cols, side, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut).reshape(rows * cols, 3, side, side)


def torch_logits(network: PatchClassifier, blocks: NDArray[np.uint8], device: torch.device) -> NDArray[np.float32]:
    """The logits of blocks uint8 [n, 3, side, side], float32 [n]."""
    with torch.inference_mode():
        found: NDArray[np.float32] = network(torch.from_numpy(blocks).to(device).float() / 255).float().cpu().numpy()
    return found
