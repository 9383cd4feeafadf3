"""The fonts that pages are set in: those that come with matplotlib, Pillow and PDFium, or the machine's own where asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import ImageFont

from gridscribe.errors import UsageError

from .stems import SCRIPTS

FontSource = Literal["shipped", "standard", "system"]
Font = ImageFont.FreeTypeFont
_LATIN = "".join(map(chr, range(33, 127))) + "£€\u2013\u2014\u2019\u2022"
_PILLOW = "pillow"  # in place of a path: the font inside Pillow
_PDF = "pdf:"  # in place of a path, with a name: one of the standard fonts of PDF, as PDFium carries them


@dataclass(frozen=True, slots=True)
class Family:
    """A typeface: font files by cut (None: not there, the nearest is taken), the scripts it has, and its italic's slant."""

    name: str
    regular: str
    bold: str | None = None
    italic: str | None = None
    bold_italic: str | None = None
    scripts: tuple[str, ...] = ()

    def path(self, bold: bool, italic: bool) -> str:
        """The file of a cut."""
        if bold and italic and self.bold_italic:
            return self.bold_italic
        return (self.bold if bold else None) or (self.italic if italic else None) or self.regular

    def slant(self, bold: bool, italic: bool) -> float:
        """How far a cut leans, x per y."""
        return 0.21 if italic and self.path(bold, italic) in (self.italic, self.bold_italic) else 0.0


@cache
def families(source: str = "shipped") -> tuple[Family, ...]:
    """The families of a source, in an order that depends on nothing else.

    "shipped": DejaVu Sans, Serif and Mono and STIX General of matplotlib, and Pillow's own font: the same everywhere.
    "standard": those, and the faces that PDFium shows for Helvetica, Times and Courier: what most office paper is set in.
    "system": all of them, and every installed family with the whole of printable ASCII, by name.
    """
    import matplotlib as mpl

    ttf = Path(mpl.get_data_path()) / "fonts" / "ttf"

    def cuts(name: str, stem: str, bold: str, italic: str, both: str) -> Family:
        paths = [str(ttf / f"{stem}{cut}.ttf") for cut in ("", bold, italic, both)]
        return Family(name, paths[0], paths[1], paths[2], paths[3], _scripts(paths[0]))

    shipped = (
        cuts("DejaVu Sans", "DejaVuSans", "-Bold", "-Oblique", "-BoldOblique"),
        cuts("DejaVu Serif", "DejaVuSerif", "-Bold", "-Italic", "-BoldItalic"),
        cuts("DejaVu Sans Mono", "DejaVuSansMono", "-Bold", "-Oblique", "-BoldOblique"),
        cuts("STIX General", "STIXGeneral", "Bol", "Italic", "BolIta"),
        Family("Pillow", _PILLOW),
    )
    if source == "shipped":
        return shipped
    if source not in ("standard", "system"):
        raise UsageError(f"--fonts is {source!r}: allowed are shipped, standard and system")
    standard = (
        *shipped,
        _pdf_family("Helvetica", "", "-Bold", "-Oblique", "-BoldOblique"),
        _pdf_family("Times", "-Roman", "-Bold", "-Italic", "-BoldItalic"),
        _pdf_family("Courier", "", "-Bold", "-Oblique", "-BoldOblique"),
    )
    return standard if source == "standard" else standard + _installed({family.name for family in standard})


def _pdf_family(name: str, *cuts: str) -> Family:
    regular, bold, italic, both = (f"{_PDF}{name}{cut}" for cut in cuts)
    return Family(f"PDF {name}", regular, bold, italic, both, scripts=_scripts(regular))


def _installed(known: set[str]) -> tuple[Family, ...]:
    from matplotlib import font_manager

    found: dict[str, dict[tuple[bool, bool], str]] = {}
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda e: (e.name, e.fname)):
        if entry.name in known or entry.stretch not in ("normal", "condensed") or not Path(entry.fname).is_file():
            continue
        if "fonts/ttf" in Path(entry.fname).as_posix() and "mpl-data" in entry.fname:
            continue  # matplotlib's others: pieces of mathematics, in encodings of their own
        bold = entry.weight in ("bold", "semibold", "heavy", "black") or (
            isinstance(entry.weight, int) and entry.weight >= 600
        )
        name = entry.name if entry.stretch == "normal" else f"{entry.name} {entry.stretch}"
        found.setdefault(name, {}).setdefault((bold, entry.style in ("italic", "oblique")), entry.fname)
    made = []
    for name, paths in sorted(found.items()):
        regular = paths.get((False, False))
        if regular is not None and _has(regular, _LATIN):
            others = paths.get((True, False)), paths.get((False, True)), paths.get((True, True))
            made.append(Family(name, regular, *others, scripts=_scripts(regular)))
    return tuple(made)


def _scripts(path: str) -> tuple[str, ...]:
    return tuple(name for name, letters in SCRIPTS.items() if _has(path, letters + letters.upper()))


@cache
def _characters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(_file(path)).get_charmap())


def _has(path: str, text: str) -> bool:
    try:
        return _characters(path).issuperset(map(ord, text))
    except RuntimeError:  # FreeType's word for a file that it cannot read: that font is not used
        return False


@lru_cache(maxsize=512)
def font(path: str, pixels: float) -> Font:
    """A font file at a size in pixels to the em; `layout_engine` basic, so that raqm's presence changes nothing."""
    if path == _PILLOW:
        made = ImageFont.load_default(pixels)
        if not isinstance(made, ImageFont.FreeTypeFont):
            raise UsageError("Pillow was built without FreeType, which pages are set with: install a wheel of Pillow")
        return made
    return ImageFont.truetype(_file(path), pixels, layout_engine=ImageFont.Layout.BASIC)


def _file(path: str) -> str | BytesIO:
    return BytesIO(_pdf_font(path.removeprefix(_PDF))) if path.startswith(_PDF) else path


@cache
def _pdf_font(name: str) -> bytes:
    """The file (CFF) of a standard font of PDF."""
    import ctypes

    import pypdfium2
    import pypdfium2.raw as raw

    document = pypdfium2.PdfDocument.new()
    try:
        loaded = raw.FPDFText_LoadStandardFont(document.raw, name.encode())
        size = ctypes.c_size_t()
        raw.FPDFFont_GetFontData(loaded, None, 0, ctypes.byref(size))
        data = (ctypes.c_uint8 * size.value)()
        if not raw.FPDFFont_GetFontData(loaded, data, size.value, ctypes.byref(size)) or not size.value:
            raise UsageError(f"PDFium has no font {name!r}: install the pypdfium2 that constraints.txt names")
        raw.FPDFFont_Close(loaded)
    finally:
        document.close()
    return bytes(data)
