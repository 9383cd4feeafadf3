"""Light: one sun, shadows cast by the same heights that the scene states, ambient sky, relief shading."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .noise import FloatArray


@dataclass(frozen=True, slots=True)
class Sun:
    """Where the sun stands: `azimuth` degrees clockwise from north, `elevation` degrees above the horizon; `strength` 0..1
    is direct light's share of the light on open level ground (the rest comes from the sky)."""

    azimuth: float
    elevation: float
    strength: float

    @property
    def towards(self) -> tuple[float, float]:
        """Unit vector in the image (x right, y down) from the ground towards the sun."""
        azimuth = np.radians(self.azimuth)
        return float(np.sin(azimuth)), float(-np.cos(azimuth))

    @property
    def climb(self) -> float:
        """Height gained by a ray towards the sun over one metre of ground."""
        return float(np.tan(np.radians(self.elevation)))


@dataclass(frozen=True, slots=True)
class Sheer:
    """See-through crowns, float32 [h, w] each: `opaque` is the height without them, `seen` the height of what a pixel shows,
    `through` the share 0..1 of the direct light that they let through."""

    opaque: FloatArray
    seen: FloatArray
    through: FloatArray


def draw_sun(rng: np.random.Generator) -> Sun:
    """Mostly from the south, 25-68 degrees high; one scene in fourteen is overcast."""
    azimuth = rng.uniform(0, 360) if rng.random() < 0.3 else rng.uniform(95, 265)
    strength = rng.uniform(0.15, 0.5) if rng.random() < 0.07 else rng.uniform(0.64, 0.9)
    return Sun(float(azimuth) % 360, float(rng.uniform(25, 68)), float(strength))


def shadow_depth(height: FloatArray, sun: Sun, gsd: float) -> FloatArray:
    """How far each pixel lies below the shadow that falls on it, metres, float32 [h, w]; <= 0 in the sun.

    The field is turned so that light runs down its columns. The height of the shadow of the cell at row k over row r is
    `z[k] - (r - k) * gsd * climb`, so the shadow over a row is a running maximum of `z + row * gsd * climb`: exact, one pass.
    """
    rows, cols = height.shape
    away = -sun.towards[0], -sun.towards[1]
    edge = int(np.ceil(np.hypot(rows, cols))) + 2
    centre = (cols - 1) / 2, (rows - 1) / 2
    # Destination (turned) -> source: down a column is a step away from the sun.
    matrix = np.array([[-away[1], away[0], 0.0], [away[0], away[1], 0.0]])
    matrix[0, 2] = centre[0] - matrix[0, 0] * (edge - 1) / 2 - matrix[0, 1] * (edge - 1) / 2
    matrix[1, 2] = centre[1] - matrix[1, 0] * (edge - 1) / 2 - matrix[1, 1] * (edge - 1) / 2
    turned = cv2.warpAffine(height, matrix, (edge, edge), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    fall = (np.arange(edge) * (gsd * sun.climb)).astype(np.float32)[:, None]
    shadow = np.maximum.accumulate(turned + fall, axis=0) - fall
    back = cv2.warpAffine(shadow, matrix, (cols, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(back - height, dtype=np.float32)


def illuminate(
    color: FloatArray,
    height: FloatArray,
    slope: tuple[FloatArray, FloatArray],
    relief: FloatArray,
    sun: Sun,
    gsd: float,
    cloud: FloatArray | None = None,
    sheer: Sheer | None = None,
    sky: tuple[float, float, float] = (0.86, 0.97, 1.2),
) -> FloatArray:
    """Colour in light: float32 [h, w, 3], display values, possibly above 1.

    `color` is display values in full light and is multiplied in linear light (square law); `slope` is metres per metre
    along x and y; `relief` 0..1 says how much the canopy's own relief (not `slope`) shades a pixel; `cloud` 0..1 is the
    share of the direct light that clouds take; `sheer` are crowns in `height` that shadow only in part.
    """
    depth = shadow_depth(height, sun, gsd)
    soft = np.float32(0.12 + 0.25 * gsd)
    seen = height if sheer is None else sheer.seen
    lit = np.clip(0.5 - (depth + height - seen) / (2 * soft), 0, 1)
    if sheer is not None:
        open_depth = shadow_depth(sheer.opaque, sun, gsd) + sheer.opaque - seen
        lit = np.maximum(lit, sheer.through * np.clip(0.5 - open_depth / (2 * soft), 0, 1))
    # Leaves let light through: canopies' own shadows are lighter than those on the ground.
    lit = np.maximum(lit, 0.15 * relief)
    lit = cv2.GaussianBlur(lit, (0, 0), max(0.35, 0.1 / gsd))
    smooth = cv2.GaussianBlur(height, (0, 0), max(0.5, 0.28 / gsd))
    grad_y, grad_x = np.gradient(smooth, np.float32(gsd))
    slope_x = slope[0] + relief * (np.clip(grad_x, -1.5, 1.5) - slope[0])
    slope_y = slope[1] + relief * (np.clip(grad_y, -1.5, 1.5) - slope[1])
    toward_x, toward_y = sun.towards
    sine, cosine = np.sin(np.radians(sun.elevation)), np.cos(np.radians(sun.elevation))
    facing = (sine - cosine * (slope_x * toward_x + slope_y * toward_y)) / np.sqrt(1 + slope_x**2 + slope_y**2)
    direct = np.clip(facing / sine, 0.0, 1.7) * lit
    direct *= np.float32(sun.strength)
    if cloud is not None:
        direct *= 1 - cloud
    # The sky seen from a spot: less of it beside and between high things.
    reach = max(1.0, 2.2 / gsd)
    factor = max(1, int(reach / 3))
    small = cv2.resize(
        height, (max(1, height.shape[1] // factor), max(1, height.shape[0] // factor)), interpolation=cv2.INTER_AREA
    )
    around = cv2.resize(
        cv2.GaussianBlur(small, (0, 0), reach / factor), height.shape[::-1], interpolation=cv2.INTER_LINEAR
    )
    open_sky = 1 / (1 + np.clip(around - seen, 0, 12) * np.float32(0.12))
    ambient = open_sky * np.float32(1 - sun.strength)
    out = color * color
    for band in range(3):
        out[..., band] *= direct * np.float32(1.03 - 0.03 * band) + ambient * np.float32(sky[band])
    return np.sqrt(out)
