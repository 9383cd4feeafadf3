"""Seasons and biomes: what stands in leaf, in which colours, and how dry the grass is, over a whole scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .palettes import AUTUMN, DRY_LEAVES, LEAVES, OLIVE, Color

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Season:
    """Shares are spans (low, high) to draw a scene's share from; `foliage` are broad leaves' palettes and their parts of 12."""

    weight: float
    rural_weight: float
    dryness: Span
    foliage: tuple[tuple[tuple[Color, ...], int], ...]
    bare: Span  # broad-leaved trees without leaves
    thin: Span  # of those in leaf: so sparse that the ground shows through
    conifers: Span


SEASONS: dict[str, Season] = {
    "summer": Season(0.50, 0.36, (0.0, 0.9), ((LEAVES, 12),), (0.0, 0.08), (0.0, 0.2), (0.0, 0.6)),
    "autumn": Season(
        0.13, 0.12, (0.1, 0.8), ((LEAVES, 3), (AUTUMN, 7), (DRY_LEAVES, 2)), (0.05, 0.4), (0.2, 0.7), (0.0, 0.5)
    ),
    "winter": Season(0.15, 0.18, (0.2, 1.0), ((OLIVE, 6), (DRY_LEAVES, 6)), (0.6, 1.0), (0.2, 0.8), (0.0, 0.4)),
    "dry": Season(0.15, 0.26, (0.7, 1.0), ((DRY_LEAVES, 8), (OLIVE, 4)), (0.05, 0.6), (0.2, 0.8), (0.0, 0.1)),
    "conifer": Season(0.07, 0.08, (0.1, 0.9), ((LEAVES, 8), (OLIVE, 4)), (0.0, 0.4), (0.0, 0.3), (0.75, 1.0)),
}


def draw_season(rng: np.random.Generator, *, rural: bool) -> str:
    """One of `SEASONS`; open country is dry or leafless more often than towns."""
    weights = np.array([season.rural_weight if rural else season.weight for season in SEASONS.values()])
    return str(rng.choice(list(SEASONS), p=weights / weights.sum()))


def draw_dryness(rng: np.random.Generator, season: str) -> float:
    """How dry the grass is, from watered (0) to straw (1)."""
    low, high = SEASONS[season].dryness
    return low + (high - low) * float(rng.beta(0.9, 1.1))
