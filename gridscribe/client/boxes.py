"""Which box of an image holds a pixel, for many pixels at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def boxes_of(starts: Ints, boxes: Ints, image: Ints, row: Ints, col: Ints) -> Ints:
    """The first box that holds each pixel, as an index into `boxes` ([n, 4]: row, column, height, width); -1 where none does.

    The boxes of image k are `boxes[starts[k]:starts[k + 1]]`.
    """
    first, count = starts[image], starts[image + 1] - starts[image]
    found = np.full(len(image), -1, np.int64)
    for step in range(int(count.max(initial=0))):
        open_ = np.flatnonzero((found < 0) & (count > step))
        if not len(open_):
            break
        box = first[open_] + step
        top, left, height, width = boxes[box].T
        r, c = row[open_], col[open_]
        inside = (r >= top) & (r < top + height) & (c >= left) & (c < left + width)
        found[open_[inside]] = box[inside]
    return found
