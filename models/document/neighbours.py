"""Which kept cells touch which, on the grid of a crop and on the finer ones: what the head needs to work on kept cells alone.

Cells of a level are numbered as the tokens of the blocks are: those of the kept patches, row-major, at the first; then, in the
place of each cell, its four children (upper left, upper right, lower left, lower right).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def positions(held: NDArray[np.bool_], doublings: int) -> Ints:
    """int64 [n * 4 ** doublings, 2]: row and column of the cells of the finest grid that lie in kept patches, in their order."""
    at = np.argwhere(held)
    for _ in range(doublings):
        at = (2 * at[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2)
    return at


def neighbours(held: NDArray[np.bool_], doublings: int) -> list[Ints]:
    """For each level but the finest int64 [cells, 9]: the numbers of a cell's 3 x 3 surroundings, row-major, itself in the
    middle; the number of cells where there is none."""
    out = []
    for level in range(doublings):
        at = positions(held, level)
        rows, cols = (side * 2**level for side in held.shape)
        numbers = np.full((rows + 2, cols + 2), len(at), np.int64)
        numbers[at[:, 0] + 1, at[:, 1] + 1] = np.arange(len(at))
        around = [numbers[at[:, 0] + down, at[:, 1] + across] for down in range(3) for across in range(3)]
        out.append(np.stack(around, axis=1))
    return out


def laid(vectors: NDArray[np.float32], held: NDArray[np.bool_], doublings: int) -> NDArray[np.float32]:
    """float32 [s rows, s cols, D] of the vectors [n * s * s, D] of cells in their order, s = 2 ** doublings; 0 elsewhere."""
    rows, cols = (side * 2**doublings for side in held.shape)
    out = np.zeros((rows, cols, vectors.shape[1]), np.float32)
    at = positions(held, doublings)
    out[at[:, 0], at[:, 1]] = vectors
    return out
