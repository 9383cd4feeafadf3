"""Houses: detached with one to three wings, terraced, and the sheds beside them."""

from __future__ import annotations

import numpy as np
import shapely

from .canvas import Canvas, Frame, Points
from .materials import grey
from .palettes import BROWN_TILE, GREYS, TERRACOTTA
from .roofing import RoofKit, furnish_roof, roof_phrase, roofing, sheet, tiles
from .roofs import raise_wing, settle


def house(
    canvas: Canvas,
    kit: RoofKit,
    frame: Frame,
    length: float,
    width: float,
    palette: str,
    *,
    roof: str | None = None,
    storeys: float | None = None,
) -> bool:
    """A detached house centred on `frame`; False (and nothing built) where something is in the way."""
    rng = canvas.rng
    base = frame.rect(-length / 2 - 1, -width / 2 - 1, length / 2 + 1, width / 2 + 1)
    if not canvas.seen(base) or not canvas.is_free(base):
        return False
    roof = roof or str(
        rng.choice(["gable", "hip", "half-hip", "mansard", "flat", "shed"], p=[0.42, 0.26, 0.06, 0.04, 0.18, 0.04])
    )
    storeys = (
        storeys if storeys is not None else float(rng.choice([1, 1.5, 2, 2.5, 3], p=[0.46, 0.2, 0.22, 0.08, 0.04]))
    )
    eave = 0.4 + 2.6 * storeys + rng.uniform(-0.2, 0.3)
    pitch = float(rng.uniform(0.26, 0.5) if palette == "terracotta" else rng.uniform(0.35, 1.0))
    if roof == "flat":
        pitch = float(rng.choice([0.0, 0.3, 0.5]))
    surface, material = roofing(canvas, roof, frame.angle, palette)
    boxes = [(-length / 2, -width / 2, length / 2, width / 2)]
    form = rng.random()
    if form < 0.4 and length > 9:  # L, T or U: wings across one end, both ends, or the middle
        reach = width / 2 + rng.uniform(2.0, 5.0)
        side = float(rng.choice([-1, 1]))
        wing = rng.uniform(0.32, 0.5) * length
        starts = (
            [-length / 2, length / 2 - wing]
            if form < 0.08
            else [float(rng.choice([-length / 2, length / 2 - wing, -wing / 2]))]
        )
        boxes += [(u0, min(0.0, side * reach), u0 + wing, max(0.0, side * reach)) for u0 in starts]
    for number, box in enumerate(boxes):
        lower = 0.0 if number == 0 or rng.random() < 0.6 else rng.uniform(0.3, min(2.5, eave - 2.2))
        raise_wing(canvas, frame, box, roof, eave - lower, pitch, surface)
    furnish_roof(canvas, kit, frame, (length, width), roof, eave, pitch)
    shape = "L-shaped " if len(boxes) == 2 else "U-shaped " if len(boxes) == 3 else ""
    caption = f"{shape}house with {roof_phrase(material, roof)}"
    canvas.record("building", caption, _union(frame, boxes), eave)
    canvas.reserve(base)
    return True


def shed(canvas: Canvas, kit: RoofKit, frame: Frame, length: float, width: float) -> None:
    """A garden shed, garage, carport or veranda of 2.1-3 m."""
    rng = canvas.rng
    polygon = frame.rect(-length / 2, -width / 2, length / 2, width / 2)
    if not canvas.seen(polygon) or not canvas.is_free(polygon):
        return
    roof = str(rng.choice(["flat", "shed", "gable"], p=[0.45, 0.3, 0.25]))
    draw = rng.random()
    if draw < 0.35:
        surface = canvas.add(grey(rng, GREYS, frame.angle))
    elif draw < 0.7:
        surface = canvas.add(sheet(rng, frame.angle))
    elif draw < 0.9:
        surface = canvas.add(tiles(rng, TERRACOTTA if rng.random() < 0.6 else BROWN_TILE, frame.angle))
    else:
        surface = kit.bright_glass
    raise_wing(
        canvas,
        frame,
        (-length / 2, -width / 2, length / 2, width / 2),
        roof,
        rng.uniform(2.1, 2.8),
        0.0 if roof == "flat" else 0.25,
        surface,
    )
    canvas.record("building", "garage" if length > 5 else "shed", polygon, 2.4)
    canvas.reserve(polygon)


def row_houses(canvas: Canvas, kit: RoofKit, frame: Frame, units: list[float], depth: float, palette: str) -> bool:
    """A terrace along u, from the frame's origin; `units` are the houses' widths. Steps, extensions and tints differ by unit."""
    rng = canvas.rng
    total = sum(units)
    base = frame.rect(0, -depth / 2, total, depth / 2)
    if not canvas.seen(base) or not canvas.is_free(base):
        return False
    roof = "gable" if rng.random() < 0.85 else "flat"
    eave = 0.4 + 2.6 * float(rng.choice([1, 2, 2, 3])) + rng.uniform(-0.2, 0.3)
    pitch = float(rng.uniform(0.25, 0.6)) if roof == "gable" else 0.3
    shared, material = roofing(canvas, roof, frame.angle, palette)
    uniform = rng.random() < 0.55
    u = 0.0
    for unit in units:
        surface = shared if uniform and rng.random() < 0.85 else roofing(canvas, roof, frame.angle, palette)[0]
        step = 0.0 if uniform else rng.choice([0.0, 0.0, 0.4, 0.8, 2.6]) * rng.choice([-1, 1])
        deep = depth * (1.0 if uniform else rng.uniform(0.9, 1.1))
        top = max(2.6, eave + step)
        raise_wing(
            canvas, frame, (u, -deep / 2, u + unit, deep / 2), roof, top, pitch, surface
        ) if unit > deep else _slice(canvas, frame, (u, -deep / 2, u + unit, deep / 2), roof, top, pitch, surface)
        if rng.random() < 0.5:  # an extension towards the garden
            side = float(rng.choice([-1, 1]))
            reach = rng.uniform(1.5, 5.0)
            v = side * depth / 2
            box = (u + 0.1 * unit, min(v, v + side * reach), u + unit * rng.uniform(0.5, 1.0), max(v, v + side * reach))
            extra, _ = roofing(canvas, "flat" if rng.random() < 0.5 else "shed", frame.angle, palette)
            raise_wing(canvas, frame, box, str(rng.choice(["flat", "shed"])), rng.uniform(2.3, 3.2), 0.3, extra)
        furnish_roof(canvas, kit, frame.at(u + unit / 2, 0.0), (unit * 0.9, deep), roof, top, pitch)
        u += unit
    canvas.record("building", f"row of {len(units)} houses with {roof_phrase(material, roof)}", base, eave)
    canvas.reserve(base)
    return True


def _slice(
    canvas: Canvas,
    frame: Frame,
    box: tuple[float, float, float, float],
    roof: str,
    eave: float,
    pitch: float,
    surface: int,
) -> None:
    """A unit narrower than deep: its ridge still runs along the row."""
    patch = canvas.patch(frame.rect(*box))
    if patch is None:
        return
    _, v = canvas.local(patch, frame)
    across = np.maximum((box[3] - box[1]) / 2 - np.abs(v - np.float32((box[1] + box[3]) / 2)), 0)
    rise = pitch * across if roof == "gable" else np.where(across < 0.3, np.float32(pitch), np.float32(0))
    settle(canvas, patch.box, patch.mask, (eave + rise).astype(np.float32), surface)


def _union(frame: Frame, boxes: list[tuple[float, float, float, float]]) -> Points:
    shape = shapely.union_all([shapely.box(*box) for box in boxes])
    return frame.place(np.array(shape.exterior.coords)[:-1])
