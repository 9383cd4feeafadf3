"""Which of several places is higher, by the coded heights of the images table: no raster is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.index import ImageIndex
from gridscribe.client.when import Interval
from gridscribe.height_code import UNKNOWN, bounds, cell_of
from gridscribe.values import Window

if TYPE_CHECKING:
    import pyarrow as pa

OUTSIDE, NO_HEIGHT, OK = "outside", "no height", "ok"


def height_order(index: ImageIndex, points: NDArray[np.float64], crs: str, interval: Interval | None) -> pa.Table:
    """See `Client.height_order`. Where images overlap, the newest that has a height there counts, then that of the lowest id."""
    import pyarrow as pa

    x, y = np.ascontiguousarray(points.T)
    found = index.candidates(x, y, crs, index.chosen(interval))
    box = index.boxes_of(found.image, found.row, found.col)
    code = np.full(len(box), UNKNOWN, np.uint8)
    for one in np.unique(box[box >= 0]).tolist():
        layer = index.height_codes[one]
        if layer is not None:
            here = np.flatnonzero(box == one)
            cells = cell_of(Window(*index.boxes[one].tolist()), found.row[here], found.col[here])
            code[here] = np.frombuffer(layer, np.uint8)[cells]
    chosen, image = np.full(len(points), UNKNOWN, np.uint8), np.full(len(points), -1)
    # best last, so that it is what stays
    order = np.lexsort((-found.image, index.times[found.image], code != UNKNOWN))
    chosen[found.point[order]], image[found.point[order]] = code[order], found.image[order]
    low, high = bounds(chosen)
    known = chosen != UNKNOWN
    higher = known.sum() - np.searchsorted(np.sort(chosen[known]), chosen, side="right")
    status = np.where(known, OK, np.where(image >= 0, NO_HEIGHT, OUTSIDE))
    return pa.table(
        {
            "rank": pa.array(higher + 1, pa.int64(), mask=~known),
            "low": pa.array(low, mask=~known),
            "high": pa.array(high, mask=~known),
            "image": pa.array([index.ids[k] if k >= 0 else None for k in image.tolist()], pa.string()),
            "status": pa.array(status.tolist()),
        }
    )
