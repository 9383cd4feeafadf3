"""Zero-shot classification of regions: which category's words an object is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.pipelines.alignment.baselines import Baselines

DIGITS = 4
TOP = 5


@dataclass(frozen=True, slots=True)
class Classification:
    """Shares of objects whose category is the best, or one of the five best; `balanced`: the mean over categories."""

    objects: int
    top1: float
    top5: float
    balanced_top1: float
    balanced_top5: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {name: value if name == "objects" else round(value, DIGITS) for name, value in asdict(self).items()}


def classification(scores: NDArray[np.floating], truth: NDArray[np.intp]) -> Classification:
    """Of scores [N, categories] against the true category [N]; of equal scores the earlier category comes first."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    earlier = np.arange(scores.shape[1])[None] < truth[:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
    return _of_hits(np.stack([rank < 1, rank < TOP]).astype(np.float64), truth)


def guessing(truth: NDArray[np.intp], categories: int) -> Classification:
    """Of who draws from all categories evenly."""
    one, five = 1 / categories, min(1.0, TOP / categories)
    return Classification(len(truth), one, five, one, five)


def shuffled(
    scores: NDArray[np.floating], truth: NDArray[np.intp], orders: Sequence[NDArray[np.intp]]
) -> Classification:
    """The mean over `orders` of truth dealt out anew among the objects: what is left of a score without any link to them.

    Balanced, that is chance; overall it is what the answers' frequencies alone give.
    """
    found = [classification(scores, truth[order]) for order in orders]
    names = ("top1", "top5", "balanced_top1", "balanced_top5")
    return Classification(len(truth), *(float(np.mean([getattr(one, name) for one in found])) for name in names))


def baseline_scores(
    baselines: Baselines, categories: Sequence[str], colours: NDArray[np.float32], classes: NDArray[np.uint8]
) -> dict[str, NDArray[np.floating]]:
    """Scores [N, categories] of objects by the baselines' names; a category that training does not show is the last choice."""
    centroids = np.stack(
        [baselines.by_category.get(name, -np.ones(colours.shape[1], np.float32)) for name in categories]
    )
    known = [[baselines.of_class.get(k, {}).get(name, 0.0) for name in categories] for k in range(256)]
    frequent = np.array([name == baselines.most_frequent for name in categories], np.float64)
    return {
        "most frequent category": np.broadcast_to(frequent, (len(colours), len(categories))),
        "class-name lookup": np.array(known)[classes],
        "colour histogram": colours @ centroids.T,
    }


def _of_hits(hits: NDArray[np.float64], truth: NDArray[np.intp]) -> Classification:
    """`hits` [2, N]: among the first, among the first five."""
    own = [hits[:, truth == k].mean(axis=1) for k in np.unique(truth)]
    (top1, top5), (balanced1, balanced5) = hits.mean(axis=1).tolist(), np.mean(own, axis=0).tolist()
    return Classification(len(truth), top1, top5, balanced1, balanced5)
