"""Large buildings: halls, blocks of flats, city blocks around a courtyard, tanks."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import Canvas, Frame, Points, ring
from .classes import BUILDING
from .materials import Surface, pick, plain
from .palettes import CONCRETE, SHEET
from .roofing import RoofKit, block, furnish_roof, roof_phrase, roofing, solar
from .roofs import raise_wing, settle


def hall(canvas: Canvas, kit: RoofKit, frame: Frame, length: float, width: float) -> bool:
    """A works, shop, barn or greenhouse: large, low-pitched, with light strips and machines on it."""
    rng = canvas.rng
    base = frame.rect(-length / 2 - 1, -width / 2 - 1, length / 2 + 1, width / 2 + 1)
    if not canvas.seen(base) or not canvas.is_free(base):
        return False
    roof = str(rng.choice(["flat", "gable", "sawtooth", "barrel", "shed"], p=[0.52, 0.28, 0.07, 0.08, 0.05]))
    eave = float(rng.uniform(3.5, 12))
    pitch = 0.4 if roof == "flat" else float(rng.uniform(0.08, 0.25))
    if rng.random() < 0.06:
        surface = canvas.add(
            Surface(
                (186, 198, 200), (150, 160, 150), fine=0.05, angle=frame.angle, line_period=3.2, line=0.2,
                cross_period=1.5, cross=0.1, line_width=0.2,
            )
        )  # fmt: skip
        material, eave = "glass", float(rng.uniform(3, 5))
    else:
        surface, material = roofing(canvas, roof, frame.angle, "metal")
    box = (-length / 2, -width / 2, length / 2, width / 2)
    raise_wing(canvas, frame, box, roof, eave, pitch, surface)
    if rng.random() < 0.4:  # a lower or higher annexe of another roof
        deep = rng.uniform(0.2, 0.5) * width
        annexe, _ = roofing(canvas, "flat", frame.angle, "metal")
        raise_wing(
            canvas,
            frame,
            (-length / 2, width / 2, length * rng.uniform(-0.2, 0.5), width / 2 + deep),
            "flat",
            max(3.0, eave + rng.uniform(-4, 3)),
            0.3,
            annexe,
        )
    if rng.random() < 0.5:
        spacing, strip = rng.uniform(5, 12), rng.uniform(0.5, 1.0)
        for u in np.arange(-length / 2 + spacing / 2, length / 2 - 1, spacing):
            canvas.fill(
                frame.rect(float(u) - strip, -0.4 * width, float(u) + strip, 0.4 * width), surface=kit.bright_glass
            )
    if roof == "flat":
        furnish_roof(canvas, kit, frame, (length, width), "flat", eave, 0.0)
    if rng.random() < 0.15:
        solar(canvas, kit, frame, 0.35 * length, 0.35 * width, frame.angle)
    canvas.record("building", f"large hall with {roof_phrase(material, roof)}", base, eave)
    canvas.reserve(base)
    return True


def flats(canvas: Canvas, kit: RoofKit, frame: Frame, length: float, width: float) -> bool:
    """A free-standing block of flats, 9-40 m high."""
    rng = canvas.rng
    base = frame.rect(-length / 2 - 1, -width / 2 - 1, length / 2 + 1, width / 2 + 1)
    if not canvas.seen(base) or not canvas.is_free(base):
        return False
    roof = "flat" if rng.random() < 0.8 else "hip"
    eave = 3.0 * float(rng.choice([3, 4, 4, 5, 6, 8, 12])) + rng.uniform(0, 1)
    surface, material = roofing(canvas, roof, frame.angle, "grey")
    pitch = 0.5 if roof == "flat" else 0.35
    raise_wing(canvas, frame, (-length / 2, -width / 2, length / 2, width / 2), roof, eave, pitch, surface)
    if rng.random() < 0.4:
        wing = width * rng.uniform(0.8, 1.6)
        raise_wing(
            canvas,
            frame,
            (-length / 2, width / 2 - 0.5, -length / 2 + width, width / 2 + wing),
            roof,
            eave,
            pitch,
            surface,
        )
    furnish_roof(canvas, kit, frame, (length, width), roof, eave, pitch)
    if roof == "flat":
        block(
            canvas,
            frame.at(rng.uniform(-0.3, 0.3) * length, 0.0),
            rng.uniform(3, 6),
            rng.uniform(2.5, 4),
            eave + rng.uniform(2, 3.2),
            kit.box,
        )
    canvas.record("building", f"block of flats with {roof_phrase(material, roof)}", base, eave)
    canvas.reserve(base)
    return True


def city_block(canvas: Canvas, kit: RoofKit, outline: Points, depth: float, frame: Frame, palette: str) -> None:
    """Houses wall to wall around a courtyard: one ring `depth` metres deep, cut into houses of their own height and roof."""
    rng = canvas.rng
    patch = canvas.patch(outline)
    if patch is None:
        return
    # Distance to the outline; the box of the patch may be cut by the canvas, whose edge must not count as a facade.
    free = np.pad(patch.mask, 1)
    for axis, (start, stop) in enumerate(((patch.rows.start, patch.rows.stop), (patch.cols.start, patch.cols.stop))):
        edge = np.moveaxis(free, axis, 0)
        if start == 0:
            edge[0] = edge[1]
        if stop == canvas.shape[axis]:
            edge[-1] = edge[-2]
    distance = cv2.distanceTransform(free.astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1] * np.float32(canvas.gsd)
    inside = patch.mask & (distance < depth) & (canvas.reserved[patch.box] == 0)
    u, v = canvas.local(patch, frame)
    cell = rng.uniform(9, 18)
    unit = (np.floor(u / cell) * 131 + np.floor(v / cell)).astype(np.int64)
    eave0 = 3.0 * float(rng.integers(2, 7))
    for number in np.unique(unit[inside]):
        own = inside & (unit == number)
        roof = "gable" if rng.random() < 0.7 else "flat"
        eave = np.float32(max(3.0, eave0 + 3.0 * rng.integers(-1, 2) + rng.uniform(-0.5, 0.5)))
        pitch = np.float32(rng.uniform(0.3, 0.7) if roof == "gable" else 0.0)
        ridge = np.float32(rng.uniform(0.4, 0.6) * depth)
        top = eave + pitch * np.minimum(distance, np.maximum(ridge - np.abs(distance - ridge), 0))
        surface, _ = roofing(canvas, "hip" if roof == "gable" else "flat", frame.angle, palette)
        settle(canvas, patch.box, own, top.astype(np.float32), surface)
    centre = outline.mean(axis=0)
    reach = float(np.ptp(outline, axis=0).mean())
    for _ in range(int(rng.poisson(reach * 0.5))):
        x, y = centre + rng.uniform(-0.5, 0.5, 2) * reach
        row, col = int(y / canvas.gsd), int(x / canvas.gsd)
        if 0 <= row < canvas.shape[0] and 0 <= col < canvas.shape[1] and canvas.label[row, col] == BUILDING:
            top = float(canvas.height[row, col]) + rng.uniform(0.4, 1.5)
            block(
                canvas,
                Frame(float(x), float(y), frame.angle),
                rng.uniform(0.5, 2.5),
                rng.uniform(0.5, 1.5),
                top,
                int(rng.choice([kit.chimney, kit.box, kit.white, kit.flue])),
            )
    canvas.record("building", f"city block of about {eave0:.0f} m around a courtyard", outline, eave0)


def tank(canvas: Canvas, frame: Frame, radius: float) -> None:
    """A round tank or silo."""
    rng = canvas.rng
    polygon = ring(frame.x, frame.y, radius, 28)
    if not canvas.seen(polygon) or not canvas.is_free(polygon):
        return
    top = float(rng.uniform(4, 15))
    canvas.fill(
        polygon, label=BUILDING, surface=canvas.add(plain(rng, pick(rng, CONCRETE + SHEET[:2]), 0.02)), height=top
    )
    canvas.record("building", "round tank", polygon, top)
    canvas.reserve(polygon)
