"""Answers as pictures of matplotlib: what `plot()` of each draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.colors import FOUND, color_of, limits, painted, thinned
from gridscribe.client.found import Affine, Heatmap, Match, RegionFacts, TextMask
from gridscribe.client.page import Page
from gridscribe.client.page_search import PageMatch
from gridscribe.client.pixel import Mask
from gridscribe.client.places import is_geographic
from gridscribe.errors import QueryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from shapely.geometry.base import BaseGeometry

Rgb = tuple[float, float, float]

LISTED = 20
"""Classes in a legend, those with most pixels."""
NUMBERED = 10
"""Matches that bear their rank."""


def mask_axes(mask: Mask, ax: Axes | None) -> Axes:
    """See `Mask.plot`."""
    from matplotlib.patches import Patch

    ax = _raster(ax, mask.array, mask.transform, mask.crs)
    counts = np.bincount(mask.array.ravel(), minlength=256)[:255]
    present = sorted(np.flatnonzero(counts).tolist(), key=lambda one: -counts[one])[:LISTED]
    patches = [Patch(color=_rgb(color_of(one)), label=mask.classes.get(one, str(one))) for one in sorted(present)]
    if patches:
        ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return ax


def heat_axes(heat: Heatmap, ax: Axes | None) -> Axes:
    """See `Heatmap.plot`."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    ax = _raster(ax, heat.array, heat.transform or heat.pixel_transform, heat.crs)
    ax.set_title(heat.image)
    known = limits(heat.array)
    if known is not None:
        bar = ScalarMappable(Normalize(*known), "viridis")
        ax.figure.colorbar(bar, ax=ax, label="similarity", shrink=0.8)
    return ax


def text_axes(found: TextMask, ax: Axes | None) -> Axes:
    """See `TextMask.plot`."""
    from gridscribe.client.frames import placed

    ax = _raster(ax, found.array, placed(found), found.crs)
    ax.set_title(f"{found.image}: {found.array.mean() if found.array.size else 0:.1%} found")
    for point in found.points:
        a, b, c, d, e, f = placed(found)
        col, row = point.col - found.window.col, point.row - found.window.row
        ax.plot(a * col + b * row + c, d * col + e * row + f, "+" if point.positive else "x", color="black")
    return ax


def region_axes(region: RegionFacts, ax: Axes | None) -> Axes:
    """See `RegionFacts.plot`."""
    shape = region.geometry_px if region.geometry is None else region.geometry
    ax = _outlines(ax, [shape], [_rgb(color_of(region.class_id))], on_earth=region.geometry is not None)
    ax.set_title(f"{region.class_name}, {region.region_id}")
    return ax


def matches_axes(matches: Sequence[Match], ax: Axes | None) -> Axes:
    """See `Matches.plot`."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    placed = [(rank, match) for rank, match in enumerate(matches, 1) if match.geometry is not None]
    on_earth = bool(placed) or not matches
    if not on_earth:
        images = sorted({match.image for match in matches})
        if len(images) > 1:
            raise QueryError(
                f"the matches lie on {len(images)} images without a place on Earth ({', '.join(images[:5])}): ask for those of "
                "one with image="
            )
        placed = list(enumerate(matches, 1))
    scores = np.array([match.score for _, match in placed])
    bar = ScalarMappable(Normalize(*limits(scores) or (0, 1)), "viridis")
    shapes = [match.geometry if on_earth else match.geometry_px for _, match in placed]
    ax = _outlines(ax, shapes, [(r, g, b) for r, g, b, _ in bar.to_rgba(scores)], on_earth=on_earth)
    if placed:
        inside = np.array([shape.representative_point().coords[0] for shape in shapes if shape is not None])
        x, y = inside.T
        ax.scatter(x, y, s=14, c=bar.to_rgba(scores), edgecolors="black", linewidths=0.5, zorder=3)
        for (rank, _), place in zip(placed, inside.tolist(), strict=True):
            if rank <= NUMBERED:
                ax.annotate(str(rank), place, (4, 4), textcoords="offset points")
        ax.figure.colorbar(bar, ax=ax, label="score", shrink=0.8)
    missing = len(matches) - len(placed)
    count = f"{len(placed)} {'match' if len(placed) == 1 else 'matches'}"
    ax.set_title(f"{count}, {missing} without a place on Earth" if missing else count)
    return ax


def page_axes(page: Page, matches: Sequence[PageMatch], ax: Axes | None) -> Axes:
    """See `Page.plot`."""
    from matplotlib.patches import Rectangle

    other = [match for match in matches if (match.document, match.page) != (page.document, page.page)]
    if other:
        raise QueryError(
            f"a match is on page {other[0].page} of {other[0].document}, this is page {page.page} of {page.document}"
        )
    ax = _axes(ax)
    ax.add_patch(Rectangle((0, 0), page.width, page.height, fill=False, edgecolor="grey"))
    for match in matches:
        x0, y0, x1, y1 = match.box
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=_rgb(FOUND), linewidth=2))
        ax.annotate(
            f"{match.score:.2f}", (x1, y1), (3, 0), textcoords="offset points", fontsize="small", color=_rgb(FOUND),
            bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
        )  # fmt: skip
    ax.set(xlim=(0, page.width), ylim=(page.height, 0), xlabel="points", aspect="equal")
    ax.set_title(f"page {page.page} of {page.document}")
    return ax


def _rgb(color: tuple[int, int, int]) -> Rgb:
    """From 0..255, as pictures have it, to 0..1, as matplotlib wants it."""
    red, green, blue = color
    return red / 255, green / 255, blue / 255


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _raster(ax: Axes | None, array: NDArray[Any], transform: Affine, crs: str | None) -> Axes:
    """The array where its transform puts it, turned or not; y grows down only where the image is not georeferenced."""
    from matplotlib.transforms import Affine2D

    ax = _axes(ax)
    a, b, c, d, e, f = transform
    height, width = array.shape
    across, down = np.array([0, width, width, 0]), np.array([0, 0, height, height])
    x, y = a * across + b * down + c, d * across + e * down + f
    if array.size:
        few, step = thinned(array)
        extent = (0, few.shape[1] * step, few.shape[0] * step, 0)  # whole blocks: the last may reach over the edge
        place = Affine2D.from_values(a, d, b, e, c, f) + ax.transData
        ax.imshow(painted(few), extent=extent, transform=place, interpolation="nearest")
        ax.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()))
    _label(ax, crs)
    return ax


def _outlines(ax: Axes | None, shapes: Sequence[BaseGeometry | None], colors: Sequence[Rgb], *, on_earth: bool) -> Axes:
    import shapely
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    ax = _axes(ax)
    for shape, color in zip(shapes, colors, strict=True):
        rings = [
            Path(np.asarray(ring.coords)[:, :2], closed=True)
            for part in shapely.get_parts(shape)
            for ring in (part.exterior, *part.interiors)
        ]
        ax.add_patch(
            PathPatch(Path.make_compound_path(*rings), facecolor=(*color, 0.5), edgecolor=color, linewidth=1.5)
        )
    ax.autoscale_view()
    ax.set_adjustable("datalim")  # far from each other they would leave a strip
    _label(ax, "OGC:CRS84" if on_earth else None)
    return ax


def _label(ax: Axes, crs: str | None) -> None:
    """Names of the axes, and as much room for a metre across as down."""
    if crs is None:
        ax.set(xlabel="column", ylabel="row", aspect="equal")
        if not ax.yaxis_inverted():
            ax.invert_yaxis()
    elif is_geographic(crs):
        middle = math.radians(min(85.0, abs(sum(ax.get_ylim()) / 2)))
        ax.set(xlabel="longitude", ylabel="latitude", aspect=1 / math.cos(middle))
    else:
        ax.set(xlabel=f"x, {crs[:40]}", ylabel="y", aspect="equal")
    ax.ticklabel_format(useOffset=False, style="plain")
    ax.tick_params(axis="x", labelrotation=30)
