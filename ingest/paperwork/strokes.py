"""Handwriting: letters as strokes of a pen, drawn for this package, bent anew each time they are written.

A glyph is its advance and strokes, points in hundredths of the height of a capital (x to the right, y up, the baseline at
0, small letters 48 high). Curves are Catmull-Rom splines through the points; a repeated point makes a corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
_SHIFT = 4

GLYPHS = {
    "a": "50|40,40 24,49 6,30 10,6 26,2 40,22 41,47 41,47 42,10 52,4",
    "b": "48|8,98 8,98 9,30 9,2 9,2 12,36 28,47 42,34 38,8 22,-1 9,8",
    "c": "42|38,38 28,49 12,42 6,22 14,3 28,0 40,10",
    "d": "50|39,40 24,49 7,34 8,8 22,0 38,14 40,98 40,98 41,10 50,3",
    "e": "44|8,24 30,26 39,36 28,49 12,42 6,20 16,1 30,1 42,12",
    "f": "34|36,90 26,98 17,86 16,40 15,-2;4,47 32,48",
    "g": "50|40,40 24,49 7,34 9,10 24,4 38,20 41,46 41,46 41,-14 30,-34 10,-30",
    "h": "50|8,98 8,98 9,40 9,0 9,0 14,34 28,47 40,36 41,0",
    "i": "22|9,47 9,47 10,10 18,2;10,68 11,70",
    "j": "24|13,47 13,47 13,-14 6,-32 -6,-30;13,68 14,70",
    "k": "46|8,98 8,98 9,40 9,0;36,46 12,22 12,22 28,12 42,0",
    "l": "22|8,98 8,98 9,20 12,3 20,2",
    "m": "72|7,47 7,47 8,0 8,0 14,36 26,47 34,36 35,0 35,0 41,36 53,47 61,36 62,8 70,2",
    "n": "50|7,47 7,47 8,0 8,0 14,36 28,48 39,36 40,8 48,2",
    "o": "48|26,48 10,42 6,20 16,2 30,1 42,18 38,40 26,48",
    "p": "48|8,47 8,47 8,0 7,-36 7,-36 9,30 24,48 41,36 39,10 24,-1 9,8",
    "q": "50|40,40 24,49 7,34 9,8 24,1 38,18 40,46 40,46 40,-34 50,-24",
    "r": "38|7,47 7,47 8,0 8,0 13,34 24,46 36,44",
    "s": "40|35,40 22,49 9,40 14,28 30,20 34,8 20,-1 5,8",
    "t": "36|16,78 16,78 16,20 22,2 33,6;3,50 32,52",
    "u": "50|7,47 7,47 8,14 20,0 34,10 40,46 40,46 41,8 49,2",
    "v": "44|5,47 5,47 20,1 20,1 38,48",
    "w": "64|5,47 5,47 17,1 17,1 31,40 31,40 44,1 44,1 58,48",
    "x": "44|6,47 6,47 38,0;38,48 38,48 5,0",
    "y": "46|6,47 6,47 12,14 26,8 38,46 38,46 34,-10 20,-34 6,-28",
    "z": "44|7,46 36,47 36,47 6,1 6,1 40,2",
    "A": "68|4,0 4,0 32,99 32,99 62,0;15,36 52,38",
    "B": "60|10,98 10,98 10,0;9,97 44,96 46,62 12,53 12,53 54,46 52,4 10,0",
    "C": "62|56,82 38,99 14,84 8,40 22,4 42,0 58,18",
    "D": "66|10,98 10,98 11,0;8,98 42,94 60,58 52,16 10,0",
    "E": "54|48,96 10,97 10,97 10,0 10,0 50,1;10,52 42,53",
    "F": "52|50,97 10,97 10,97 10,-2;10,52 42,53",
    "G": "66|58,82 38,99 14,84 8,40 22,4 46,2 58,40 58,40 38,40",
    "H": "66|10,98 10,98 10,0;56,99 56,99 57,0;10,52 56,53",
    "I": "28|14,98 14,98 14,0",
    "J": "44|34,98 34,98 35,22 22,0 6,14",
    "K": "60|10,98 10,98 10,0;52,98 12,50 12,50 54,0",
    "L": "52|10,98 10,98 10,1 10,1 50,2",
    "M": "82|8,0 8,0 14,98 14,98 40,26 40,26 66,98 66,98 74,0",
    "N": "68|9,0 9,0 10,98 10,98 58,2 58,2 59,98",
    "O": "70|36,99 12,84 8,40 24,2 46,2 62,40 58,82 36,99",
    "P": "56|10,98 10,98 10,-2;9,97 46,96 52,70 40,50 11,46",
    "Q": "72|36,99 12,84 8,40 24,2 46,2 62,40 58,82 36,99;42,24 68,-8",
    "R": "60|10,98 10,98 10,0;9,97 46,96 50,70 38,52 12,48 12,48 56,0",
    "S": "54|48,84 30,99 10,80 20,56 42,44 48,18 28,-1 6,14",
    "T": "58|4,97 54,98;29,97 29,97 29,0",
    "U": "64|9,98 9,98 10,26 30,0 52,20 55,98",
    "V": "62|4,98 4,98 30,0 30,0 58,99",
    "W": "86|4,98 4,98 22,0 22,0 42,74 42,74 62,0 62,0 82,99",
    "X": "60|6,98 6,98 54,0;54,99 54,99 5,0",
    "Y": "58|4,98 4,98 29,50 29,50;55,99 55,99 29,50 28,0",
    "Z": "58|7,97 52,98 52,98 5,1 5,1 54,2",
    "0": "52|28,98 10,80 8,30 22,1 38,10 44,50 40,84 28,98",
    "1": "34|6,76 20,98 20,98 21,0",
    "2": "52|8,78 24,98 42,82 34,50 7,1 7,1 46,3",
    "3": "50|8,88 28,98 40,78 20,54 20,54 42,40 40,8 20,-1 5,10",
    "4": "54|32,98 32,98 6,34 6,34 48,36;36,62 36,62 35,-2",
    "5": "50|42,97 12,97 12,97 9,56 9,56 32,60 44,30 30,1 6,6",
    "6": "50|38,96 16,70 8,28 22,0 42,16 36,46 18,46 9,28",
    "7": "48|6,96 44,97 44,97 16,0;12,48 38,50",
    "8": "50|26,52 10,72 24,98 40,80 26,52 8,26 22,0 42,16 26,52",
    "9": "50|41,70 24,52 8,68 20,97 38,90 42,60 38,20 24,-1",
    ".": "20|9,1 10,2",
    ",": "20|11,4 11,4 7,-14",
    "-": "40|6,34 34,35",
    "/": "44|4,-8 4,-8 40,100",
    ":": "20|9,4 10,5;9,38 10,39",
    "'": "16|8,98 8,98 7,80",
    "+": "50|6,36 44,37;25,58 25,58 25,14",
    "#": "60|20,90 20,90 12,8;44,90 44,90 36,8;4,64 54,65;2,34 52,35",
    "(": "30|24,104 24,104 9,50 24,-8",
    ")": "30|6,104 6,104 20,50 6,-8",
    "&": "64|56,2 16,74 28,98 40,80 10,30 18,2 38,4 54,34",
    "@": "84|56,58 34,60 26,34 42,22 56,54 56,54 60,26 76,44 66,90 30,96 8,50 26,4 66,6",
    "?": "44|8,80 24,98 38,80 22,50 21,28;21,2 22,3",
    "!": "20|10,98 10,98 10,28;10,2 11,3",
}


@dataclass(frozen=True)
class Hand:
    """A writer's hand: pixels to a capital, slant (x per y), width of letters and pen, how unruly it is."""

    size: float
    slant: float = 0.1
    stretch: float = 1.0
    pen: float = 1.6
    unrest: float = 0.04

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: float) -> Hand:
        """A hand of a given size, otherwise by chance."""
        pen = max(1.0, size * float(rng.uniform(0.045, 0.09)))
        return cls(
            size, float(rng.uniform(-0.08, 0.4)), float(rng.uniform(0.75, 1.15)), pen, float(rng.uniform(0.02, 0.06))
        )

    def can_write(self, text: str) -> bool:
        """Whether every character has a glyph."""
        return all(character in GLYPHS for character in text)

    def write(self, rng: np.random.Generator, text: str) -> tuple[NDArray[np.uint8], tuple[float, float], list[float]]:
        """The ink of a word and where its characters lie.

        Returns uint8 [h, w] coverage, (x, y) of its top left corner from the pen's start on the baseline (y down), and the
        x of each character's start and of the last one's end on the baseline, pixels. KeyError for an unknown character.
        """
        scale = self.size / 100
        lines: list[Points] = []
        edges = [0.0]
        tilt = float(rng.normal(0, 0.02))
        for character in text:
            advance, strokes = _GLYPHS[character]
            drift = rng.normal(0, 100 * self.unrest, 2) * (0.3, 0.6)
            grow = 1 + float(rng.normal(0, 1.2 * self.unrest))
            for stroke in strokes:
                bent = (stroke + rng.normal(0, 40 * self.unrest, 2)[None] * 0.3) * grow + drift
                curve = _spline(bent + rng.normal(0, 25 * self.unrest, bent.shape))
                x = edges[-1] + (curve[:, 0] * self.stretch + curve[:, 1] * self.slant) * scale
                lines.append(np.stack([x, -curve[:, 1] * scale + tilt * x], axis=1))
            edges.append(edges[-1] + advance * self.stretch * scale * (1 + float(rng.normal(0, self.unrest))))
        every = np.concatenate(lines)
        margin = self.pen / 2 + 2
        x0, y0 = np.floor(every.min(axis=0) - margin)
        x1, y1 = np.ceil(every.max(axis=0) + margin)
        ink = np.zeros((int(y1 - y0) + 1, int(x1 - x0) + 1), dtype=np.uint8)
        thick = max(1, round(self.pen))
        fixed = [np.round((line - (x0, y0)) * (1 << _SHIFT)).astype(np.int32) for line in lines]
        cv2.polylines(ink, fixed, False, 255, thick, cv2.LINE_AA, _SHIFT)
        return ink, (float(x0), float(y0)), edges


def _spline(points: Points, steps: int = 6) -> Points:
    """Catmull-Rom through the points, ends doubled, float64 [n, 2]."""
    p = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i][:, None, :] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])


def _parsed(text: str) -> tuple[float, list[Points]]:
    advance, strokes = text.split("|")
    return float(advance), [
        np.array([pair.split(",") for pair in stroke.split(" ")], dtype=np.float64) for stroke in strokes.split(";")
    ]


_GLYPHS = {character: _parsed(text) for character, text in GLYPHS.items()}
