"""Which character a cell of a page shows: what the encoder is told besides while it is trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gridscribe.models.document.spelling import spelling

FIRST, LAST = 33, 126  # printable ASCII without the blank
CHARACTERS = LAST - FIRST + 2
"""Paper, and each of ASCII's; capitals count as small letters, as in the vocabulary."""
PAPER, IGNORED = 0, -100
NARROW, WIDE = "iljtf1.,:;'!|()[]`I", "mw%@&"
"""Of about half, and one and a half, times the usual width."""


def plain(token: int) -> str:
    """A token's characters, without the mark of a word's end."""
    return spelling(token).removesuffix("</w>")


def shown_characters(tokens: Mapping[int, tuple[int, NDArray[np.float64]]], cells: int) -> NDArray[np.int64]:
    """int64 [cells, cells]: the number of the character that each cell shows, `IGNORED` where no token is.

    `tokens`: by any key, a token's id and its outline in cells, [n, 2] (x, y): the upper edge from left to right, then the lower
    one back. A cell is a token's where its centre lies in the outline or within half a cell of it, as Pillow fills polygons. The
    characters share the way from a token's left to its right by usual widths. Bytes that are no printable ASCII are
    `IGNORED`.
    """
    out = np.full((cells, cells), IGNORED, np.int64)
    if not tokens:
        return out
    board = Image.new("I", (cells, cells), 0)
    pen = ImageDraw.Draw(board)
    ordered = list(tokens.values())
    for number, (_, ring) in enumerate(ordered, 1):
        pen.polygon([(float(x) - 0.5, float(y) - 0.5) for x, y in ring], fill=number)  # a pixel's centre is whole here
    owner = np.asarray(board)
    rows, cols = np.nonzero(owner)
    for number in np.unique(owner[rows, cols]).tolist():
        token, ring = ordered[number - 1]
        here = owner[rows, cols] == number
        out[rows[here], cols[here]] = _along(plain(token), ring, rows[here] + 0.5, cols[here] + 0.5)
    return out


def _along(text: str, ring: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.int64]:
    half = len(ring) // 2
    left, right = (ring[0] + ring[-1]) / 2, (ring[half - 1] + ring[half]) / 2
    way = right - left
    length = float(way @ way)
    share = ((x - left[0]) * way[0] + (y - left[1]) * way[1]) / length if length > 0 else np.zeros(len(x))
    widths = np.array([0.5 if c in NARROW else 1.5 if c in WIDE else 1.0 for c in text])
    ends = np.cumsum(widths) / widths.sum()
    numbers = np.array([ord(c) - FIRST + 1 if FIRST <= ord(c) <= LAST else IGNORED for c in text])
    found: NDArray[np.int64] = numbers[np.clip(np.searchsorted(ends, share, side="right"), 0, len(text) - 1)]
    return found
