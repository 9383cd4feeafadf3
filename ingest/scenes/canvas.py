"""The canvas: surface number, height, label and roof slope of every pixel, and the painters' few verbs.

Positions are metres on the canvas, x to the right (east) and y down (south), from its top left corner; the canvas is
larger than the scene by `pad` pixels on each side, so that shadows and crowns reach in from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, cos, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from .classes import BUILDING
from .materials import Surface, SurfaceTable
from .noise import FloatArray, NoiseBank

Points = NDArray[np.float64]
BRANCH, GAP = 1, 2  # of see-through crowns: what is seen of them, and where the ground shows between
_SHIFT = 4  # sub-pixel bits of cv2's polygon filling


@dataclass(frozen=True, slots=True)
class SceneObject:
    """Something with a name: `polygon` is float64 [n, 2], (x, y) in canvas metres, open ring."""

    category: str
    caption: str
    polygon: Points
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A right-angled local frame, `(u, v)` in metres, turned by `angle` (radians, from x towards y) at `(x, y)`."""

    x: float
    y: float
    angle: float

    def place(self, uv: Points | list[tuple[float, float]]) -> Points:
        """Canvas positions of local positions, float64 [n, 2]."""
        points = np.asarray(uv, dtype=np.float64)
        c, s = cos(self.angle), sin(self.angle)
        return points @ np.array([[c, s], [-s, c]]) + (self.x, self.y)

    def rect(self, u0: float, v0: float, u1: float, v1: float) -> Points:
        """The four corners of a local box, on the canvas."""
        return self.place([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])

    def at(self, u: float, v: float, angle: float = 0.0) -> Frame:
        """A frame at a local position, turned further by `angle`."""
        ((x, y),) = self.place([(u, v)])
        return Frame(float(x), float(y), self.angle + angle)


@dataclass(frozen=True, slots=True)
class Patch:
    """The part of the canvas that a polygon covers: `rows`, `cols` of its box, and a bool mask within it."""

    rows: slice
    cols: slice
    mask: NDArray[np.bool_]

    @property
    def box(self) -> tuple[slice, slice]:
        """For indexing canvas layers."""
        return self.rows, self.cols


@dataclass(frozen=True, slots=True)
class Tree:
    """A plant to be stamped once everything below it stands."""

    x: float
    y: float
    radius: float
    height: float
    kind: str
    surface: int
    caption: str | None  # None: too common to be an object


@dataclass
class Canvas:
    """Layers of one scene under construction; see the module's docstring."""

    gsd: float
    size: int
    pad: int
    rng: np.random.Generator
    dryness: float
    season: str
    objects: list[SceneObject] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)

    def __post_init__(self) -> None:
        edge = self.size + 2 * self.pad
        self.shape = edge, edge
        self.extent = edge * self.gsd
        self.table = SurfaceTable()
        self.noise = NoiseBank(self.rng, self.shape, self.gsd)
        self.surface = np.zeros(self.shape, dtype=np.uint16)
        self.height = np.zeros(self.shape, dtype=np.float32)
        self.label = np.full(self.shape, 2, dtype=np.uint8)
        self.slope_x = np.zeros(self.shape, dtype=np.float32)
        self.slope_y = np.zeros(self.shape, dtype=np.float32)
        self.sheer = np.zeros(self.shape, dtype=np.uint8)  # BRANCH and GAP where see-through crowns are the highest
        self.below = self.height  # once grown: the height without see-through crowns
        self.reserved = np.zeros(self.shape, dtype=np.uint8)  # where rivers and roads run: nothing is built there

    def add(self, surface: Surface) -> int:
        """Registers a surface and returns its number."""
        return self.table.add(surface)

    def seen(self, polygon: Points, margin: float = 0.0) -> bool:
        """Whether the polygon's box (grown by `margin` metres) touches the canvas."""
        x0, y0 = polygon.min(axis=0) - margin
        x1, y1 = polygon.max(axis=0) + margin
        return bool(x1 > 0 and y1 > 0 and x0 < self.extent and y0 < self.extent)

    def pixels(self, polygon: Points) -> NDArray[np.int32]:
        """Fixed-point pixel positions for cv2; a pixel's centre is its integer position."""
        return np.round((polygon / self.gsd - 0.5) * (1 << _SHIFT)).astype(np.int32)

    def fill(
        self, polygon: Points, *, label: int | None = None, surface: int | None = None, height: float | None = None
    ) -> bool:
        """Writes the given layers inside the polygon (a height also flattens the slope). False if it is off the canvas."""
        if not self.seen(polygon):
            return False
        ring = [self.pixels(polygon)]
        if label is not None:
            cv2.fillPoly(self.label, ring, label, shift=_SHIFT)
        if surface is not None:
            cv2.fillPoly(self.surface, ring, surface, shift=_SHIFT)
        if height is not None:
            cv2.fillPoly(self.height, ring, height, shift=_SHIFT)
            cv2.fillPoly(self.slope_x, ring, 0.0, shift=_SHIFT)
            cv2.fillPoly(self.slope_y, ring, 0.0, shift=_SHIFT)
        return True

    def cover(self, polygon: Points, label: int, surface: int, height: float = 0.0) -> None:
        """Covers the ground inside the polygon, up to the walls of what is built on it."""
        patch = self.patch(polygon)
        if patch is None:
            return
        open_ground = patch.mask & (self.label[patch.box] != BUILDING)
        self.label[patch.box][open_ground] = label
        self.surface[patch.box][open_ground] = surface
        for layer, value in ((self.height, height), (self.slope_x, 0.0), (self.slope_y, 0.0)):
            layer[patch.box][open_ground] = value

    def reserve(self, polygon: Points) -> None:
        """Keeps later objects out of the polygon."""
        if self.seen(polygon):
            cv2.fillPoly(self.reserved, [self.pixels(polygon)], 1, shift=_SHIFT)

    def is_free(self, polygon: Points) -> bool:
        """Whether nothing is reserved inside the polygon (the part of it that is on the canvas)."""
        patch = self.patch(polygon)
        return patch is None or not bool(self.reserved[patch.box][patch.mask].any())

    def patch(self, polygon: Points) -> Patch | None:
        """The polygon's pixels, or None where it misses the canvas."""
        low, high = polygon.min(axis=0) / self.gsd, polygon.max(axis=0) / self.gsd
        col0, row0 = (max(0, int(v)) for v in low)
        col1, row1 = (min(edge, ceil(v) + 1) for v, edge in zip(high, self.shape, strict=True))
        if col1 <= col0 or row1 <= row0:
            return None
        mask = np.zeros((row1 - row0, col1 - col0), dtype=np.uint8)
        corner = np.array([col0, row0]) << _SHIFT
        cv2.fillPoly(mask, [(self.pixels(polygon) - corner).astype(np.int32)], 1, shift=_SHIFT)
        return Patch(slice(row0, row1), slice(col0, col1), mask.astype(bool))

    def local(self, patch: Patch, frame: Frame) -> tuple[FloatArray, FloatArray]:
        """Local coordinates (u, v) of the patch's pixel centres in `frame`, float32 [h, w] each."""
        x = ((np.arange(patch.cols.start, patch.cols.stop) + 0.5) * self.gsd - frame.x)[None, :]
        y = ((np.arange(patch.rows.start, patch.rows.stop) + 0.5) * self.gsd - frame.y)[:, None]
        c, s = cos(frame.angle), sin(frame.angle)
        return (x * c + y * s).astype(np.float32), (y * c - x * s).astype(np.float32)

    def label_at(self, x: float, y: float) -> int | None:
        """The class at a position, or None off the canvas."""
        row, col = int(y / self.gsd), int(x / self.gsd)
        if x < 0 or y < 0 or row >= self.shape[0] or col >= self.shape[1]:
            return None
        return int(self.label[row, col])

    def record(self, category: str, caption: str, polygon: Points, height: float = 0.0) -> None:
        """Remembers a named object, if it touches the canvas."""
        if self.seen(polygon):
            self.objects.append(SceneObject(category, caption, polygon, height))

    def plant(self, tree: Tree) -> None:
        """Plans a tree or shrub; `vegetation.grow` stamps them."""
        reach = 1.2 * tree.radius
        if -reach < tree.x < self.extent + reach and -reach < tree.y < self.extent + reach:
            self.trees.append(tree)


def ring(x: float, y: float, radius: float, count: int = 14, squeeze: float = 1.0, angle: float = 0.0) -> Points:
    """An ellipse as an open ring, float64 [count, 2]."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return Frame(x, y, angle).place(np.stack([radius * np.cos(t), radius * squeeze * np.sin(t)], axis=1))


def blob(
    rng: np.random.Generator, x: float, y: float, radius: float, roughness: float = 0.25, count: int = 40
) -> Points:
    """A random smooth closed outline around a point: ponds, patches, heaps. Open ring, float64 [count, 2]."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    r = np.ones(count)
    for wave in range(2, 7):
        r += roughness / wave**0.8 * rng.standard_normal() * np.cos(wave * t + rng.uniform(0, 2 * np.pi))
    r = np.clip(r, 0.35, 1.9) * radius
    return np.stack([x + r * np.cos(t), y + r * np.sin(t)], axis=1)


def strip(line: Points, width: float, offset: float = 0.0) -> Points:
    """The polygon of a line of that width (metres), moved sideways by `offset` (to its right on the canvas)."""
    step = np.gradient(line, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    centre = line + offset * normal
    return np.concatenate([centre + normal * (width / 2), (centre - normal * (width / 2))[::-1]])
