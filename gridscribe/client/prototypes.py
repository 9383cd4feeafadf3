"""What phrases were found to look like: a memory of vectors, asked by the phrase.

GeoPix (IEEE GRSM 2025) keeps maps learnt for each class beside its mask decoder, from which a second pass is made; as released,
what the memory gives is thrown away and the class is always the same. Here the memory is one vector for each phrase, the mean of
the regions that the phrase was answered with, and it is that of the phrase nearest to the one that is asked about.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import QueryError

Float32 = NDArray[np.float32]

ALIKE = 0.9
"""Least cosine of two phrases that share a prototype."""


class Prototypes:
    """Means of what was found, by phrase. Of one alignment model alone. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: str | None = None
        self._phrases: list[Float32] = []
        self._sums: list[NDArray[np.float64]] = []
        self._weights: list[float] = []

    def __len__(self) -> int:
        return len(self._phrases)

    def recall(self, model: str, phrase: Float32) -> tuple[Float32, float] | None:
        """The mean of what was found for the nearest phrase, of unit length, and the regions behind it.

        None where no phrase is near enough. `model` is the digest of the alignment model; what was learnt with another is
        forgotten.
        """
        with self._lock:
            near = self._near(model, phrase)
            if near is None:
                return None
            total = self._sums[near]
            length = float(np.linalg.norm(total))
            return None if not length > 0 else ((total / length).astype(np.float32), self._weights[near])

    def learn(self, model: str, phrase: Float32, vectors: Float32) -> None:
        """Add unit vectors [n, D] of what the phrase was answered with."""
        if not len(vectors):
            return
        with self._lock:
            near = self._near(model, phrase)
            if near is None:
                near = len(self._phrases)
                self._phrases.append(phrase)
                self._sums.append(np.zeros(len(phrase)))
                self._weights.append(0.0)
            self._sums[near] += vectors.sum(axis=0, dtype=np.float64)
            self._weights[near] += len(vectors)

    def state(self) -> dict[str, Any]:
        """All that is remembered, as plain data; floats keep all their bits."""
        with self._lock:
            return {
                "model": self._model,
                "phrases": [phrase.tolist() for phrase in self._phrases],
                "sums": [total.tolist() for total in self._sums],
                "weights": list(self._weights),
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave, in place of all that is remembered. `ValueError` where it is none."""
        try:
            phrases = [np.array(phrase, np.float32) for phrase in state["phrases"]]
            sums = [np.array(total, np.float64) for total in state["sums"]]
            weights, model = [float(weight) for weight in state["weights"]], state["model"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"no state of Prototypes: {error!r}") from error
        shapes = {array.shape for array in phrases} | {array.shape for array in sums}
        if (
            len(phrases) != len(sums)
            or len(sums) != len(weights)
            or len(shapes) > 1
            or any(len(s) != 1 for s in shapes)
        ):
            raise ValueError("no state of Prototypes: phrases, sums and weights do not belong together")
        finite = all(np.isfinite(array).all() for arrays in (phrases, sums) for array in arrays)
        if not finite or not all(0 < weight < math.inf for weight in weights):
            raise ValueError("no state of Prototypes: its numbers must be finite, and weights positive")
        with self._lock:
            self._model, self._phrases, self._sums, self._weights = model, phrases, sums, weights

    def _near(self, model: str, phrase: Float32) -> int | None:
        if model != self._model:
            self._model, self._phrases, self._sums, self._weights = model, [], [], []
        if not self._phrases:
            return None
        if len(self._phrases[0]) != len(phrase):
            raise QueryError(
                f"the memory is of vectors of {len(self._phrases[0])} components, the model has {len(phrase)}"
            )
        cosines = np.stack(self._phrases) @ phrase
        best = int(cosines.argmax())
        return best if cosines[best] >= ALIKE else None
