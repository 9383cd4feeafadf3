"""The rows of committed regions tables: which row groups may hold an answer, and their rows, some at a time."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.commits import ObjectRecord
from gridscribe.errors import LayoutError
from gridscribe.regions import regions_schema
from gridscribe.store import Store, concurrently

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gridscribe.client.index import ImageIndex

WHOLE = 1 << 20
"""Bytes up to which a table is fetched at once; of a larger one the footer, and the row groups that may hold an answer."""

CORNERS = ("xmin", "ymin", "xmax", "ymax")

Bounds = tuple[float, float, float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which regions are asked for."""

    images: frozenset[str]
    boxes: tuple[Bounds, ...] | None = None
    """Boxes of longitudes and latitudes of which a region must meet one; None for all, also such without a place."""
    class_name: str | None = None

    @classmethod
    def of(cls, images: Collection[str], bbox: Bounds | None, class_name: str | None) -> Wanted:
        """With `bbox` (west, south, east, north), where west > east crosses the antimeridian."""
        boxes: tuple[Bounds, ...] | None = None
        if bbox is not None:
            west, south, east, north = bbox
            boxes = (bbox,) if west <= east else ((west, south, 180.0, north), (-180.0, south, east, north))
        return cls(frozenset(images), boxes, class_name)

    def among(self, images: frozenset[str]) -> Wanted:
        """The same, of fewer images."""
        return replace(self, images=self.images & images)

    def may_be_in(self, row_group: pq.RowGroupMetaData) -> bool:
        """Whether the statistics of a row group allow it to hold one."""
        columns = (row_group.column(k) for k in range(row_group.num_columns))
        known = {column.path_in_schema: column.statistics for column in columns if column.statistics is not None}

        def bounds(name: str) -> tuple[Any, Any] | None:
            return (known[name].min, known[name].max) if name in known and known[name].has_min_max else None

        for name, asked in (("image", self.images), ("class_name", self.class_name and {self.class_name})):
            limits = bounds(name)
            if asked is not None and limits is not None and not any(limits[0] <= one <= limits[1] for one in asked):
                return False
        if self.boxes is None:
            return True
        corners = [bounds(f"bbox.{corner}") for corner in CORNERS]
        if None in corners:
            nulls = known.get("bbox.xmin")  # no bounds, for no region there has a place
            return nulls is None or nulls.null_count != row_group.num_rows
        west, south, east, north = corners[0][0], corners[1][0], corners[2][1], corners[3][1]  # type: ignore[index]
        return any(w <= east and e >= west and s <= north and n >= south for w, s, e, n in self.boxes)

    def named(self, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows are of the images and the class."""
        import pyarrow as pa
        import pyarrow.compute as pc

        keep = pc.is_in(table["image"], pa.array(sorted(self.images), pa.string()))
        if self.class_name is not None:
            keep = pc.and_(keep, pc.equal(table["class_name"], self.class_name))
        found: NDArray[np.bool_] = keep.to_numpy()
        return found

    def bounded(
        self, west: Floats, south: Floats, east: Floats, north: Floats
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """(which bounds meet one of the boxes, which lie in one, so that what they bound meets it too); NaN does neither."""
        near, inside = np.zeros(len(west), np.bool_), np.zeros(len(west), np.bool_)
        for w, s, e, n in self.boxes or ():
            near |= (west <= e) & (east >= w) & (south <= n) & (north >= s)
            inside |= (west >= w) & (east <= e) & (south >= s) & (north <= n)
        return near, inside

    def meets(self, geometry: NDArray[Any]) -> NDArray[np.bool_]:
        """Which geometries (WKB or None) meet one of the boxes."""
        import shapely

        found = np.zeros(len(geometry), np.bool_)
        for box in self.boxes or ():
            open_ = np.flatnonzero(~found)
            found[open_] = shapely.intersects(shapely.from_wkb(geometry[open_]), shapely.box(*box))
        return found


def region_rows(
    store: Store, index: ImageIndex, images: Collection[str], bbox: Bounds | None = None, class_name: str | None = None
) -> Iterator[pa.Table]:
    """Rows of the regions of `images` in the order of their tables, some at a time.

    `bbox` (west, south, east, north; west > east across the antimeridian) leaves the regions that meet it. Tables, and row
    groups by their statistics, that can hold none are not fetched.
    """
    wanted = Wanted.of(images, bbox, class_name)
    tables = [(one.record, wanted.among(one.images)) for one in index.regions.tables if one.images & wanted.images]
    if len(tables) == 1:  # of one large image, say: no more than a row group in memory
        yield from _rows(store, *tables[0])
        return
    for parts in concurrently(lambda one: list(_rows(store, *one)), tables, workers=8):
        yield from parts


@contextmanager
def open_regions(store: Store, record: ObjectRecord) -> Iterator[pq.ParquetFile]:
    """The regions table of `record`, opened; whatever is wrong with it is a `LayoutError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(_opened(store, record), pre_buffer=True) as file:
            if file.schema_arrow.names != regions_schema().names:
                raise LayoutError(
                    f"{record.key} is not a regions table of this version: its columns are {file.schema_arrow.names}"
                )
            yield file
    except (pa.ArrowException, OSError) as error:
        raise LayoutError(f"{record.key} cannot be read as Parquet: {error}") from error


def _rows(store: Store, record: ObjectRecord, wanted: Wanted) -> Iterator[pa.Table]:
    """The rows asked for of one table, by row group."""
    import pyarrow as pa

    with open_regions(store, record) as file:
        for group in range(file.num_row_groups):
            if wanted.may_be_in(file.metadata.row_group(group)):
                table = file.read_row_group(group, use_threads=False).cast(regions_schema())
                table = table.filter(pa.array(wanted.named(table)))
                if wanted.boxes is not None:
                    table = table.filter(pa.array(wanted.meets(table["geometry"].to_numpy(zero_copy_only=False))))
                yield table


def _opened(store: Store, record: ObjectRecord) -> Any:
    import pyarrow as pa

    if record.size <= WHOLE:
        return pa.BufferReader(store.get(record.key))
    return pa.PythonFile(io.BufferedReader(_ObjectFile(store, record)), mode="r")


class _ObjectFile(io.RawIOBase):
    """An object as a seekable file; a request for each read."""

    def __init__(self, store: Store, record: ObjectRecord) -> None:
        self._store, self._record, self._at = store, record, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._record.size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._record.size - self._at))
        data = self._store.get_range(self._record.key, self._at, length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
