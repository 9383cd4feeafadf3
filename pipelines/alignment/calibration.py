"""Offsets of open-vocabulary classes, fitted on labelled images, and kept as JSON beside their class file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.clip.concepts import ConceptBank
from gridscribe.models.clip.encoder import DenseSpec
from gridscribe.models.clip.open_vocabulary import OpenVocabulary
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.pipelines.calibrating import Sampled
from gridscribe.pipelines.metrics import fit_temperature

Float64 = NDArray[np.float64]

FORMAT = "gridscribe-class-offsets/1"
STEPS = (1.0, 0.5, 0.25, 0.125)
"""Of the search, in units of what the softmax is taken of."""
REACH = (-4, -2, -1, 1, 2, 4)
"""Steps that are tried from where a class's offset is."""
ROUNDS = 10
_FLOOR = 1e-30


@dataclass(frozen=True, slots=True)
class ClassOffsets:
    """A scale and an offset per class (see `OpenVocabulary`), with all that they were fitted for."""

    model: str
    """Digest of the alignment package."""
    concepts: str
    """Digest of the class file (`ConceptBank.digest`)."""
    variant: str
    """Of the encoder's last block."""
    window: int
    """Pixels a side of the encoder's windows."""
    bias: float
    scale: float
    offsets: dict[str, float]
    """By class name, as cosines."""
    sample: dict[str, Any]
    """Images and pixels that they were fitted on, and the mean IoU there before and after."""

    def to_json(self) -> dict[str, Any]:
        """Plain data; `read_offsets` reads it back."""
        return {"format": FORMAT, **asdict(self)}


def fitted_for(package: AlignmentPackage, bank: ConceptBank, encoder: DenseSpec, bias: float) -> dict[str, Any]:
    """What offsets belong to, as `read_offsets` is told it."""
    return {
        "model": package.digest,
        "concepts": bank.digest,
        "variant": encoder.variant,
        "window": encoder.window,
        "bias": bias,
    }


def read_offsets(path: Path, **stated: Any) -> ClassOffsets:
    """Offsets from a file. `stated` (model, concepts, variant, ...) is what they are to be used with.

    Raises UsageError where the file cannot be read, is of another format, or was fitted for anything else: offsets mean nothing
    beside other vectors.
    """
    try:
        document = json.loads(path.read_bytes())
        form = document.pop("format")
        found = ClassOffsets(**document)
        usable = found.scale > 0 and bool(np.isfinite([found.scale, *found.offsets.values()]).all())
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: holds no offsets of classes: {error!r}") from error
    if form != FORMAT or not usable:
        raise UsageError(
            f"{path}: format {form!r}, scale {found.scale}, offsets {found.offsets}: needs {FORMAT!r}, finite numbers"
        )
    for name, value in stated.items():
        if (other := getattr(found, name)) != value:
            raise UsageError(f"{path}: was fitted for {name}={other!r}, this is {value!r}: fit offsets anew")
    return found


def fit_offsets(sampled: Sampled, words: OpenVocabulary) -> tuple[OpenVocabulary, dict[str, float]]:
    """`words` with the scale and offsets that suit the sample, and the mean IoU there before and after: never less than before.

    `sampled` holds the answers of an engine of `words` itself. First the scale is fitted by cross entropy (`fit_temperature`);
    then one class after another is raised or lowered by `STEPS`, coarse to fine, whenever the mean IoU of the blended mask grows
    (a coordinate search; the measure counts every class that occurs the same, rare ones too); last the scale once more, for
    honest confidences, unless blending makes the mean IoU fall by it.
    """
    sampled = _by_pixel(sampled)
    before = mean_iou(_blended(_logs(sampled), sampled), sampled)
    first = fit_temperature(sampled.probabilities, sampled.labels, sampled.pixels, sampled.weights)
    logs = _logs(sampled) / first
    start = mean_iou(_blended(logs, sampled), sampled)
    if start < before:
        first, logs, start = 1.0, _logs(sampled), before
    raised, best = _search(logs, sampled, start)
    shifted = logs + raised
    second = fit_temperature(_softmax(shifted), sampled.labels, sampled.pixels, sampled.weights)
    again = mean_iou(_blended(shifted / second, sampled), sampled)
    if again < best:
        second, again = 1.0, best
    scale = words.scale / first / second
    moved = raised * first / words.scale
    names = [one.name for one in words.classes]
    known = dict(zip(names, words.offsets, strict=True))
    offsets = {name: round(known[name] + float(value), 6) for name, value in zip(names, moved, strict=True)}
    return words.calibrated(round(scale, 4), offsets), {"miou_before": round(before, 4), "miou_after": round(again, 4)}


def mean_iou(mask: NDArray[np.intp], sampled: Sampled) -> float:
    """Mean IoU over the classes that occur in labels or mask, both of pixels [m]."""
    count = sampled.probabilities.shape[1]
    labels = np.zeros(len(mask), np.intp)
    labels[sampled.pixels] = sampled.labels
    pairs = np.bincount(labels * count + mask, minlength=count * count).reshape(count, count)
    hit = np.diag(pairs)
    union = pairs.sum(axis=0) + pairs.sum(axis=1) - hit
    return float((hit[union > 0] / union[union > 0]).mean())


def _search(logs: Float64, sampled: Sampled, best: float) -> tuple[Float64, float]:
    """What to add to each class, and the mean IoU with it."""
    raised = np.zeros(logs.shape[1])
    for step in STEPS:
        for _ in range(ROUNDS):
            reached = best
            for k in range(len(raised)):
                tried = [
                    (mean_iou(_blended(logs + (raised + _only(k, r * step, len(raised))), sampled), sampled), r)
                    for r in REACH
                ]
                found, reach = max(tried, key=lambda one: (one[0], -abs(one[1]), one[1]))
                if found > best:
                    best = found
                    raised[k] += reach * step
            if best == reached:
                break
    return raised, best


def _only(k: int, value: float, count: int) -> Float64:
    one = np.zeros(count)
    one[k] = value
    return one


def _logs(sampled: Sampled) -> Float64:
    return np.log(np.maximum(sampled.probabilities.astype(np.float64), _FLOOR))


def _blended(logits: Float64, sampled: Sampled) -> NDArray[np.intp]:
    """The class of each pixel [m], as windows are blended: the largest tapered sum of probabilities. Needs `_by_pixel`."""
    chances = _softmax(logits) * sampled.weights[:, None]
    first = np.flatnonzero(np.diff(sampled.pixels, prepend=-1))
    total: NDArray[np.intp] = np.add.reduceat(chances, first, axis=0).argmax(axis=1)
    return total


def _by_pixel(sampled: Sampled) -> Sampled:
    """Answers of one pixel side by side, pixels in order."""
    order = np.argsort(sampled.pixels, kind="stable")
    return Sampled(sampled.probabilities[order], sampled.pixels[order], sampled.weights[order], sampled.labels[order])


def _softmax(logits: Float64) -> Float64:
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    return found


def sample_facts(ids: Sequence[str], sampled: Sampled) -> dict[str, Any]:
    """What is recorded of a sample."""
    return {"images": list(ids), "pixels": int(sampled.pixels.max()) + 1}
