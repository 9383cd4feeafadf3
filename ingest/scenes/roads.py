"""Roads: sidewalks, carriageways, markings, crossings and traffic."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Frame, Points, strip
from .classes import GROUND, LOW_VEGETATION, ROAD
from .furniture import Garage
from .layout import Plane, Road, winding
from .materials import Surface, grey, lawn, paved, pick, plain, soil
from .palettes import ASPHALT, CONCRETE, GREYS, SOIL
from .vegetation import Nursery


def pave(canvas: Canvas, plane: Plane, roads: list[Road], *, rural: bool) -> None:
    """Draws all roads, the smallest first, then reserves them. Rural lanes may be unpaved (ground, not road)."""
    rng = canvas.rng
    walk = canvas.add(paved(rng, plane.angle))
    verge = canvas.add(lawn(rng, canvas.dryness))
    common = canvas.add(grey(rng, ASPHALT, plane.angle))
    ordered = sorted(roads, key=lambda road: -road.level)
    for road in ordered:
        line = road.line(plane)
        border = strip(line, road.width)
        if rural or rng.random() < 0.12:
            canvas.fill(border, label=LOW_VEGETATION, surface=verge, height=0.0)
        else:
            canvas.fill(border, label=GROUND, surface=walk, height=0.0)
    for road in ordered:
        line = road.line(plane)
        polygon = strip(line, road.carriageway)
        if not canvas.seen(polygon):
            continue
        if rural and road.level >= 3 and rng.random() < 0.6:
            canvas.fill(polygon, label=GROUND, surface=canvas.add(soil(rng)), height=0.0)
            if rng.random() < 0.5:
                canvas.fill(strip(line, 0.3 * road.carriageway), label=LOW_VEGETATION, surface=verge)
            canvas.record("track", "unpaved track", polygon)
        else:
            surface = (
                common
                if rng.random() < 0.65
                else canvas.add(grey(rng, CONCRETE if rng.random() < 0.2 else ASPHALT, plane.angle))
            )
            canvas.fill(polygon, label=ROAD, surface=surface, height=0.0)
            canvas.record("road", "main road" if road.level < 2 else "street", polygon)
        canvas.reserve(strip(line, road.width))
    for road in ordered:
        if not rural or road.level < 3:
            _patch_up(canvas, plane, road)


def survey_railway(canvas: Canvas) -> tuple[Points, int]:
    """The course of a railway and its number of tracks, reserved before anything is built."""
    line, tracks = winding(canvas.rng, canvas.extent, 0.15), int(canvas.rng.integers(1, 4))
    canvas.reserve(strip(line, 3.0 + 4.2 * tracks))
    return line, tracks


def lay_railway(canvas: Canvas, line: Points, tracks: int) -> None:
    """Ballast, sleepers, rails. Grey and level like a road, and labelled ground."""
    rng = canvas.rng
    bed = strip(line, 3.0 + 4.2 * tracks)
    heading = float(np.arctan2(*(line[-1] - line[0])[::-1]))
    ballast = Surface(
        pick(rng, GREYS[1:4], 0.08, 0.03), pick(rng, SOIL), threshold=rng.uniform(0.8, 2), pixel=0.05, fine=0.06, small=0.03,
        angle=heading,
    )  # fmt: skip
    canvas.fill(bed, label=GROUND, surface=canvas.add(ballast), height=float(rng.choice([0.0, 0.0, 0.4])))
    steel, sleeper = canvas.add(plain(rng, (120, 104, 96))), canvas.add(plain(rng, (112, 104, 98), 0.05))
    for track in range(tracks):
        middle = (track - (tracks - 1) / 2) * 4.2
        canvas.fill(strip(line, 2.5, middle), surface=sleeper)
        for side in (-0.72, 0.72):
            canvas.fill(strip(line, max(0.12, 0.6 * canvas.gsd), middle + side), surface=steel)
    canvas.record("railway", f"railway with {tracks} track{'s' if tracks > 1 else ''}", bed)


def mark(canvas: Canvas, plane: Plane, roads: list[Road]) -> None:
    """Centre and edge lines, zebra crossings, arrows' worth of paint; the label stays road."""
    rng = canvas.rng
    white = canvas.add(plain(rng, (216, 216, 212), 0.06))
    for road in roads:
        line = road.line(plane, 1.5)
        if not canvas.seen(strip(line, road.width)):
            continue
        if road.carriageway > 5.5 and rng.random() < 0.75:
            dash = rng.uniform(1.5, 4)
            solid = rng.random() < 0.2
            for start in range(0, len(line) - 4, 3 if solid else int(2 + dash)):
                piece = line[start : start + (4 if solid else 2)]
                if road.carriageway > 11:
                    _paint(canvas, strip(piece, 0.15, road.carriageway / 4), white)
                    _paint(canvas, strip(piece, 0.15, -road.carriageway / 4), white)
                _paint(canvas, strip(piece, 0.15), white)
        if road.level < 3 and rng.random() < 0.35:
            for side in (-1, 1):
                _paint(canvas, strip(line, 0.13, side * (road.carriageway / 2 - 0.4)), white)
        if road.sidewalk > 0:
            for end in (0.05, 0.35, 0.65, 0.95):
                if rng.random() < 0.4:
                    _zebra(canvas, line, int(end * (len(line) - 3)) + 1, road.carriageway, white)


def _paint(canvas: Canvas, polygon: Points, surface: int) -> None:
    patch = canvas.patch(polygon)
    if patch is not None:
        on_road = patch.mask & (canvas.label[patch.box] == ROAD)
        canvas.surface[patch.box][on_road] = surface


def _zebra(canvas: Canvas, line: Points, index: int, width: float, surface: int) -> None:
    step = line[index + 1] - line[index - 1]
    frame = Frame(float(line[index][0]), float(line[index][1]), float(np.arctan2(step[1], step[0])))
    if not canvas.seen(frame.rect(-2, -width / 2, 2, width / 2)):
        return
    for v in np.arange(-width / 2 + 0.5, width / 2 - 0.4, 1.0):
        _paint(canvas, frame.rect(-1.4, float(v) - 0.25, 1.4, float(v) + 0.25), surface)
    canvas.record("zebra crossing", "zebra crossing", frame.rect(-1.4, -width / 2, 1.4, width / 2))


def _patch_up(canvas: Canvas, plane: Plane, road: Road) -> None:
    """Repaired rectangles and dark seams."""
    rng = canvas.rng
    line = road.line(plane, 2.0)
    for _ in range(int(rng.poisson(len(line) / 40))):
        start = int(rng.integers(0, max(1, len(line) - 6)))
        piece = line[start : start + int(rng.integers(2, 12))]
        if len(piece) > 1:
            wide = rng.uniform(0.4, 0.45 * road.carriageway)
            _paint(
                canvas,
                strip(piece, wide, rng.uniform(-0.25, 0.25) * road.carriageway),
                canvas.add(grey(rng, ASPHALT, plane.angle)),
            )


def traffic(canvas: Canvas, plane: Plane, roads: list[Road], garage: Garage, nursery: Nursery) -> None:
    """Moving and kerbside cars; trees along some streets."""
    rng = canvas.rng
    busy = rng.uniform(0.0, 0.7)
    for road in roads:
        line = road.line(plane, 6.0)
        if len(line) < 3 or not canvas.seen(strip(line, road.width)) or road.carriageway < 3.5:
            continue
        parked = busy * rng.uniform(0, 1) if road.sidewalk > 0 and road.carriageway > 5 else 0.0
        heading = np.arctan2(*np.gradient(line, axis=0).T[::-1])
        for (x, y), angle in zip(line, heading, strict=True):
            if not (-8 < x < canvas.extent + 8 and -8 < y < canvas.extent + 8):
                continue
            here = Frame(float(x), float(y), float(angle))
            for side in (-1, 1):
                if rng.random() < parked:
                    garage.vehicle(
                        canvas,
                        here.at(rng.uniform(-0.4, 0.4), side * (road.carriageway / 2 - 1.1), rng.normal(0, 0.02)),
                    )
                elif rng.random() < 0.05 * busy:
                    turn = 0.0 if side > 0 else np.pi
                    garage.vehicle(
                        canvas,
                        here.at(0.0, side * road.carriageway / 4, turn + rng.normal(0, 0.03)),
                        long=rng.random() < 0.12,
                    )
        if road.sidewalk > 1.2 and rng.random() < 0.3:
            radius, height, kind = rng.uniform(1.3, 3.5), rng.uniform(4, 12), nursery.kind(rng)
            for (x, y), angle in list(zip(line, heading, strict=True))[::2]:
                for side in (-1, 1):
                    if rng.random() < 0.85:
                        spot = Frame(float(x), float(y), float(angle)).at(0.0, side * (road.width / 2 - 0.7))
                        nursery.tree(
                            canvas,
                            spot.x,
                            spot.y,
                            radius * rng.uniform(0.8, 1.2),
                            height * rng.uniform(0.85, 1.15),
                            kind,
                        )
