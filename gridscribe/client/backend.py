"""What a `Client` needs from whatever answers it: objects under a URI, or (over HTTP) a service that has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.when import Interval

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Select:
    """Which images may answer."""

    product: str | None = None
    """A product's id, or a prefix of it that no other has; None: the only one."""
    datetime: Interval | None = None
    """When they must have been taken; images that do not say are left out then."""


class Backend(Protocol):
    """Answers questions. Points are (x, y), that is (longitude, latitude) in geographic systems; a CRS is "EPSG:n" or WKT."""

    def at(self, x: float, y: float, crs: str, select: Select) -> tuple[Pixel, ...]:
        """Every image's answer, best first; one pixel that says why where no image is there."""

    def at_many(
        self, points: NDArray[np.float64], crs: str, fields: Sequence[str] | None, select: Select, *, every: bool
    ) -> pa.Table:
        """A row per point of [n, 2] in order, or with `every` a row per point and image, best first."""

    def at_pixel(self, image: str, row: int, col: int, select: Select) -> Pixel:
        """A pixel of one image."""

    def mask(
        self, bbox: tuple[float, float, float, float], crs: str, select: Select, *, every: bool
    ) -> tuple[Mask, ...]:
        """One mosaic, or with `every` a mask per image, best first."""

    def regions(
        self, bbox: tuple[float, float, float, float] | None, class_name: str | None, select: Select
    ) -> pa.Table:
        """Rows of the regions that meet the box (west, south, east, north), of one class or all."""

    def refresh(self) -> None:
        """Look anew at what is there."""
