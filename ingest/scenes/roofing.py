"""What roofs are made of, and what stands on them: chimneys, skylights, dormers, solar panels, machines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .canvas import Canvas, Frame, Points
from .classes import BUILDING
from .materials import Surface, grey, lawn, pick, plain, soil, tinted
from .palettes import ASPHALT, BROWN_TILE, GREYS, SHEET, SLATE, TERRACOTTA, Color
from .roofs import raise_wing

_ROOF_NAMES = {
    "gable": "gabled", "hip": "hipped", "half-hip": "half-hipped", "mansard": "mansard", "shed": "lean-to", "flat": "flat",
    "barrel": "barrel-vaulted", "sawtooth": "sawtooth",
}  # fmt: skip


def tiles(rng: np.random.Generator, palette: tuple[Color, ...], angle: float) -> Surface:
    """A tiled or slated roof: courses, weathering, patches of newer tiles."""
    color = pick(rng, palette, 0.09, 0.03)
    return Surface(
        color, tinted(rng, color, 0.16, 0.03), threshold=rng.uniform(0, 1.6), sharpness=rng.uniform(0.5, 3),
        pixel=rng.uniform(0.01, 0.05), fine=rng.uniform(0.01, 0.05), small=rng.uniform(0.01, 0.05),
        medium=rng.uniform(0.01, 0.05), large=0.02, angle=angle, period=rng.uniform(0.3, 0.9), stripe=rng.uniform(0.0, 0.07),
    )  # fmt: skip


def sheet(rng: np.random.Generator, angle: float) -> Surface:
    """Metal or fibre-cement sheets: seams, rust streaks."""
    color = pick(rng, SHEET, 0.06, 0.02)
    rusty = rng.random() < 0.25
    return Surface(
        color, tinted(rng, (150, 104, 78) if rusty else color, 0.1, 0.03), threshold=rng.uniform(0.3, 1.6), sharpness=1.2,
        pixel=0.01, fine=rng.uniform(0.0, 0.02), small=0.01, medium=rng.uniform(0.0, 0.03), angle=angle,
        line_period=rng.uniform(0.6, 6), line=rng.uniform(0.0, 0.12), line_width=0.1,
        period=rng.uniform(0.4, 1.2), stripe=rng.uniform(0, 0.05),
    )  # fmt: skip


def roofing(canvas: Canvas, kind: str, angle: float, palette: str) -> tuple[int, str]:
    """A surface for a roof of that kind in a district that mostly uses `palette`, and its name."""
    rng = canvas.rng
    if kind == "flat":
        draw = rng.random()
        if draw < 0.62:
            return canvas.add(grey(rng, GREYS, angle)), "grey"
        if draw < 0.72:
            return canvas.add(lawn(rng, 0.2 + 0.6 * canvas.dryness)), "green"
        if draw < 0.82:
            return canvas.add(soil(rng)), "gravel"
        return canvas.add(sheet(rng, angle)), "metal"
    if kind in ("barrel", "sawtooth"):
        return canvas.add(sheet(rng, angle)), "metal"
    name = palette if rng.random() < 0.75 else str(rng.choice(["terracotta", "slate", "brown", "metal", "grey"]))
    if name == "metal":
        return canvas.add(sheet(rng, angle)), name
    if name == "grey":
        return canvas.add(replace(grey(rng, ASPHALT, angle), period=0.5, stripe=0.03)), name
    return canvas.add(tiles(rng, {"terracotta": TERRACOTTA, "slate": SLATE, "brown": BROWN_TILE}[name], angle)), name


class RoofKit:
    """Surfaces of the small things on roofs, one set per scene."""

    def __init__(self, canvas: Canvas) -> None:
        rng = canvas.rng
        self.chimney = canvas.add(plain(rng, (128, 96, 84)))
        self.flue = canvas.add(plain(rng, (70, 66, 64)))
        self.glass = canvas.add(plain(rng, (52, 60, 72)))
        self.bright_glass = canvas.add(plain(rng, (206, 216, 224)))
        self.white = canvas.add(plain(rng, (226, 226, 222)))
        self.box = canvas.add(plain(rng, (168, 170, 172)))
        self.ridge = canvas.add(plain(rng, (196, 168, 152)))
        self.solar = [
            canvas.add(
                Surface(
                    tinted(rng, (44, 52, 82), 0.15, 0.05), fine=0.02, large=0.0, angle=a, line_period=1.0, cross_period=1.65,
                    line=-0.35, cross=-0.35, line_width=0.06,
                )
            )
            for a in rng.uniform(0, np.pi, 3)
        ]  # fmt: skip


def furnish_roof(
    canvas: Canvas, kit: RoofKit, frame: Frame, size: tuple[float, float], roof: str, eave: float, pitch: float
) -> None:
    """Chimneys, skylights, dormers and solar panels on a pitched roof; boxes and pipes on a flat one."""
    rng = canvas.rng
    length, width = size
    if roof == "flat":
        for _ in range(int(rng.poisson(length * width / 90))):
            block(
                canvas,
                frame.at(*_inside(rng, length, width, 1.2)),
                rng.uniform(0.5, 2.2),
                rng.uniform(0.5, 1.6),
                eave + rng.uniform(0.3, 1.5),
                kit.box,
            )
        if rng.random() < 0.25:
            solar(
                canvas, kit, frame.at(*_inside(rng, length, width, 3)), min(length, 12) * 0.4, min(width, 9) * 0.4, None
            )
        return
    if roof not in ("gable", "hip", "half-hip", "mansard"):
        return
    if rng.random() < 0.25:  # a slope or a part of it retiled
        side = float(rng.choice([-1, 1]))
        u0, u1 = np.sort(rng.uniform(-0.5, 0.5, 2)) * length
        _retile(canvas, frame.rect(float(u0), 0.0, float(u1), side * rng.uniform(0.25, 0.5) * width))
    for _ in range(int(rng.poisson(0.9 + length / 25))):
        u, v = rng.uniform(-0.42, 0.42) * length, rng.uniform(-0.3, 0.3) * width
        top = eave + pitch * (width / 2 - abs(v)) + rng.uniform(0.4, 1.3)
        block(
            canvas,
            frame.at(u, v),
            rng.uniform(0.4, 1.3),
            rng.uniform(0.4, 0.8),
            top,
            int(rng.choice([kit.chimney, kit.flue, kit.box])),
        )
    for _ in range(int(rng.poisson(0.9))):  # skylights lie in the roof: no height of their own
        v = rng.choice([-1, 1]) * rng.uniform(0.15, 0.35) * width
        half = rng.uniform(0.3, 0.6)
        polygon = frame.at(rng.uniform(-0.4, 0.4) * length, v).rect(-half, -0.6, half, 0.6)
        canvas.fill(polygon, surface=int(rng.choice([kit.glass, kit.bright_glass])))
    if rng.random() < 0.2 and roof != "hip" and width > 7:
        side = float(rng.choice([-1, 1]))
        for u in np.linspace(-0.3, 0.3, int(rng.integers(1, 4))) * length:
            dormer = frame.at(float(u), side * 0.27 * width)
            raise_wing(
                canvas,
                dormer,
                (-0.9, -1.3, 0.9, 1.3),
                "gable",
                eave + pitch * 0.25 * width + 0.5,
                0.5,
                int(canvas_surface(canvas, dormer)),
            )
    if rng.random() < 0.14:
        side = float(rng.choice([-1, 1]))
        solar(
            canvas,
            kit,
            frame.at(rng.uniform(-0.15, 0.15) * length, side * 0.25 * width),
            length * rng.uniform(0.1, 0.3),
            0.16 * width,
            frame.angle,
        )


def _retile(canvas: Canvas, polygon: Points) -> None:
    """Gives a part of a roof another shade of its own material."""
    patch = canvas.patch(polygon)
    if patch is None:
        return
    on_roof = patch.mask & (canvas.label[patch.box] == BUILDING)
    if on_roof.any():
        old = canvas.table.surface(int(np.median(canvas.surface[patch.box][on_roof])))
        canvas.surface[patch.box][on_roof] = canvas.add(replace(old, color=tinted(canvas.rng, old.color, 0.14, 0.05)))


def canvas_surface(canvas: Canvas, frame: Frame) -> int:
    """The surface number at a frame's origin (0 off the canvas)."""
    row, col = int(frame.y / canvas.gsd), int(frame.x / canvas.gsd)
    if not (0 <= row < canvas.shape[0] and 0 <= col < canvas.shape[1]):
        return 0
    return int(canvas.surface[row, col])


def solar(canvas: Canvas, kit: RoofKit, frame: Frame, half_u: float, half_v: float, angle: float | None) -> None:
    """A field of solar panels on whatever is below."""
    surface = int(canvas.rng.choice(kit.solar))
    if angle is not None:
        surface = canvas.add(replace(canvas.table.surface(surface), angle=angle))
    polygon = frame.rect(-half_u, -half_v, half_u, half_v)
    if canvas.fill(polygon, surface=surface):
        canvas.record("solar panels", "solar panels on a roof", polygon)


def block(canvas: Canvas, frame: Frame, length: float, width: float, top: float, surface: int) -> None:
    """A flat-topped box standing on a building: it keeps the building's label."""
    polygon = frame.rect(-length / 2, -width / 2, length / 2, width / 2)
    patch = canvas.patch(polygon)
    if patch is None:
        return
    on_roof = patch.mask & (canvas.label[patch.box] == BUILDING)
    canvas.height[patch.box][on_roof] = np.maximum(canvas.height[patch.box][on_roof], np.float32(top))
    canvas.surface[patch.box][on_roof] = surface
    canvas.slope_x[patch.box][on_roof] = 0
    canvas.slope_y[patch.box][on_roof] = 0


def _inside(rng: np.random.Generator, length: float, width: float, margin: float) -> tuple[float, float]:
    u, v = max(0.0, length / 2 - margin), max(0.0, width / 2 - margin)
    return float(rng.uniform(-u, u)), float(rng.uniform(-v, v))


def roof_phrase(material: str, roof: str) -> str:
    """Words for captions: "a terracotta gabled roof"."""
    return f"{'an' if material[0] in 'aeiou' else 'a'} {material} {_ROOF_NAMES[roof]} roof"
