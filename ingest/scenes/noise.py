"""Value noise: smooth random fields at scales given in metres, the raw matter of every texture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SCALES = (0.0, 0.35, 0.9, 2.5, 8.0, 30.0)  # metres; 0 is one value per pixel


def value_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> FloatArray:
    """Random field of mean 0 and deviation about 1, float32 [h, w], smooth over `cell` pixels (below 1.3: independent pixels)."""
    height, width = shape
    if cell < 1.3:
        return rng.standard_normal(shape, dtype=np.float32)
    rows, cols = int(np.ceil(height / cell)) + 3, int(np.ceil(width / cell)) + 3
    lattice = rng.standard_normal((rows, cols), dtype=np.float32)
    # An affine with a random phase, so that lattice lines of different octaves do not meet in a corner.
    phase_x, phase_y = rng.random(2)
    matrix = np.array([[1 / cell, 0, 1 + phase_x], [0, 1 / cell, 1 + phase_y]], dtype=np.float64)
    field = cv2.warpAffine(
        lattice,
        matrix,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return field * np.float32(1.35)  # cubic interpolation of independent values loses about a quarter of the deviation


class NoiseBank:
    """One noise field per scale of `SCALES`, the size of the canvas; painters share them instead of drawing their own."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], gsd: float) -> None:
        self.shape = shape
        self.fields = tuple(value_noise(rng, shape, scale / gsd) for scale in SCALES)

    def field(self, scale: float) -> FloatArray:
        """The whole field of that scale (one of `SCALES`)."""
        return self.fields[SCALES.index(scale)]

    def patch(self, rng: np.random.Generator, scale: float, shape: tuple[int, int]) -> FloatArray:
        """A piece of the field from a random place, so that neighbouring objects do not share their texture."""
        field = self.field(scale)
        height, width = min(shape[0], self.shape[0]), min(shape[1], self.shape[1])
        row = int(rng.integers(0, self.shape[0] - height + 1))
        col = int(rng.integers(0, self.shape[1] - width + 1))
        return field[row : row + height, col : col + width]
