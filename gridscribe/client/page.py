"""A page of a document, as the client answers about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.page_search import Box, PageMatch
from gridscribe.latent_tables import CropLatents
from gridscribe.tokens import TokenGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PageToken:
    """The token under a position of a page."""

    state: str
    """"kept", "merged" or "dropped": a token that pruning left out has no vector."""
    index: int
    """On the whole page's grid, row-major: never renumbered."""
    row: int
    col: int
    box: Box
    """x0, y0, x1, y1 of its cell in points."""
    embedding: NDArray[np.float32] | None
    """[D], float32; None where it was dropped."""
    product: str
    model: str

    def _repr_html_(self) -> str:
        """What is known, as a table; the embedding as its shape."""
        from gridscribe.client.shown import token_html

        return token_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One committed page: `client.page("invoice", 0).match("total amount")`."""

    document: str
    page: int
    """Counted from 0."""
    source: str
    width: float
    """Points."""
    height: float
    dpi: float
    """Of the raster that the job saw."""
    grid_h: int
    """Cells down and across."""
    grid_w: int
    kept: int
    """Tokens that are stored; 0 on a blank page."""
    flags: tuple[str, ...]
    text_mask: str | None
    """URI of the mask of its text."""
    product: str
    model: str
    _at: Callable[[float, float], PageToken] = field(repr=False, compare=False)
    _match: Callable[[str, int], list[PageMatch]] = field(repr=False, compare=False)
    _thumbnail: Callable[[], TokenGrid] = field(repr=False, compare=False)
    _latents: Callable[[], list[CropLatents]] = field(repr=False, compare=False)

    def at(self, x: float, y: float) -> PageToken:
        """The token under a position in points from the upper left corner. `QueryError` outside the page."""
        return self._at(float(x), float(y))

    def match(self, text: str, top_k: int = 5) -> list[PageMatch]:
        """The places of the page that most look as if `text` stood there, best first, none over another; none on a blank page."""
        return self._match(text, top_k)

    def thumbnail(self) -> TokenGrid:
        """The tokens of the page seen whole in one crop, on a grid of their own, its frame over the page's pixels.

        `QueryError` where the product stores none. Tokens that a merging method absorbed there are not told of.
        """
        return self._thumbnail()

    def latents(self) -> list[CropLatents]:
        """The adaptive latents of the page's crops, row by row: each as many codes as it needed. `QueryError` where the product
        stores none."""
        return self._latents()

    def plot(self, ax: Axes | None = None, matches: Sequence[PageMatch] = ()) -> Axes:
        """The page's outline in points and the boxes of `matches`, on matplotlib's `ax` (it may show the page) or a new figure.

        `QueryError` for a match on another page.
        """
        from gridscribe.client.drawn import page_axes

        return page_axes(self, matches, ax)

    def _repr_html_(self) -> str:
        """What is known, as a table."""
        from gridscribe.client.shown import page_html

        return page_html(self)
