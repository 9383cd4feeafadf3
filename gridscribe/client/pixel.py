"""The answers: what is known of a pixel, and the mask of a box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.found import Label

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

STATUSES = ("ok", "nodata", "uncommitted", "outside", "invalid")
"""`ok`: there is a class. `nodata`: an image is there, and its pixel has no valid input. `uncommitted`: an image is there,
and that part of it is not (or not yet) committed. `outside`: no image is there. `invalid`: the point is no place."""

COVERAGES = ("full", "partial", "none")
"""Of a pixel: `full` for `ok`; `partial` where an image is there without a class; `none` where no image is."""

COVERAGE_OF = {"ok": "full", "nodata": "partial", "uncommitted": "partial", "outside": "none", "invalid": "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixel:
    """What is known of one pixel, and where that comes from. What does not apply is None."""

    status: str
    """One of `STATUSES`."""
    coverage: str
    """One of `COVERAGES`."""
    reason: str | None = None
    """Why there is no class, in words."""
    class_id: int | None = None
    class_name: str | None = None
    confidence: float | None = None
    """0 to 1, in steps of 1/254: the blended softmax probability of the class."""
    height: float | None = None
    """Metres above ground, in steps of 0.01."""
    region: str | None = None
    """Id of the region that holds the pixel; None where its area is too small to be one, or regions are not computed."""
    labels: tuple[Label, ...] | None = None
    """Of the pixel's region: words of the concept bank and their scores, best first; None where they were not asked for
    (`embedding=True`), or there is no region."""
    embedding: NDArray[np.float32] | None = field(default=None, compare=False)
    """The stored vector of the pixel's region, or, where that has none, of its token: float32 [D], of unit length up to the
    rounding of int8. None where it was not asked for (`embedding=True`), or there is none."""
    embedding_of: str | None = None
    """"region" or "token"."""
    product: str
    model: str
    """Name of the model and the first 12 hex of its digest, `name@digest`."""
    image: str | None = None
    item: str | None = None
    source: str | None = None
    """The input that the image came from."""
    row: int | None = None
    col: int | None = None
    x: float | None = None
    """The pixel's centre in `crs`."""
    y: float | None = None
    crs: str | None = None
    lon: float | None = None
    """The pixel's centre in longitude and latitude (OGC:CRS84)."""
    lat: float | None = None
    gsd: float | None = None
    """Metres per pixel of the image."""
    datetime: datetime | None = None
    """When the image was taken."""
    flags: tuple[str, ...] = ()
    """What to know of the image, such as `resampled`, `no-height`."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, every field, in order."""
        value = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        value["datetime"] = None if self.datetime is None else self.datetime.isoformat()
        value["flags"] = list(self.flags)
        value["labels"] = None if self.labels is None else [label._asdict() for label in self.labels]
        value["embedding"] = None if self.embedding is None else self.embedding.tolist()
        return value

    def _repr_html_(self) -> str:
        """What is known, as a table; the embedding as its shape."""
        from gridscribe.client.shown import pixel_html

        return pixel_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Classes over a box of one image's grid. Unpacks as `array, transform, crs`."""

    array: NDArray[np.uint8]
    """[height, width]; 255 where there is no class."""
    transform: tuple[float, float, float, float, float, float]
    """Affine terms a, b, c, d, e, f of pixel corners, in rasterio's order (`Affine(*transform)`)."""
    crs: str
    coverage: str
    """`full` where every pixel of the box asked for has a class; else `partial`, or `none` where no pixel has one."""
    images: tuple[str, ...]
    """Images that were looked at, best first."""
    classes: dict[int, str]
    product: str
    model: str

    def __iter__(self) -> Iterator[Any]:
        """`array, transform, crs`."""
        return iter((self.array, self.transform, self.crs))

    def to_xarray(self) -> xarray.DataArray:
        """The classes as a DataArray on `y` and `x`, the centres of pixels in `crs`; `QueryError` where xarray is not installed.

        Of a grid that is turned the dimensions are `row` and `col`, and `y` and `x` have a value for each pixel. Attributes:
        `crs`, `transform`, `_FillValue` (255), CF's `flag_values` and `flag_meanings`, `classes` (the names by id, as JSON),
        `coverage`, `images`, `product` and `model`; all can be written to netCDF. The coordinate `spatial_ref` is what rioxarray
        looks for.
        """
        from gridscribe.client.frames import mask_array

        return mask_array(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The classes and their names, on matplotlib's `ax`, or on one of a new figure. Pixels without a class are clear.

        Above 1024 rows or columns every n-th is drawn.
        """
        from gridscribe.client.drawn import mask_axes

        return mask_axes(self, ax)

    def _repr_html_(self) -> str:
        """A small picture, the share of each class, and where the mask comes from."""
        from gridscribe.client.shown import mask_html

        return mask_html(self)
