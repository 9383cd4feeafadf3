"""Stands of many plants: woods, plantations, scrub, orchards, and the trees that hang over roofs."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Frame, Points, Tree, blob
from .classes import BUILDING
from .vegetation import TALLEST, Nursery


def wood(canvas: Canvas, nursery: Nursery, outline: Points, spacing: float, *, low: bool = False) -> None:
    """Trees all over the polygon, about `spacing` metres apart; `low` makes it scrub of 1-4 m.

    From open stands, where the ground is seen between the crowns, to closed ones, whose crowns overlap; planted conifers
    stand in rows and are of one age.
    """
    rng = canvas.rng
    patch = canvas.patch(outline)
    if patch is None:
        return
    conifers = rng.random() < max(0.25, nursery.conifer_share)
    planted = conifers and not low and rng.random() < 0.5
    even = rng.uniform(0.05, 0.15) if planted else rng.uniform(0.15, 0.5)
    mean = float(rng.uniform(3, 28) if planted else rng.triangular(5, 10, 26))
    closure = rng.uniform(0.75, 1.3)
    margin = int(6 / canvas.gsd)
    ys = np.arange(patch.rows.start - margin, patch.rows.stop + margin, spacing / canvas.gsd)
    xs = np.arange(patch.cols.start - margin, patch.cols.stop + margin, spacing / canvas.gsd)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2) * canvas.gsd
    jitter = 0.1 if planted else 0.45
    points = points + rng.uniform(-jitter, jitter, points.shape) * spacing
    for x, y in points:
        row, col = int(y / canvas.gsd) - patch.rows.start, int(x / canvas.gsd) - patch.cols.start
        inside = 0 <= row < patch.mask.shape[0] and 0 <= col < patch.mask.shape[1]
        if not inside or not patch.mask[row, col] or rng.random() < 0.12:
            continue
        kind = "conifer" if conifers and rng.random() < 0.85 else nursery.kind(rng)
        radius = spacing * closure * (rng.uniform(0.5, 0.65) if planted else rng.uniform(0.45, 0.85))
        height = rng.uniform(1.0, 4.0) if low else max(2.5, mean * (1 + even * rng.standard_normal()))
        nursery.tree(
            canvas, float(x), float(y), radius, float(min(height, TALLEST)), "shrub" if low else kind, named=False
        )
    name = "scrub" if low else "conifer plantation" if planted else "conifer wood" if conifers else "deciduous wood"
    canvas.record("scrub" if low else "wood", name, outline)


def orchard(canvas: Canvas, nursery: Nursery, frame: Frame, length: float, width: float) -> None:
    """Trees or vines of one kind in rows along u, filling the box centred on `frame`."""
    rng = canvas.rng
    vines = rng.random() < 0.35
    row_gap, step = (rng.uniform(1.8, 2.6), 1.0) if vines else (rng.uniform(4, 7), rng.uniform(3, 6))
    height = float(rng.uniform(0.9, 1.8) if vines else rng.uniform(2, 6))
    radius = float(rng.uniform(0.4, 0.6) if vines else min(step, row_gap) * rng.uniform(0.28, 0.5))
    kind = "shrub" if vines else "thin" if rng.random() < 0.2 else "round"
    surface = int(rng.choice(nursery.surfaces[kind]))
    for v in np.arange(-width / 2 + row_gap / 2, width / 2, row_gap):
        us = np.arange(-length / 2 + step / 2, length / 2, step)
        for x, y in frame.place(np.stack([us, np.full_like(us, v)], axis=1)):
            if rng.random() > 0.06:
                scale = rng.uniform(0.8, 1.15)
                canvas.plant(Tree(float(x), float(y), radius * scale, height * scale, kind, surface, None))
    canvas.record(
        "vineyard" if vines else "orchard",
        "vineyard" if vines else "orchard in rows",
        frame.rect(-length / 2, -width / 2, length / 2, width / 2),
        height,
    )


def patchy_scrub(canvas: Canvas, nursery: Nursery, x: float, y: float, radius: float) -> None:
    """A clump of shrubs with an irregular outline."""
    wood(canvas, nursery, blob(canvas.rng, x, y, radius, 0.3, 20), 1.7, low=True)


def shade_roofs(canvas: Canvas, nursery: Nursery) -> None:
    """Plants a tree here and there so close to a building that its crown hides part of the roof."""
    rng = canvas.rng
    near = float(rng.uniform(0.3, 2.5))
    for x, y in rng.uniform(0, canvas.extent, (int(rng.uniform(0, 0.008) * canvas.extent**2), 2)):
        around = ((x + dx, y + dy) for dx, dy in ((-near, 0.0), (near, 0.0), (0.0, -near), (0.0, near)))
        if any(canvas.label_at(float(a), float(b)) == BUILDING for a, b in around):
            radius = float(rng.uniform(2, 6))
            nursery.tree(canvas, float(x), float(y), radius, float(radius * rng.uniform(1.8, 3.2) + 2))
