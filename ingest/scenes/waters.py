"""Rivers, ponds, and the bridges over them."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Patch, blob, strip
from .classes import GROUND, ROAD, WATER
from .layout import Plane, Road, winding
from .materials import grey, plain, soil, water
from .palettes import CONCRETE
from .vegetation import Nursery


class River:
    """A river's course, reserved before anything is built and painted once the ground is done."""

    def __init__(self, canvas: Canvas) -> None:
        rng = canvas.rng
        self.line = winding(rng, canvas.extent)
        self.width = float(rng.uniform(4, 34))
        self.bank = float(rng.uniform(0.5, 4))
        self.mask = canvas.patch(strip(self.line, self.width))
        canvas.reserve(strip(self.line, self.width + 2 * self.bank))

    def flow(self, canvas: Canvas, plane: Plane, roads: list[Road], nursery: Nursery) -> None:
        """Paints banks and water; roads that cross become bridges 1.5-5 m above the water, the others end at the bank."""
        rng = canvas.rng
        polygon = strip(self.line, self.width)
        banks = canvas.patch(strip(self.line, self.width + 2 * self.bank))
        if banks is None or self.mask is None:
            return
        natural = banks.mask & (canvas.label[banks.box] != ROAD)
        _put(canvas, banks, natural, GROUND, canvas.add(soil(rng)))
        _put(canvas, self.mask, self.mask.mask, WATER, canvas.add(water(rng)))
        canvas.record("river", "river" if self.width > 10 else "stream", polygon)
        for road in roads:
            if road.level < 3 or rng.random() < 0.25:
                self._bridge(canvas, plane, road, rng.uniform(1.5, 5.0))
        for side in (-1, 1):  # trees along the banks
            away = side * (self.width / 2 + self.bank + rng.uniform(0.3, 2))
            edge = strip(self.line, 2 * abs(away))
            half = edge[: len(self.line)] if side > 0 else edge[len(self.line) :]
            for x, y in half[:: max(1, int(rng.uniform(1, 8)))]:
                if rng.random() < 0.5:
                    nursery.tree(canvas, float(x + rng.normal(0, 0.6)), float(y + rng.normal(0, 0.6)))

    def _bridge(self, canvas: Canvas, plane: Plane, road: Road, deck: float) -> None:
        rng = canvas.rng
        line = road.line(plane, 1.5)
        near = np.hypot(*(line[:, None, :] - self.line[None, :, :]).transpose(2, 0, 1)).min(axis=1)
        over = np.flatnonzero(near < self.width / 2 + 1.5)
        if over.size < 2 or over.size > 3 * (self.width + 3) / 1.5:  # a road along the river is no bridge
            return
        piece = line[over[0] : over[-1] + 1]
        width = min(road.width, road.carriageway + 2.4)
        surface = canvas.add(grey(rng, CONCRETE, plane.angle))
        rail = canvas.add(plain(rng, (190, 188, 182)))
        canvas.fill(strip(piece, width), label=ROAD, surface=rail, height=deck + 0.5)
        canvas.fill(strip(piece, width - 0.8), label=ROAD, surface=surface, height=deck)
        canvas.record("bridge", "road bridge over a river", strip(piece, width), deck)


def pond(canvas: Canvas, x: float, y: float, radius: float) -> None:
    """A pond with a margin of earth."""
    rng = canvas.rng
    shape = blob(rng, x, y, radius, 0.2)
    margin = (shape - (x, y)) * (1 + 1.0 / radius) + (x, y)
    if not canvas.seen(margin) or not canvas.is_free(margin):
        return
    canvas.fill(margin, label=GROUND, surface=canvas.add(soil(rng)), height=0.0)
    canvas.fill(shape, label=WATER, surface=canvas.add(water(rng)), height=0.0)
    canvas.record("pond", "pond", shape)
    canvas.reserve(margin)


def _put(canvas: Canvas, patch: Patch, where: np.ndarray, label: int, surface: int) -> None:
    canvas.label[patch.box][where] = label
    canvas.surface[patch.box][where] = surface
    for layer in (canvas.height, canvas.slope_x, canvas.slope_y):
        layer[patch.box][where] = 0
