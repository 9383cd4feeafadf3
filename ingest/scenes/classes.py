"""The classes of generated scenes: GAMUS's seven, in its order. The one place that names and colours them."""

from __future__ import annotations

from typing import NamedTuple

OTHER, GROUND, LOW_VEGETATION, BUILDING, WATER, ROAD, TREE = range(7)


class SceneClass(NamedTuple):
    """One class of the label rasters: its pixel value, its name, its colour as (R, G, B) in 0..255."""

    id: int
    name: str
    color: tuple[int, int, int]


CLASSES: tuple[SceneClass, ...] = (
    SceneClass(OTHER, "other", (176, 60, 190)),  # vehicles, walls, fences, rubble, stacked goods
    SceneClass(GROUND, "ground", (206, 184, 146)),  # soil, gravel, rock, sand, paved yards, sidewalks
    SceneClass(LOW_VEGETATION, "low vegetation", (150, 214, 96)),  # grass, crops, shrubs and hedges below 1.5 m
    SceneClass(BUILDING, "building", (226, 62, 50)),
    SceneClass(WATER, "water", (44, 112, 220)),  # rivers, ponds, swimming pools
    SceneClass(ROAD, "road", (96, 98, 108)),  # carriageways, bridges, parking lots
    SceneClass(TREE, "tree", (22, 116, 48)),  # trees, and shrubs and hedges of 1.5 m and more
)

TREE_HEIGHT = 1.5  # metres: woody plants below it are low vegetation
