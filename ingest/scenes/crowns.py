"""Crowns: prototypes of their shape, and of how much of the ground below they let through."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np

from .noise import FloatArray, value_noise

KINDS = ("round", "clumpy", "sprawling", "conifer", "bare", "thin", "shrub")
SEE_THROUGH = ("bare", "thin")
_EDGE = 72  # pixels of a shape's side
_FINE = 2 * _EDGE  # and of a cover's, for branches are thin
_PER_KIND = 6
_ROUGH = {"round": 0.05, "conifer": 0.05, "shrub": 0.09, "clumpy": 0.1, "bare": 0.11, "thin": 0.11, "sprawling": 0.12}


@dataclass(frozen=True, slots=True)
class Crown:
    """`shape` is relative height 0..1, 0 outside, float32 [72, 72]; `cover` is the share of leaf or wood seen from above,
    0..1, float32 [144, 144], None where nothing shows through."""

    shape: FloatArray
    cover: FloatArray | None = None


def draw_crowns(rng: np.random.Generator) -> dict[str, list[Crown]]:
    """Six prototypes of each kind."""
    crowns = {kind: [Crown(_shape(rng, kind)) for _ in range(_PER_KIND)] for kind in KINDS}
    for kind, draw in (("bare", _branches), ("thin", _sparse_leaves)):
        crowns[kind] = [Crown(crown.shape, draw(rng)) for crown in crowns[kind]]
    return crowns


def place_crown(
    crown: Crown, turn: tuple[float, float], offset: tuple[float, float], scale: float, size: tuple[int, int]
) -> tuple[FloatArray, FloatArray | None]:
    """Shape and cover on the pixels of a box, float32 [h, w].

    `turn` is the angle and the stretch, `offset` (x, y) the box's first pixel centre from the trunk in pixels, `scale` the
    prototype's pixels per pixel at a radius of 0.8 of half its side, `size` (w, h) of the box.
    """
    angle, stretch = turn
    c, s = cos(angle) * scale, sin(angle) * scale
    x0, y0 = offset
    matrix = np.array(
        [
            [c * stretch, s * stretch, (c * x0 + s * y0) * stretch + _EDGE / 2 - 0.5],
            [-s / stretch, c / stretch, (c * y0 - s * x0) / stretch + _EDGE / 2 - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shape = np.asarray(cv2.warpAffine(crown.shape, matrix, size, flags=flags, borderValue=0.0), dtype=np.float32)
    if crown.cover is None:
        return shape, None
    finer = 2 * matrix
    finer[:, 2] += 0.5  # pixel centres: p -> 2 p + 0.5
    return shape, np.asarray(cv2.warpAffine(crown.cover, finer, size, flags=flags, borderValue=0.0), dtype=np.float32)


def crown_scale(gsd: float, radius: float) -> float:
    """`place_crown`'s scale for a crown of that radius in metres."""
    return gsd / radius * 0.8 * _EDGE / 2


def _shape(rng: np.random.Generator, kind: str) -> FloatArray:
    axis = (np.arange(_EDGE, dtype=np.float32) + 0.5) / (_EDGE / 2) - 1
    x, y = np.meshgrid(axis, axis)
    r = np.sqrt(x * x + y * y)
    theta = np.arctan2(y, x)
    edge = np.full_like(r, 0.8)
    for wave in range(2, 11):
        edge += np.float32(_ROUGH[kind] * rng.standard_normal() / wave**0.5) * np.cos(
            wave * theta + np.float32(rng.uniform(0, 6.3))
        )
    relative = r / np.clip(edge, 0.35, 1.0)
    noise = value_noise(rng, r.shape, 5.0)
    if kind == "conifer":
        ribs = 0.12 * np.cos(theta * float(rng.integers(7, 12)) + 5 * r)
        z = 1.0 - (0.78 + ribs) * relative + 0.03 * noise
    elif kind in ("round", "shrub"):
        base = 0.35 if kind == "round" else 0.55
        z = base + (1 - base) * np.sqrt(np.maximum(1 - relative**2, 0)) + 0.06 * noise
    else:
        z = np.full_like(r, 0.3)
        for _ in range(int(rng.integers(9, 20))):
            cx, cy = rng.normal(0, 0.34, 2)
            size = rng.uniform(0.22, 0.45)
            top = rng.uniform(0.72, 1.0) - 0.35 * float(np.hypot(cx, cy))
            lump = 1 - ((x - cx) ** 2 + (y - cy) ** 2) / size**2
            z = np.maximum(z, top - 0.3 * (1 - np.sqrt(np.maximum(lump, 0))) - 2 * (lump < 0))
        z += 0.04 * noise
    lobes = 0.17 if kind in ("sprawling", "thin") else 0.1
    ragged = relative + lobes * value_noise(rng, r.shape, 6.0) + 0.06 * value_noise(rng, r.shape, 3.0)
    inside = (relative < 1) & (ragged < 1)
    return np.where(inside, np.clip(z, 0.08, 1.0), 0).astype(np.float32)


def _branches(rng: np.random.Generator) -> FloatArray:
    """Limbs from the trunk that fork five times, drawn thin, over a haze of twigs too fine to draw."""
    image = np.zeros((_FINE, _FINE), dtype=np.uint8)
    at = np.full((int(rng.integers(4, 9)), 2), _FINE / 2) + rng.normal(0, 3, 2)
    angle = np.linspace(0, 2 * np.pi, len(at), endpoint=False) + rng.normal(0, 0.4, len(at))
    length = _FINE * rng.uniform(0.11, 0.15)
    for fork, (thickness, shade) in enumerate(((3, 255), (2, 255), (2, 230), (1, 230), (1, 190), (1, 150))):
        reach = length * 0.82**fork * rng.uniform(0.6, 1.3, len(at))
        to = at + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        lines = np.round(np.stack([at, to], axis=1) * 16).astype(np.int32)
        cv2.polylines(image, list(lines), False, shade, thickness, cv2.LINE_AA, 4)
        count = 3 if fork in (0, 4) else 2
        at = np.repeat(to, count, axis=0)
        angle = np.repeat(angle, count) + rng.normal(0, 0.55, len(at))
    # Twigs point outwards: noise that is fine around the trunk and coarse along the way from it.
    fan = cv2.resize(value_noise(rng, (3 * _FINE, 9), 1.0), (_FINE // 2, 3 * _FINE), interpolation=cv2.INTER_CUBIC)
    flags = cv2.WARP_INVERSE_MAP | cv2.WARP_POLAR_LINEAR | cv2.INTER_LINEAR
    centre = tuple(float(v) for v in _FINE / 2 + rng.normal(0, 6, 2))
    twigs = cv2.warpPolar(fan, (_FINE, _FINE), centre, 0.75 * _FINE, flags)
    twigs = 0.2 * twigs + 0.1 * value_noise(rng, image.shape, 8.0)
    drawn = cv2.GaussianBlur(image, (0, 0), 0.6).astype(np.float32) / np.float32(255)
    return np.clip(np.maximum(drawn, np.float32(rng.uniform(0.25, 0.5)) + twigs), 0, 1).astype(np.float32)


def _sparse_leaves(rng: np.random.Generator) -> FloatArray:
    """Clumps of leaves with holes between them, over the trunk's limbs."""
    shape = _FINE, _FINE
    clumps = (
        0.28 * value_noise(rng, shape, 12.0) + 0.22 * value_noise(rng, shape, 5.0) + 0.1 * value_noise(rng, shape, 2)
    )
    return np.clip(np.float32(rng.uniform(0.58, 0.92)) + clumps, 0, 1).astype(np.float32)
