"""Halving a raster: by majority for labels, by mean for measurements; nodata never counts.

Both take [h, w] and give [ceil(h / 2), ceil(w / 2)] of the same dtype; pixels beyond the edge count as nodata.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def _quarters(band: NDArray[Any], nodata: int) -> tuple[NDArray[Any], ...]:
    """The four pixels of every 2 x 2 block, row-major."""
    height, width = band.shape
    if height % 2 or width % 2:
        band = np.pad(band, ((0, height % 2), (0, width % 2)), constant_values=nodata)
    return band[::2, ::2], band[::2, 1::2], band[1::2, ::2], band[1::2, 1::2]


def mode2(band: NDArray[Any], nodata: int) -> NDArray[Any]:
    """The most frequent value of each 2 x 2 block; among equally frequent ones the first, row-major.

    Nodata is the answer only where all four are nodata.
    """
    first, second, third, fourth = quarters = _quarters(band, nodata)
    out = first.copy()
    alone = (first != second) & (first != third) & (first != fourth)
    np.copyto(out, third, where=alone & (third == fourth))
    np.copyto(out, second, where=alone & ((second == third) | (second == fourth)))

    # Nodata voted too. Where it met valid pixels (few blocks: the borders of what is valid) they vote again without it.
    missing = [quarter == nodata for quarter in quarters]
    mixed = np.logical_or.reduce(missing) & ~np.logical_and.reduce(missing)
    if mixed.any():
        values = np.stack([quarter[mixed] for quarter in quarters])
        votes = (values[:, None] == values[None]).sum(axis=1)
        votes[values == nodata] = 0
        out[mixed] = np.take_along_axis(values, votes.argmax(axis=0)[None], axis=0)[0]
    return out


def average2(band: NDArray[Any], nodata: int) -> NDArray[Any]:
    """The mean of the valid pixels of each 2 x 2 block, halves rounded up; nodata where all four are nodata."""
    if band.size and not (band == nodata).any() and not (band.shape[0] % 2 or band.shape[1] % 2):
        pairs = np.add(band[::2], band[1::2], dtype=np.int32)  # whole rows first: the common case, at memory speed
        return ((pairs[:, ::2] + pairs[:, 1::2] + 2) >> 2).astype(band.dtype)
    quarters = _quarters(band, nodata)
    total = np.zeros(quarters[0].shape, np.int32)
    valid = np.zeros(quarters[0].shape, np.uint8)
    for quarter in quarters:
        known = quarter != nodata
        np.add(total, quarter, out=total, where=known)
        valid += known
    out = (2 * total + valid) // (2 * np.maximum(valid, 1).astype(np.int32))
    out[valid == 0] = nodata
    return out.astype(band.dtype)
