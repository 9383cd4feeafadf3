"""Answers as HTML, for notebooks: what `_repr_html_` of each gives.

Nothing here reads storage, and every text is escaped. Pictures are small PNGs and outlines SVG, both within the HTML.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.colors import color_of, limits, painted, thinned
from gridscribe.client.found import Heatmap, Label, Match, Region, RegionFacts, TextMask
from gridscribe.client.page import Page, PageToken
from gridscribe.client.page_search import PageMatch
from gridscribe.client.pixel import Mask, Pixel

PICTURE = 320
"""Pixels of the longer side of a picture."""
OUTLINE = 120
"""Pixels of the longer side of an outline."""
LISTED = 20
"""Matches of a table, classes of a legend."""
LABELS = 3
"""Labels of a match in a table."""

Fact = tuple[str, Any]


def pixel_html(pixel: Pixel) -> str:
    """See `Pixel._repr_html_`."""
    title = pixel.class_name if pixel.class_name is not None else pixel.status
    swatch = "" if pixel.class_id is None else _swatch(pixel.class_id)
    names = [entry.name for entry in fields(pixel) if entry.name not in ("class_name", "class_id")]
    return _answer(swatch + _text(title), _known(pixel, names))


def mask_html(mask: Mask) -> str:
    """See `Mask._repr_html_`."""
    counts = np.bincount(mask.array.ravel(), minlength=256)
    total = max(1, mask.array.size)
    order = sorted(np.flatnonzero(counts[:255]).tolist(), key=lambda one: -counts[one])
    legend: list[Fact] = [
        (_swatch(one) + _text(mask.classes.get(one, one)), f"{counts[one] / total:.1%}") for one in order[:LISTED]
    ]
    if len(order) > LISTED:
        legend.append((f"{len(order) - LISTED} more", f"{sum(counts[one] for one in order[LISTED:]) / total:.1%}"))
    if counts[255]:
        legend.append(("no class", f"{counts[255] / total:.1%}"))
    facts = [("array", mask.array), ("coverage", mask.coverage), ("crs", mask.crs), ("images", mask.images)]
    facts += [("product", mask.product), ("model", mask.model)]
    return _answer("mask", facts, _picture(mask.array) + _table(legend, escaped=True))


def heat_html(heat: Heatmap) -> str:
    """See `Heatmap._repr_html_`."""
    known = limits(heat.array)
    spread = "none" if known is None else f"{known[0]:.3f} to {known[1]:.3f}"
    facts = [("array", heat.array), ("similarity", spread), ("coverage", heat.coverage), *_of_image(heat)]
    return _answer("heat map", facts, _picture(heat.array))


def text_html(found: TextMask) -> str:
    """See `TextMask._repr_html_`."""
    share = found.array.mean() if found.array.size else 0.0
    facts: list[Fact] = [("array", found.array), ("found", f"{share:.1%}"), ("method", found.method)]
    facts += _known(found, ("threshold",))
    facts += [("regions", len(found.regions))] if found.regions else []
    return _answer("what the phrase means", [*facts, *_of_image(found)], _picture(found.array))


def region_html(region: RegionFacts) -> str:
    """See `RegionFacts._repr_html_`."""
    facts: list[Fact] = [("score", region.score), ("query", region.query)] if isinstance(region, Match) else []
    names: tuple[str, ...] = (
        "region_id",
        "image",
        "confidence",
        "area_px",
        "area_m2",
        "height_mean",
        "height_p95",
        "labels",
        "bbox",
    )
    names += ("datetime", "source", "product", "model", "alignment")
    facts += _known(region, (*names, "embedding") if isinstance(region, Region) else names)
    title = _swatch(region.class_id) + _text(region.class_name)
    return _answer(title, facts, _outline(region, OUTLINE))


def page_html(page: Page) -> str:
    """See `Page._repr_html_`."""
    size = f"{page.width:.1f} x {page.height:.1f} points, {page.dpi:g} dpi"
    facts: list[Fact] = [("size", size), ("tokens", f"{page.grid_h} x {page.grid_w}, {page.kept} kept")]
    facts += _known(page, ("flags", "source", "text_mask", "product", "model"))
    return _answer(_text(f"page {page.page} of {page.document}"), facts)


def token_html(token: PageToken) -> str:
    """See `PageToken._repr_html_`."""
    names = ("index", "row", "col", "box", "embedding", "product", "model")
    return _answer(_text(f"{token.state} token"), _known(token, names))


def page_match_html(match: PageMatch) -> str:
    """See `PageMatch._repr_html_`."""
    names = ("score", "box", "box_px", "source", "product", "model")
    return _answer(_text(f"page {match.page} of {match.document}"), _known(match, names))


def matches_html(title: str, matches: Sequence[Match | PageMatch], *, complete: bool) -> str:
    """See `Found._repr_html_`: `complete` tells whether these are all."""
    rows = []
    for rank, match in enumerate(matches[:LISTED], 1):
        if isinstance(match, Match):
            name = _swatch(match.class_id) + _text(match.class_name)
            cells = [name, _text(match.region_id), _value(match.labels[:LABELS]), _outline(match, 36)]
        else:
            cells = [_text(match.document), _text(f"page {match.page}"), _value(match.box)]
        rows.append([str(rank), f"{match.score:.4f}", *cells])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    more = [f"{len(matches) - LISTED} more were read"] if len(matches) > LISTED else []
    if not complete:
        more.append("the search goes on when more is asked for: <code>load()</code> reads the rest")
    elif not matches:
        more.append("nothing was found")
    return f"<div><b>{_text(title)}</b><table>{body}</table>{'; '.join(more)}</div>"


def _answer(title: str, facts: Iterable[Fact], picture: str = "") -> str:
    """`title` and `picture` are HTML, the facts are not."""
    body = f"<div><b>{title}</b>{_table(facts)}</div>"
    beside = f"<div>{picture}</div>" if picture else ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start">{beside}{body}</div>'


def _table(facts: Iterable[Fact], *, escaped: bool = False) -> str:
    left = 'style="text-align:left"'
    rows = (
        f"<tr><td {left}>{name if escaped else _text(name)}</td><td {left}>{_value(value)}</td></tr>"
        for name, value in facts
    )
    return f"<table>{''.join(rows)}</table>"


def _value(value: Any) -> str:
    """A fact as HTML: an array as its shape, a list by its entries."""
    if isinstance(value, np.ndarray):
        return _text(f"{value.dtype} [{', '.join(map(str, value.shape))}]")
    if isinstance(value, float):
        return _text(f"{value:.9g}")
    if isinstance(value, datetime):
        return _text(value.isoformat())
    if isinstance(value, Label):
        return _text(f"{value.text} {value.score:.2f}")
    if isinstance(value, tuple):
        return ", ".join(_value(one) for one in value)
    return _text(value)


def _known(answer: Any, names: Iterable[str]) -> list[Fact]:
    """Fields that apply, with their units: neither None nor an empty tuple."""
    facts = [(name, getattr(answer, name)) for name in names]
    return [
        _with_unit(name, value)
        for name, value in facts
        if value is not None and not (isinstance(value, tuple) and not value)
    ]


def _with_unit(name: str, value: Any) -> Fact:
    units = {
        "height": "m",
        "height_mean": "m",
        "height_p95": "m",
        "gsd": "m per pixel",
        "area_m2": "m²",
        "area_px": "px",
    }
    places = {"lon": 7, "lat": 7, "confidence": 3, "x": 3, "y": 3}
    if name in places:
        return name, f"{value:.{places[name]}f}"
    if name in units:
        return name, f"{value:.2f} {units[name]}" if isinstance(value, float) else f"{value} {units[name]}"
    return name, value


def _of_image(answer: Heatmap | TextMask) -> list[Fact]:
    return _known(answer, ("image", "crs", "query", "product", "alignment"))


def _text(value: Any) -> str:
    return escape(str(value))


def _swatch(class_id: int) -> str:
    red, green, blue = color_of(class_id)
    look = f"display:inline-block;width:0.8em;height:0.8em;margin-right:0.4em;background:rgb({red},{green},{blue})"
    return f'<span style="{look}"></span>'


def _picture(array: NDArray[Any]) -> str:
    """An `img` of an array, whose longer side is shown with `PICTURE` pixels; nothing for an array without pixels."""
    if not array.size:
        return ""
    from PIL import Image

    few, _ = thinned(array, PICTURE)
    data = BytesIO()
    Image.fromarray(painted(few)).save(data, "PNG")
    height, width = (max(1, round(PICTURE * size / max(array.shape))) for size in array.shape)
    source = base64.b64encode(data.getvalue()).decode("ascii")
    look = f"width:{width}px;height:{height}px;max-width:none;image-rendering:pixelated;border:1px solid #8888"
    return f'<img alt="picture" style="{look}" src="data:image/png;base64,{source}">'


def _outline(region: RegionFacts, size: int) -> str:
    """The outline in pixels of the image as SVG."""
    import shapely

    west, north, east, south = region.geometry_px.bounds
    scale = size / max(east - west, south - north, 1e-9)
    simple = shapely.simplify(region.geometry_px, 0.5 / scale)
    rings = [ring for part in shapely.get_parts(simple) for ring in (part.exterior, *part.interiors)]
    path = "".join(
        "M"
        + "L".join(f"{(x - west) * scale:.1f},{(y - north) * scale:.1f}" for x, y in np.asarray(ring.coords)[:, :2])
        + "Z"
        for ring in rings
    )
    red, green, blue = color_of(region.class_id)
    box = f"-1 -1 {(east - west) * scale + 2:.1f} {(south - north) * scale + 2:.1f}"
    wide, tall = (f"{length * scale + 2:.0f}" for length in (east - west, south - north))
    return (
        f'<svg width="{wide}" height="{tall}" viewBox="{box}"><path d="{path}" fill-rule="evenodd" '
        f'fill="rgb({red},{green},{blue})" fill-opacity="0.6" stroke="rgb({red},{green},{blue})"/></svg>'
    )
