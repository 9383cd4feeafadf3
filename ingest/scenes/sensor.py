"""The camera: lean of high things, haze, exposure, colour casts, blur, noise, sharpening, JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .noise import FloatArray


def lean(image: FloatArray, height: FloatArray, shift: tuple[float, float], gsd: float) -> FloatArray:
    """The image as seen by a camera off the nadir: a point at height z appears `z * shift` metres away (x, y), and hides
    what is behind. Heights and labels stay true to the ground. Facades come out as smeared roof edges, darker."""
    reach = float(np.hypot(*shift))
    top = float(height.max())
    if reach * top < 0.3 * gsd:
        return image
    levels = int(np.clip(np.ceil(reach * top / gsd), 2, 14))
    rows, cols = height.shape
    grid_x, grid_y = np.meshgrid(np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32))
    map_x, map_y = grid_x.copy(), grid_y.copy()
    facade = np.zeros(height.shape, dtype=bool)
    step = top / levels
    for level in range(1, levels + 1):  # from the ground up: the highest hit is what the camera sees
        z = level * step
        dx, dy = z * shift[0] / gsd, z * shift[1] / gsd
        moved = cv2.warpAffine(
            height, np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64), (cols, rows), borderMode=cv2.BORDER_REPLICATE
        )
        hit = moved >= z - step / 2
        map_x[hit] = (grid_x - np.float32(dx))[hit]
        map_y[hit] = (grid_y - np.float32(dy))[hit]
        facade = np.where(hit, moved > z + 1.5 * step + 0.8, facade)
    out = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out * np.where(facade, np.float32(0.72), np.float32(1))[..., None], dtype=np.float32)


def expose(image: FloatArray, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera and its processing make of the lit scene: uint8 [h, w, 3]. Every setting is drawn from `rng`."""
    shape = image.shape[:2]
    out = image.astype(np.float32)
    if rng.random() < 0.45:  # haze: a bluish veil over dark parts
        veil = rng.uniform(0.01, 0.14)
        tint = np.array([0.92, 0.97, 1.06], dtype=np.float32) * np.float32(rng.uniform(0.75, 0.95))
        out = out * np.float32(1 - veil) + tint * np.float32(veil)
    # Exposure: bring the scene's typical brightness near a target, as mapping agencies do, but not exactly.
    middle = float(np.percentile(out[::7, ::7].mean(axis=2), 60))
    target = float(np.clip(rng.normal(0.51, 0.07), 0.37, 0.7))
    out *= np.float32((target / max(middle, 0.05)) ** rng.uniform(0.65, 1.0))
    cast = np.exp(rng.normal(0, 0.045, 3)).astype(np.float32)
    out *= cast / cast.mean()
    contrast = np.float32(np.clip(rng.normal(1.08, 0.13), 0.75, 1.45))
    out = (out - np.float32(0.45)) * contrast + np.float32(0.45)
    grey = out.mean(axis=2, keepdims=True)
    saturation = np.float32(np.clip(rng.normal(0.95, 0.22), 0.35, 1.6))
    out = grey + (out - grey) * saturation
    if rng.random() < 0.4:  # uneven illumination over the frame
        gx, gy = rng.uniform(-0.07, 0.07, 2)
        rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None, None]
        cols = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
        out *= 1 + np.float32(gx) * cols + np.float32(gy) * rows
    np.clip(out, 0, 1.15, out=out)
    # Roll off highlights instead of cutting them.
    out = np.where(out > 0.9, 0.9 + np.tanh((out - 0.9) * 5) / 10, out).astype(np.float32)
    sigma = float(rng.uniform(0.35, 0.75) if rng.random() < 0.55 else rng.uniform(0.75, 1.35))
    out = cv2.GaussianBlur(out, (0, 0), sigma)
    if rng.random() < 0.25:  # a band out of register
        dx, dy = rng.normal(0, 0.5, 2)
        band = int(rng.integers(3))
        matrix = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64)
        out[..., band] = cv2.warpAffine(
            np.ascontiguousarray(out[..., band]), matrix, shape[::-1], borderMode=cv2.BORDER_REPLICATE
        )
    amount = float(rng.choice([0.0, 0.006, 0.012, 0.022, 0.035], p=[0.15, 0.3, 0.3, 0.18, 0.07]))
    if amount:
        luma = rng.standard_normal(shape, dtype=np.float32)
        if rng.random() < 0.5:  # noise of an image that was resampled
            luma = cv2.GaussianBlur(luma, (0, 0), 0.7) * np.float32(2)
        out += (luma * np.float32(amount))[..., None]
        if amount > 0.01:
            out += rng.standard_normal(out.shape, dtype=np.float32) * np.float32(0.6 * amount)
    if rng.random() < 0.5:
        gain = np.float32(rng.uniform(0.2, 1.1))
        out += gain * (out - cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.8, 1.6))))
    pixels = np.clip(out * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.75:
        quality = int(rng.uniform(45, 96))
        done, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise RuntimeError(f"cv2 could not encode a {shape} image as JPEG at quality {quality}")
        pixels = cv2.imdecode(coded, cv2.IMREAD_COLOR_BGR)
    return pixels
