"""What the page encoder's layers tell of its patches, for methods that prune by it.

Written for tokens of one crop without padding; the vectors that come with it are those of `PageEncoder.tokens`, but for the last
bits: attention is worked out in full here, to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridscribe.errors import UsageError
from gridscribe.models.document.network import FinerGrid, PageEncoder
from gridscribe.models.document.rotary import turns
from gridscribe.models.pruning.zeroth_order import sensitivity

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PatchSignals:
    """Of N patches of a crop, in their order."""

    attention: Tensor
    """[N]: what each receives in the last layer, times N: 1 is the mean."""
    shallow: Tensor
    """[N]: the same in the first layer."""
    keys: Tensor
    """[N, width]: keys of the last layer, heads beside one another, without positions."""
    transition: Tensor
    """[N]: how much the layers of the middle half change each (`transition`), times N."""


def patch_signals(network: PageEncoder, patches: Tensor, position: Tensor) -> tuple[Tensor, PatchSignals]:
    """Tokens [1, N, width] of patches [1, N, 3 p p] at `position` [1, N, 2], and the signals of the layers they went through."""
    turn = turns(position, network.arch.width // network.arch.heads)
    x = network.embed(patches)
    blocks = network.layers()
    middle = range(len(blocks) // 4, len(blocks) - len(blocks) // 4)
    moved = x.new_zeros(x.shape[1])
    first = last = None
    for number, block in enumerate(blocks):
        trace = block.traced(x, turn)
        if number in middle:
            moved = moved + transition(x[0], trace.middle[0]) + transition(trace.middle[0], trace.out[0])
        first, last, x = first or trace, trace, trace.out
    assert first is not None
    assert last is not None
    count = x.shape[1]
    keys = last.keys[0].transpose(0, 1).reshape(count, -1)
    found = PatchSignals(last.received[0] * count, first.received[0] * count, keys, moved * count)
    return network.norm(x), found


def transition(before: Tensor, after: Tensor) -> Tensor:
    """TransPrune's variation of N tokens [N, C] in a module: softmax over tokens of 1 - cosine, times the ratio of lengths."""
    turned = (1 - torch.cosine_similarity(before, after, dim=1)).softmax(dim=0)
    return turned * after.norm(dim=1) / before.norm(dim=1).clamp_min(1e-12)


def cell_sensitivity(head: FinerGrid, grid: Tensor, held: Tensor, key: str) -> Float32:
    """float32 [cells]: ZOO-Prune's sensitivity of the head's projection to each cell of a crop (`zeroth_order.sensitivity`)."""

    def mapping(inputs: Float32) -> Float32:
        found: Float32 = head.project(torch.from_numpy(inputs).to(grid.device)).float().cpu().numpy()
        return found

    with torch.inference_mode():
        cells, _ = head.cells(grid, held)
        return sensitivity(mapping, cells[0].flatten(0, 1).float().cpu().numpy(), key)


def skipping(
    network: PageEncoder,
    patches: Tensor,
    position: Tensor,
    first: int,
    last: int,
    choose: Callable[[Float32], NDArray[np.int64]],
) -> Tensor:
    """SkipViT's way: tokens [1, N, width] of patches [1, N, 3 p p], of which layers `first` to `last` (not `last` itself) see
    those alone that `choose` picks by the attention [N] that the layer before gave them; the others come back as they were."""
    turn = turns(position, network.arch.width // network.arch.heads)
    x = network.embed(patches)
    blocks = network.layers()
    if last > len(blocks):
        raise UsageError(f"layers {first} to {last} are to be passed by, and the encoder has {len(blocks)}")
    for block in blocks[: first - 1]:
        x = block(x, turn, None)
    trace = blocks[first - 1].traced(x, turn)
    x = trace.out.clone()
    through = torch.from_numpy(choose(trace.received[0].float().cpu().numpy())).to(x.device)
    some, part = x[:, through], (turn[0][:, through], turn[1][:, through])
    for block in blocks[first:last]:
        some = block(some, part, None)
    x[:, through] = some.to(x.dtype)
    for block in blocks[last:]:
        x = block(x, turn, None)
    return network.norm(x)
