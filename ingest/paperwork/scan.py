"""What scanners and time do to a sheet: geometry (carried over to the outlines) and everything that only changes colours."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .geometry import Geometry, drawn_geometry, identity

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scan:
    """A page image, uint8 [h, w, 3], [h, w] grey, or [h, w] of 0 and 255 with `bilevel`; how it lies; what was done."""

    pixels: Pixels
    geometry: Geometry
    effects: tuple[str, ...]
    bilevel: bool = False


def scan(image: Image.Image, ink_behind: Image.Image | None, rng: np.random.Generator) -> Scan:
    """Scans a sheet. `ink_behind` is the coverage of the other side's ink, same size; its mirror image shines through.

    Three of twenty sheets are left as they were drawn, as a page made from a PDF would be.
    """
    pixels: Pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    if rng.random() < 0.15:
        return Scan(pixels, identity(width, height), ())
    done: list[str] = []

    def happens(name: str, p: float) -> bool:
        if rng.random() < p:
            done.append(name)
            return True
        return False

    if ink_behind is not None:
        done.append("bleed-through")
        pixels = _multiply(pixels, _bleed(np.asarray(ink_behind), rng))
    if happens("tint", 0.4):
        pixels = _multiply(pixels, _tint(rng, height, width))
    if happens("fold", 0.15):
        pixels = _multiply(pixels, _folds(rng, height, width))
    if happens("stain", 0.15):
        pixels = _multiply(pixels, _stains(rng, height, width))
    geometry = identity(width, height)
    if happens("skew", 0.75):
        warped = happens("warp", 0.45)
        geometry = drawn_geometry(rng, width, height, warped=warped)
        outside = ((235, 235, 232), (18, 18, 20), (120, 105, 90), None)[int(rng.integers(4))]
        pixels = geometry.resample(pixels, outside)
        height, width = pixels.shape[:2]
    if happens("uneven light", 0.35):
        pixels = _multiply(pixels, _light(rng, height, width))
    if happens("shadow", 0.15):
        pixels = _multiply(pixels, _shadow(rng, height, width))
    if happens("dust", 0.3):
        pixels = _dust(pixels, rng)
    if happens("low resolution", 0.12):
        small = float(rng.uniform(0.5, 0.8))
        low = cv2.resize(pixels, None, fx=small, fy=small, interpolation=cv2.INTER_AREA)
        pixels = np.asarray(cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if happens("blur", 0.4):
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.4, 1.3))), np.uint8)
    if happens("noise", 0.5):
        pixels = _noise(pixels, rng)
    if happens("faded", 0.12):
        strength = float(rng.uniform(0.35, 0.75))
        pixels = (255 - (255 - pixels.astype(np.float32)) * strength).astype(np.uint8)
    if happens("bilevel", 0.13):
        return Scan(_bilevel(pixels, rng), geometry, tuple(done), bilevel=True)
    if happens("grey", 0.25):
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    if happens("jpeg", 0.35):
        kept = io.BytesIO()
        Image.fromarray(pixels).save(kept, "JPEG", quality=int(rng.integers(25, 85)))
        pixels = np.asarray(Image.open(kept))
    return Scan(pixels, geometry, tuple(done))


def clouds(rng: np.random.Generator, height: int, width: int, cells: float, octaves: int = 3) -> Field:
    """Smooth noise of about unit strength, float32 [h, w], its largest blobs `cells` to the longer side."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        size = (
            max(2, round(cells * 2**octave * width / max(height, width))),
            max(2, round(cells * 2**octave * height / max(height, width))),
        )
        grid = rng.standard_normal((size[1] + 1, size[0] + 1)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total


def _multiply(pixels: Pixels, factor: Field) -> Pixels:
    factor = factor if factor.ndim == 3 else factor[..., None]
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


def _bleed(ink: Pixels, rng: np.random.Generator) -> Field:
    soft = cv2.GaussianBlur(np.ascontiguousarray(ink[:, ::-1]), (0, 0), float(rng.uniform(0.6, 2.0)))
    return np.asarray(1 - soft.astype(np.float32) / 255 * float(rng.uniform(0.06, 0.35)), np.float32)


def _tint(rng: np.random.Generator, height: int, width: int) -> Field:
    base = np.array([1.0, 1.0, 1.0]) - rng.uniform(0, 0.16) * np.array([0.3, 0.5, 1.0]) - rng.uniform(0, 0.06, 3)
    grain = clouds(rng, height, width, 8)[..., None] * 0.008
    fibre = rng.standard_normal((height // 2 + 1, width // 2 + 1)).astype(np.float32)
    fibre = cv2.resize(fibre, (width, height), interpolation=cv2.INTER_LINEAR)[..., None] * float(
        rng.uniform(0.002, 0.015)
    )
    return (base.astype(np.float32) + grain + fibre).astype(np.float32)


def _folds(rng: np.random.Generator, height: int, width: int) -> Field:
    factor = np.ones((height, width), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        across = bool(rng.random() < 0.6)
        length, side = (height, width) if across else (width, height)
        where = length * float(rng.choice([1 / 3, 1 / 2, 2 / 3])) + float(rng.normal(0, length * 0.01))
        slope = float(rng.normal(0, 0.006))
        distance = (
            np.arange(length, dtype=np.float32)[:, None] - (where + slope * np.arange(side, dtype=np.float32))[None]
        )
        reach = float(rng.uniform(0.02, 0.08)) * length
        shade = -0.16 * rng.random() * np.exp(-np.abs(distance) / reach) * (distance > 0)
        crease = float(rng.uniform(-0.25, 0.08)) * np.exp(-((distance / 1.3) ** 2))
        field = (1 + shade + crease).astype(np.float32)
        factor *= field if across else field.T
    return factor


def _stains(rng: np.random.Generator, height: int, width: int) -> Field:
    factor = np.ones((height, width, 3), dtype=np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(int(rng.integers(1, 3))):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        radius = float(rng.uniform(0.05, 0.16)) * max(height, width)
        wobble = clouds(rng, height, width, 6, 2) * radius * 0.05
        distance = np.hypot(x - cx, y - cy) + wobble
        if rng.random() < 0.5:
            cover = np.exp(-(((distance - radius) / (radius * 0.05)) ** 2)) + 0.25 * (distance < radius)
        else:
            cover = 0.5 - 0.5 * np.tanh((distance - radius) / (radius * 0.12))
        depth = rng.uniform(0.05, 0.4) * np.array([0.35, 0.6, 1.0])
        factor *= 1 - cover[..., None] * depth.astype(np.float32)
    return factor


def _light(rng: np.random.Generator, height: int, width: int) -> Field:
    field = clouds(rng, height, width, 1.5, 2)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * np.linspace(-1, 1, width)[None] + np.sin(angle) * np.linspace(-1, 1, height)[:, None]
    return (float(rng.uniform(0.82, 1.03)) + 0.05 * field + float(rng.uniform(0, 0.16)) * ramp).astype(np.float32)


def _shadow(rng: np.random.Generator, height: int, width: int) -> Field:
    """A book's gutter along one edge, or the straight shadow of something held over the page."""
    if rng.random() < 0.5:
        reach = float(rng.uniform(0.02, 0.1)) * width
        edge = 1 - float(rng.uniform(0.4, 0.85)) * np.exp(-np.arange(width, dtype=np.float32) / reach)
        return np.broadcast_to(edge if rng.random() < 0.5 else edge[::-1], (height, width)).astype(np.float32)
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
    across = (
        np.cos(angle) * np.linspace(-1, 1, width)[None] + np.sin(angle) * np.linspace(-1, 1, height)[:, None] - offset
    )
    return (1 - float(rng.uniform(0.1, 0.4)) / (1 + np.exp(-across / float(rng.uniform(0.005, 0.08))))).astype(
        np.float32
    )


def _dust(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    out = pixels.copy()
    height, width = out.shape[:2]
    for _ in range(int(rng.integers(5, 90))):
        at = int(rng.integers(width)), int(rng.integers(height))
        grey = int(rng.choice([0, 40, 90, 200, 255]))
        cv2.circle(out, at, int(rng.choice([0, 1, 1, 1, 2])), (grey, grey, grey), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        start = rng.uniform(0, 1, 2) * (width, height)
        points = np.cumsum(np.concatenate([start[None], rng.normal(0, 9, (8, 2)) + rng.normal(0, 6, 2)]), axis=0)
        grey = int(rng.choice([60, 110, 245]))
        cv2.polylines(out, [np.round(points * 16).astype(np.int32)], False, (grey, grey, grey), 1, cv2.LINE_AA, 4)
    if rng.random() < 0.2:
        column = int(rng.integers(width))
        shade = np.clip(out[:, column].astype(np.int16) + int(rng.integers(-90, 60)), 0, 255)
        out[:, column] = shade.astype(np.uint8)
    return out


def _noise(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    strength = float(rng.uniform(1.5, 11))
    channels = 3 if rng.random() < 0.4 else 1
    noise = rng.standard_normal((height, width, channels), dtype=np.float32) * strength
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _bilevel(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    way = rng.random()
    if way < 0.4:
        level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        level = (
            level if level < np.percentile(grey, 60) else np.percentile(grey, 60) - 30
        )  # a page without ink stays one
        return np.where(grey > level + float(rng.uniform(-15, 15)), 255, 0).astype(np.uint8)
    if way < 0.8:
        side = 2 * int(rng.integers(8, 25)) + 1
        offset = float(rng.uniform(7, 18))
        levels = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, side, offset)
        return np.asarray(levels, np.uint8)
    return np.asarray(Image.fromarray(grey).convert("1").convert("L"))
