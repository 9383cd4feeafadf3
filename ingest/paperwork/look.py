"""The look of a document (faces, sizes, colours, margins) and paragraphs set in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .fonts import FontSource, families
from .sheet import BLACK, Colour, Sheet, Style
from .strokes import Hand
from .words import Wording

Set = Literal["left", "justified", "centre", "right"]
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Look:
    """What a document's pages share; sizes in points."""

    body: Style
    head: Style
    accent: Colour
    margin: float
    leading: float
    amount_form: int
    currency: str
    ink: Colour  # of pens on it

    @property
    def step(self) -> float:
        """From one baseline to the next."""
        return self.body.size * self.leading

    def hand(self, sheet: Sheet, size: float) -> Style:
        """Handwriting with capitals of `size` points; each call is another writer."""
        return self.body.but(size=size, colour=self.ink, hand=Hand.drawn(sheet.rng, size * sheet.scale))


def drawn_look(rng: np.random.Generator, source: FontSource, script: str | None) -> Look:
    """A look by chance, in faces that have the script."""
    able = [f for f in families(source) if script is None or script in f.scripts]
    body = able[int(rng.integers(len(able)))]
    head = body if rng.random() < 0.5 else able[int(rng.integers(len(able)))]
    dark = tuple(int(v) for v in rng.integers(0, 50, 3)) if rng.random() < 0.3 else BLACK
    accent = tuple(int(v) for v in rng.integers(0, 170, 3))
    pen = ((20, 30, 130), (30, 30, 40), (15, 60, 160), (120, 20, 30))[int(rng.integers(4))]
    size = float(rng.choice([8, 9, 9.5, 10, 10, 11, 12, 13]))
    return Look(
        Style(body, size, colour=(dark[0], dark[1], dark[2])),
        Style(
            head, size * float(rng.uniform(1.3, 2.2)), bold=bool(rng.random() < 0.7), italic=bool(rng.random() < 0.12)
        ),
        (accent[0], accent[1], accent[2]),
        float(rng.uniform(36, 80)),
        float(rng.uniform(1.15, 1.6)),
        int(rng.integers(4)),
        str(rng.choice(["$", "£", "€", "EUR", "CHF", ""])),
        pen,
    )


def fitted(sheet: Sheet, text: str, style: Style, width: float) -> str:
    """As many of the text's words as fit into `width`, at least the first."""
    words = text.split()
    while len(words) > 1 and sheet.measure(" ".join(words), style) > width:
        words.pop()
    return " ".join(words)


def broken(sheet: Sheet, text: str, style: Style, width: float, first: float = 0.0) -> list[list[str]]:
    """The text's words in lines of at most `width`, the first shorter by `first`; a word that is wider stands alone."""
    space = sheet.measure(" ", style)
    lines: list[list[str]] = [[]]
    used = first
    for word in text.split():
        wide = sheet.measure(word, style)
        if lines[-1] and used + wide > width:
            lines.append([])
            used = 0.0
        lines[-1].append(word)
        used += wide + space
    return lines


def paragraph(
    sheet: Sheet, wording: Wording, x: float, y: float, width: float, text: str, style: Style, step: float, *,
    bottom: float, align: Set = "left", indent: float = 0.0, lively: bool = True,
) -> float:  # fmt: skip
    """Sets a paragraph from baseline `y` on, as far as `bottom`; returns the baseline after its last line.

    With `lively`, single words come bold, italic, coloured, underlined, struck out or marked with a pen.
    """
    lines = broken(sheet, text, style, width, indent)
    for number, words in enumerate(lines):
        if y > bottom:
            return y
        left = x + (indent if number == 0 else 0.0)
        room = width - (indent if number == 0 else 0.0)
        natural = sum(sheet.measure(w, style) for w in words)
        gap = sheet.measure(" ", style)
        if align == "justified" and number < len(lines) - 1 and len(words) > 1:
            gap = min(max(gap, (room - natural) / (len(words) - 1)), 4 * gap)
        spare = room - natural - gap * (len(words) - 1)
        at = left + {"centre": spare / 2, "right": spare}.get(align, 0.0)
        for word in words:
            _one(sheet, wording, at, y, word, style, lively and wording.chance(0.03))
            sheet.lines -= 1  # the words of a line are set one by one
            at += sheet.measure(word, style) + gap
        sheet.lines += 1
        y += step
    return y


def _one(sheet: Sheet, wording: Wording, x: float, y: float, word: str, style: Style, lively: bool) -> None:
    wide = sheet.measure(word, style)
    way = wording.whole(0, 5) if lively else -1
    if way == 0:
        style = style.but(italic=not style.italic)
    elif way == 1:
        style = style.but(colour=(20, 50, 170))
        sheet.rule(x, y + style.size * 0.15, x + wide, y + style.size * 0.15, 0.5, style.colour)
    elif way == 2:
        sheet.rule(x, y + style.size * 0.15, x + wide, y + style.size * 0.15, 0.6, style.colour)
    elif way == 3:
        sheet.box(x - 1, y - style.size * 0.85, x + wide + 1, y + style.size * 0.25, (255, 240, 90), None)
    elif way == 4:
        sheet.box(x - 1, y - style.size * 0.9, x + wide + 1, y + style.size * 0.25, style.colour, None)
        style = style.but(colour=WHITE)
    sheet.text(x, y, word, style)
    if way == 5:
        sheet.rule(x, y - style.size * 0.28, x + wide, y - style.size * 0.28, 0.7, style.colour)
