"""Surfaces: the colour and texture of everything, as rows of a table indexed by a map of surface numbers.

Objects only write a surface number into the canvas; the table is turned into colour once, for the whole image.
Colours are display values (sRGB, 0..255) as aerial images show them in the sun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .noise import FloatArray, NoiseBank
from .palettes import CONCRETE, CROPS, DRY_GRASS, GRAVEL, LAWN, PAVING, POOL, SOIL, WATER, Color


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface. Amplitudes are relative brightness per unit of noise at about the named scale in metres.

    `second` is mixed in where a noise field of 2.5-8 m exceeds `threshold` (in deviations), over a ramp `1 / sharpness` wide.
    `stripe` lines run along `angle` (radians, image axes): a cosine of `period` metres, then thin dark lines every
    `line_period` metres along and `cross_period` metres across, `line_width` metres wide.
    """

    color: Color
    second: Color | None = None
    threshold: float = 0.3
    sharpness: float = 1.2
    pixel: float = 0.02
    fine: float = 0.03
    small: float = 0.02
    medium: float = 0.02
    large: float = 0.02
    angle: float = 0.0
    period: float = 1.0
    stripe: float = 0.0
    line_period: float = 1.0
    line: float = 0.0
    cross_period: float = 1.0
    cross: float = 0.0
    line_width: float = 0.25
    leaf: float = 0.0  # 1: shaded as a canopy, by its own relief


class SurfaceTable:
    """Surfaces by number; number 0 is plain grey. At most 65,535."""

    def __init__(self) -> None:
        self._surfaces: list[Surface] = [Surface((128, 128, 128))]

    def add(self, surface: Surface) -> int:
        """Its number, for `Canvas.surface`."""
        self._surfaces.append(surface)
        return len(self._surfaces) - 1

    def surface(self, number: int) -> Surface:
        """The surface of that number."""
        return self._surfaces[number]

    def column(self, name: str) -> FloatArray:
        """One attribute of all surfaces, float32 [n]."""
        return np.array([getattr(s, name) for s in self._surfaces], dtype=np.float32)

    def colors(self) -> tuple[FloatArray, FloatArray]:
        """First and second colours, float32 [n, 3], 0..1."""
        first = np.array([s.color for s in self._surfaces], dtype=np.float32)
        second = np.array([s.color if s.second is None else s.second for s in self._surfaces], dtype=np.float32)
        return first / np.float32(255), second / np.float32(255)

    def paint(self, numbers: np.ndarray, noise: NoiseBank, gsd: float) -> FloatArray:
        """The colour of every pixel in full, even light: float32 [h, w, 3], display values 0..1."""
        index = numbers.astype(np.intp)
        light = np.ones(numbers.shape, dtype=np.float32)
        # Below the pixel size, texture averages out; a coarse image is smoother than a fine one of the same lawn.
        fade = min(1.0, (0.2 / gsd) ** 0.5)
        for name, scale in (("pixel", 0.0), ("fine", 0.35), ("small", 0.9), ("medium", 2.5), ("large", 8.0)):
            amplitude = self.column(name) * (fade if scale < 0.9 else 1.0)
            light += np.take(amplitude, index) * noise.field(scale)
        self._add_lines(light, numbers, index, gsd)
        blend = 0.55 * noise.field(2.5) + 0.75 * noise.field(8.0) + 0.25 * noise.field(0.9)
        blend -= np.take(self.column("threshold"), index)
        blend *= np.take(self.column("sharpness"), index)
        blend += 0.5
        np.clip(blend, 0, 1, out=blend)
        first, second = self.colors()
        np.clip(light, 0.3, 1.9, out=light)
        out = np.empty((*numbers.shape, 3), dtype=np.float32)
        for band in range(3):
            step = np.take(second[:, band] - first[:, band], index)
            step *= blend
            step += np.take(first[:, band], index)
            step *= light
            out[..., band] = step
        return out

    def _add_lines(self, light: FloatArray, numbers: np.ndarray, index: np.ndarray, gsd: float) -> None:
        lined = (self.column("stripe") != 0) | (self.column("line") != 0) | (self.column("cross") != 0)
        at = np.flatnonzero(np.take(lined, index))
        if at.size == 0:
            return
        surface = index.reshape(-1)[at]
        width = numbers.shape[1]
        x = (at % width).astype(np.float32) * np.float32(gsd)
        y = (at // width).astype(np.float32) * np.float32(gsd)
        angle = self.column("angle")
        cos, sin = np.cos(angle)[surface], np.sin(angle)[surface]
        across, along = y * cos - x * sin, x * cos + y * sin
        period = self.column("period")
        # A pattern finer than two pixels is not seen (its alias would be).
        stripe = self.column("stripe") * np.clip(period / (2 * gsd) - 1, 0, 1)
        add = stripe[surface] * np.cos(across * (2 * np.pi / period)[surface])
        half = np.maximum(self.column("line_width"), gsd) / 2
        thin = np.minimum(1.0, self.column("line_width") / gsd)
        for amplitude, spacing, position in (("line", "line_period", across), ("cross", "cross_period", along)):
            spaced = self.column(spacing)[surface]
            offset = np.abs(position - np.round(position / spaced) * spaced)
            add -= np.where(offset < half[surface], (self.column(amplitude) * thin)[surface], 0)
        light.reshape(-1)[at] += add


def tinted(rng: np.random.Generator, color: Sequence[float], brightness: float = 0.1, hue: float = 0.04) -> Color:
    """A neighbour of `color`: brightness and each band scaled by random factors of those relative deviations."""
    factor = np.clip(1 + brightness * rng.standard_normal(), 0.6, 1.4) * (1 + hue * rng.standard_normal(3))
    r, g, b = np.clip(np.asarray(color) * factor, 4, 250)
    return float(r), float(g), float(b)


def pick(rng: np.random.Generator, options: Sequence[Color], brightness: float = 0.1, hue: float = 0.04) -> Color:
    """A tinted member of a palette."""
    return tinted(rng, options[int(rng.integers(len(options)))], brightness, hue)


def lawn(rng: np.random.Generator, dryness: float) -> Surface:
    """Grass, from watered (0) to straw (1), patchy in between."""
    green, straw = np.array(pick(rng, LAWN)), np.array(pick(rng, DRY_GRASS))
    dry = float(np.clip(dryness + 0.22 * rng.standard_normal(), 0, 1))
    color = green + (straw - green) * dry
    other = green + (straw - green) * float(np.clip(dry + rng.normal(0, 0.3), 0, 1))
    if rng.random() < 0.25:
        other = np.array(pick(rng, SOIL))
    mown = rng.random() < 0.15
    return Surface(
        _color(color), _color(other), threshold=rng.uniform(0, 1.4), sharpness=rng.uniform(0.5, 2),
        pixel=rng.uniform(0.02, 0.07), fine=rng.uniform(0.02, 0.08), small=rng.uniform(0.01, 0.06),
        medium=rng.uniform(0.01, 0.06), large=rng.uniform(0.01, 0.06),
        angle=rng.uniform(0, np.pi), period=rng.uniform(1.2, 5), stripe=0.05 if mown else 0.0,
    )  # fmt: skip


def soil(rng: np.random.Generator) -> Surface:
    """Bare earth, some of it as red as a tiled roof."""
    return Surface(
        pick(rng, SOIL), pick(rng, SOIL), threshold=rng.uniform(0, 1.5), pixel=rng.uniform(0.01, 0.03),
        fine=rng.uniform(0.01, 0.045), small=rng.uniform(0.01, 0.06), medium=rng.uniform(0.01, 0.05),
        large=rng.uniform(0.01, 0.05),
    )  # fmt: skip


def paved(rng: np.random.Generator, angle: float) -> Surface:
    """Yards, terraces, sidewalks: slabs, concrete, asphalt or gravel."""
    kind = rng.random()
    if kind < 0.4:
        size = rng.uniform(0.4, 2.5)
        return Surface(
            pick(rng, PAVING), pick(rng, PAVING, 0.05), threshold=rng.uniform(0.6, 2), angle=angle, line_period=size,
            cross_period=size * rng.uniform(1, 2), line=rng.uniform(0, 0.15), cross=rng.uniform(0, 0.15), line_width=0.06,
            fine=rng.uniform(0.01, 0.05), medium=rng.uniform(0.01, 0.05),
        )  # fmt: skip
    if kind < 0.7:
        return grey(rng, CONCRETE, angle)
    return Surface(
        pick(rng, GRAVEL), pick(rng, SOIL), threshold=rng.uniform(0.8, 2.5), pixel=rng.uniform(0.02, 0.06),
        fine=rng.uniform(0.02, 0.06), medium=rng.uniform(0.01, 0.05),
    )  # fmt: skip


def grey(rng: np.random.Generator, palette: Sequence[Color], angle: float) -> Surface:
    """Asphalt, concrete, bitumen: roads and flat roofs draw from this one function, textures and joints included."""
    stained = rng.random() < 0.5
    return Surface(
        pick(rng, palette, 0.08, 0.015), pick(rng, palette, 0.1, 0.015) if stained else None, threshold=rng.uniform(0.2, 1.8),
        sharpness=rng.uniform(0.8, 5), pixel=rng.uniform(0.01, 0.04), fine=rng.uniform(0.005, 0.04),
        small=rng.uniform(0.005, 0.03),
        medium=rng.uniform(0.005, 0.04), large=rng.uniform(0.005, 0.05), angle=angle,
        line_period=rng.uniform(2, 9), line=rng.uniform(0.03, 0.12) if rng.random() < 0.3 else 0.0,
        cross_period=rng.uniform(3, 15), cross=rng.uniform(0.03, 0.1) if rng.random() < 0.25 else 0.0, line_width=0.12,
    )  # fmt: skip


def crop(rng: np.random.Generator, angle: float) -> Surface:
    """A field: rows of 0.3-1 m, and pairs of tractor tracks."""
    color = pick(rng, CROPS)
    return Surface(
        color, tinted(rng, color, 0.12, 0.06), threshold=rng.uniform(-0.5, 1), sharpness=rng.uniform(0.4, 1.5), angle=angle,
        period=rng.choice([0.4, 0.75, 1.5, 3.0]), stripe=rng.uniform(0, 0.1), line_period=rng.uniform(12, 28),
        line=rng.uniform(0.0, 0.22), line_width=rng.uniform(0.3, 0.6), pixel=rng.uniform(0.02, 0.05),
        fine=rng.uniform(0.02, 0.06),
        small=rng.uniform(0.01, 0.04), medium=rng.uniform(0.01, 0.04), large=rng.uniform(0.01, 0.06),
    )  # fmt: skip


def water(rng: np.random.Generator) -> Surface:
    """Rivers and ponds: dark and smooth, at times muddy, green or glinting."""
    color = pick(rng, WATER, 0.2, 0.08)
    glint = rng.random() < 0.25
    return Surface(
        color, tinted(rng, color, 0.15, 0.08), threshold=rng.uniform(-0.5, 1.5), sharpness=0.6, pixel=0.06 if glint else 0.01,
        fine=0.08 if glint else 0.01, small=rng.uniform(0.0, 0.03), medium=0.01, large=rng.uniform(0.0, 0.05),
    )  # fmt: skip


def pool(rng: np.random.Generator) -> Surface:
    """A swimming pool, or (one in ten) its cover or its algae."""
    color = pick(rng, POOL, 0.1, 0.06) if rng.random() < 0.9 else pick(rng, WATER, 0.3, 0.1)
    return Surface(
        color, tinted(rng, color, 0.1, 0.04), threshold=0.3, fine=rng.uniform(0.01, 0.06), small=rng.uniform(0.01, 0.05)
    )


def leaves(rng: np.random.Generator, color: Color) -> Surface:
    """Canopy: coarse and contrasted; the relief under it adds most of the texture."""
    return Surface(
        color, tinted(rng, color, 0.12, 0.04), threshold=rng.uniform(-0.5, 1), sharpness=0.8, pixel=rng.uniform(0.04, 0.1),
        fine=rng.uniform(0.06, 0.16), small=rng.uniform(0.04, 0.14), medium=rng.uniform(0, 0.05), large=0.0, leaf=1.0,
    )  # fmt: skip


def plain(rng: np.random.Generator, color: Color, texture: float = 0.03) -> Surface:
    """Paint, sheet metal, plastic: even, with a little dirt."""
    return Surface(tinted(rng, color, 0.06, 0.02), fine=texture, medium=texture * rng.random(), large=0.0)


def _color(values: np.ndarray) -> Color:
    r, g, b = (float(v) for v in values)
    return r, g, b
