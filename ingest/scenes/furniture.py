"""Small things: vehicles, walls, pools, stacked goods, sports courts, rocks."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Frame, Points, blob, ring, strip
from .classes import BUILDING, GROUND, LOW_VEGETATION, OTHER, ROAD, WATER
from .materials import Surface, grey, paved, pick, plain, pool, soil, tinted
from .palettes import CAR_PAINT, CONCRETE, GOODS, GRAVEL, ROCK, SHEET, Color

_COLOR_NAMES = ("white", "black", "grey", "silver", "dark grey", "red", "blue", "beige", "green", "yellow")


class Garage:
    """Vehicle paints and window glass, one set per scene."""

    def __init__(self, canvas: Canvas) -> None:
        rng = canvas.rng
        self.paints = [canvas.add(plain(rng, color, 0.01)) for color in CAR_PAINT]
        self.weights = np.array([5, 4, 4, 4, 4, 1.2, 1.6, 1, 0.5, 0.4])
        self.weights /= self.weights.sum()
        self.glass = canvas.add(plain(rng, (38, 44, 52)))

    def vehicle(self, canvas: Canvas, frame: Frame, *, long: bool = False) -> None:
        """A car, or at times a van; `long`: a lorry or coach. Along u, centred."""
        rng = canvas.rng
        draw = rng.random()
        if long:
            length, width, height, name = rng.uniform(8, 14), 2.5, rng.uniform(3, 3.8), "lorry"
        elif draw < 0.12:
            length, width, height, name = rng.uniform(5, 6.2), 2.0, rng.uniform(2, 2.6), "van"
        else:
            length, width, height, name = rng.uniform(3.7, 4.8), 1.8, rng.uniform(1.4, 1.75), "car"
        body = frame.rect(-length / 2, -width / 2, length / 2, width / 2)
        if not canvas.seen(body):
            return
        spots = np.concatenate([body, [(frame.x, frame.y)]])
        if any(canvas.label_at(float(x), float(y)) in (BUILDING, OTHER, WATER) for x, y in spots):
            return
        paint = int(rng.choice(len(self.paints), p=self.weights))
        surface = self.paints[paint]
        if name == "car":
            canvas.fill(body, label=OTHER, surface=surface, height=0.6 * height)
            cabin = frame.rect(-0.36 * length, -0.45 * width, 0.22 * length, 0.45 * width)
            canvas.fill(cabin, surface=self.glass, height=height * 0.85)
            canvas.fill(
                frame.rect(-0.24 * length, -0.42 * width, 0.06 * length, 0.42 * width), surface=surface, height=height
            )
        else:
            canvas.fill(body, label=OTHER, surface=surface, height=height)
            cab = 0.36 * length if name == "van" else 0.42 * length
            canvas.fill(frame.rect(cab, -0.45 * width, cab + 0.6, 0.45 * width), surface=self.glass)
        canvas.record("car" if name == "car" else name, f"{_COLOR_NAMES[paint]} {name}", body, height)


def car_park(canvas: Canvas, garage: Garage, frame: Frame, length: float, width: float, fill: float) -> None:
    """Asphalt with rows of marked stalls, `fill` of them taken."""
    rng = canvas.rng
    area = frame.rect(-length / 2, -width / 2, length / 2, width / 2)
    if not canvas.seen(area) or not canvas.is_free(area):
        return
    canvas.fill(
        area,
        label=ROAD,
        surface=canvas.add(grey(rng, CONCRETE if rng.random() < 0.4 else GREY_LOT, frame.angle)),
        height=0.0,
    )
    paint = canvas.add(plain(rng, (222, 222, 218), 0.05))
    marked = rng.random() < 0.8
    stall, deep, aisle = 2.5, 5.0, 6.0
    v = -width / 2
    while v + deep <= width / 2 + 0.1:
        for u in np.arange(-length / 2 + 0.5, length / 2 - stall, stall):
            if marked:
                canvas.fill(frame.rect(float(u) - 0.06, v, float(u) + 0.06, v + deep), surface=paint)
            if rng.random() < fill:
                turn = np.pi / 2 if rng.random() < 0.5 else -np.pi / 2
                garage.vehicle(
                    canvas,
                    frame.at(float(u) + stall / 2, v + deep / 2 + rng.normal(0, 0.2), turn + rng.normal(0, 0.03)),
                )
        v += deep if round((v + width / 2) / deep) % 2 == 1 else deep + aisle
    canvas.record("parking lot", "parking lot", area)


GREY_LOT: tuple[Color, ...] = ((104, 104, 106), (124, 123, 122), (142, 140, 136))


def wall(canvas: Canvas, line: Points, height: float, surface: int, width: float = 0.3) -> None:
    """A wall or fence: class other. Thinner than a pixel, it is drawn one pixel wide; it stops at buildings and roads."""
    patch = canvas.patch(strip(line, max(width, 0.9 * canvas.gsd)))
    if patch is not None:
        free = patch.mask & (canvas.height[patch.box] < height) & (canvas.reserved[patch.box] == 0)
        canvas.label[patch.box][free] = OTHER
        canvas.surface[patch.box][free] = surface
        canvas.height[patch.box][free] = height


def swimming_pool(canvas: Canvas, frame: Frame) -> None:
    """A pool of 3-14 m with its edge: a rectangle, an oval, or a freer shape."""
    rng = canvas.rng
    length, width = rng.uniform(4, 12), rng.uniform(2.6, 5)
    draw = rng.random()
    if draw < 0.65:
        shape = frame.rect(-length / 2, -width / 2, length / 2, width / 2)
        rim = frame.rect(-length / 2 - 0.8, -width / 2 - 0.8, length / 2 + 0.8, width / 2 + 0.8)
        name = "rectangular"
    elif draw < 0.85:
        radius = rng.uniform(1.7, 3.8)
        squeeze = rng.uniform(0.6, 1)
        shape = ring(frame.x, frame.y, radius, 24, squeeze, frame.angle)
        rim = ring(frame.x, frame.y, radius + 0.7, 24, squeeze, frame.angle)
        name = "round"
    else:
        shape = blob(rng, frame.x, frame.y, rng.uniform(2.2, 4), 0.2)
        rim = (shape - shape.mean(axis=0)) * 1.25 + shape.mean(axis=0)
        name = "kidney-shaped"
    if not canvas.seen(rim) or not canvas.is_free(rim):
        return
    canvas.fill(rim, label=GROUND, surface=canvas.add(paved(rng, frame.angle)), height=0.0)
    canvas.fill(shape, label=WATER, surface=canvas.add(pool(rng)), height=0.0)
    canvas.record("swimming pool", f"{name} swimming pool", shape)
    canvas.reserve(rim)


def goods(canvas: Canvas, frame: Frame, count: int, reach: float) -> None:
    """Stacked goods, containers, rubble, heaps around a place: class other."""
    rng = canvas.rng
    for _ in range(count):
        u, v = rng.uniform(-reach, reach, 2)
        spot = frame.at(float(u), float(v), float(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.08)))
        if canvas.label_at(spot.x, spot.y) not in (GROUND, ROAD):
            continue
        if rng.random() < 0.3:
            heap = blob(rng, spot.x, spot.y, rng.uniform(0.8, 3), 0.2, 18)
            canvas.fill(heap, label=OTHER, surface=canvas.add(soil(rng)), height=float(rng.uniform(0.5, 2)))
            canvas.record("heap", "heap of soil or rubble", heap)
            continue
        container = rng.random() < 0.35
        length, width, height = (
            (rng.choice([6.1, 12.2]), 2.44, 2.6 * rng.integers(1, 3))
            if container
            else (rng.uniform(0.8, 4), rng.uniform(0.8, 2.5), rng.uniform(0.5, 2.5))
        )
        polygon = spot.rect(-length / 2, -width / 2, length / 2, width / 2)
        color = pick(rng, GOODS if container or rng.random() < 0.6 else SHEET)
        canvas.fill(polygon, label=OTHER, surface=canvas.add(plain(rng, color, 0.04)), height=float(height))
        canvas.record(
            "container" if container else "stacked goods",
            "shipping container" if container else "stacked goods",
            polygon,
            float(height),
        )


def sports_court(canvas: Canvas, frame: Frame, length: float, width: float) -> None:
    """A tennis or ball court, or a football pitch, with its lines."""
    rng = canvas.rng
    polygon = frame.rect(-length / 2, -width / 2, length / 2, width / 2)
    if not canvas.seen(polygon) or not canvas.is_free(polygon):
        return
    color = pick(rng, ((168, 92, 70), (92, 130, 96), (84, 112, 150), (150, 150, 148)), 0.06)
    canvas.fill(polygon, label=GROUND, surface=canvas.add(Surface(color, fine=0.02, medium=0.02)), height=0.0)
    white = canvas.add(plain(rng, (228, 228, 226)))
    for u in (-length / 2 + 1, -0.25 * length, 0.0, 0.25 * length, length / 2 - 1):
        canvas.fill(frame.rect(u - 0.06, -width / 2 + 1, u + 0.06, width / 2 - 1), surface=white)
    for v in (-width / 2 + 1, width / 2 - 1):
        canvas.fill(frame.rect(-length / 2 + 1, v - 0.06, length / 2 - 1, v + 0.06), surface=white)
    canvas.record("sports court", "sports court with white lines", polygon)
    canvas.reserve(polygon)


def rocks(canvas: Canvas, x: float, y: float, reach: float, count: int) -> None:
    """Boulders and outcrops of 0.3-5 m across, pale, angular, scattered or crowded around a place: bare ground."""
    rng = canvas.rng
    rock = pick(rng, ROCK, 0.06)
    surfaces = [
        canvas.add(
            Surface(
                tinted(rng, rock, 0.07), pick(rng, GRAVEL), 0.8, fine=rng.uniform(0.05, 0.12), small=0.08, pixel=0.05
            )
        )
        for _ in range(3)
    ]
    squeeze = rng.uniform(0.4, 1.0)
    axis = Frame(x, y, float(rng.uniform(0, np.pi)))  # outcrops run along a line
    largest = float(rng.uniform(1, 2.5))
    steep = float(rng.uniform(0.1, 0.6))
    for px, py in axis.place(rng.normal(0, reach, (count, 2)) * (1, squeeze)):
        radius = float(np.clip(rng.lognormal(-0.7, 0.6), 0.2, largest))
        if canvas.label_at(px, py) in (LOW_VEGETATION, GROUND):
            stone = blob(rng, px, py, radius, 0.3, int(rng.integers(6, 10)))
            height = radius * steep * float(rng.uniform(0.5, 1.3))
            canvas.fill(stone, label=GROUND, surface=int(rng.choice(surfaces)), height=height)
