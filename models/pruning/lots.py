"""Lots that are drawn for tokens: the same on every machine, in every box and at any time."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def lots(key: str, index: NDArray[np.int32]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) of a text, such as an image's digest, and each token's index."""
    start = np.uint64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
    with np.errstate(over="ignore"):
        z = start + (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
