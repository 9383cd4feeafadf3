"""A sheet of paper that is written and drawn on: pixels, the coverage of text ink, and where every token lies.

Positions and sizes are points (1/72 inch), x to the right and y down from the top left corner; a text's y is its baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import cos, radians, sin
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .bpe import pieces
from .fonts import Family, Font, font
from .strokes import Hand

Colour = tuple[int, int, int]
Align = Literal["left", "right", "centre"]
Ring = NDArray[np.float64]
BLACK: Colour = (20, 20, 22)
_PAD = 1.0  # pixels around a word's ink: antialiased edges belong to the word
_CUT = 20.0  # pixels between points along a long outline


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is set; `size` in points. With `hand`, it is written by that hand instead."""

    family: Family
    size: float
    bold: bool = False
    italic: bool = False
    colour: Colour = BLACK
    hand: Hand | None = None

    def but(self, **changes: object) -> Style:
        """The same style with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(slots=True)
class Printed:
    """A word on the sheet: (token id, outline in sheet pixels, float64 [n, 2]) per token."""

    text: str
    line: int
    tokens: list[tuple[int, Ring]]


@dataclass(slots=True)
class Stated:
    """A fact by numbers of words; see `truth.Fact`."""

    value: str
    words: list[int]
    key_words: list[int]


@dataclass
class Sheet:
    """See the module's docstring. With `silent`, texts are placed and recorded but leave no ink (for tests)."""

    width: float
    height: float
    dpi: float
    rng: np.random.Generator
    paper: Colour = (255, 255, 255)
    silent: bool = False
    words: list[Printed] = field(default_factory=list)
    facts: dict[str, Stated] = field(default_factory=dict)
    lines: int = 0

    def __post_init__(self) -> None:
        self.scale = self.dpi / 72
        size = max(16, round(self.width * self.scale)), max(16, round(self.height * self.scale))
        self.image = Image.new("RGB", size, self.paper)
        self.ink = Image.new("L", size, 0)
        self.draw = ImageDraw.Draw(self.image)
        self._ink_draw = ImageDraw.Draw(self.ink)

    # -- text -------------------------------------------------------------------------------------------------------

    def font(self, style: Style) -> Font:
        """The font at this sheet's resolution."""
        size = max(5.0, round(style.size * self.scale * 4) / 4)
        return font(style.family.path(style.bold, style.italic), size)

    def measure(self, text: str, style: Style) -> float:
        """Width of a text in points."""
        if style.hand is not None:
            return len(text) * style.hand.size * 0.56 * style.hand.stretch / self.scale
        return float(self.font(style).getlength(text)) / self.scale

    def text(
        self, x: float, y: float, text: str, style: Style, align: Align = "left", gap: float | None = None
    ) -> list[int]:
        """Sets one line of text and returns the numbers of its words; `gap` is the space between words, by default a blank's.

        `align` says what of the line lies at x. Words outside the sheet are set and cut off like any other ink.
        """
        words = text.split()
        space = (self.measure(" ", style) if gap is None else gap) * self.scale
        if align != "left" and style.hand is None:
            total = sum(self.measure(w, style) for w in words) + space * max(0, len(words) - 1) / self.scale
            x -= total if align == "right" else total / 2
        at, base = x * self.scale, y * self.scale
        numbers = []
        for word in words:
            numbers.append(len(self.words))
            if style.hand is not None and style.hand.can_write(word):
                at += self._write(at, base, word, style) + style.hand.size * 0.3
            else:
                at += self._set(at, base, word, style) + space
        self.lines += bool(words)
        return numbers

    def turned(self, x: float, y: float, text: str, style: Style, degrees: float, align: Align = "left") -> list[int]:
        """Like `text`, on a baseline that turns by `degrees` clockwise around (x, y)."""
        words = text.split()
        face, space = self.font(style), self.measure(" ", style)
        if align != "left":
            total = sum(self.measure(w, style) for w in words) + space * max(0, len(words) - 1)
        start = {"left": 0.0, "right": -1.0, "centre": -0.5}[align] * (total if align != "left" else 0)
        turn = np.array(
            [[cos(radians(degrees)), -sin(radians(degrees))], [sin(radians(degrees)), cos(radians(degrees))]]
        )
        numbers = []
        for word in words:
            numbers.append(len(self.words))
            origin = turn @ (start, 0.0) * self.scale + np.array([x, y]) * self.scale
            self._stamp_turned(word, face, style, turn, origin)
            start += self.measure(word, style) + space
        self.lines += bool(words)
        return numbers

    def state(self, key: str, value: str, words: Sequence[int], key_words: Sequence[int] = ()) -> None:
        """Records a fact of the page; the first statement of a key stands."""
        self.facts.setdefault(key, Stated(value, list(words), list(key_words)))

    def _set(self, x: float, y: float, word: str, style: Style) -> float:
        face = self.font(style)
        if not self.silent:
            self.draw.text((x, y), word, style.colour, face, anchor="ls")
            self._ink_draw.text((x, y), word, 255, face, anchor="ls")
        x0, y0, x1, y1 = face.getbbox(word, anchor="ls")
        slant = style.family.slant(style.bold, style.italic)
        length = float(face.getlength(word))
        box = min(0.0, x0) - _PAD, y0 - _PAD, max(length, x1) + _PAD, y1 + _PAD
        self._record(word, lambda n: float(face.getlength(word[:n])), box, slant, np.eye(2), np.array([x, y]))
        return length

    def _write(self, x: float, y: float, word: str, style: Style) -> float:
        assert style.hand is not None
        ink, (left, top), edges = style.hand.write(self.rng, word)
        col, row = round(x + left), round(y + top)
        self._stamp(ink, col, row, style.colour)
        origin = np.array([col - left, row - top])
        # The coverage's margin is two pixels and the pen wide: what is left of it is the word's.
        box = left + 0.5, top + 0.5, left + ink.shape[1] - 0.5, top + ink.shape[0] - 0.5
        self._record(word, lambda n: edges[n], box, style.hand.slant, np.eye(2), origin)
        return edges[-1]

    def _stamp_turned(self, word: str, face: Font, style: Style, turn: Ring, origin: Ring) -> None:
        x0, y0, x1, y1 = face.getbbox(word, anchor="ls")
        margin = 2
        size = int(np.ceil(x1 - x0)) + 2 * margin, int(np.ceil(y1 - y0)) + 2 * margin
        flat = Image.new("L", size, 0)
        shift = np.array([margin - np.floor(x0), margin - np.floor(y0)])
        ImageDraw.Draw(flat).text(tuple(shift), word, 255, face, anchor="ls")
        box = (
            min(0.0, x0) - _PAD - 0.5,
            y0 - _PAD - 0.5,
            max(float(face.getlength(word)), x1) + _PAD + 0.5,
            y1 + _PAD + 0.5,
        )
        corners = np.array([(box[i], box[j]) for i in (0, 2) for j in (1, 3)]) @ turn.T + origin
        low, high = np.floor(corners.min(axis=0)) - 1, np.ceil(corners.max(axis=0)) + 1
        # A pixel's centre is its integer position for cv2, half a pixel further on the sheet.
        offset = origin - low - turn @ shift + turn @ (0.5, 0.5) - 0.5
        span = high - low
        ink = cv2.warpAffine(np.asarray(flat), np.column_stack([turn, offset]), (int(span[0]), int(span[1])))
        self._stamp(np.asarray(ink, np.uint8), int(low[0]), int(low[1]), style.colour)
        slant = style.family.slant(style.bold, style.italic)
        self._record(word, lambda n: float(face.getlength(word[:n])), box, slant, turn, origin)

    def _stamp(self, ink: NDArray[np.uint8], col: int, row: int, colour: Colour) -> None:
        if self.silent:
            return
        mask = Image.fromarray(ink)
        self.image.paste(colour, (col, row), mask)
        self.ink.paste(255, (col, row), mask)

    def _record(self, word: str, edge: object, box: tuple[float, ...], slant: float, turn: Ring, origin: Ring) -> None:
        """Cuts a word's box between its tokens: where their characters meet, leaning as the letters do."""
        left, top, right, bottom = box
        found = pieces(word)
        cuts = [(left, left)]
        for piece in found[:-1]:
            n = int(piece.end)
            at: float = edge(n)  # type: ignore[operator]
            if piece.end > n:
                at += (piece.end - n) * (edge(n + 1) - at)  # type: ignore[operator]
            leaning = [min(max(at - slant * y, cuts[-1][i] + 0.01), right) for i, y in enumerate((top, bottom))]
            cuts.append((leaning[0], leaning[1]))
        cuts.append((right, right))
        tokens = []
        for piece, (a, c), (b, d) in zip(found, cuts, cuts[1:], strict=False):
            over = _points(a, b, top)
            under = _points(c, d, bottom)[::-1]
            tokens.append((piece.id, np.concatenate([over, under]) @ turn.T + origin))
        self.words.append(Printed(word, self.lines, tokens))

    # -- drawing that is no text --------------------------------------------------------------------------------------

    def px(self, *points: float) -> list[float]:
        """Points to pixels."""
        return [value * self.scale for value in points]

    def rule(self, x0: float, y0: float, x1: float, y1: float, width: float = 0.7, colour: Colour = BLACK) -> None:
        """A straight line, at least a pixel wide."""
        self.draw.line(self.px(x0, y0, x1, y1), colour, max(1, round(width * self.scale)))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None, line: Colour | None = BLACK,
        width: float = 0.7,
    ) -> None:  # fmt: skip
        """A rectangle, filled or outlined or both."""
        corners = self.px(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        self.draw.rectangle(corners, fill, line, max(1, round(width * self.scale)))

    def paste(self, picture: NDArray[np.uint8], x: float, y: float) -> None:
        """An RGB picture, uint8 [h, w, 3] in pixels, at a position in points."""
        self.image.paste(Image.fromarray(picture), (round(x * self.scale), round(y * self.scale)))


def _points(x0: float, x1: float, y: float) -> Ring:
    """From (x0, y) to (x1, y) in steps of at most `_CUT` pixels, both ends included."""
    count = 2 + int((x1 - x0) / _CUT)
    return np.stack([np.linspace(x0, x1, count), np.full(count, y)], axis=1)
