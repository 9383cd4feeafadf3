"""What a page says and where: words, BPE tokens with their outlines, facts; its file, and masks made from it.

A token's region is a polygon, in 1/16 pixel of the page image, and not a raster of labels: polygons are some tens of
kilobytes where a raster of labels is as large as the page; tokens may overlap (a stamp over a line); and training, which
crops and resizes pages, gets the mask at the scale of its features from the same outline, where a label raster loses
thin tokens. Edges are cut finely before the scan's transform, so that a warped page's outlines bend with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.canonical import canonical_json
from gridscribe.errors import UnreadableError

UNITS = 16
FORMAT = "gridscribe-page-truth-1"
Mask = NDArray[np.bool_]
Outline = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is printed, the line that it stands on, and its tokens `first` to `last` (exclusive)."""

    text: str
    line: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """A BPE token: its id in open_clip's vocabulary, its word's number, and its outline, int32 [n, 2] (x, y), 1/16 pixel."""

    id: int
    word: int
    outline: Outline

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 in pixels; pixel (row, col) covers [col, col + 1) x [row, row + 1)."""
        (x0, y0), (x1, y1) = self.outline.min(axis=0) / UNITS, self.outline.max(axis=0) / UNITS
        return float(x0), float(y0), float(x1), float(y1)


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that a page states: its text, the numbers of its words, and of the words that name it (may be none)."""

    value: str
    words: tuple[int, ...]
    key_words: tuple[int, ...] = ()


@dataclass(frozen=True)
class PageTruth:
    """The truth of one page image of `height` x `width` pixels; `words` and `tokens` are in reading order.

    `kind` is the sort of page, `dpi` its resolution, `facts` such as {"total amount": Fact("1,234.50", ...)}, `image` the
    file and `frame` the frame in it that shows the page, `effects` the names of what scanning did to it.
    """

    image: str
    frame: int
    page: int
    height: int
    width: int
    dpi: float
    kind: str
    words: tuple[Word, ...]
    tokens: tuple[Token, ...]
    facts: dict[str, Fact] = field(default_factory=dict)
    effects: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @cached_property
    def lines(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the words of each line, in reading order."""
        made: dict[int, list[int]] = {}
        for number, word in enumerate(self.words):
            made.setdefault(word.line, []).append(number)
        return tuple(tuple(words) for words in made.values())

    def text_mask(self) -> Mask:
        """bool [H, W]: the union of all token masks."""
        return rasterise([token.outline for token in self.tokens], self.shape)

    def token_mask(self, k: int) -> Mask:
        """bool [H, W]: pixels whose centre lies in token k. Empty for a token thinner than the gap between centres."""
        return rasterise([self.tokens[k].outline], self.shape)

    def word_mask(self, number: int) -> Mask:
        """bool [H, W]: the union of a word's token masks."""
        return self.words_mask([number])

    def words_mask(self, numbers: Iterable[int]) -> Mask:
        """bool [H, W]: the union of the token masks of several words, such as a fact's."""
        spans = [self.words[n] for n in numbers]
        return rasterise([t.outline for w in spans for t in self.tokens[w.first : w.last]], self.shape)

    def words_box(self, numbers: Iterable[int]) -> tuple[float, float, float, float] | None:
        """x0, y0, x1, y1 in pixels around several words; None where they have no token."""
        boxes = [t.box for n in numbers for t in self.tokens[self.words[n].first : self.words[n].last]]
        if not boxes:
            return None
        each = np.array(boxes)
        (x0, y0), (x1, y1) = each[:, :2].min(axis=0), each[:, 2:].max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)

    def to_bytes(self) -> bytes:
        """The page's file: canonical JSON, columns instead of rows, outlines one after another with their lengths."""
        columns = {
            "format": FORMAT,
            "image": self.image,
            "frame": self.frame,
            "page": self.page,
            "size": [self.height, self.width],
            "dpi": self.dpi,
            "kind": self.kind,
            "effects": list(self.effects),
            "words": [w.text for w in self.words],
            "lines": [w.line for w in self.words],
            "tokens_of_word": [w.last - w.first for w in self.words],
            "token_ids": [t.id for t in self.tokens],
            "outline_points": [len(t.outline) for t in self.tokens],
            "outlines": [int(v) for t in self.tokens for v in t.outline.ravel()],
            "outline_unit": 1 / UNITS,
            "facts": {
                name: {"value": f.value, "words": list(f.words), "key_words": list(f.key_words), "box": self.words_box(f.words)}
                for name, f in self.facts.items()
            },
        }  # fmt: skip
        return canonical_json(columns)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "page truth") -> PageTruth:
        """What `to_bytes` wrote. Raises UnreadableError, naming `name`, where the bytes are not such a file."""
        try:
            held: dict[str, Any] = json.loads(data)
            if held["format"] != FORMAT or held["outline_unit"] != 1 / UNITS:
                raise UnreadableError(f"{name} has format {held['format']!r}, this version reads {FORMAT!r}")
            flat = np.array(held["outlines"], dtype=np.int32).reshape(-1, 2)
            ends = np.cumsum(held["outline_points"], dtype=np.int64)
            outlines = np.split(flat, ends[:-1]) if len(ends) else []
            last = np.cumsum(held["tokens_of_word"], dtype=np.int64).tolist()
            words = tuple(
                Word(text, line, end - count, end)
                for text, line, count, end in zip(
                    held["words"], held["lines"], held["tokens_of_word"], last, strict=True
                )
            )
            owner = [number for number, word in enumerate(words) for _ in range(word.first, word.last)]
            tokens = tuple(Token(i, w, o) for i, w, o in zip(held["token_ids"], owner, outlines, strict=True))
            facts = {
                key: Fact(f["value"], tuple(f["words"]), tuple(f["key_words"])) for key, f in held["facts"].items()
            }
            height, width = held["size"]
            return cls(
                held["image"], held["frame"], held["page"], height, width, held["dpi"], held["kind"], words, tokens, facts,
                tuple(held["effects"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableError(f"{name} is no page truth: {type(error).__name__} {error}") from error

    @classmethod
    def load(cls, path: Path | str) -> PageTruth:
        """The truth in a file `<id>_pNNN_tokens.json`; OSError where there is none, UnreadableError where it is no such."""
        return cls.from_bytes(Path(path).read_bytes(), str(path))

    def scaled_masks(self, shape: tuple[int, int]) -> list[Mask]:
        """Token masks, bool [h, w] each, as seen on a raster of another shape, such as the grid of features."""
        factor = np.array([shape[1] / self.width, shape[0] / self.height])
        return [rasterise([token.outline * factor], shape) for token in self.tokens]


def rasterise(outlines: Iterable[NDArray[Any]], shape: tuple[int, int]) -> Mask:
    """bool [H, W]: pixels whose centre lies in any of the closed outlines (each [n, 2], (x, y), in 1/16 pixel).

    The winding number is counted at centres (col + 0.5, row + 0.5), half-open, so that outlines sharing an edge share no
    pixel and leave none between them. Outlines may be open or closed rings, of either direction, but not cross themselves.
    """
    rings = [np.asarray(o, dtype=np.float64) / UNITS for o in outlines]
    turns = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    if rings:
        after = [np.roll(ring, -1, axis=0) for ring in rings]
        signs = [
            np.full(len(a), 1 if (a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]).sum() > 0 else -1)
            for a, b in zip(rings, after, strict=True)
        ]
        _count_crossings(turns, np.concatenate(rings), np.concatenate(after), np.concatenate(signs))
    return np.cumsum(turns, axis=1)[:, :-1] != 0


def _count_crossings(
    turns: NDArray[np.int32], start: NDArray[np.float64], end: NDArray[np.float64], sign: NDArray[np.int_]
) -> None:
    up = end[:, 1] < start[:, 1]
    low, high = np.where(up[:, None], end, start), np.where(up[:, None], start, end)  # the same sum for a shared edge
    height, width = turns.shape[0], turns.shape[1] - 1
    row0 = np.clip(np.ceil(low[:, 1] - 0.5), 0, height).astype(np.int64)
    row1 = np.clip(np.ceil(high[:, 1] - 0.5), 0, height).astype(np.int64)
    counts = row1 - row0
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + row0[edge]
    slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
    x = low[edge, 0] + (row + 0.5 - low[edge, 1]) * slope
    col = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    np.add.at(turns, (row, col), np.where(up, sign, -sign)[edge])
