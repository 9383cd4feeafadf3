"""Spiking Patches for two dates: patches that fire because enough of their pixels became lighter or darker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.models.pruning.base import Candidates, Fidelity, Placement, Settings, TokenSelection
from gridscribe.tokens import TokenGrid

DARKEST = 1e-3
"""Of the greatest value: what is darker counts as this dark, as the logarithm of 0 is not a number."""


@dataclass(frozen=True, slots=True)
class EventPatches(Settings):
    """The patches that spike at least once between `earlier` and `pixels`.

    An event camera reports an event whenever the logarithm of a pixel's intensity has moved by `contrast`: a pixel that went from
    I to J gives floor(|ln J - ln I| / contrast) of them, intensity the mean of its bands. Each event adds 1 to its patch's
    potential; the patch spikes when that reaches `sigma`, and begins again at 0. `spikes` counts them. Pixels that are NaN at
    either date give none. Raises UsageError for settings out of range.
    """

    name: ClassVar[str] = "events"
    needs: ClassVar[frozenset[str]] = frozenset({"pixels", "earlier"})
    source: ClassVar[str] = "Spiking Patches (arXiv 2510.26614)"
    fidelity: ClassVar[Fidelity] = "adapted"
    differs: ClassVar[str] = (
        "events are made from two pictures and not recorded; they have no times between, so potentials neither decay nor have a "
        "refractory period"
    )
    sigma: int = 20
    contrast: float = 0.15

    def __post_init__(self) -> None:
        if self.sigma < 1 or not self.contrast > 0:
            raise UsageError(
                f"pruner 'events': sigma is {self.sigma}, contrast {self.contrast}; allowed are events from 1, a contrast above 0"
            )

    @property
    def placement(self) -> Placement:
        """Before the encoder: what did not change need not be computed."""
        return "before"

    def select(self, candidates: Candidates) -> TokenSelection:
        """Needs `pixels` and `earlier`, of one shape and in one unit."""
        kept = candidates.usable & (spikes(candidates, self.sigma, self.contrast) > 0)
        return TokenSelection(TokenGrid(candidates.frame, candidates.frame.indices()[kept]), self.placement)


def spikes(candidates: Candidates, sigma: int, contrast: float) -> NDArray[np.int64]:
    """int64 [cells]: how often each patch spikes (see `EventPatches`). ValueError for a missing date or other shapes."""
    now, before = candidates.need_pixels(EventPatches.name), candidates.earlier
    if before is None:
        raise ValueError("pruner 'events' compares two dates, and `earlier` was not given")
    if before.shape != now.shape:
        raise ValueError(
            f"earlier is {list(before.shape)}, pixels {list(now.shape)}: two dates need one grid and the same bands"
        )
    one, other = _intensity(before), _intensity(now)
    least = DARKEST * max(1e-12, float(np.nanmax([np.nanmax(one, initial=0), np.nanmax(other, initial=0)])))
    moved = np.abs(np.log(np.maximum(other, least)) - np.log(np.maximum(one, least)))
    events = np.floor(np.nan_to_num(moved, nan=0.0) / contrast + 1e-9).astype(np.int64)
    box, patch = candidates.frame.box, candidates.frame.patch
    potential = events.reshape(box.height, patch, box.width, patch).sum(axis=(1, 3)).ravel()
    found: NDArray[np.int64] = potential // sigma
    return found


def _intensity(pixels: NDArray[Any]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = pixels.astype(np.float64).mean(axis=2)
    return mean
