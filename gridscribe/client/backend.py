"""What a `Client` needs from whatever answers it: objects under a URI, or (over HTTP) a service that has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.found import Heatmap, Label, Match, Region, TextMask
from gridscribe.client.page import Page
from gridscribe.client.page_search import PageMatch
from gridscribe.client.phrases import Phrase
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.searching import Search
from gridscribe.client.segmenting import Segmenting
from gridscribe.client.when import Interval

if TYPE_CHECKING:
    import pyarrow as pa

    from gridscribe.models.clip.concepts import ConceptBank


@dataclass(frozen=True, slots=True)
class Select:
    """Which images may answer."""

    product: str | None = None
    """A product's id, or a prefix of it that no other has; None: the only one."""
    datetime: Interval | None = None
    """When they must have been taken; images that do not say are left out then."""


@dataclass(frozen=True, slots=True)
class Like:
    """A region to resemble: by its id, or as the one under a place."""

    region: str | None = None
    point: tuple[float, float, str] | None = None
    """x, y and their CRS, where `region` is None."""
    product: str | None = None
    """The product that it is a region of; None: the one that is searched."""


class Backend(Protocol):
    """Answers questions. Points are (x, y), that is (longitude, latitude) in geographic systems; a CRS is "EPSG:n" or WKT."""

    def at(
        self, x: float, y: float, crs: str, select: Select, *, embedding: bool = False, every: bool = True
    ) -> tuple[Pixel, ...]:
        """Every image's answer, best first, or the best alone; one pixel that says why where no image is there.

        `embedding`: with labels and embedding, which cost a few requests more.
        """

    def at_many(
        self, points: NDArray[np.float64], crs: str, fields: Sequence[str] | None, select: Select, *, every: bool
    ) -> pa.Table:
        """A row per point of [n, 2] in order, or with `every` a row per point and image, best first."""

    def height_order(self, points: NDArray[np.float64], crs: str, select: Select) -> pa.Table:
        """See `Client.height_order`."""

    def at_pixel(self, image: str, row: int, col: int, select: Select, *, embedding: bool = False) -> Pixel:
        """A pixel of one image."""

    def mask(
        self, bbox: tuple[float, float, float, float], crs: str, select: Select, *, every: bool
    ) -> tuple[Mask, ...]:
        """One mosaic, or with `every` a mask per image, best first."""

    def regions(
        self, bbox: tuple[float, float, float, float] | None, class_name: str | None, select: Select
    ) -> pa.Table:
        """Rows of the regions that meet the box (west, south, east, north), of one class or all."""

    def region(self, region_id: str, select: Select) -> Region:
        """One region, with its labels and embedding."""

    def match(self, phrase: Phrase, how: Search, select: Select) -> Iterator[Match]:
        """The regions that match a phrase, best first, equal scores by id. The backend makes the phrase a vector.

        What is wrong with the question is raised by the call, the search begins with the first match that is asked for.
        """

    def similar(self, like: Like, how: Search, select: Select) -> Iterator[Match]:
        """The regions that resemble another one, as `match`; that one itself is left out."""

    def describe(self, region_id: str, bank: ConceptBank, top_k: int, select: Select) -> tuple[Label, ...]:
        """The concepts of a bank that are nearest to a region, best first."""

    def heatmap(
        self, phrase: Phrase, image: str, bbox: tuple[float, float, float, float] | None, bias: float, select: Select
    ) -> Heatmap:
        """The similarity of the tokens of an image, or of a box of longitudes and latitudes, with a phrase."""

    def segment(
        self,
        phrase: Phrase,
        image: str,
        bbox: tuple[float, float, float, float] | None,
        how: Segmenting,
        select: Select,
    ) -> TextMask:
        """The pixels of an image, or of the part in a box of longitudes and latitudes, that a phrase means."""

    def page(self, document: str, number: int, select: Select) -> Page:
        """One page of a document, counted from 0."""

    def match_pages(self, text: str, top_k: int, threshold: float | None, select: Select) -> Iterator[PageMatch]:
        """The best places of the best pages for a phrase."""

    def documents_alone(self, select: Select) -> bool:
        """Whether a question that names no kind is about pages: the chosen product is of documents, or all are."""

    def refresh(self) -> None:
        """Look anew at what is there."""
