"""Segmentation into classes that are only named: a dense encoder and vectors of words, behind the `Engine` Protocol.

Of each patch: its cosine with each class less a share of the window's (SegEarth-OV, CVPR 2025: `cos(patch, text) + lambda
cos(CLS, text)` with lambda -0.3: what the whole window is about is held against every patch of it), raised by the class's offset,
times the scale. Scores are brought to pixels bilinearly, and then made probabilities by a softmax.

An offset is what a threshold is elsewhere: a pixel goes to class a rather than b where the cosines differ by more than b's offset
less a's. Published thresholds differ by data set, from 0 to 0.7; so they are to be fitted on labelled images of one's own.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.clip.concepts import ConceptBank, Embedder, embed_concepts
from gridscribe.models.clip.encoder import DenseEncoder
from gridscribe.models.engines.base import EngineSpec, check_batch
from gridscribe.models.package import ClassInfo

Float32 = NDArray[np.float32]

BIAS = 0.3
"""Of SegEarth-OV."""
MOST_CLASSES = 255
_GOLDEN = 0.61803399  # of a turn: hues that follow each other so are never close


@dataclass(frozen=True, slots=True)
class OpenVocabulary:
    """Classes as words: what an `OpenVocabularyEngine` compares tokens with, and what masks name and colour (`MaskClasses`)."""

    name: str
    """Of the model and the class file, for people."""
    classes: tuple[ClassInfo, ...]
    vectors: Float32 = field(repr=False, compare=False)
    """[classes, D], of unit length."""
    scale: float
    """What scores are multiplied by before the softmax; `logit_scale` of the package where it was not fitted."""
    offsets: tuple[float, ...]
    """What is added to the score of each class, as a cosine; 0 where it was not fitted."""
    bias: float = BIAS
    """Share of the window's own cosine that is taken off."""

    def __post_init__(self) -> None:
        count = len(self.classes)
        if not 2 <= count <= MOST_CLASSES:
            raise UsageError(f"classes: {count} named; 2 to {MOST_CLASSES} are needed")
        if self.vectors.ndim != 2 or len(self.vectors) != count or len(self.offsets) != count:
            raise UsageError(
                f"{count} classes, vectors {self.vectors.shape}, {len(self.offsets)} offsets: one of each per class"
            )
        if not 0 < self.scale < np.inf or not np.isfinite([self.bias, *self.offsets]).all():
            raise UsageError(
                f"scale={self.scale}, bias={self.bias}, offsets={self.offsets}: finite numbers, scale above 0"
            )

    def calibrated(self, scale: float, offsets: Mapping[str, float]) -> OpenVocabulary:
        """With another scale and the offsets of the classes by name. Raises UsageError where a class has none."""
        names = [one.name for one in self.classes]
        if set(offsets) != set(names):
            raise UsageError(f"offsets of {sorted(offsets)} do not fit the classes {sorted(names)}")
        return replace(self, scale=scale, offsets=tuple(float(offsets[name]) for name in names))


def open_vocabulary(
    bank: ConceptBank,
    encoder: Embedder,
    *,
    name: str,
    scale: float,
    bias: float = BIAS,
    colors: Mapping[str, tuple[int, int, int]] | None = None,
) -> OpenVocabulary:
    """The concepts of `bank` as classes 0, 1, ..., coloured as `colors` says by name, the others by hues far from each other."""
    known = dict(colors or {})
    classes = tuple(ClassInfo(k, one, known.get(one, _hue(k))) for k, one in enumerate(bank.names))
    return OpenVocabulary(name, classes, embed_concepts(bank, encoder), scale, (0.0,) * len(classes), bias)


class OpenVocabularyEngine:
    """See `Engine`. Height, the fourth band, is not looked at. The probabilities of a window are the same bits at any place in a
    batch, as far as the encoder's answers are.
    """

    def __init__(self, encoder: DenseEncoder, vocabulary: OpenVocabulary) -> None:
        """Takes the encoder over: `close` closes it. Raises ModelError where the vectors are not of its space."""
        if vocabulary.vectors.shape[1] != encoder.embed_dim:
            raise ModelError(
                f"{vocabulary.name}: vectors of {vocabulary.vectors.shape[1]} numbers, the encoder gives {encoder.embed_dim}: "
                "words and images must be encoded by one model"
            )
        self._encoder, self._vocabulary = encoder, vocabulary
        self.spec: EngineSpec = encoder.spec
        self.num_classes = len(vocabulary.classes)
        self.parallel = encoder.parallel
        self._lower, self._upper, self._share = _between(encoder.spec.window, encoder.grid)

    def predict(self, batch: Float32) -> Float32:
        """See `Engine.predict`."""
        check_batch(batch, self.spec)
        cls, tokens = self._encoder.encode(np.ascontiguousarray(batch[:, :3]))
        answer = np.empty((len(batch), self.num_classes, *batch.shape[2:]), np.float32)
        for found, whole, patches in zip(answer, cls, tokens, strict=True):
            _softmax(self._on_pixels(self._scores(whole, patches)), found)
        return answer

    def close(self) -> None:
        """See `Engine.close`."""
        self._encoder.close()

    def _scores(self, whole: Float32, patches: Float32) -> Float32:
        """[classes, grid, grid]: what the softmax is taken of, at patches."""
        words = self._vocabulary
        flat = _unit(patches.reshape(-1, patches.shape[-1]))
        shared = np.float32(words.bias) * (words.vectors @ _unit(whole[None])[0])
        scores = words.vectors @ flat.T - (shared - np.asarray(words.offsets, np.float32))[:, None]
        scores *= np.float32(words.scale)
        return scores.reshape(-1, *patches.shape[:2])

    def _on_pixels(self, scores: Float32) -> Float32:
        """[classes, grid, grid] to [classes, window, window]: bilinear between the centres of patches, level beyond the last."""
        lower, upper, share = self._lower, self._upper, self._share
        rest = np.float32(1) - share
        rows = scores[:, lower] * rest[:, None] + scores[:, upper] * share[:, None]
        result: Float32 = rows[:, :, lower] * rest + rows[:, :, upper] * share
        return result


def _between(window: int, grid: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32]:
    """For each pixel of an axis: the patches whose centres it lies between, and its share of the way to the second."""
    place = np.clip((np.arange(window) + 0.5) * grid / window - 0.5, 0, grid - 1)
    lower = np.floor(place).astype(np.intp)
    return lower, np.minimum(lower + 1, grid - 1), (place - lower).astype(np.float32)


def _softmax(logits: Float32, out: Float32) -> None:
    """Over the first axis."""
    np.subtract(logits, logits.max(axis=0), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=0)


def _unit(vectors: Float32) -> Float32:
    """Rows of unit length; a row of zeros stays."""
    result: Float32 = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return result


def _hue(number: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
