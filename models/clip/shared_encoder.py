"""A dense encoder kept busy, as `models.engines.SharedEngine` keeps a segmentor's engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future

import numpy as np

from gridscribe.models.clip.encoder import DenseEncoder, DenseSpec, Float32
from gridscribe.models.engines.batching import in_batches
from gridscribe.models.engines.shared import Calls


class SharedEncoder:
    """One encoder used by several items at once; see `Calls`."""

    def __init__(self, encoder: DenseEncoder) -> None:
        """Takes the encoder over: `close` closes it."""
        self._encoder = encoder
        self._calls = Calls(encoder.encode, encoder.parallel)
        self.batch, self.depth = encoder.spec.batch, self._calls.depth

    @property
    def spec(self) -> DenseSpec:
        """What the encoder is."""
        return self._encoder.spec

    @property
    def embed_dim(self) -> int:
        """Length of a vector."""
        return self._encoder.embed_dim

    def warm_up(self) -> None:
        """Encode a few empty windows, so that buffers are made and kernels chosen before the first one that counts."""
        empty = np.zeros((3, self.spec.window, self.spec.window), np.float32)
        for answer in [self.submit([empty] * self.batch) for _ in range(self.depth)]:
            answer.result()

    def class_vectors(self, windows: Iterable[Float32]) -> Iterator[Float32]:
        """The class vectors [D] of windows one by one, in their order; few windows are held at once."""
        for _, cls in in_batches(((None, window) for window in windows), self, lambda answer: answer[0]):
            if cls is not None:
                yield cls

    def vectors(self, windows: Iterable[Float32]) -> Iterator[tuple[Float32, Float32]]:
        """As `class_vectors`, with the tokens [grid, grid, D] of each window beside its class vector [D]."""
        for _, found in in_batches(
            ((None, window) for window in windows), self, lambda answer: zip(*answer, strict=True)
        ):
            if found is not None:
                yield found

    def submit(self, windows: list[Float32]) -> Future[tuple[Float32, Float32]]:
        """Queue 1 to `batch` windows, float32 [3, window, window]; the answer is that of `DenseEncoder.encode`."""
        return self._calls.submit(windows)

    def close(self) -> None:
        """Drop what has not begun, wait for what has, free the encoder."""
        self._calls.close()
        self._encoder.close()
