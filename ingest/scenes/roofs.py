"""Roof shapes: the height of every pixel of one wing, and its slope."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Frame
from .classes import BUILDING
from .noise import FloatArray

PITCHED = ("gable", "hip", "half-hip", "mansard", "shed", "barrel", "sawtooth")


def roof_height(
    kind: str, u: FloatArray, v: FloatArray, length: float, width: float, eave: float, pitch: float
) -> FloatArray:
    """Height in metres at local positions (u along the ridge, v across, both from the wing's centre), float32.

    `pitch` is rise over run. Every kind meets `eave` at the long edges; "flat" has a parapet of up to 0.5 m (`pitch`).
    """
    across = np.maximum(width / 2 - np.abs(v), 0)
    along = np.maximum(length / 2 - np.abs(u), 0)
    rise: np.ndarray
    if kind == "gable":
        rise = pitch * across
    elif kind == "hip":
        rise = pitch * np.minimum(across, along)
    elif kind == "half-hip":
        rise = pitch * np.minimum(across, along + 0.3 * width)
    elif kind == "mansard":
        inner = np.minimum(across, along)
        rise = np.minimum(inner * 2.2, 2.4 + 0.25 * pitch * inner)
    elif kind == "shed":
        rise = 0.5 * pitch * (v + width / 2)
    elif kind == "barrel":
        rise = 0.3 * width * np.sqrt(np.maximum(1 - (2 * v / width) ** 2, 0))
    elif kind == "sawtooth":
        rise = 0.35 * np.mod(u + length / 2, 7.0)
    elif kind == "flat":
        rise = np.where(np.minimum(across, along) < 0.35, np.float32(min(pitch, 0.5)), np.float32(0))
    else:
        raise ValueError(f"unknown roof kind {kind!r}")
    return (eave + rise).astype(np.float32)


def raise_wing(
    canvas: Canvas,
    frame: Frame,
    box: tuple[float, float, float, float],
    kind: str,
    eave: float,
    pitch: float,
    surface: int,
) -> None:
    """Builds a wing over the local box (u0, v0, u1, v1); where wings meet, the higher roof stands, so valleys come out right."""
    u0, v0, u1, v1 = box
    patch = canvas.patch(frame.rect(*box))
    if patch is None:
        return
    u, v = canvas.local(patch, frame)
    u = u - np.float32((u0 + u1) / 2)
    v = v - np.float32((v0 + v1) / 2)
    length, width = u1 - u0, v1 - v0
    if width > length and kind not in ("flat", "hip", "mansard"):  # the ridge runs along the longer side
        u, v, length, width = v, u, width, length
    top = roof_height(kind, u, v, length, width, eave, pitch)
    settle(canvas, patch.box, patch.mask, top, surface)


def settle(canvas: Canvas, box: tuple[slice, slice], mask: np.ndarray, top: FloatArray, surface: int) -> None:
    """Writes a roof where it is higher than what stands there."""
    wins = mask & (top > canvas.height[box])
    if not wins.any():
        return
    canvas.height[box][wins] = top[wins]
    canvas.label[box][wins] = BUILDING
    canvas.surface[box][wins] = surface
    if min(top.shape) > 1:
        for layer, axis in ((canvas.slope_y, 0), (canvas.slope_x, 1)):
            slope: np.ndarray = np.gradient(top, np.float32(canvas.gsd), axis=axis)
            layer[box][wins] = np.clip(slope, -1.6, 1.6)[wins]
