"""What page ingest is told and what it finds, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gridscribe.errors import UsageError
from gridscribe.ingest.images import Account
from gridscribe.ingest.limits import GIB, MIB, Limits
from gridscribe.ingest.sources import Source
from gridscribe.layout import page_image
from gridscribe.values import Window

Kind = Literal["pdf", "image"]
POINTS = 72.0
"""To an inch."""
A4_SIDE = 842.0
"""Points of the longer side that a picture is taken to have where it states no resolution."""
DPI_STATED = (30.0, 2400.0)
"""Resolutions that are believed: scanners write these; 1 and 0 are what programs write that know of none."""


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How pages are read. A job's config states it once."""

    dpi: float = 150.0
    """Dots per inch that pages are rendered at; part of the product."""
    max_pixels: int = 64_000_000
    """Pixels of a page at `dpi`."""
    max_source_pixels: int = 250_000_000
    """Pixels of a picture as it is stored, checked before it is decoded."""
    max_pages: int = 20_000
    """Pages of one file; more are refused."""
    max_file: int = 2 * GIB
    """Bytes of one file."""
    max_memory: int = 6 * GIB
    """Bytes of address space of the process that opens files."""
    page_seconds: float = 60.0
    """What opening a file, and rendering a page, may take; then its process is ended."""
    limits: Limits = field(default_factory=lambda: Limits(documents=True))

    def __post_init__(self) -> None:
        if isinstance(self.limits, Mapping):  # as configs and plans state them
            try:
                object.__setattr__(self, "limits", Limits(**{**self.limits, "documents": True}))
            except TypeError as exc:
                raise UsageError(f"page option 'limits': {exc}; allowed: {', '.join(Limits.__annotations__)}") from exc
        if not (math.isfinite(self.dpi) and 36 <= self.dpi <= 1200):
            raise UsageError(f"page option 'dpi' needs a number from 36 to 1200, got {self.dpi}")
        for name in ("max_pixels", "max_source_pixels", "max_pages", "max_file"):
            if getattr(self, name) < 1:
                raise UsageError(f"page option {name!r} needs at least 1, got {getattr(self, name)}")
        if self.max_memory < 256 * MIB:
            raise UsageError(f"page option 'max_memory' needs at least {256 * MIB} bytes, got {self.max_memory}")
        if not self.page_seconds > 0:
            raise UsageError(f"page option 'page_seconds' needs more than 0, got {self.page_seconds}")

    def to_json(self) -> dict[str, Any]:
        """Plain data; `PageOptions(**data)` reads it."""
        return asdict(self)

    def settings(self) -> dict[str, Any]:
        """The options that results depend on: the others only refuse."""
        return {"dpi": self.dpi}


@dataclass(frozen=True, slots=True)
class PageShape:
    """A page as its file states it."""

    width: float
    """Points, as it is shown: rotation applied."""
    height: float
    flags: tuple[str, ...] = ()
    """"dpi-assumed" where a picture states no resolution, "rotated" where the file has it turned."""

    def pixels(self, dpi: float) -> tuple[int, int]:
        """(height, width) of its raster at `dpi`, at least 1 x 1."""
        return tuple(max(1, math.ceil(side * dpi / POINTS - 1e-6)) for side in (self.height, self.width))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a file holds: a shape for each page, or the sentence that says why that page cannot be read."""

    kind: Kind
    pages: tuple[PageShape | str, ...]


@dataclass(frozen=True, slots=True)
class PageImage:
    """One page to process."""

    document: str
    """Id of its document: slug of the path and 8 hex of what the file is."""
    page: int
    """From 0."""
    pages: int
    """Of the document."""
    source: str
    """The document's place below the input root or in its archive, for people."""
    file: Source
    kind: Kind
    height: int
    """Pixels of its raster at the job's dpi."""
    width: int
    flags: tuple[str, ...] = ()

    @property
    def image_id(self) -> str:
        """Of the page: what its objects are called."""
        return page_image(self.document, self.page)

    @property
    def name(self) -> str:
        """What a message and an account call it: the file, and its page counted from 1 as people do."""
        return page_name(self.file.name, self.page, self.pages)

    @property
    def window(self) -> Window:
        """All of its pixels."""
        return Window(0, 0, self.height, self.width)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `PageImage.from_json` reads it."""
        return {**asdict(self), "flags": list(self.flags)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PageImage:
        """The inverse of `to_json`."""
        return cls(**{**data, "file": Source.from_json(data["file"]), "flags": tuple(data["flags"])})


def page_name(file: str, page: int, pages: int) -> str:
    """A page as an account names it: a file of one page by itself, else `file#page=3`, counted from 1."""
    return file if pages == 1 else f"{file}#page={page + 1}"


@dataclass(frozen=True, slots=True)
class PageDiscovery:
    """What lies under the inputs: every page of every document once, and every other file once."""

    pages: tuple[PageImage, ...]
    accounts: tuple[Account, ...]
