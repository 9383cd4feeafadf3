"""Class vectors of many crops, the encoder kept busy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.clip.shared_encoder import SharedEncoder
from gridscribe.progress import Quiet, Reporter

Float32 = NDArray[np.float32]


def class_vectors(
    encoder: SharedEncoder, crops: Iterable[NDArray[np.generic]], total: int, what: str, report: Reporter | None = None
) -> Float32:
    """Unit vectors float32 [total, D] of crops [3, S, S], R, G, B in 0..255, in order; few of them are held at once."""
    report = report or Quiet()
    report.start(total, what)
    vectors = np.empty((total, encoder.embed_dim), np.float32)
    done = 0
    for cls in encoder.class_vectors(crop.astype(np.float32) for crop in crops):
        if done < total:
            vectors[done] = cls
        done += 1
        report.advance(done)
    report.finish()
    if done != total:
        raise ValueError(f"{done} crops came, {total} were announced")
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return vectors
