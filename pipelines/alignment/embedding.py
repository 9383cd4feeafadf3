"""Class vectors of many crops, the encoder kept busy."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

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
    under_way: deque[Future[tuple[Float32, Float32]]] = deque()
    done = 0

    def settle() -> None:
        nonlocal done
        cls, _ = under_way.popleft().result()
        vectors[done : done + len(cls)] = cls
        done += len(cls)
        report.advance(done)

    for group in _batches(crops, encoder.batch):
        under_way.append(encoder.submit(group))
        if len(under_way) > encoder.depth:
            settle()
    while under_way:
        settle()
    report.finish()
    if done != total:
        raise ValueError(f"{done} crops came, {total} were announced")
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return vectors


def _batches(crops: Iterable[NDArray[np.generic]], size: int) -> Iterator[list[Float32]]:
    group: list[Float32] = []
    for crop in crops:
        group.append(crop.astype(np.float32))
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
