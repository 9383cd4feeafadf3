"""The client: questions about pixels, answered from an output URI."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from gridscribe.client.backend import Backend, Select
from gridscribe.client.objects import ObjectsBackend
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.places import parse_crs
from gridscribe.client.when import parse_datetime
from gridscribe.errors import QueryError
from gridscribe.store import Store, open_store

if TYPE_CHECKING:
    import pyarrow as pa

When = str | dt.date | dt.datetime | None
"""`2021`, `2021-06`, `2021-06-14`, `2021-06-14T10:30:00Z`, or `START/END` of these with `..` for open."""


class Client:
    """Answers about the pixels under an output URI. Safe to use from many threads.

    Every method takes `product=` (an id, or the beginning of one; needed where there are several) and, where places are
    asked about, `datetime=`. Where images overlap the answer is that of the newest, then of the highest confidence,
    then of the lowest image id, those with a class at the place first; `all=True` gives every one in that order.
    Nothing comes back silently empty: an answer without a class says why. Only what is committed is believed; which
    images there are is read once, when first needed (`refresh()` looks again).

    Raises `QueryError` for a question that cannot be answered as put, `StoreError` where the store fails, and
    `LayoutError` where what lies there is not what gridscribe writes.
    """

    def __init__(self, where: str | Path | Store | Backend) -> None:
        """`where`: a path, `file://`, `s3://bucket/prefix`, `gs://`, `az://`, an opened store, or another backend."""
        if isinstance(where, str | Path):
            where = open_store(where)
        self._backend: Backend = ObjectsBackend(where) if isinstance(where, Store) else where

    @overload
    def at(
        self, lon: float, lat: float, *, crs: Any = ..., datetime: When = ..., product: str | None = ...,
        all: Literal[False] = ...,
    ) -> Pixel: ...  # fmt: skip
    @overload
    def at(
        self, lon: float, lat: float, *, crs: Any = ..., datetime: When = ..., product: str | None = ...,
        all: Literal[True],
    ) -> tuple[Pixel, ...]: ...  # fmt: skip
    def at(
        self,
        lon: float,
        lat: float,
        *,
        crs: Any = "EPSG:4326",
        datetime: When = None,
        product: str | None = None,
        all: bool = False,  # noqa: A002 - the name that the interface has
    ) -> Pixel | tuple[Pixel, ...]:
        """The pixel that holds a place, given as longitude and latitude, or as x and y of another `crs`."""
        pixels = self._backend.at(float(lon), float(lat), _crs(crs), _select(product, datetime))
        return pixels if all else pixels[0]

    def at_many(
        self,
        points: ArrayLike,
        crs: Any = "EPSG:4326",
        fields: Sequence[str] | None = None,
        *,
        datetime: When = None,
        product: str | None = None,
        all: bool = False,  # noqa: A002
    ) -> pa.Table:
        """One row per point, in order: `points` is anything like an array [n, 2] of (lon, lat), or (x, y) of `crs`.

        Columns are `fields`, by default class_id, class_name, confidence, height, image, item, product, model, coverage
        and status; region, row, col, x, y, crs, lon, lat (of the pixel's centre), gsd, datetime and source may be
        asked for too. `status` is always there: `ok`, or why there is no class. Names and ids are dictionary columns.
        `("class_name", "confidence")` is the fast path. With `all=True` a row per point and image, best first, after a
        column `point` that counts from 0.
        """
        try:
            array = np.asarray(points, np.float64)
        except (TypeError, ValueError) as error:
            raise QueryError(
                f"points are no array of numbers ({error}): expected [n, 2], (lon, lat) or (x, y)"
            ) from error
        if array.size == 0:
            array = array.reshape(0, 2)
        if array.ndim != 2 or array.shape[1] != 2:
            raise QueryError(f"points have the shape {list(array.shape)}: expected [n, 2], (lon, lat) or (x, y) each")
        return self._backend.at_many(array, _crs(crs), fields, _select(product, datetime), every=all)

    def at_pixel(self, image: str, row: int, col: int, *, product: str | None = None) -> Pixel:
        """The pixel at `row`, `col` of an image, georeferenced or not.

        `image` is an id, the beginning of one that no other has, or the exact source. `QueryError` names near ids where
        there is no such image, and the image's size where the pixel is outside it.
        """
        return self._backend.at_pixel(image, int(row), int(col), _select(product, None))

    @overload
    def mask(
        self, bbox: Sequence[float], crs: Any = ..., *, datetime: When = ..., product: str | None = ...,
        all: Literal[False] = ...,
    ) -> Mask: ...  # fmt: skip
    @overload
    def mask(
        self, bbox: Sequence[float], crs: Any = ..., *, datetime: When = ..., product: str | None = ...,
        all: Literal[True],
    ) -> tuple[Mask, ...]: ...  # fmt: skip
    def mask(
        self,
        bbox: Sequence[float],
        crs: Any = "EPSG:4326",
        *,
        datetime: When = None,
        product: str | None = None,
        all: bool = False,  # noqa: A002
    ) -> Mask | tuple[Mask, ...]:
        """The classes in a box (west, south, east, north): `array, transform, crs = client.mask(bbox)`.

        The grid is that of the newest image that meets the box, and the array what of the box any image holds; images
        on another grid are sampled at the centres of its pixels. In longitudes, west > east crosses the antimeridian.
        With `all=True` a mask per image, each on its own grid. `QueryError` where no image meets the box.
        """
        west, south, east, north = values = _box(bbox)
        name = _crs(crs)
        if south >= north or (west >= east and not (parse_crs(name).is_geographic and west > east)):
            raise QueryError(f"bbox={list(values)} holds no area: expected west < east and south < north")
        masks = self._backend.mask((west, south, east, north), name, _select(product, datetime), every=all)
        return masks if all else masks[0]

    def regions(
        self,
        bbox: Sequence[float] | None = None,
        class_name: str | None = None,
        *,
        datetime: When = None,
        product: str | None = None,
    ) -> pa.Table:
        """The regions that meet a box of longitudes and latitudes (west, south, east, north), as rows of the regions table.

        The columns are those of `gridscribe.regions.regions_schema`, the order that of items and of their tables. West > east
        crosses the antimeridian; with a box, regions of images that are not georeferenced are left out. Where images
        overlap, the regions of all are there. Of tables only those are read that may hold an answer, and of large ones only
        the row groups; what is returned must fit into memory. `QueryError` for a box that is none or a class that is none.
        """
        if bbox is None:
            return self._backend.regions(None, class_name, _select(product, datetime))
        west, south, east, north = box = _box(bbox)
        if south >= north or west == east:
            raise QueryError(f"bbox={list(box)} holds no area: expected west, south, east, north with south < north")
        return self._backend.regions((west, south, east, north), class_name, _select(product, datetime))

    def refresh(self) -> None:
        """Look anew at which products and images there are."""
        self._backend.refresh()


def _box(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    values = tuple(float(value) for value in bbox)
    if len(values) != 4 or not np.isfinite(values).all():
        raise QueryError(f"bbox={list(values)}: expected four finite numbers (west, south, east, north)")
    west, south, east, north = values
    return west, south, east, north


def _crs(crs: Any) -> str:
    """ "EPSG:n" where that says it, else WKT."""
    system = parse_crs(crs)
    authority = system.to_authority(min_confidence=100)
    return ":".join(authority) if authority else system.to_wkt()


def _select(product: str | None, when: When) -> Select:
    return Select(product, parse_datetime(when))
