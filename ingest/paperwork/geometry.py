"""Where a sheet's points come to lie on its scan: turn, stretch, offset and gentle waves, for pixels and outlines alike."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wave:
    """A displacement of (dx, dy) * sin(2 pi (fx x + fy y) + phase), pixels and cycles per pixel of the scan."""

    dx: float
    dy: float
    fx: float
    fy: float
    phase: float


@dataclass(frozen=True, eq=False)
class Geometry:
    """A scan of `width` x `height` pixels; position q on it shows the sheet's position matrix @ (q, 1) + waves(q).

    The one formula `source` serves both ways: pixels are resampled through it, outlines go through its inverse, found by
    iteration to 1e-4 pixel. Positions are continuous: pixel (row, col) covers [col, col + 1) x [row, row + 1).
    """

    width: int
    height: int
    matrix: Floats
    waves: tuple[Wave, ...] = ()

    def source(self, q: Floats) -> Floats:
        """The sheet's position seen at each scan position, float64 [n, 2]."""
        return q @ self.matrix[:, :2].T + self.matrix[:, 2] + self._waves(q)

    def place(self, p: Floats) -> Floats:
        """Where on the scan each of the sheet's positions is seen, float64 [n, 2]: the inverse of `source`.

        Raises ArithmeticError where the waves are too steep for the iteration, which `scan` never draws.
        """
        back = np.linalg.inv(self.matrix[:, :2])
        q = (p - self.matrix[:, 2]) @ back.T
        for _ in range(50):
            step = (self.source(q) - p) @ back.T
            q = q - step
            if not len(q) or np.abs(step).max() < 1e-4:
                return q
        raise ArithmeticError(f"no inverse after 50 steps, the last was {np.abs(step).max():.3g} pixels")

    def resample(self, image: NDArray[np.uint8], outside: tuple[int, int, int] | None) -> NDArray[np.uint8]:
        """The sheet [h, w, ...] as the scan sees it, bilinear; beyond it the colour `outside`, or its edge if None."""
        x, y = np.arange(self.width) + 0.5, np.arange(self.height) + 0.5
        maps = []
        for row in (0, 1):
            a, b, c = self.matrix[row]
            field = (b * y + (c - 0.5))[:, None] + (a * x)[None, :]
            for wave in self.waves:
                size = (wave.dx, wave.dy)[row]
                u, v = 2 * np.pi * wave.fx * x + wave.phase, 2 * np.pi * wave.fy * y
                field += size * (np.outer(np.cos(v), np.sin(u)) + np.outer(np.sin(v), np.cos(u)))
            maps.append(field.astype(np.float32))
        border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
        seen = cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=border, borderValue=outside or (0, 0, 0))
        return np.asarray(seen, np.uint8)

    def _waves(self, q: Floats) -> Floats:
        moved = np.zeros_like(q)
        for w in self.waves:
            s = np.sin(2 * np.pi * (w.fx * q[:, 0] + w.fy * q[:, 1]) + w.phase)
            moved += s[:, None] * (w.dx, w.dy)
        return moved


def identity(width: int, height: int) -> Geometry:
    """The scan that is the sheet."""
    return Geometry(width, height, np.eye(2, 3))


def drawn_geometry(rng: np.random.Generator, width: int, height: int, *, warped: bool) -> Geometry:
    """A slightly turned, stretched and shifted sheet; with `warped`, one that did not lie flat either."""
    squeeze = float(rng.uniform(0.85, 1.0)) if rng.random() < 0.35 else float(rng.uniform(0.985, 1.015))
    out_w, out_h = max(16, round(width * squeeze)), height
    turn = radians(float(np.clip(rng.normal(0, 1.2), -5, 5)) if rng.random() < 0.85 else float(rng.uniform(-9, 9)))
    shear = float(rng.normal(0, 0.004))
    linear = np.array([[cos(turn), -sin(turn) + shear], [sin(turn), cos(turn)]]) @ np.diag([1 / squeeze, 1.0])
    linear *= float(rng.uniform(0.98, 1.06))
    centre_out, centre_in = np.array([out_w / 2, out_h / 2]), np.array([width / 2, height / 2])
    shift = rng.normal(0, 0.006, 2) * (width, height)
    matrix = np.column_stack([linear, centre_in + shift - linear @ centre_out])
    waves = []
    if warped:
        for _ in range(int(rng.integers(1, 4))):
            cycles = rng.uniform(-1.3, 1.3, 2) / max(out_w, out_h)
            size = rng.normal(0, 0.003, 2) * max(out_w, out_h)
            waves.append(Wave(*(float(v) for v in (*size, *cycles, rng.uniform(0, 2 * np.pi)))))
    return Geometry(out_w, out_h, matrix, tuple(waves))
