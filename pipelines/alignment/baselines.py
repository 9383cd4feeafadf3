"""What can be told of an object without a model: by its colours, by its class in a mask, by guessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.alignment.objects import SceneObjects

Float32 = NDArray[np.float32]

RGB_LEVELS = 6
HSV_LEVELS = (16, 4, 4)
SIDE = 64
"""Pixels a side of the crops that colours are counted in."""
PER_CAPTION = 40
"""Training objects of each caption that colours and classes are learnt from."""


def histogram(crop: NDArray[np.uint8]) -> Float32:
    """Colours of a crop uint8 [3, h, w]: square roots of the shares of pixels in 6 x 6 x 6 cells of RGB and 16 x 4 x 4 of HSV.

    Of unit length, so a dot product of two is the Bhattacharyya coefficient of them.
    """
    from PIL import Image

    hsv = np.asarray(Image.fromarray(np.ascontiguousarray(crop.transpose(1, 2, 0))).convert("HSV")).transpose(2, 0, 1)
    parts = []
    for bands, levels in ((crop, (RGB_LEVELS,) * 3), (hsv, HSV_LEVELS)):
        cell = np.zeros(crop.shape[1:], np.intp)
        for band, count in zip(bands, levels, strict=True):
            cell = cell * count + band.astype(np.intp) * count // 256
        parts.append(np.bincount(cell.ravel(), minlength=int(np.prod(levels))))
    shares = np.concatenate(parts) / (2 * cell.size)
    return np.sqrt(shares).astype(np.float32)


def histograms(crops: Iterable[NDArray[np.uint8]]) -> Float32:
    """`histogram` of each, [N, colours]."""
    return np.stack([histogram(crop) for crop in crops])


@dataclass(frozen=True, slots=True)
class Baselines:
    """Learnt on the objects of training scenes."""

    most_frequent: str
    """Category."""
    by_category: dict[str, Float32]
    """The mean histogram of a category, of unit length."""
    by_caption: dict[str, Float32]
    """Of a caption."""
    of_class: dict[int, dict[str, float]]
    """For each class of the mask, how often each category is of it."""


def learn(objects: SceneObjects, seed: int = 0) -> Baselines:
    """From at most `PER_CAPTION` objects of each caption, each counted for all those that it was drawn from."""
    drawn = objects.sample(PER_CAPTION, seed)
    total = Counter(zip(objects.categories, objects.captions, strict=True))
    taken = Counter(zip(drawn.categories, drawn.captions, strict=True))
    named = list(zip(drawn.categories, drawn.captions, strict=True))
    weights = np.array([total[one] / taken[one] for one in named])
    colours = histograms(drawn.crops(SIDE))
    of_class: dict[int, dict[str, float]] = {}
    for number, category, weight in zip(drawn.mask_classes().tolist(), drawn.categories, weights.tolist(), strict=True):
        own = of_class.setdefault(number, {})
        own[category] = own.get(category, 0.0) + weight
    return Baselines(
        Counter(objects.categories).most_common(1)[0][0],
        _centroids(colours, weights, drawn.categories),
        _centroids(colours, weights, drawn.captions),
        of_class,
    )


def _centroids(colours: Float32, weights: NDArray[np.float64], names: Sequence[str]) -> dict[str, Float32]:
    found = {}
    for name in sorted(set(names)):
        own = np.array([other == name for other in names])
        mean = weights[own] @ colours[own]
        found[name] = (mean / np.linalg.norm(mean)).astype(np.float32)
    return found
