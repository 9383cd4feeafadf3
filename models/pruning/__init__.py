"""Token pruning and merging behind one Protocol; see `base.py` for what a pruner promises."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Placement, Pruner, TokenSelection
from gridscribe.models.pruning.bipartite import BipartiteMerging
from gridscribe.models.pruning.core import CoreTokens
from gridscribe.models.pruning.correlation import CorrelationGuided
from gridscribe.models.pruning.events import EventPatches
from gridscribe.models.pruning.flexible import FlexiblePooling
from gridscribe.models.pruning.pagerank import PageRankTokens
from gridscribe.models.pruning.pixels import DropNodata, MergeDuplicates, PixelPrune
from gridscribe.models.pruning.pooling import TokenPooling
from gridscribe.models.pruning.pyramid import PyramidBudgets
from gridscribe.models.pruning.script import GraphDPP
from gridscribe.models.pruning.simple import KeepAll, RandomTokens
from gridscribe.models.pruning.skip import SkipTokens
from gridscribe.models.pruning.text_prior import TextPrior
from gridscribe.models.pruning.transition import TransitionTokens
from gridscribe.models.pruning.ward import WardPooling
from gridscribe.models.pruning.zeroth_order import ZerothOrder

__all__ = ["METHODS", "Candidates", "Placement", "Pruner", "TokenSelection", "check_given", "pruner_from_json"]

METHODS: dict[str, Any] = {
    method.name: method
    for method in (
        KeepAll,
        WardPooling,
        BipartiteMerging,
        TokenPooling,
        DropNodata,
        MergeDuplicates,
        PixelPrune,
        RandomTokens,
        TextPrior,
        GraphDPP,
        PageRankTokens,
        ZerothOrder,
        CoreTokens,
        PyramidBudgets,
        FlexiblePooling,
        CorrelationGuided,
        TransitionTokens,
        SkipTokens,
        EventPatches,
    )
}
"""Method name -> class; the fields of a class are its settings."""


def check_given(pruner: Pruner, given: Collection[str], where: str) -> None:
    """Raise UsageError where a method needs something of `Candidates` that is not `given` there."""
    missing = sorted(pruner.needs - set(given))
    if missing:
        raise UsageError(f"{where}: pruner {pruner.name!r} works on {', '.join(missing)}, which there are none of here")


def pruner_from_json(data: dict[str, Any]) -> Pruner:
    """The pruner that `to_json` or a config describes; settings left out have their defaults.

    Raises UsageError naming the method or setting that is unknown, or the value that is not allowed.
    """
    name = data.get("method")
    if name not in METHODS:
        raise UsageError(f"pruning method {name!r} is unknown: allowed are {', '.join(METHODS)}")
    settings = {key: value for key, value in data.items() if key != "method"}
    known = [field.name for field in fields(METHODS[name])]
    for key in settings:
        if key not in known:
            raise UsageError(f"pruner {name!r} has no setting {key!r}: it has {', '.join(known)}")
    try:
        pruner: Pruner = METHODS[name](**settings)
    except TypeError as error:  # a text where a number belongs
        raise UsageError(f"pruner {name!r}: its settings {settings} are not understood ({error})") from error
    return pruner
