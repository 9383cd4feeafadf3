"""Where on a page a phrase stands, from the similarity of its tokens with the page's: arithmetic alone.

A page answers a phrase by late interaction (ColBERT, Khattab and Zaharia, SIGIR 2020): every token of the phrase takes the page's
cell that is most like it. On a page the words of a phrase stand together, so here they look in a window about one place, and the
page's score is that of its best place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
NONE = np.float32(-1.0)
"""The similarity of a cell that holds no token: a cosine's least."""
DOWN = 2
"""Cells above and below that belong to a place: a line of print is about as high."""
WIDEST = 96
"""Cells to the side at most."""
NEAR = 0.5
"""Share of the best similarity from which on a neighbouring cell is of the same token."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place on a page, in cells: rows and columns half-open."""

    score: float
    """The mean over the phrase's tokens of their best cosine there, -1 to 1."""
    row0: int
    col0: int
    row1: int
    col1: int


def place_scores(similar: Float32, lengths: Sequence[int]) -> Float32:
    """float32 [H, W]: of each place the mean over tokens of the best cosine in the window about it.

    `similar` [n, H, W] are cosines of the phrase's tokens with cells, `NONE` where there is no token; `lengths` are the tokens'
    characters, which say how far the phrase reaches to either side.
    """
    from scipy.ndimage import maximum_filter

    down, across = reach(lengths)
    best = [
        maximum_filter(smoothed(one, length), size=(2 * down + 1, 2 * across + 1), mode="constant", cval=float(NONE))
        for one, length in zip(similar, lengths, strict=True)
    ]
    result: Float32 = np.mean(best, axis=0, dtype=np.float32)
    return result


def smoothed(similar: Float32, length: int) -> Float32:
    """The mean over a token's extent: a cell for each character, two high; one without a token counts as `NONE`."""
    from scipy.ndimage import uniform_filter

    found: Float32 = uniform_filter(similar, size=(2, max(1, length)), mode="constant", cval=float(NONE))
    return found


def reach(lengths: Sequence[int]) -> tuple[int, int]:
    """(cells up and down, cells to the sides) of the window that a phrase of tokens of these many characters looks in."""
    return DOWN, min(WIDEST, sum(lengths) if len(lengths) > 1 else 0)


def best_places(similar: Float32, lengths: Sequence[int], most: int) -> list[Place]:
    """The `most` best places, best first, none of which overlap; none where there is no token at all."""
    scores = place_scores(similar, lengths)
    down, across = reach(lengths)
    left = scores.copy()
    found: list[Place] = []
    while len(found) < most:
        at = int(left.argmax())
        row, col = divmod(at, left.shape[1])
        score = float(left[row, col])
        if score <= float(NONE):
            break
        box = _box(similar, lengths, row, col)
        left[row, col] = NONE
        if any(box[0] < one.row1 and one.row0 < box[2] and box[1] < one.col1 and one.col0 < box[3] for one in found):
            continue
        found.append(Place(score, *box))
        row0, col0, row1, col1 = box
        left[max(0, row0 - down - 1) : row1 + down + 1, max(0, col0 - across - 1) : col1 + across + 1] = NONE
        left[row, col] = NONE
    return found


def _box(similar: Float32, lengths: Sequence[int], row: int, col: int) -> tuple[int, int, int, int]:
    """Around the cells that the phrase's tokens take about a place: of each the best, and what is nearly as good beside it."""
    from scipy.ndimage import label

    height, width = similar.shape[1:]
    down, across = reach(lengths)
    top, left = max(0, row - down), max(0, col - across)
    bottom, right = min(height, row + down + 1), min(width, col + across + 1)
    boxes = []
    for one, length in zip(similar, lengths, strict=True):
        near = smoothed(one, length)[top:bottom, left:right]
        r, c = divmod(int(near.argmax()), near.shape[1])
        r0, r1 = max(0, top + r - 2), min(height, top + r + 3)
        c0, c1 = max(0, left + c - length), min(width, left + c + length + 1)
        part = one[r0:r1, c0:c1]
        peak = float(part.max())
        groups, count = label(part >= peak * NEAR if peak > 0 else part >= peak)
        best = groups[np.unravel_index(int(part.argmax()), part.shape)]
        cells = np.argwhere(groups == best) + np.array([r0, c0]) if count else np.array([[r0, c0]])
        boxes.append((*cells.min(axis=0), *(cells.max(axis=0) + 1)))
    every = np.array(boxes, np.int64)
    return int(every[:, 0].min()), int(every[:, 1].min()), int(every[:, 2].max()), int(every[:, 3].max())
