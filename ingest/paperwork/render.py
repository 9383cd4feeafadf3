"""From a seed to a document: what sort it is, how many pages, each set, scanned, and told apart from its background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gridscribe.errors import UsageError

from .accounts import invoice, receipt
from .fonts import FontSource, families
from .forms import form
from .geometry import Geometry
from .letters import letter, notice
from .look import Look, drawn_look
from .maps import blank, town_map
from .papers import paper, table
from .scan import Scan, scan
from .sheet import Colour, Sheet
from .truth import UNITS, Fact, PageTruth, Token, Word
from .words import WORD_SOURCES, Wording, WordSource

KINDS: dict[str, Callable[[Sheet, Wording, Look], None]] = {
    "letter": letter,
    "invoice": invoice,
    "form": form,
    "paper": paper,
    "table": table,
    "receipt": receipt,
    "map": town_map,
    "notice": notice,
    "blank": blank,
}
_DECK = ("letter", "invoice", "form", "paper", "table", "receipt", "map", "notice", "blank", "invoice", "form", "paper")
_FOLLOWING = {  # what later pages of a document are
    "letter": ("letter", "table", "form", "blank"),
    "invoice": ("table", "letter", "receipt"),
    "form": ("form", "table", "map"),
    "paper": ("paper", "paper", "table"),
    "table": ("table", "paper"),
    "map": ("map", "table"),
    "notice": ("notice", "blank"),
}
_SALT = 41_507
Container = Literal["png", "jpeg", "tiff"]


@dataclass(frozen=True, eq=False)
class Page:
    """One page: its scan and its truth (whose `image` and `frame` hold once the document is written)."""

    scan: Scan
    truth: PageTruth


@dataclass(frozen=True, eq=False)
class Document:
    """A generated document: one file of several frames where `container` is "tiff", else a file for each page."""

    id: str
    kind: str
    container: Container
    pages: tuple[Page, ...]


def generate_document(seed: int, index: int, fonts: FontSource = "shipped", words: WordSource = "stems") -> Document:
    """Document number `index` of a seed: the same arguments give the same pixels, whatever else is generated.

    Twelve documents in a row hold every kind of page (`KINDS`). About a tenth are in another script than English's, as far
    as the fonts have it. Raises UsageError for a negative number or unknown `fonts` or `words`.
    """
    if seed < 0 or index < 0:
        raise UsageError(f"seed and index must be at least 0, got {seed} and {index}")
    check_sources(fonts, words)
    deal = np.random.default_rng([seed, index // len(_DECK), _SALT])
    kind = _DECK[int(deal.permutation(len(_DECK))[index % len(_DECK)])]
    rng = np.random.default_rng([seed, index, _SALT])
    script = str(rng.choice(["greek", "cyrillic", "accented", "armenian"])) if rng.random() < 0.12 else None
    look = drawn_look(rng, fonts, script)
    container: Container = ("png", "jpeg", "tiff")[int(rng.choice(3, p=[0.4, 0.35, 0.25]))]
    later = _FOLLOWING.get(kind, ())
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.5, 0.2, 0.1])) if container == "tiff" and later else 1
    if container != "tiff" and later and rng.random() < 0.12:
        count = 2
    kinds = [kind, *(later[int(rng.integers(len(later)))] for _ in range(count - 1))]
    size, dpi = _format(rng, kind)
    identifier = f"page-{seed}-{index:05d}"
    pages = []
    for number, name in enumerate(kinds):
        page_rng = np.random.default_rng([seed, index, number, _SALT])
        pages.append(_page(page_rng, name, size, dpi, look, script, words, number))
    return Document(identifier, kind, container, tuple(pages))


def check_sources(fonts: str, words: str) -> None:
    """Raises UsageError for sources that are not known."""
    families(fonts)
    if words not in WORD_SOURCES:
        raise UsageError(f"--words is {words!r}: allowed are {' and '.join(WORD_SOURCES)}")


def draw_sheet(
    rng: np.random.Generator, kind: str, size: tuple[float, float], dpi: float, look: Look, script: str | None, *,
    words: WordSource = "stems", silent: bool = False,
) -> Sheet:  # fmt: skip
    """A sheet of that kind before it is scanned; `size` in points. With `silent`, the same without the ink of its texts."""
    paper: Colour = (255, 255, 255)
    if rng.random() < 0.25:
        tint = rng.integers(0, 60, 3)
        paper = 255 - int(tint[0]) // 2, 255 - int(tint[1]) // 2, 255 - int(tint[2])
    sheet = Sheet(*size, dpi, rng, paper, silent)
    KINDS[kind](sheet, Wording(rng, script, words), look)
    if kind == "receipt":
        _tear_off(sheet)
    return sheet


def _format(rng: np.random.Generator, kind: str) -> tuple[tuple[float, float], float]:
    """Width and height in points, and dots per inch, such that most pages have 0.5 to 2 megapixels."""
    dpi = float(rng.choice([72, 75, 96, 100, 100, 110, 120, 120, 130, 144, 150]))
    if kind == "receipt":
        return (float(rng.uniform(160, 240)), 760.0), dpi * 1.3
    width, height = ((595.0, 842.0), (612.0, 792.0), (420.0, 595.0), (516.0, 729.0))[
        int(rng.choice(4, p=[0.5, 0.3, 0.1, 0.1]))
    ]
    if width < 450:
        dpi *= 1.25
    landscape = {"table": 0.4, "map": 0.5, "notice": 0.4, "blank": 0.2}.get(kind, 0.0)
    return ((height, width) if rng.random() < landscape else (width, height)), dpi


def _tear_off(sheet: Sheet) -> None:
    """Ends a receipt's strip a little below its last ink."""
    grey = np.asarray(sheet.image.convert("L"))
    changed = np.flatnonzero((grey != grey[0, 0]).any(axis=1))
    low = max(
        [int(changed[-1]) if len(changed) else 0] + [int(o[:, 1].max()) for w in sheet.words for _, o in w.tokens]
    )
    end = min(sheet.image.height, low + round(float(sheet.rng.uniform(10, 30)) * sheet.scale))
    sheet.image = sheet.image.crop((0, 0, sheet.image.width, end))
    sheet.ink = sheet.ink.crop((0, 0, sheet.ink.width, end))


def _page(
    rng: np.random.Generator, kind: str, size: tuple[float, float], dpi: float, look: Look, script: str | None, words: WordSource,
    number: int,
) -> Page:  # fmt: skip
    sheet = draw_sheet(rng, kind, size, dpi, look, script, words=words)
    behind = None
    if rng.random() < 0.14:
        other = "paper" if kind in ("paper", "receipt") else "letter"
        behind = draw_sheet(rng, other, size, dpi, look, script, words=words).ink.crop((0, 0, *sheet.image.size))
    scanned = scan(sheet.image, behind, rng)
    return Page(scanned, page_truth(sheet, scanned.geometry, scanned.effects, kind, number))


def page_truth(sheet: Sheet, geometry: Geometry, effects: tuple[str, ...], kind: str, number: int) -> PageTruth:
    """The truth of a sheet as it lies on its scan; words that came to lie outside the scan are left out."""
    flat = [outline for word in sheet.words for _, outline in word.tokens]
    placed = geometry.place(np.concatenate(flat)) if flat else np.zeros((0, 2))
    outlines = (
        np.split(np.round(placed * UNITS).astype(np.int32), np.cumsum([len(o) for o in flat])[:-1]) if flat else []
    )
    words: list[Word] = []
    tokens: list[Token] = []
    kept: dict[int, int] = {}
    at = 0
    for old, word in enumerate(sheet.words):
        rings = outlines[at : at + len(word.tokens)]
        at += len(word.tokens)
        every = np.concatenate(rings)
        outside = (every.max(axis=0) <= 0).any() or (
            every.min(axis=0) >= (geometry.width * UNITS, geometry.height * UNITS)
        ).any()
        if outside:
            continue
        kept[old] = len(words)
        words.append(Word(word.text, word.line, len(tokens), len(tokens) + len(rings)))
        tokens += [Token(i, kept[old], ring) for (i, _), ring in zip(word.tokens, rings, strict=True)]
    facts = {
        key: Fact(fact.value, tuple(kept[n] for n in fact.words), tuple(kept[n] for n in fact.key_words if n in kept))
        for key, fact in sheet.facts.items()
        if fact.words and all(n in kept for n in fact.words)
    }
    return PageTruth(
        "", 0, number, geometry.height, geometry.width, sheet.dpi, kind, tuple(words), tuple(tokens), facts, effects
    )
