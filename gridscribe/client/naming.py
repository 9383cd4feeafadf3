"""Naming without a list of classes: the words of a large bank that are nearest to a region's vector.

Object recognition as next token prediction (Yue et al., CVPR 2024) grows several labels at once out of one image, each with a
probability and none looking at the others; it needs a language model. Here the vocabulary is a large bank of words embedded once,
and two things stand for what the language model does there. Words are compared after the mean of the whole bank is taken off:
some words are near to everything, which says nothing. And a word counts less the nearer it is to one chosen before it (maximal
marginal relevance, Carbonell and Goldstein 1998), so that the answer is no list of synonyms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

VARIED = 0.3
"""Share of a word's likeness to one chosen before that is taken off its score."""


def named(region: Float32, words: Float32, top_k: int) -> list[tuple[int, float]]:
    """(word, score) of at most `top_k` words, best first, of unit vectors [n, D]; scores are cosines about the bank's mean."""
    mean = words.mean(axis=0, dtype=np.float64)
    about = words.astype(np.float64) - mean
    about /= np.maximum(np.linalg.norm(about, axis=1, keepdims=True), 1e-12)
    itself = region.astype(np.float64) - mean
    scores = about @ (itself / max(float(np.linalg.norm(itself)), 1e-12))
    chosen: list[tuple[int, float]] = []
    worth = scores.copy()
    likest = np.full(len(words), -np.inf)
    for _ in range(min(top_k, len(words))):
        best = int(worth.argmax())
        chosen.append((best, float(scores[best])))
        likest = np.maximum(likest, about @ about[best])
        worth = scores - VARIED * np.maximum(likest, 0)
        worth[[k for k, _ in chosen]] = -np.inf
    return sorted(chosen, key=lambda one: (-one[1], one[0]))
