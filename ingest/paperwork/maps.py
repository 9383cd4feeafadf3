"""Maps with labels, and pages without any text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .look import WHITE, Look, fitted
from .pictures import colour, place_photograph, scribble, signature
from .sheet import Colour, Sheet, Style
from .words import Wording

Points = NDArray[np.float64]
Box = tuple[float, float, float, float]


def town_map(sheet: Sheet, w: Wording, look: Look) -> None:
    """Ground, water, woods, roads and rivers, place names level and along the lines, heights, a legend, a scale."""
    rng = sheet.rng
    left, top, right, bottom = 24.0, 24.0, sheet.width - 24, sheet.height - 24
    ground = colour(rng, 220, 252)
    sheet.box(left, top, right, bottom, ground, None)
    tints: dict[str, Colour] = {
        "forest": (176, 212, 160), "lake": (160, 200, 235), "town": (235, 200, 180), "field": (245, 235, 190),
        "marsh": (200, 225, 215),
    }  # fmt: skip
    named: list[tuple[float, float, str]] = []
    for _ in range(w.whole(6, 18)):
        x, y = float(rng.uniform(left, right)), float(rng.uniform(top, bottom))
        kind = w.pick(tuple(tints))
        ring = _blob(rng, x, y, float(rng.uniform(25, 110)))
        ring = np.clip(ring, (left, top), (right, bottom))
        sheet.draw.polygon(sheet.px(*ring.ravel()), tints[kind], (90, 120, 160) if kind == "lake" else None)
        if w.chance(0.6):
            named.append((x, y, kind))
    if w.chance(0.5):
        for i in range(1, w.whole(3, 7)):
            at = left + (right - left) * i / 7
            sheet.rule(at, top, at, bottom, 0.3, (150, 150, 170))
            sheet.text(at + 2, top + 8, f"{w.whole(100, 900)}", look.body.but(size=6, colour=(90, 90, 120)))
    paths = []
    for _ in range(w.whole(4, 12)):
        path = np.clip(_path(rng, left, top, right, bottom), (left + 1, top + 1), (right - 1, bottom - 1))
        river = w.chance(0.3)
        width = float(rng.uniform(0.8, 4.5))
        if not river and width > 2:
            sheet.draw.line(sheet.px(*path.ravel()), (60, 60, 60), max(2, round((width + 1.4) * sheet.scale)), "curve")
        fill = (90, 150, 210) if river else (WHITE, (240, 190, 70), (215, 90, 80), (110, 110, 110))[w.whole(0, 3)]
        sheet.draw.line(sheet.px(*path.ravel()), fill, max(1, round(width * sheet.scale)), "curve")
        paths.append((path, river))
    taken: list[Box] = []
    for path, river in paths:
        name = (
            f"{w.syllables(2).capitalize()} {w.pick(('Beck', 'River', 'Brook') if river else ('Road', 'Lane', 'Way'))}"
        )
        tint = (30, 80, 160) if river else (70, 50, 40)
        _along(sheet, path, name, look.body.but(size=float(rng.uniform(6, 9)), italic=river, colour=tint), taken)
    for x, y, kind in named:
        style = look.body.but(
            size=float(rng.uniform(7, 12)),
            italic=kind == "lake",
            colour=(40, 90, 50) if kind == "forest" else (40, 60, 110),
        )
        _label(sheet, x, y, f"{w.place()} {w.pick(('Wood', 'Forest')) if kind == 'forest' else ''}", style, taken)
    for _ in range(w.whole(6, 26)):
        x, y = float(rng.uniform(left + 12, right - 80)), float(rng.uniform(top + 20, bottom - 12))
        size = float(rng.choice([6.5, 8, 9.5, 12, 16]))
        name = w.place().upper() if size > 14 else w.place()
        if _label(
            sheet,
            x + 5,
            y + 3,
            name,
            look.body.but(size=size, bold=size > 9, colour=look.body.colour),
            taken,
            centred=False,
        ):
            mark = sheet.px(x - 2, y - 2, x + 2, y + 2)
            (sheet.draw.ellipse if w.chance(0.6) else sheet.draw.rectangle)(
                mark, (200, 40, 40) if w.chance(0.4) else (30, 30, 30)
            )
    for _ in range(w.whole(0, 12)):
        x, y = float(rng.uniform(left + 20, right - 40)), float(rng.uniform(top + 20, bottom - 20))
        if _label(
            sheet, x + 4, y, str(w.whole(20, 2900)), look.body.but(size=6, colour=(120, 70, 30)), taken, centred=False
        ):
            sheet.draw.polygon(sheet.px(x - 2, y, x + 2, y, x, y - 4), (120, 70, 30))
    _legend(sheet, w, look, left, bottom, tints)
    sheet.box(left, top, right, bottom, None, width=1.4)


def _legend(
    sheet: Sheet, w: Wording, look: Look, left: float, bottom: float, tints: dict[str, Colour]
) -> None:  # fmt: skip
    """A panel in a corner that covers the map (labels keep out of it) with title, key and scale."""
    head = look.head.but(size=14, italic=False)
    x, y = left + 8, bottom - 108
    title = fitted(sheet, f"{w.place()} {w.pick(('and surroundings', 'district', 'map', 'walks'))}", head, 150)
    sheet.box(x, y, x + 166, bottom - 8, WHITE, width=0.8)
    sheet.state("title", title, sheet.text(x + 8, y + 18, title, head.but(colour=look.accent)))
    small = look.body.but(size=7, colour=(20, 20, 22))
    for i, (name, tint) in enumerate(tints.items()):
        row, column = divmod(i, 2)
        sheet.box(x + 8 + 76 * column, y + 28 + 14 * row, x + 22 + 76 * column, y + 38 + 14 * row, tint, width=0.4)
        sheet.text(x + 26 + 76 * column, y + 36 + 14 * row, name, small)
    for i in range(4):
        sheet.box(
            x + 8 + 30 * i, bottom - 26, x + 38 + 30 * i, bottom - 22, (30, 30, 30) if i % 2 else WHITE, width=0.4
        )
        sheet.text(x + 8 + 30 * i, bottom - 30, f"{i * 2}", small, "centre")
    number = f"1:{w.pick((5, 10, 25, 50, 100))},000"
    sheet.state("scale", number, sheet.text(x + 134, bottom - 20, number, small, "left")[:1])


def _label(
    sheet: Sheet, x: float, y: float, text: str, style: Style, taken: list[Box], *, centred: bool = True
) -> bool:  # fmt: skip
    """Sets a label unless it would leave the map, reach into the legend or lie over another label."""
    wide = sheet.measure(text.strip(), style)
    x0 = x - wide / 2 if centred else x
    box = x0 - 2, y - style.size, x0 + wide + 2, y + style.size * 0.35
    legend = 24.0, sheet.height - 140, 206.0, sheet.height
    inside = box[0] > 28 and box[2] < sheet.width - 28 and box[1] > 28 and box[3] < sheet.height - 28
    if not inside or any(_meet(box, other) for other in [*taken, legend]):
        return False
    taken.append(box)
    sheet.text(x0, y, text, style)
    return True


def _along(sheet: Sheet, path: Points, name: str, style: Style, taken: list[Box]) -> None:
    """Sets a name on its line: each word turned as the line runs there."""
    step = np.hypot(*np.diff(path, axis=0).T)
    reached = np.concatenate([[0.0], np.cumsum(step)])
    at = float(sheet.rng.uniform(0.2, 0.7)) * reached[-1]
    words = name.split()
    spots = []
    for word in words:
        wide = sheet.measure(word, style)
        ends = [np.array([np.interp(v, reached, path[:, i]) for i in (0, 1)]) for v in (at, at + wide)]
        at += wide + style.size * 0.5
        spots.append((word, wide, ends[0], ends[1]))
    if spots[-1][3][0] < spots[0][2][0]:  # to be read from the left
        return
    boxes = []
    for _, wide, a, b in spots:
        low, high = np.minimum(a, b) - style.size, np.maximum(a, b) + style.size
        boxes.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
        legend = 24.0, sheet.height - 140, 206.0, sheet.height
        edge = low[0] < 28 or low[1] < 28 or high[0] > sheet.width - 28 or high[1] > sheet.height - 28
        if edge or np.hypot(*(b - a)) < 0.8 * wide or any(_meet(boxes[-1], other) for other in [*taken, legend]):
            return
    taken += boxes
    for word, _, a, b in spots:
        degrees = float(np.degrees(np.arctan2(b[1] - a[1], b[0] - a[0])))
        up = np.array([b[1] - a[1], -(b[0] - a[0])]) / max(1e-6, float(np.hypot(*(b - a))))
        x, y = a + up * style.size * 0.35
        sheet.turned(float(x), float(y), word, style, degrees)
        sheet.lines -= 1  # one name, one line
    sheet.lines += 1


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _blob(rng: np.random.Generator, x: float, y: float, radius: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    r = np.ones(40)
    for wave in range(2, 6):
        r += 0.3 / wave * rng.standard_normal() * np.cos(wave * t + rng.uniform(0, 2 * np.pi))
    r = np.clip(r, 0.4, 1.8) * radius
    return np.stack([x + r * np.cos(t), y + r * np.sin(t)], axis=1)


def _path(rng: np.random.Generator, left: float, top: float, right: float, bottom: float) -> Points:
    """A smooth line across the map."""
    flat = rng.random() < 0.6
    t = np.linspace(0, 1, 60)
    sway = sum(rng.normal(0, 60 / k) * np.sin(2 * np.pi * k * t / 2 + rng.uniform(0, 6)) for k in range(1, 5))
    if flat:
        return np.stack(
            [left + (right - left) * t, rng.uniform(top, bottom) + rng.normal(0, 100) * (t - 0.5) + sway], axis=1
        )
    return np.stack(
        [rng.uniform(left, right) + rng.normal(0, 100) * (t - 0.5) + sway, top + (bottom - top) * t], axis=1
    )


def blank(sheet: Sheet, w: Wording, look: Look) -> None:
    """No text: an empty page, ruled or squared paper, a picture, a drawing of lines, holes."""
    rng = sheet.rng
    way = w.whole(0, 6)
    if way == 1:
        for y in np.arange(look.margin, sheet.height - 20, look.step * 1.4):
            sheet.rule(20, float(y), sheet.width - 20, float(y), 0.4, (150, 170, 210))
    elif way == 2:
        for at in np.arange(14.0, max(sheet.width, sheet.height), 14.0):
            sheet.rule(float(at), 0, float(at), sheet.height, 0.3, (190, 200, 220))
            sheet.rule(0, float(at), sheet.width, float(at), 0.3, (190, 200, 220))
    elif way == 3:
        place_photograph(
            sheet, look.margin, look.margin, sheet.width - 2 * look.margin, sheet.height * float(rng.uniform(0.3, 0.75))
        )
    elif way == 4:
        for _ in range(w.whole(3, 14)):
            x, y = float(rng.uniform(20, sheet.width - 120)), float(rng.uniform(20, sheet.height - 120))
            scribble(sheet, x, y, float(rng.uniform(10, 120)), float(rng.uniform(6, 110)))
    elif way == 5:
        for _ in range(w.whole(2, 9)):
            x, y = float(rng.uniform(0, sheet.width * 0.7)), float(rng.uniform(0, sheet.height * 0.7))
            sheet.box(
                x,
                y,
                x + float(rng.uniform(20, 200)),
                y + float(rng.uniform(20, 200)),
                colour(rng, 120, 256),
                colour(rng),
            )
        signature(sheet, look, 80, sheet.height * 0.8, 120)
    if w.chance(0.4):
        for y in (sheet.height / 2 - 113, sheet.height / 2 + 113):
            sheet.draw.ellipse(sheet.px(14, y - 8, 30, y + 8), (60, 58, 56), (120, 120, 120))
