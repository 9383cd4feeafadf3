"""Land uses of large buildings and hard ground: city blocks, estates, works, yards, car parks, sports, waste land, farms."""

from __future__ import annotations

import numpy as np

from .buildings import house, shed
from .classes import GROUND, ROAD
from .furniture import GREY_LOT, car_park, goods, rocks, sports_court
from .large_buildings import city_block, flats, hall, tank
from .layout import Rect
from .materials import grey
from .town import Town, ground_cover, path, scatter
from .waters import pond


def perimeter(town: Town, rect: Rect) -> None:
    """A closed city block around a courtyard."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, str(rng.choice(["paved", "lawn", "paved"])))
    inner = rect.inset(rng.uniform(0, 1.0))
    depth = float(rng.uniform(9, 15))
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
    court = rect.inset(depth + 1.5)
    half_u, half_v = court.width / 2, court.depth / 2
    if min(half_u, half_v) > 3:
        for _ in range(int(rng.poisson(1.5))):
            at = frame.at(rng.uniform(-half_u, half_u), rng.uniform(-half_v, half_v), float(rng.choice([0, np.pi / 2])))
            shed(canvas, town.kit, at, rng.uniform(4, 12), rng.uniform(3, 6))
        for _ in range(int(rng.poisson(half_u * half_v * 0.012))):
            garage = frame.at(
                rng.uniform(-half_u, half_u), rng.uniform(-half_v, half_v), float(rng.choice([0, np.pi / 2]))
            )
            town.garage.vehicle(canvas, garage)
        for _ in range(int(rng.poisson(half_u * half_v * 0.02 * (0.3 + town.green)))):
            at = frame.at(rng.uniform(-half_u, half_u), rng.uniform(-half_v, half_v))
            town.nursery.tree(canvas, at.x, at.y)
    city_block(canvas, town.kit, inner.outline(town.plane), depth, frame, town.palette)


def estate(town: Town, rect: Rect) -> None:
    """Blocks of flats on lawns, with parking."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, "lawn")
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
    turn = float(rng.choice([0, np.pi / 2]))
    for _ in range(max(1, int(rect.area / 1300))):
        at = frame.at(rng.uniform(-0.4, 0.4) * rect.width, rng.uniform(-0.4, 0.4) * rect.depth, turn)
        flats(canvas, town.kit, at, rng.uniform(14, 48), rng.uniform(10, 15))
    for _ in range(max(1, int(rect.area / 2500))):
        at = frame.at(rng.uniform(-0.35, 0.35) * rect.width, rng.uniform(-0.35, 0.35) * rect.depth, turn)
        car_park(canvas, town.garage, at, rng.uniform(18, 40), float(rng.choice([5, 16, 16])), rng.uniform(0.2, 0.9))
    for _ in range(4):
        a = frame.place([(rng.uniform(-0.5, 0.5) * rect.width, rng.uniform(-0.5, 0.5) * rect.depth) for _ in range(2)])
        path(town, np.linspace(a[0], a[1], 12), 2.0)
    scatter(town, frame, rect, 0.006 * (0.4 + 1.5 * town.green), 0.004)


def works(town: Town, rect: Rect) -> None:
    """Halls, yards, lorries, tanks."""
    canvas, rng = town.canvas, town.canvas.rng
    draw = rng.random()
    if draw < 0.35:  # where lorries drive over all of it, asphalt is road
        canvas.fill(
            rect.outline(town.plane), label=ROAD, surface=canvas.add(grey(rng, GREY_LOT, town.plane.angle)), height=0.0
        )
    else:
        ground_cover(town, rect, "paved" if draw < 0.65 else "lawn" if draw < 0.8 else "soil")
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
    for _ in range(max(1, int(rect.area / 1700))):
        at = frame.at(
            rng.uniform(-0.33, 0.33) * rect.width,
            rng.uniform(-0.33, 0.33) * rect.depth,
            float(rng.choice([0, np.pi / 2])),
        )
        hall(canvas, town.kit, at, rng.uniform(16, 60), rng.uniform(12, 32))
    for _ in range(int(rng.poisson(rect.area / 2500))):
        at = frame.at(
            rng.uniform(-0.4, 0.4) * rect.width, rng.uniform(-0.4, 0.4) * rect.depth, float(rng.choice([0, np.pi / 2]))
        )
        car_park(canvas, town.garage, at, rng.uniform(15, 40), float(rng.choice([5, 16])), rng.uniform(0.2, 1))
    for _ in range(int(rng.poisson(0.7))):
        tank(
            canvas,
            frame.at(rng.uniform(-0.4, 0.4) * rect.width, rng.uniform(-0.4, 0.4) * rect.depth),
            rng.uniform(2, 9),
        )
    for _ in range(int(rng.poisson(rect.area / 900))):
        at = frame.at(
            rng.uniform(-0.45, 0.45) * rect.width,
            rng.uniform(-0.45, 0.45) * rect.depth,
            float(rng.choice([0, np.pi / 2])),
        )
        if canvas.label_at(at.x, at.y) in (GROUND, ROAD):
            town.garage.vehicle(canvas, at, long=rng.random() < 0.6)
    for _ in range(int(rng.poisson(2))):
        goods(
            canvas,
            frame.at(rng.uniform(-0.45, 0.45) * rect.width, rng.uniform(-0.45, 0.45) * rect.depth),
            int(rng.integers(2, 12)),
            8.0,
        )
    scatter(town, frame, rect, 0.001, 0.002)


def yard(town: Town, rect: Rect) -> None:
    """A storage yard: containers and heaps on grey or bare ground."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, str(rng.choice(["soil", "paved"])))
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
    for _ in range(max(2, int(rect.area / 250))):
        goods(
            canvas,
            frame.at(rng.uniform(-0.45, 0.45) * rect.width, rng.uniform(-0.45, 0.45) * rect.depth),
            int(rng.integers(1, 8)),
            6.0,
        )
    scatter(town, frame, rect, 0.0005, 0.003)


def block_car_park(town: Town, rect: Rect) -> None:
    """A car park over the whole block, trees between the stalls."""
    rng = town.canvas.rng
    ground_cover(town, rect, str(rng.choice(["paved", "lawn"])))
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
    car_park(town.canvas, town.garage, frame, rect.width - 4, rect.depth - 4, rng.uniform(0.1, 0.95))
    if rng.random() < 0.5:
        for u in np.arange(-rect.width / 2 + 6, rect.width / 2 - 4, rng.uniform(8, 14)):
            for v in np.arange(-rect.depth / 2 + 7, rect.depth / 2 - 4, 16.0):
                at = frame.at(float(u), float(v))
                town.nursery.tree(
                    town.canvas, at.x, at.y, rng.uniform(1.2, 2.8), rng.uniform(3, 8), town.nursery.kind(rng)
                )


def sport(town: Town, rect: Rect) -> None:
    """Courts and a pitch on grass."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, "lawn")
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
    for _ in range(int(rng.integers(1, 5))):
        at = frame.at(
            rng.uniform(-0.35, 0.35) * rect.width,
            rng.uniform(-0.35, 0.35) * rect.depth,
            float(rng.choice([0, np.pi / 2])),
        )
        sports_court(canvas, at, rng.uniform(24, 40), rng.uniform(12, 20))
    scatter(town, frame, rect, 0.003, 0.002)


def waste(town: Town, rect: Rect) -> None:
    """Bare or overgrown land: soil, scrub, heaps, rubble."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, "soil")
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2)
    for _ in range(int(rng.poisson(3))):
        goods(
            canvas,
            frame.at(rng.uniform(-0.4, 0.4) * rect.width, rng.uniform(-0.4, 0.4) * rect.depth),
            int(rng.integers(2, 8)),
            5.0,
        )
    scatter(town, frame, rect, 0.003, 0.015)
    if rng.random() < 0.4:
        at = frame.at(rng.uniform(-0.3, 0.3) * rect.width, rng.uniform(-0.3, 0.3) * rect.depth)
        rocks(canvas, at.x, at.y, 6.0, 40)


def farm(town: Town, rect: Rect) -> None:
    """A farmyard: house, barns, machines, a pond."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, str(rng.choice(["soil", "lawn", "paved"])))
    frame = town.plane.frame((rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2, along_y=rng.random() < 0.5)
    house(
        canvas,
        town.kit,
        frame.at(rng.uniform(-10, 10), rng.uniform(-10, 10)),
        rng.uniform(11, 20),
        rng.uniform(8, 11),
        town.palette,
        roof="gable",
    )
    for _ in range(int(rng.integers(2, 5))):
        hall(
            canvas,
            town.kit,
            frame.at(rng.uniform(-32, 32), rng.uniform(-32, 32), float(rng.choice([0, np.pi / 2]))),
            rng.uniform(14, 42),
            rng.uniform(9, 20),
        )
    for _ in range(int(rng.poisson(0.8))):
        tank(canvas, frame.at(rng.uniform(-30, 30), rng.uniform(-30, 30)), rng.uniform(2, 6))
    if rng.random() < 0.3:
        centre = frame.at(rng.uniform(-35, 35), rng.uniform(-35, 35))
        pond(canvas, centre.x, centre.y, rng.uniform(4, 12))
    for _ in range(int(rng.poisson(5))):
        at = frame.at(rng.uniform(-30, 30), rng.uniform(-30, 30), rng.uniform(0, 6))
        if canvas.label_at(at.x, at.y) == GROUND:
            town.garage.vehicle(canvas, at, long=rng.random() < 0.4)
    goods(canvas, frame, int(rng.integers(2, 12)), 25.0)
    scatter(town, frame, rect, 0.004, 0.004)
