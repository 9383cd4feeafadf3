"""The fields of an answer as Arrow columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.index import UNKNOWN_TIME, ImageIndex, Ints
from gridscribe.client.pixel import COVERAGE_OF, COVERAGES, STATUSES
from gridscribe.client.places import LONLAT, transform
from gridscribe.client.stored import (
    CENTIMETRES,
    CLASS_NODATA,
    CONFIDENCE_LEVELS,
    CONFIDENCE_NODATA,
    HEIGHT_NODATA,
    Located,
    stored_values,
)
from gridscribe.client.tiles import Tiles

if TYPE_CHECKING:
    import pyarrow as pa

OK = STATUSES.index("ok")


@dataclass(frozen=True)
class Answers:
    """One answer per entry, in order of points."""

    index: ImageIndex
    tiles: Tiles
    at: Located
    status: NDArray[np.int8]
    """Index into `STATUSES`."""
    classes: NDArray[np.uint8]

    def stored(self, kind: str) -> NDArray[Any]:
        """Stored values of another kind of raster."""
        return stored_values(self.index, self.tiles, kind, self.at)

    def regions(self) -> list[str | None]:
        """The id of the region at each answer; None where there is none."""
        held = np.flatnonzero(self.at.image >= 0)
        found: list[str | None] = [None] * len(self.at.image)
        ids = self.index.regions.ids(self.tiles, self.at.image[held], self.at.row[held], self.at.col[held])
        for place, name in zip(held.tolist(), ids, strict=True):
            found[place] = name
        return found


def _class_id(found: Answers) -> pa.Array:
    import pyarrow as pa

    return pa.array(found.classes, mask=found.classes == CLASS_NODATA)


def _class_name(found: Answers) -> pa.Array:
    known = found.index.product.classes
    names = [known.get(value) for value in range(max(known) + 1)]
    return _dictionary(names, found.classes.astype(np.int16), found.classes == CLASS_NODATA)


def _confidence(found: Answers) -> pa.Array:
    import pyarrow as pa

    stored = found.stored("confidence")
    return pa.array(stored / CONFIDENCE_LEVELS, mask=(stored == CONFIDENCE_NODATA) | (found.status != OK))


def _height(found: Answers) -> pa.Array:
    import pyarrow as pa

    stored = found.stored("height")
    return pa.array(stored / CENTIMETRES, mask=stored == HEIGHT_NODATA)


def _dictionary(names: Sequence[str | None], codes: NDArray[Any], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    import pyarrow as pa

    if absent is not None:
        codes = np.where(absent, 0, codes).astype(codes.dtype)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=absent), pa.array(names, pa.string()))


def _picked(names: Sequence[str | None], which: Ints) -> pa.Array:
    """`names[which]`, null for -1; the dictionary holds what occurs, in order of the index."""
    occurs = np.zeros(len(names) + 1, np.bool_)
    occurs[which] = True  # -1 marks the last, which stands for none
    used = np.flatnonzero(occurs[:-1])
    codes = (np.cumsum(occurs[:-1]) - 1).astype(np.int32)
    absent = which < 0
    if not len(used):
        return _dictionary([], np.zeros(len(which), np.int32), absent)
    return _dictionary([names[i] for i in used.tolist()], codes[which], absent if absent.any() else None)


def _same(value: str, found: Answers) -> pa.Array:
    return _dictionary([value], np.zeros(len(found.status), np.int8))


def _coverage(found: Answers) -> pa.Array:
    codes = np.array([COVERAGES.index(COVERAGE_OF[status]) for status in STATUSES], np.int8)
    return _dictionary(COVERAGES, codes[found.status])


def _position(name: str) -> Column:
    def column(found: Answers) -> pa.Array:
        import pyarrow as pa

        return pa.array(getattr(found.at, name).astype(np.int32), mask=found.at.image < 0)

    return column


def _centre(axis: int, *, lonlat: bool) -> Column:
    """The pixel's centre in the image's CRS, or as longitude and latitude."""

    def column(found: Answers) -> pa.Array:
        import pyarrow as pa

        image = found.at.image
        out = np.full(len(image), np.nan)
        for group in found.index.groups:
            here = np.flatnonzero(np.isin(image, group.images))
            a, b, c, d, e, f = found.index.transforms[image[here]].T
            row, col = found.at.row[here] + 0.5, found.at.col[here] + 0.5
            xy = a * col + b * row + c, d * col + e * row + f
            out[here] = (transform(group.crs, LONLAT, *xy) if lonlat else xy)[axis]
        return pa.array(out, mask=~np.isfinite(out))

    return column


def _gsd(found: Answers) -> pa.Array:
    import pyarrow as pa

    known = np.array([np.nan if value is None else value for value in found.index.gsd] + [np.nan])
    values = known[found.at.image]  # -1 is the last
    return pa.array(values, mask=np.isnan(values))


def _datetime(found: Answers) -> pa.Array:
    import pyarrow as pa

    values = np.append(found.index.times, UNKNOWN_TIME)[found.at.image]  # -1 is the last
    return pa.array(values, mask=values == UNKNOWN_TIME).cast(pa.timestamp("us", tz="UTC"))


def _region(found: Answers) -> pa.Array:
    import pyarrow as pa

    return pa.array(found.regions(), pa.string())


Column = Callable[[Answers], Any]

COLUMNS: dict[str, Column] = {
    "class_id": _class_id,
    "class_name": _class_name,
    "confidence": _confidence,
    "height": _height,
    "region": _region,
    "image": lambda found: _picked(found.index.ids, found.at.image),
    "item": lambda found: _picked(found.index.items, found.at.box),
    "source": lambda found: _picked(found.index.sources, found.at.image),
    "product": lambda found: _same(found.index.product.id, found),
    "model": lambda found: _same(found.index.product.model, found),
    "coverage": _coverage,
    "status": lambda found: _dictionary(STATUSES, found.status),
    "row": _position("row"),
    "col": _position("col"),
    "x": _centre(0, lonlat=False),
    "y": _centre(1, lonlat=False),
    "crs": lambda found: _picked(found.index.crs, found.at.image),
    "lon": _centre(0, lonlat=True),
    "lat": _centre(1, lonlat=True),
    "gsd": _gsd,
    "datetime": _datetime,
}
"""The fields that `at_many` can give."""

DEFAULT_FIELDS = (
    "class_id", "class_name", "confidence", "height", "image", "item", "product", "model", "coverage", "status",
)  # fmt: skip
