"""QuickGELU or GELU? The weights do not say, and the wrong one costs accuracy without an error: let labelled images decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.clip.text import SATELLITE, TextEncoder

CHANCE = 0.01
"""Largest probability, were both activations equally good, of a difference as large as the one found."""
FEWEST = 8
BATCH = 32


@dataclass(frozen=True, slots=True)
class ActivationChoice:
    """Both scores of one package, and which activation they speak for."""

    quick_gelu: bool
    margin: int
    """Images that it alone gets right, less those that the other alone gets right."""
    differing: int
    """Images that one alone gets right."""
    chance: float
    """Of so large a margin or a larger one, were both equally good (two-sided sign test on the differing images)."""
    accuracy_quick_gelu: float
    accuracy_gelu: float
    log_probability_quick_gelu: float
    """Mean over images, of the right label; beside the rest, since the wrong activation can be the surer one."""
    log_probability_gelu: float
    images: int
    labels: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def choose_activation(
    package: AlignmentPackage,
    images: NDArray[np.uint8],
    labels: Sequence[int],
    texts: Sequence[str],
    templates: Sequence[str] = SATELLITE,
) -> ActivationChoice:
    """Score `package`, whatever activation it states, with both, as a zero-shot classifier of labelled images.

    `images` is uint8 [N, 3, S, S], S the package's window; `labels` are indices into `texts`. Chosen is the
    activation that is right more often. Raises UsageError for a probe set that cannot be used, ModelError where it cannot
    tell: the difference in right answers could be chance (probability above `CHANCE`).
    """
    side = package.window
    if images.ndim != 4 or images.shape[1:] != (3, side, side) or images.dtype != np.uint8:
        raise UsageError(f"images are {images.dtype} {images.shape}; uint8 [N, 3, {side}, {side}] is needed")
    if len(images) != len(labels) or len(images) < FEWEST or len(set(labels)) < 2:
        raise UsageError(
            f"{len(images)} images, {len(labels)} labels of {len(set(labels))} kinds; needed are as many labels as images, "
            f"at least {FEWEST}, of at least 2 kinds"
        )
    if not all(0 <= label < len(texts) for label in labels):
        raise UsageError(
            f"labels lie in {min(labels)}..{max(labels)}; with {len(texts)} texts they must lie below that"
        )
    wanted = np.asarray(labels)
    scores = {quick: _log_probabilities(package, images, texts, templates, quick) for quick in (True, False)}
    right = {quick: one.argmax(1) == wanted for quick, one in scores.items()}
    accuracy = {quick: float(one.mean()) for quick, one in right.items()}
    surety = {quick: float(one[np.arange(len(wanted)), wanted].mean()) for quick, one in scores.items()}
    alone = {quick: int((right[quick] & ~right[not quick]).sum()) for quick in right}
    chance = _sign_test(alone[True], alone[False])
    if chance > CHANCE:
        raise ModelError(
            f"model {package.uri}: {len(images)} images cannot tell QuickGELU from GELU: {alone[True]} are right with the one "
            f"alone, {alone[False]} with the other, which has a chance of {chance:.3f} where both are equally good; at most "
            f"{CHANCE:g} is accepted: give more or harder images, or state the activation"
        )
    quick = alone[True] > alone[False]
    return ActivationChoice(
        quick_gelu=quick,
        margin=alone[quick] - alone[not quick],
        differing=sum(alone.values()),
        chance=chance,
        accuracy_quick_gelu=accuracy[True],
        accuracy_gelu=accuracy[False],
        log_probability_quick_gelu=surety[True],
        log_probability_gelu=surety[False],
        images=len(images),
        labels=len(set(labels)),
    )


def _sign_test(one: int, other: int) -> float:
    """Probability of a split at least as uneven as `one` to `other` in as many throws of a fair coin."""
    count, fewer = one + other, min(one, other)
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(fewer + 1)) / 2**count)


def _log_probabilities(
    package: AlignmentPackage, images: NDArray[np.uint8], texts: Sequence[str], templates: Sequence[str], quick: bool
) -> NDArray[np.float64]:
    """log softmax over `texts` of the scaled cosines, float64 [N, texts]."""
    import torch

    from gridscribe.models.clip.dense import Normalise
    from gridscribe.models.clip.towers import build_image_tower

    one = replace(package, architecture={**package.architecture, "quick_gelu": quick})
    phrases = TextEncoder(one).embed(texts, templates)
    tower, normalise = build_image_tower(one), Normalise(one.mean, one.std)
    with torch.inference_mode():
        parts = [
            tower(normalise(torch.from_numpy(images[k : k + BATCH]).float())) for k in range(0, len(images), BATCH)
        ]
        vectors = torch.nn.functional.normalize(torch.cat(parts), dim=-1).numpy()
    logits = package.logit_scale * (vectors @ phrases.T).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
