"""Lots and gardens: houses in their grounds, terraces, allotments."""

from __future__ import annotations

import numpy as np

from .buildings import house, row_houses, shed
from .canvas import Frame
from .classes import GROUND, LOW_VEGETATION
from .furniture import goods, swimming_pool, wall
from .layout import Rect
from .materials import crop, lawn, paved, plain, soil
from .town import Town, boundary, ground_cover
from .vegetation import hedge
from .woods import patchy_scrub, wood


def lots(rng: np.random.Generator, rect: Rect, low: float, high: float) -> list[tuple[Rect, bool, bool]]:
    """Cuts a block into lots along its longer sides, two rows deep if it is deep enough: (lot, fronts on low side, along y)."""
    along_y = rect.depth > rect.width
    length, depth = (rect.depth, rect.width) if along_y else (rect.width, rect.depth)
    rows = [(0.0, depth / 2, True), (depth / 2, depth, False)] if depth > 26 else [(0.0, depth, rng.random() < 0.5)]
    out = []
    for near, far, front in rows:
        at = 0.0
        while at < length - 0.5:
            size = rng.uniform(low, high)
            end = length if length - at - size < low * 0.8 else at + size
            if along_y:
                out.append((Rect(rect.x0 + near, rect.y0 + at, rect.x0 + far, rect.y0 + end), front, True))
            else:
                out.append((Rect(rect.x0 + at, rect.y0 + near, rect.x0 + end, rect.y0 + far), front, False))
            at = end
    return out


def lot_frame(town: Town, lot: Rect, front: bool, along_y: bool) -> tuple[Frame, float, float]:
    """A frame at the lot's middle with u along the street and v away from it, and the lot's size along both."""
    x, y = (lot.x0 + lot.x1) / 2, (lot.y0 + lot.y1) / 2
    frame = town.plane.frame(x, y, along_y=along_y)
    # Turn so that v points away from the street.
    away = np.array([1.0 if front else -1.0, 0.0]) if along_y else np.array([0.0, 1.0 if front else -1.0])
    here, there = town.plane.place(np.array([[x, y], [x + 0.5 * away[0], y + 0.5 * away[1]]]))
    v_axis = frame.place([(0.0, 1.0)])[0] - (frame.x, frame.y)
    if float(np.dot(there - here, v_axis)) < 0:
        frame = frame.at(0.0, 0.0, np.pi)
    return frame, (lot.depth if along_y else lot.width), (lot.width if along_y else lot.depth)


def garden(town: Town, frame: Frame, u: float, v0: float, v1: float, density: float) -> None:
    """Plants, beds, sheds, a terrace, at times a pool, in the local box of half width `u` between v0 and v1."""
    canvas, rng = town.canvas, town.canvas.rng
    if v1 - v0 < 2 or not canvas.seen(frame.rect(-u, v0, u, v1)):
        return
    area = 2 * u * (v1 - v0)

    def spot(margin: float = 0.5) -> Frame:
        return frame.at(
            rng.uniform(-u + margin, u - margin) if u > margin else 0.0,
            rng.uniform(v0, v1),
            float(rng.choice([0, np.pi / 2])),
        )

    for _ in range(int(rng.poisson(0.006 * area))):
        bed = spot(1.5)
        size = rng.uniform(0.6, 3.0, 2)
        polygon = bed.rect(-size[0], -size[1], size[0], size[1])
        draw = rng.random()
        if draw < 0.4:
            canvas.cover(polygon, GROUND, canvas.add(soil(rng)))
        elif draw < 0.7:
            canvas.cover(polygon, GROUND, canvas.add(paved(rng, frame.angle)))
        else:
            canvas.fill(
                polygon,
                label=LOW_VEGETATION,
                surface=canvas.add(crop(rng, frame.angle)),
                height=float(rng.uniform(0.1, 0.8)),
            )
    if rng.random() < 0.3:  # a path
        canvas.fill(
            frame.rect(-0.5, v0, 0.5, v1), label=GROUND, surface=canvas.add(paved(rng, frame.angle)), height=0.0
        )
    if area > 90 and rng.random() < 0.22:
        swimming_pool(
            canvas, frame.at(rng.uniform(-0.4, 0.4) * u, v0 + 0.5 * (v1 - v0), float(rng.choice([0, np.pi / 2])))
        )
    for _ in range(int(rng.poisson(0.5))):
        shed(canvas, town.kit, spot(2), rng.uniform(1.8, 4.5), rng.uniform(1.6, 3))
    if rng.random() < 0.25:
        goods(canvas, spot(), int(rng.integers(1, 5)), 2.0)
    if area > 40 and rng.random() < 0.3 * density:  # overgrown corners
        at = spot(1)
        patchy_scrub(canvas, town.nursery, at.x, at.y, float(rng.uniform(1.5, 4.5)))
    for _ in range(int(rng.poisson(0.016 * area * density))):
        at = spot()
        town.nursery.tree(canvas, at.x, at.y)
    for _ in range(int(rng.poisson(0.03 * area * density))):
        at = spot(0.2)
        town.nursery.shrub(canvas, at.x, at.y)


def detached(town: Town, rect: Rect) -> None:
    """Houses in their gardens."""
    canvas, rng = town.canvas, town.canvas.rng
    for lot, front, along_y in lots(rng, rect, 13, 27):
        outline = lot.outline(town.plane)
        if not canvas.seen(outline, 4):
            continue
        ground_cover(town, lot, str(rng.choice(["lawn", "soil", "paved"], p=[0.7, 0.15, 0.15])))
        frame, wide, deep = lot_frame(town, lot, front, along_y)
        length = float(np.clip(rng.uniform(8, 17), 5, wide - 3))
        width = float(np.clip(rng.uniform(7, 11), 5, deep * 0.45))
        setback = float(rng.uniform(2.5, max(2.6, min(9, deep * 0.3))))
        v = -deep / 2 + setback + width / 2
        u = float(rng.uniform(-0.5, 0.5) * max(0.0, wide - length - 3))
        turn = rng.normal(0, 0.03) if rng.random() < 0.8 else rng.uniform(-0.5, 0.5)
        if rng.random() < 0.7:  # the drive, with a car
            side = float(rng.choice([-1, 1])) * (wide / 2 - 2.2)
            drive = frame.rect(side - 1.6, -deep / 2, side + 1.6, v + width / 2)
            canvas.cover(drive, GROUND, canvas.add(paved(rng, frame.angle)))
            if rng.random() < 0.6:
                town.garage.vehicle(
                    canvas, frame.at(side, -deep / 2 + rng.uniform(2.8, 4.5), np.pi / 2 + rng.normal(0, 0.05))
                )
            if rng.random() < 0.35 and wide - length > 6:
                shed(canvas, town.kit, frame.at(side, v + width / 2), rng.uniform(3, 3.6), rng.uniform(5, 6.5))
        if rng.random() < 0.75:
            reach = rng.uniform(1.5, 5)
            yard = frame.rect(u - length * 0.4, v, u + length * rng.uniform(0, 0.5), v + width / 2 + reach)
            canvas.cover(yard, GROUND, canvas.add(paved(rng, frame.angle)))
        if rng.random() < 0.94:
            house(canvas, town.kit, frame.at(u, v, turn), length, width, town.palette)
        garden(town, frame, wide / 2 - 1, v + width / 2 + 1.5, deep / 2 - 0.5, 0.5 + 1.5 * town.green)
        garden(town, frame, wide / 2 - 1, -deep / 2 + 0.5, -deep / 2 + setback, 0.4 + 1.2 * town.green)
        _fences(town, lot)


def _fences(town: Town, lot: Rect) -> None:
    for a, b in (((lot.x0, lot.y0), (lot.x1, lot.y0)), ((lot.x0, lot.y0), (lot.x0, lot.y1))):
        if town.canvas.rng.random() < 0.8:
            boundary(town, a, b)


def terrace(town: Town, rect: Rect) -> None:
    """Rows of houses along the block's long sides, narrow gardens behind."""
    canvas, rng = town.canvas, town.canvas.rng
    ground_cover(town, rect, str(rng.choice(["lawn", "soil", "paved"], p=[0.5, 0.3, 0.2])))
    along_y = rect.depth > rect.width
    deep_total = min(rect.width, rect.depth)
    length = max(rect.width, rect.depth)
    depth = float(rng.uniform(7, 12))
    setback = float(rng.choice([0.3, 2, 4, 7]))
    rows = [True, False] if deep_total > 2 * (depth + setback) + 6 else [rng.random() < 0.5]
    for front in rows:
        width = deep_total / len(rows)
        near = (0.0 if front else deep_total - width) if len(rows) == 2 else 0.0
        row = (
            Rect(rect.x0 + near, rect.y0, rect.x0 + near + width, rect.y1)
            if along_y
            else Rect(rect.x0, rect.y0 + near, rect.x1, rect.y0 + near + width)
        )
        # A bent street is followed by straight rows of at most 45 m.
        count = (
            max(1, int(np.ceil(length / 45))) if town.plane.bend != (0.0, 0.0) else max(1, int(np.ceil(length / 110)))
        )
        for number in range(count):
            share = (row.depth if along_y else row.width) / count
            part = (
                Rect(row.x0, row.y0 + number * share, row.x1, row.y0 + (number + 1) * share)
                if along_y
                else Rect(row.x0 + number * share, row.y0, row.x0 + (number + 1) * share, row.y1)
            )
            if not canvas.seen(part.outline(town.plane), 15):
                continue
            frame, wide, deep = lot_frame(town, part, front, along_y)
            unit = rng.uniform(4.5, 9)
            units = [float(unit * rng.uniform(0.9, 1.1)) for _ in range(int((wide - 2) / unit))]
            v = -deep / 2 + setback + depth / 2
            if units:
                row_houses(canvas, town.kit, frame.at(-sum(units) / 2, v), units, depth, town.palette)
            back = v + depth / 2
            u = -sum(units) / 2
            for width_unit in units:
                middle = frame.at(u + width_unit / 2, 0.0)
                yard = middle.rect(-width_unit / 2, back, width_unit / 2, back + rng.uniform(1, 5))
                if rng.random() < 0.65:
                    canvas.fill(yard, label=GROUND, surface=canvas.add(paved(rng, frame.angle)))
                if rng.random() < 0.6:
                    lawn_box = middle.rect(-width_unit / 2, back + 4, width_unit / 2, deep / 2)
                    canvas.fill(
                        lawn_box, label=LOW_VEGETATION, surface=canvas.add(lawn(rng, canvas.dryness)), height=0.0
                    )
                garden(town, middle, width_unit / 2, back + 3.5, deep / 2 - 0.3, 0.6 + 2.2 * town.green)
                if setback > 3:
                    garden(town, middle, width_unit / 2, -deep / 2, -deep / 2 + setback - 0.5, 0.5 + 1.5 * town.green)
                if rng.random() < 0.7:
                    line = frame.place(np.stack([np.full(6, u), np.linspace(back, deep / 2, 6)], axis=1))
                    if rng.random() < 0.3 + 0.4 * town.green:
                        hedge(canvas, town.nursery, line, rng.uniform(0.5, 1.5), rng.uniform(0.8, 3))
                    else:
                        wall(canvas, line, rng.uniform(0.7, 2.1), canvas.add(plain(rng, (176, 162, 148), 0.06)), 0.2)
                u += width_unit


def allotments(town: Town, rect: Rect) -> None:
    """Gardens without houses: beds, sheds, hedges, fruit trees."""
    canvas, rng = town.canvas, town.canvas.rng
    for lot, front, along_y in lots(rng, rect, 7, 15):
        if not canvas.seen(lot.outline(town.plane), 4):
            continue
        ground_cover(town, lot, str(rng.choice(["lawn", "soil"])))
        frame, wide, deep = lot_frame(town, lot, front, along_y)
        garden(town, frame, wide / 2 - 0.5, -deep / 2 + 0.5, deep / 2 - 0.5, 0.8 + 2.2 * town.green)
        _fences(town, lot)
    if rng.random() < 0.3:
        wood(canvas, town.nursery, rect.inset(0.3 * min(rect.width, rect.depth)).outline(town.plane), 4.0)
