"""What the blocks of a scene share, and the ways to cover and fence a piece of ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Frame, strip
from .classes import GROUND, LOW_VEGETATION
from .furniture import Garage, wall
from .layout import Plane, Rect, segment
from .materials import lawn, paved, plain, soil
from .palettes import Color
from .roofing import RoofKit
from .vegetation import Nursery, hedge


@dataclass(frozen=True, slots=True)
class Town:
    """What all blocks of a scene share."""

    canvas: Canvas
    plane: Plane
    kit: RoofKit
    garage: Garage
    nursery: Nursery
    palette: str
    green: float  # how much grows in gardens, 0..1


def ground_cover(town: Town, rect: Rect, kind: str) -> None:
    """Covers a box of the plan with lawn, soil or paving, and labels it."""
    canvas, rng = town.canvas, town.canvas.rng
    polygon = rect.outline(town.plane)
    if not canvas.seen(polygon):
        return
    if kind == "lawn":
        canvas.fill(polygon, label=LOW_VEGETATION, surface=canvas.add(lawn(rng, canvas.dryness)), height=0.0)
    elif kind == "soil":
        canvas.fill(polygon, label=GROUND, surface=canvas.add(soil(rng)), height=0.0)
    else:
        canvas.fill(polygon, label=GROUND, surface=canvas.add(paved(rng, town.plane.angle)), height=0.0)


def boundary(town: Town, a: tuple[float, float], b: tuple[float, float]) -> None:
    """A hedge, wall, fence or nothing between two points of the plan."""
    canvas, rng = town.canvas, town.canvas.rng
    line = town.plane.place(segment(a, b, 4.0))
    if not canvas.seen(line, 2.0):
        return
    draw = rng.random()
    if draw < 0.25 + 0.3 * town.green:
        hedge(canvas, town.nursery, line, rng.uniform(0.6, 1.8), rng.uniform(0.7, 3.2))
    elif draw < 0.85:
        color: Color = ((196, 190, 180), (150, 130, 112), (92, 98, 90), (214, 206, 196))[int(rng.integers(4))]
        wall(canvas, line, rng.uniform(0.6, 2.2), canvas.add(plain(rng, color, 0.05)), rng.uniform(0.12, 0.4))


def path(town: Town, line: np.ndarray, width: float) -> None:
    canvas = town.canvas
    polygon = strip(line, width)
    if canvas.seen(polygon) and canvas.is_free(polygon):
        canvas.fill(polygon, label=GROUND, surface=canvas.add(paved(canvas.rng, town.plane.angle)), height=0.0)


def scatter(town: Town, frame: Frame, rect: Rect, trees: float, shrubs: float) -> None:
    canvas, rng = town.canvas, town.canvas.rng
    for density, plant in ((trees, town.nursery.tree), (shrubs, town.nursery.shrub)):
        for _ in range(int(rng.poisson(density * rect.area))):
            at = frame.at(rng.uniform(-0.5, 0.5) * rect.width, rng.uniform(-0.5, 0.5) * rect.depth)
            plant(canvas, at.x, at.y)
