"""Images with captions and named regions: what the alignment learns from, as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AnnotatedRegion:
    """One object of an image."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom, as fractions of the image's width and height."""
    category: str
    caption: str | None = None
    """A phrase for this object alone; None where only its category is known."""


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image file and what is said of it."""

    path: Path
    regions: tuple[AnnotatedRegion, ...]
    caption: str | None = None
    """Of the whole image. None: it is made up of the regions in view, so that any part of the image can have one."""
