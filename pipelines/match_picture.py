"""A picture of matches: their outlines over the image that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from shapely import get_parts
from shapely.geometry.base import BaseGeometry

from gridscribe.pipelines.picture import LEGEND
from gridscribe.values import Window

BEST, OTHER, UNDER = "#ff2bd6", "#ffe14d", "black"
LEAST = 512
"""Pixels a side of the picture at least: smaller images are shown larger, by a whole factor."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A match to be drawn."""

    shape: BaseGeometry
    """In pixels of the image."""
    text: str
    best: bool


def draw_matches(photo: NDArray[np.uint8], view: Window, outlines: Sequence[Outline], title: str) -> bytes:
    """PNG bytes: the pixels of `view`, uint8 [h, w, 3], with outlines over them, the best match's on top, and the title."""
    factor = max(1, -(-LEAST // max(view.height, view.width)))
    picture = Image.fromarray(photo).resize((view.width * factor, view.height * factor), Image.Resampling.NEAREST)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=16)
    for outline in sorted(outlines, key=lambda one: one.best):
        color, wide = (BEST, 3) if outline.best else (OTHER, 2)
        for polygon in get_parts(outline.shape):
            for ring in (polygon.exterior, *polygon.interiors):
                line = [((x - view.col) * factor, (y - view.row) * factor) for x, y in ring.coords]
                pen.line(line, fill=UNDER, width=wide + 2, joint="curve")
                pen.line(line, fill=color, width=wide, joint="curve")
    for outline in sorted(outlines, key=lambda one: one.best):
        left, top, _, _ = outline.shape.bounds
        at = max(2.0, (left - view.col) * factor), max(2.0, (top - view.row) * factor - 20)
        pen.text(at, outline.text, fill=BEST if outline.best else OTHER, font=font, stroke_width=2, stroke_fill=UNDER)
    sheet = Image.new("RGB", (picture.width, picture.height + LEGEND), "white")
    sheet.paste(picture, (0, LEGEND))
    ImageDraw.Draw(sheet).text((4, 4), title, fill="black", font=ImageFont.load_default(size=18))
    out = BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
