"""Geometry as values: `Window` (a box of pixels) and `Grid` (where an image's pixels lie on Earth).

Both are frozen and hashable and carry no pixels. Rows come before columns everywhere; boxes are half-open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

METRES_PER_DEGREE = (
    111_319.49079327358  # along the equator and any meridian of a sphere with the WGS 84 equatorial radius
)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open box of pixels, `[row, row + height) x [col, col + width)`, on some image's grid.

    It may stick out of the image (the last windows of a lattice do) and ordering is row-major by its origin.
    """

    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise ValueError(f"Window needs height >= 0 and width >= 0, got {self.height} x {self.width}")

    @property
    def row1(self) -> int:
        """One past the last row."""
        return self.row + self.height

    @property
    def col1(self) -> int:
        """One past the last column."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.height * self.width

    def __bool__(self) -> bool:
        return self.area > 0

    def intersection(self, other: Window) -> Window:
        """The common box; empty (area 0) where the two do not meet."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        return Window(row, col, max(0, min(self.row1, other.row1) - row), max(0, min(self.col1, other.col1) - col))

    def contains(self, other: Window) -> bool:
        """Whether every pixel of `other` is inside."""
        return self.row <= other.row and self.col <= other.col and other.row1 <= self.row1 and other.col1 <= self.col1

    def slices(self, origin: Window | None = None) -> tuple[slice, slice]:
        """Row and column slices of this box in an array whose first pixel is `origin`'s (or the image's) first pixel."""
        row0, col0 = (origin.row, origin.col) if origin is not None else (0, 0)
        return slice(self.row - row0, self.row1 - row0), slice(self.col - col0, self.col1 - col0)

    def split(self, edge: int) -> Iterator[Window]:
        """Row-major boxes of at most `edge` pixels a side that tile this one, cut at multiples of `edge`."""
        for row in range(self.row // edge * edge, self.row1, edge):
            for col in range(self.col // edge * edge, self.col1, edge):
                part = self.intersection(Window(row, col, edge, edge))
                if part:
                    yield part

    def to_list(self) -> list[int]:
        """`[row, col, height, width]`, for JSON."""
        return [self.row, self.col, self.height, self.width]


@dataclass(frozen=True, slots=True)
class Grid:
    """The pixel grid of one image: its size, its affine to a CRS, and the CRS.

    `transform` holds the six affine terms `(a, b, c, d, e, f)` of `x = a * col + b * row + c`, `y = d * col + e * row + f`
    (GDAL's and rasterio's order of `Affine`), for pixel corners. Both `transform` and `crs` are None where the image is
    not georeferenced; a transform without a CRS counts as not georeferenced. `crs` is "EPSG:n" where that is known, else WKT.
    """

    height: int
    width: int
    transform: tuple[float, float, float, float, float, float] | None = None
    crs: str | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"Grid needs at least one pixel, got {self.height} x {self.width}")

    @property
    def window(self) -> Window:
        """The whole image."""
        return Window(0, 0, self.height, self.width)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def georeferenced(self) -> bool:
        """Whether pixels have a place on Earth."""
        return self.transform is not None and self.crs is not None

    def xy(self, row: float, col: float) -> tuple[float, float]:
        """CRS coordinates of a position in pixels; `(r + 0.5, c + 0.5)` is the centre of pixel (r, c)."""
        a, b, c, d, e, f = self._affine()
        return a * col + b * row + c, d * col + e * row + f

    def rowcol(self, x: float, y: float) -> tuple[float, float]:
        """Fractional (row, col) of a CRS position; `floor` of both is the pixel that holds it."""
        a, b, c, d, e, f = self._affine()
        det = a * e - b * d
        dx, dy = x - c, y - f
        return (a * dy - d * dx) / det, (e * dx - b * dy) / det

    def window_transform(self, window: Window) -> tuple[float, float, float, float, float, float] | None:
        """The affine of the sub-image `window`, or None where there is none."""
        if self.transform is None:
            return None
        a, b, _, d, e, _ = self.transform
        x, y = self.xy(window.row, window.col)
        return a, b, x, d, e, y

    def resampled(self, factor: float) -> Grid:
        """The same area with `factor` pixels to one of these and the same origin; the last row and column may stick out.

        Without georeference the result has a transform into this grid's pixels and no CRS, so that `factor` is not lost.
        """
        size = max(1, math.ceil(self.height * factor)), max(1, math.ceil(self.width * factor))
        if self.transform is None:
            return Grid(*size, (1 / factor, 0.0, 0.0, 0.0, 1 / factor, 0.0), None)
        a, b, c, d, e, f = self.transform
        return Grid(*size, (a / factor, b / factor, c, d / factor, e / factor, f), self.crs)

    def _affine(self) -> tuple[float, float, float, float, float, float]:
        if self.transform is None:
            raise ValueError("this image has no transform: it is not georeferenced")
        return self.transform

    def to_json(self) -> dict[str, Any]:
        """Plain data for plans and commits; `Grid.from_json` reads it."""
        return {
            "height": self.height,
            "width": self.width,
            "transform": list(self.transform) if self.transform else None,
            "crs": self.crs,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Grid:
        """The inverse of `to_json`."""
        transform = data.get("transform")
        return cls(int(data["height"]), int(data["width"]), tuple(transform) if transform else None, data.get("crs"))
