"""Where roads and blocks lie: a rectangle cut again and again by ever smaller roads, then turned and bent."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, sin

import numpy as np

from .canvas import Frame, Points


@dataclass(frozen=True, slots=True)
class Plane:
    """The plan's own coordinates (metres around the scene's centre) and how they fall on the canvas: bent, then turned."""

    angle: float
    centre: float
    bend: tuple[float, float]  # amplitudes, metres
    wave: tuple[float, float]  # lengths, metres
    phase: tuple[float, float]

    def place(self, points: Points) -> Points:
        """Canvas positions of plan positions, float64 [n, 2]."""
        x, y = points[:, 0], points[:, 1]
        bent = np.stack(
            [
                x + self.bend[0] * np.sin(2 * np.pi * y / self.wave[0] + self.phase[0]),
                y + self.bend[1] * np.sin(2 * np.pi * x / self.wave[1] + self.phase[1]),
            ],
            axis=1,
        )
        c, s = cos(self.angle), sin(self.angle)
        return bent @ np.array([[c, s], [-s, c]]) + self.centre

    def frame(self, x: float, y: float, *, along_y: bool = False) -> Frame:
        """A rigid frame at a plan position, its u axis along the (bent) plan's x or y axis there."""
        step = (0.0, 0.5) if along_y else (0.5, 0.0)
        here, there = self.place(np.array([[x, y], [x + step[0], y + step[1]]]))
        return Frame(float(here[0]), float(here[1]), atan2(there[1] - here[1], there[0] - here[0]))


@dataclass(frozen=True, slots=True)
class Rect:
    """A box in the plan, metres."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Along x."""
        return self.x1 - self.x0

    @property
    def depth(self) -> float:
        """Along y."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Square metres, before bending."""
        return self.width * self.depth

    def inset(self, by: float) -> Rect:
        """The box within, at that distance; shrinks to its middle at most."""
        by = min(by, self.width / 2 - 0.01, self.depth / 2 - 0.01)
        return Rect(self.x0 + by, self.y0 + by, self.x1 - by, self.y1 - by)

    def outline(self, plane: Plane, step: float = 6.0) -> Points:
        """Its edge on the canvas, with a vertex at least every `step` metres so that it bends with the plan."""
        corners = [(self.x0, self.y0), (self.x1, self.y0), (self.x1, self.y1), (self.x0, self.y1)]
        parts = [segment(a, b, step)[:-1] for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
        return plane.place(np.concatenate(parts))


@dataclass(frozen=True, slots=True)
class Road:
    """A road's axis in the plan: from `start` to `end`, with the width between its borders (sidewalks included)."""

    start: tuple[float, float]
    end: tuple[float, float]
    width: float
    sidewalk: float
    level: int

    @property
    def carriageway(self) -> float:
        """Width between the kerbs."""
        return self.width - 2 * self.sidewalk

    def line(self, plane: Plane, step: float = 4.0) -> Points:
        """The axis on the canvas."""
        return plane.place(segment(self.start, self.end, step))


def segment(a: tuple[float, float], b: tuple[float, float], step: float) -> Points:
    """Points from a to b, both included, at most `step` apart."""
    count = max(2, int(np.ceil(np.hypot(b[0] - a[0], b[1] - a[1]) / step)) + 1)
    return np.linspace(a, b, count)


@dataclass(frozen=True, slots=True)
class Style:
    """How a kind of district is cut: the block's longest side, the widths of its roads from main to lane, sidewalks."""

    block: tuple[float, float]
    roads: tuple[float, ...]
    sidewalk: float
    bent: float  # chance that its roads bend


def draw_plane(rng: np.random.Generator, extent: float, style: Style) -> Plane:
    """A plan turned at random and, by `style.bent`, gently bent."""
    wave = rng.uniform(110, 420, 2)
    bent = rng.random(2) < style.bent
    steepness = rng.uniform(0.05, 0.3, 2) * bent
    bend = steepness * wave / (2 * np.pi)
    phase = rng.uniform(0, 2 * np.pi, 2)
    return Plane(
        float(rng.uniform(0, np.pi)), extent / 2,
        (float(bend[0]), float(bend[1])), (float(wave[0]), float(wave[1])), (float(phase[0]), float(phase[1])),
    )  # fmt: skip


def cut(rng: np.random.Generator, half: float, style: Style) -> tuple[list[Road], list[Rect]]:
    """Roads (deepest level last) and the blocks between them, covering the square of half side `half` and more."""
    # Far more than the scene, off its middle: else every small scene would show a crossing of main roads.
    grow = half * 1.45 + style.block[1]
    shift = rng.uniform(-1, 1, 2) * style.block[1]
    whole = Rect(-grow + shift[0], -grow + shift[1], grow + shift[0], grow + shift[1])
    roads: list[Road] = []
    blocks: list[Rect] = []
    pending = [(whole, 0, (0.0, 0.0, 0.0, 0.0))]  # with the widths of the roads at its left, top, right, bottom
    while pending:
        rect, level, beside = pending.pop()
        limit = rng.uniform(*style.block)
        if max(rect.width, rect.depth) < limit or min(rect.width, rect.depth) < 0.3 * style.block[0]:
            blocks.append(rect)
            continue
        width = style.roads[min(level // 2, len(style.roads) - 1)] * rng.uniform(0.85, 1.15)
        sidewalk = style.sidewalk * rng.uniform(0.7, 1.3) if level < 5 else 0.0
        total = width + 2 * sidewalk
        share = rng.uniform(0.36, 0.64)
        left, top, right, bottom = beside
        if rect.width * rng.uniform(0.8, 1.25) > rect.depth:
            at = rect.x0 + share * rect.width
            roads.append(Road((at, rect.y0 - top / 2), (at, rect.y1 + bottom / 2), total, sidewalk, level))
            pending.append((Rect(rect.x0, rect.y0, at - total / 2, rect.y1), level + 1, (left, top, total, bottom)))
            pending.append((Rect(at + total / 2, rect.y0, rect.x1, rect.y1), level + 1, (total, top, right, bottom)))
        else:
            at = rect.y0 + share * rect.depth
            roads.append(Road((rect.x0 - left / 2, at), (rect.x1 + right / 2, at), total, sidewalk, level))
            pending.append((Rect(rect.x0, rect.y0, rect.x1, at - total / 2), level + 1, (left, top, right, total)))
            pending.append((Rect(rect.x0, at + total / 2, rect.x1, rect.y1), level + 1, (left, total, right, bottom)))
    return roads, blocks


def winding(rng: np.random.Generator, extent: float, bend: float = 1.0) -> Points:
    """A winding line across the canvas (a river; a railway with little `bend`), float64 [n, 2] in metres, 3 m apart."""
    angle = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(-0.35, 0.35) * extent
    along = np.arange(-0.85 * extent, 0.85 * extent, 3.0)
    across = np.full_like(along, offset)
    for _ in range(3):
        length = rng.uniform(0.25, 1.2) * max(extent, 80)
        across += (
            bend * rng.uniform(0.02, 0.09) * length * np.sin(2 * np.pi * along / length + rng.uniform(0, 2 * np.pi))
        )
    return Frame(extent / 2, extent / 2, angle).place(np.stack([along, across], axis=1))
