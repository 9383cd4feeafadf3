"""What stands on pages and is no text: photographs, logos, bar codes, stamps, signatures, charts, scribbles."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .look import WHITE, Look
from .scan import clouds
from .sheet import BLACK, Colour, Sheet
from .words import Wording

Pixels = NDArray[np.uint8]


def colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> Colour:
    """Any colour with channels from `low` to below `high`."""
    r, g, b = (int(v) for v in rng.integers(low, high, 3))
    return r, g, b


def photograph(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A picture of clouds of colour: a landscape, a still life of shapes, or a texture; uint8 [h, w, 3]."""
    base = np.stack([clouds(rng, height, width, float(rng.uniform(1, 4)), 5) for _ in range(3)], axis=-1)
    common = clouds(rng, height, width, float(rng.uniform(1, 6)), 6)[..., None]
    out = 128 + 26 * base + float(rng.uniform(20, 55)) * common
    way = int(rng.integers(4))
    if way == 0:
        line = height * (0.5 + 0.12 * clouds(rng, 2, width, 4, 5)[0])
        sky = np.arange(height)[:, None] < line[None]
        out[sky] = out[sky] * 0.35 + rng.uniform(110, 190, 3)
        out[~sky] = out[~sky] * 0.8 - 15
    elif way == 1:
        drawn = np.clip(out, 0, 255).astype(np.uint8)
        for _ in range(int(rng.integers(3, 12))):
            at = int(rng.integers(width)), int(rng.integers(height))
            axes = tuple(int(v) for v in rng.integers(4, max(6, max(height, width) // 4), 2))
            cv2.ellipse(drawn, at, axes, float(rng.uniform(0, 180)), 0, 360, colour(rng), -1, cv2.LINE_AA)
        out = 0.75 * drawn + 0.25 * out
    elif way == 2:
        period = float(rng.uniform(3, 12))
        angle = rng.uniform(0, np.pi)
        y, x = np.mgrid[:height, :width]
        out = out + (40 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period))[..., None]
    if rng.random() < 0.3:
        out = np.repeat(out.mean(axis=-1, keepdims=True), 3, axis=-1)
    out = out + rng.normal(0, rng.uniform(1, 9), out.shape)
    picture = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.12:  # printed: a halftone of dots
        y, x = np.mgrid[:height, :width]
        screen = 127 + 120 * np.sin((x + y) * 2.1) * np.sin((x - y) * 2.1)
        picture = np.repeat(np.where(picture.mean(axis=-1) > screen, 255, 25)[..., None], 3, axis=-1).astype(np.uint8)
    return picture


def place_photograph(sheet: Sheet, x: float, y: float, width: float, height: float) -> None:
    """A photograph in a box given in points, framed now and then."""
    picture = photograph(sheet.rng, max(4, round(height * sheet.scale)), max(4, round(width * sheet.scale)))
    sheet.paste(picture, x, y)
    if sheet.rng.random() < 0.3:
        sheet.box(x, y, x + width, y + height)


def logo(sheet: Sheet, look: Look, x: float, y: float, size: float) -> None:
    """A mark of simple shapes in a square of `size` points."""
    rng, draw = sheet.rng, sheet.draw
    way = int(rng.integers(5))
    box = sheet.px(x, y, x + size, y + size)
    inner = sheet.px(x + size * 0.25, y + size * 0.25, x + size * 0.75, y + size * 0.75)
    other = colour(rng, 60, 230)
    if way == 0:
        draw.ellipse(box, look.accent)
        draw.pieslice(box, 30, float(rng.uniform(120, 300)), other)
    elif way == 1:
        draw.rounded_rectangle(box, size * sheet.scale * 0.2, look.accent)
        draw.ellipse(inner, WHITE)
    elif way == 2:
        points = int(rng.integers(3, 9))
        angle = np.arange(2 * points) * np.pi / points
        reach = np.where(np.arange(2 * points) % 2, rng.uniform(0.2, 0.4), 0.5) * size
        star = np.stack([x + size / 2 + reach * np.sin(angle), y + size / 2 - reach * np.cos(angle)], axis=1)
        draw.polygon(sheet.px(*star.ravel()), look.accent)
    elif way == 3:
        for i in range(4):
            left = x + size * 0.26 * i
            tall = size * float(rng.uniform(0.3, 1))
            sheet.box(left, y + size - tall, left + size * 0.2, y + size, (look.accent, other)[i % 2], None)
    else:
        draw.ellipse(box, None, look.accent, max(2, round(size * sheet.scale * 0.09)))
        draw.arc(inner, 0, float(rng.uniform(180, 330)), other, max(2, round(size * sheet.scale * 0.12)))


def bar_code(sheet: Sheet, wording: Wording, look: Look, x: float, y: float, width: float, height: float) -> None:
    """Bars, with their number below more often than not."""
    at = x
    while at < x + width:
        wide = float(sheet.rng.choice([0.7, 1.4, 2.1, 2.8]))
        sheet.box(at, y, at + wide - 0.3, y + height, BLACK, None)
        at += wide + float(sheet.rng.choice([0.8, 1.5, 2.2]))
    if wording.chance(0.7):
        sheet.text(x + width / 2, y + height + 8, wording.digits(12), look.body.but(size=7, bold=False), "centre")


def square_code(sheet: Sheet, x: float, y: float, size: float) -> None:
    """A two-dimensional code: finder squares in three corners, random modules."""
    cells = int(sheet.rng.choice([21, 25, 29]))
    grid = sheet.rng.random((cells, cells)) < 0.5
    for row, col in ((0, 0), (0, cells - 7), (cells - 7, 0)):
        grid[row : row + 7, col : col + 7] = True
        grid[row + 1 : row + 6, col + 1 : col + 6] = False
        grid[row + 2 : row + 5, col + 2 : col + 5] = True
    edge = max(cells, round(size * sheet.scale))
    small = np.where(grid, 20, 255).astype(np.uint8)
    big = cv2.resize(small, (edge, edge), interpolation=cv2.INTER_NEAREST)
    sheet.paste(np.repeat(big[..., None], 3, axis=-1), x, y)


def stamp(sheet: Sheet, wording: Wording, look: Look, x: float, y: float) -> None:
    """A rubber stamp around (x, y): a ring or a frame, turned, with text in it."""
    ink = ((170, 30, 40), (30, 50, 150), (60, 110, 60))[wording.whole(0, 2)]
    angle = float(sheet.rng.uniform(-28, 28))
    word = wording.pick(
        ("PAID", "RECEIVED", "COPY", "URGENT", "APPROVED", "VOID", "DRAFT", "FINAL", "ENTERED", "CHECKED")
    )
    style = look.head.but(size=float(sheet.rng.uniform(14, 24)), bold=True, italic=False, colour=ink)
    wide = sheet.measure(word, style) / 2 + 8
    turn = np.deg2rad(angle)
    if wording.chance(0.5):
        tall = style.size * 1.3
        corners = np.array([(-wide, -tall), (wide, -tall), (wide, tall), (-wide, tall), (-wide, -tall)])
        c, s = np.cos(turn), np.sin(turn)
        ring = corners @ np.array([[c, s], [-s, c]]) + (x, y)
        sheet.draw.line(sheet.px(*ring.ravel()), ink, max(1, round(1.6 * sheet.scale)), "curve")
    else:
        for radius in (wide + 4, wide + 9):
            sheet.draw.ellipse(
                sheet.px(x - radius, y - radius, x + radius, y + radius), None, ink, max(1, round(1.3 * sheet.scale))
            )
    down = np.array([-np.sin(turn), np.cos(turn)])
    first, second = down * style.size * 0.1, down * style.size * 0.95
    sheet.turned(x + first[0], y + first[1], word, style, angle, "centre")
    sheet.turned(x + second[0], y + second[1], wording.date(), style.but(size=style.size * 0.42), angle, "centre")


def signature(sheet: Sheet, look: Look, x: float, y: float, width: float) -> None:
    """A signature that nobody could read: loops of a pen, no text."""
    count = int(sheet.rng.integers(7, 15))
    across = np.linspace(0, width, count) + sheet.rng.normal(0, width * 0.05, count)
    up = sheet.rng.normal(0, 7, count) * np.linspace(1.4, 0.5, count)
    t = np.linspace(0, count - 1, count * 12)
    loops = 4 * np.stack([np.sin(t * 4.1), np.cos(t * 4.1)], axis=1)
    line = (
        np.stack([x + np.interp(t, np.arange(count), across), y + np.interp(t, np.arange(count), up)], axis=1) + loops
    )
    sheet.draw.line(
        sheet.px(*line.ravel()), look.ink, max(1, round(float(sheet.rng.uniform(0.7, 1.5)) * sheet.scale)), "curve"
    )


def scribble(sheet: Sheet, x: float, y: float, width: float, height: float) -> None:
    """Hatching, a zigzag or a curl of a pen: strokes like writing that are none."""
    rng = sheet.rng
    count = int(rng.integers(6, 40))
    t = np.linspace(0, 1, count)
    way = int(rng.integers(3))
    if way == 0:
        line = np.stack([x + width * t, y + height * (np.arange(count) % 2)], axis=1) + rng.normal(0, 1, (count, 2))
    elif way == 1:
        line = np.stack([x + width * t, y + height * (0.5 + 0.5 * np.sin(t * 40))], axis=1)
    else:
        line = np.array([x, y]) + rng.random((count, 2)) * (width, height)
    sheet.draw.line(sheet.px(*line.ravel()), colour(rng, 0, 150), max(1, round(0.8 * sheet.scale)), "curve")


def chart(sheet: Sheet, wording: Wording, look: Look, x: float, y: float, width: float, height: float) -> None:
    """Axes with figures, bars or curves, a caption to each axis."""
    rng = sheet.rng
    small = look.body.but(size=max(5.5, look.body.size * 0.72), bold=False, italic=False)
    left, base = x + 34, y + height - 26
    sheet.rule(left, y, left, base)
    sheet.rule(left, base, x + width, base)
    top = wording.whole(2, 400)
    for i in range(5):
        at = base - (base - y) * i / 4.4
        sheet.rule(left - 3, at, left, at)
        sheet.text(left - 5, at + small.size * 0.35, f"{top * i / 4:g}", small, "right")
        if i and wording.chance(0.5):
            sheet.rule(left, at, x + width, at, 0.3, (200, 200, 200))
    count = wording.whole(4, 9)
    step = (x + width - left) / count
    if wording.chance(0.5):
        for i in range(count):
            tall = (base - y) * float(rng.uniform(0.05, 0.95))
            fill = look.accent if wording.chance(0.7) else colour(rng, 60, 220)
            sheet.box(left + step * (i + 0.2), base - tall, left + step * (i + 0.8), base, fill, BLACK)
    else:
        for _ in range(wording.whole(1, 3)):
            path = np.cumsum(rng.normal(0, 0.12, 40)) + rng.uniform(0.3, 0.7)
            points = np.stack([np.linspace(left, x + width, 40), base - (base - y) * np.clip(path, 0.02, 0.98)], axis=1)
            sheet.draw.line(sheet.px(*points.ravel()), colour(rng, 0, 200), max(1, round(sheet.scale)))
    year = wording.whole(1980, 2010)
    for i in range(count):
        sheet.text(left + step * (i + 0.5), base + small.size * 1.2, str(year + i), small, "centre")
    sheet.text(
        (left + x + width) / 2,
        base + small.size * 2.6,
        f"{wording.noun()} ({wording.pick(('km', 'days', 'kg', '%'))})",
        small,
        "centre",
    )
    sheet.turned(x + 5, (y + base) / 2, f"{wording.adjective()} {wording.noun()}", small, -90, "centre")
