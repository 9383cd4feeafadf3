"""What a scene is about: its style of streets, and the mix of land uses of its blocks."""

from __future__ import annotations

from dataclasses import dataclass

from .layout import Style


@dataclass(frozen=True, slots=True)
class District:
    """A kind of scene: streets, and the weights of the land uses (functions of `render`'s table)."""

    name: str
    weight: float
    style: Style
    uses: dict[str, float]
    rural: bool = False
    river: float = 0.15


DISTRICTS: tuple[District, ...] = (
    District(
        "suburb", 0.22, Style((60, 110), (9, 6.5, 5), 1.6, 0.6),
        {"detached": 7, "terrace": 2, "park": 0.5, "estate": 0.5, "waste": 0.3, "car_park": 0.3, "sport": 0.4},
    ),
    District(
        "old town", 0.15, Style((45, 85), (8, 6, 4), 1.2, 0.7),
        {"terrace": 6, "detached": 2, "perimeter": 2, "park": 0.4, "car_park": 0.4, "garden": 1.0},
    ),
    District(
        "city", 0.12, Style((60, 120), (14, 9, 7), 2.6, 0.3),
        {"perimeter": 6, "estate": 2, "car_park": 1, "park": 1, "works": 0.6, "sport": 0.4}, river=0.2,
    ),
    District(
        "estate", 0.08, Style((90, 160), (12, 8, 6), 2.2, 0.4),
        {"estate": 6, "car_park": 1, "park": 1, "sport": 1, "detached": 1, "works": 0.4},
    ),
    District(
        "works", 0.11, Style((90, 180), (12, 9, 7), 1.4, 0.2),
        {"works": 6, "car_park": 1.5, "waste": 1.2, "yard": 1.5, "field": 0.5, "pond": 0.3},
    ),
    District(
        "village edge", 0.11, Style((80, 180), (7, 5, 4), 0.5, 0.8),
        {"detached": 3, "farm": 2, "field": 3, "orchard": 1.4, "wood": 1, "meadow": 1, "pond": 0.4, "garden": 1}, True, 0.3,
    ),
    District(
        "fields", 0.06, Style((110, 300), (7, 4.5, 3.5), 0.0, 0.6),
        {"field": 6, "meadow": 2, "wood": 1.5, "orchard": 1, "farm": 1, "pond": 0.5}, True, 0.3,
    ),
    District(
        "wild", 0.15, Style((110, 320), (5, 4, 3), 0.0, 0.8),
        {"savanna": 5, "wood": 3, "meadow": 2, "scrub": 2, "pond": 0.5, "waste": 0.4}, True, 0.25,
    ),
)  # fmt: skip
