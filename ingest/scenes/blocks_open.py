"""Open land uses: fields, meadows, parks, woods, orchards, scrub, savanna."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .canvas import blob, strip
from .classes import GROUND, LOW_VEGETATION
from .furniture import rocks
from .layout import Rect
from .materials import Surface, crop, lawn, paved, pick, soil
from .palettes import DRY_GRASS, GRAVEL, SOIL
from .town import Town, boundary, ground_cover
from .waters import pond
from .woods import orchard, patchy_scrub, wood


def _spot(town: Town, rect: Rect, margin: float = 0.0) -> tuple[float, float]:
    rng = town.canvas.rng
    x = rng.uniform(rect.x0 + margin, max(rect.x1 - margin, rect.x0 + margin + 0.1))
    y = rng.uniform(rect.y0 + margin, max(rect.y1 - margin, rect.y0 + margin + 0.1))
    ((px, py),) = town.plane.place(np.array([[x, y]]))
    return float(px), float(py)


def _edges(town: Town, rect: Rect, chance: float) -> None:
    corners = [(rect.x0, rect.y0), (rect.x1, rect.y0), (rect.x1, rect.y1), (rect.x0, rect.y1)]
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        if town.canvas.rng.random() < chance:
            boundary(town, a, b)


def field(town: Town, rect: Rect) -> None:
    """One to four strips of crops or ploughed earth."""
    canvas, rng = town.canvas, town.canvas.rng
    count = int(rng.integers(1, 5))
    along = rng.random() < 0.5
    edges = np.sort(np.concatenate([[0, 1], rng.uniform(0.15, 0.85, count - 1)]))
    angle = town.plane.angle + (0.0 if rng.random() < 0.5 else np.pi / 2)
    for low, high in pairwise(edges):
        if along:
            part = Rect(rect.x0 + low * rect.width, rect.y0, rect.x0 + high * rect.width, rect.y1)
        else:
            part = Rect(rect.x0, rect.y0 + low * rect.depth, rect.x1, rect.y0 + high * rect.depth)
        polygon = part.inset(rng.uniform(0, 0.8)).outline(town.plane)
        if not canvas.seen(polygon):
            continue
        if rng.random() < 0.3:
            surface, label, name, height = crop(rng, angle), GROUND, "ploughed field", 0.0
            color = pick(rng, SOIL)
            surface = Surface(
                color,
                pick(rng, SOIL),
                0.6,
                angle=angle,
                period=surface.period,
                stripe=surface.stripe,
                fine=0.06,
                medium=0.03,
            )
        else:
            surface, label, name = crop(rng, angle), LOW_VEGETATION, "crop field"
            height = float(rng.choice([0.05, 0.3, 0.7, 1.2]))
        canvas.fill(polygon, label=label, surface=canvas.add(surface), height=height)
        canvas.record("field", name, polygon, height)
    _edges(town, rect, 0.35)


def meadow(town: Town, rect: Rect) -> None:
    """Grassland with a few trees and shrubs."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, "lawn")
    for _ in range(int(rng.poisson(rect.area * rng.uniform(0.0003, 0.003)))):
        town.nursery.tree(canvas, *_spot(town, rect))
    for _ in range(int(rng.poisson(rect.area * rng.uniform(0, 0.006)))):
        town.nursery.shrub(canvas, *_spot(town, rect))
    _edges(town, rect, 0.5)


def park(town: Town, rect: Rect) -> None:
    """Lawn, winding paths, groups of trees, at times a pond."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, "lawn")
    for _ in range(int(rng.integers(1, 4))):
        ends = np.array([_spot(town, rect) for _ in range(3)])
        t = np.linspace(0, 1, 30)[:, None]
        line = ends[0] * (1 - t) ** 2 + 2 * ends[1] * t * (1 - t) + ends[2] * t**2
        canvas.fill(strip(line, rng.uniform(1.2, 3.5)), label=GROUND, surface=canvas.add(paved(rng, 0.0)), height=0.0)
    if rng.random() < 0.4:
        pond(canvas, *_spot(town, rect, 10), rng.uniform(4, 0.25 * min(rect.width, rect.depth)))
    for _ in range(int(rng.poisson(rect.area * 0.006))):
        town.nursery.tree(canvas, *_spot(town, rect))
    for _ in range(int(rng.poisson(rect.area * 0.004))):
        town.nursery.shrub(canvas, *_spot(town, rect))


def woodland(town: Town, rect: Rect) -> None:
    """Closed wood, with a clearing at times."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, "lawn" if rng.random() < 0.6 else "soil")
    spacing = float(rng.uniform(3.2, 9.0))
    wood(canvas, town.nursery, rect.inset(rng.uniform(-1, 4)).outline(town.plane), spacing)
    if rng.random() < 0.3:
        _trail(town, rect)
    for _ in range(int(rng.poisson(rect.area * 0.004))):
        town.nursery.shrub(canvas, *_spot(town, rect))


def rows(town: Town, rect: Rect) -> None:
    """Orchard or vineyard."""
    ground_cover(town, rect, "soil" if town.canvas.rng.random() < 0.4 else "lawn")
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2, along_y=town.canvas.rng.random() < 0.5)
    side = min(rect.width, rect.depth) - 4
    turned = abs(np.cos(frame.angle - town.plane.angle)) < 0.7
    length, width = (rect.depth - 4, rect.width - 4) if turned else (rect.width - 4, rect.depth - 4)
    if side > 8:
        orchard(town.canvas, town.nursery, frame, length, width)


def scrub(town: Town, rect: Rect) -> None:
    """Shrubs in clumps over grass or earth."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, "soil" if rng.random() < 0.4 else "lawn")
    for _ in range(int(rng.poisson(rect.area / 350))):
        patchy_scrub(canvas, town.nursery, *_spot(town, rect), float(rng.uniform(2, 8)))
    for _ in range(int(rng.poisson(rect.area * 0.002))):
        town.nursery.tree(canvas, *_spot(town, rect))


def savanna(town: Town, rect: Rect) -> None:
    """Straw-coloured grass and bare earth with scattered grey-green oaks, leafless trees, rocks and trails."""
    canvas, rng = town.canvas, town.canvas.rng
    cover = Surface(
        pick(rng, DRY_GRASS), pick(rng, (*SOIL, *DRY_GRASS, *DRY_GRASS)), threshold=rng.uniform(-0.5, 1),
        sharpness=rng.uniform(0.4, 1.5), pixel=rng.uniform(0.03, 0.09), fine=rng.uniform(0.03, 0.1),
        small=rng.uniform(0.02, 0.08), medium=rng.uniform(0.02, 0.06), large=0.04,
    )  # fmt: skip
    canvas.fill(rect.outline(town.plane), label=LOW_VEGETATION, surface=canvas.add(cover), height=0.0)
    for _ in range(int(rng.poisson(rect.area / 900))):
        x, y = _spot(town, rect)
        bare = rng.random() < 0.5
        patch = canvas.add(soil(rng) if bare else lawn(rng, float(rng.uniform(0.3, 1))))
        canvas.fill(
            blob(rng, x, y, rng.uniform(2, 9)), label=GROUND if bare else LOW_VEGETATION, surface=patch, height=0.0
        )
    for _ in range(int(rng.integers(0, 3))):
        _trail(town, rect)
    stony = float(rng.choice([0.2, 1.0, 3.0]))
    for _ in range(int(rng.poisson(stony * rect.area / 1500))):
        rocks(canvas, *_spot(town, rect), float(rng.uniform(1, 7)), int(rng.integers(5, 90)))
    density = rng.uniform(0.001, 0.012)
    widest = rng.uniform(3, 8)
    for _ in range(int(rng.poisson(rect.area * density))):
        draw = rng.random()
        kind = (
            town.nursery.kind(rng) if draw < 0.4 else "sprawling" if draw < 0.75 else "bare" if draw < 0.9 else "thin"
        )
        radius = float(rng.uniform(1.5, widest))
        x, y = _spot(town, rect)
        town.nursery.tree(canvas, x, y, radius, float(np.clip(radius * rng.uniform(1.2, 2.6), 2, 18)), kind)
    for _ in range(int(rng.poisson(rect.area * rng.uniform(0, 0.008)))):
        town.nursery.shrub(canvas, *_spot(town, rect))


def _trail(town: Town, rect: Rect) -> None:
    """A winding path of gravel or trodden earth."""
    rng = town.canvas.rng
    ends = np.array([_spot(town, rect) for _ in range(3)])
    t = np.linspace(0, 1, 30)[:, None]
    line = ends[0] * (1 - t) ** 2 + 2 * ends[1] * t * (1 - t) + ends[2] * t**2
    surface = (
        Surface(pick(rng, GRAVEL), pick(rng, SOIL), 0.6, pixel=0.05, fine=0.06) if rng.random() < 0.5 else soil(rng)
    )
    town.canvas.fill(strip(line, rng.uniform(0.7, 3.2)), label=GROUND, surface=town.canvas.add(surface), height=0.0)


def lake(town: Town, rect: Rect) -> None:
    """A lake on grass."""
    ground_cover(town, rect, "lawn")
    x, y = _spot(town, rect, 0.4 * min(rect.width, rect.depth))
    pond(town.canvas, x, y, 0.35 * min(rect.width, rect.depth))
    meadow_trees = int(town.canvas.rng.poisson(rect.area * 0.003))
    for _ in range(meadow_trees):
        town.nursery.tree(town.canvas, *_spot(town, rect))
