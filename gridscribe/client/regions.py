"""The committed regions of a product: where the raster and the table of each image lie, and the rows of these tables."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.boxes import Ints, boxes_of
from gridscribe.client.tiles import Places, TileReader, gather
from gridscribe.commits import Commit, ObjectRecord, read_commit
from gridscribe.errors import LayoutError
from gridscribe.layout import parse_product_key
from gridscribe.regions import region_id, regions_schema, value_dtype
from gridscribe.store import Store, concurrently
from gridscribe.values import Window

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gridscribe.client.index import ImageIndex

WHOLE = 1 << 20
"""Bytes up to which a table is fetched at once; of a larger one the footer, and the row groups that may hold an answer."""

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RegionTable:
    """The table of one item, and the images whose rows in it count."""

    record: ObjectRecord
    images: frozenset[str]


class RegionIndex:
    """The committed regions of a product's images.

    Where regions of an image were made for several boxes (areas of interest), those of a box inside another do not count;
    boxes that overlap otherwise hold the areas in common twice, each cut off at its own edge.
    """

    def __init__(self, images: Sequence[str], shapes: Ints, commits: Iterable[Commit]) -> None:
        """`images` and `shapes` [n, 2] are the index's."""
        found: dict[str, list[tuple[Window, str, str]]] = {}
        records: dict[str, ObjectRecord] = {}
        for commit in commits:
            records[commit.item] = _table_of(commit)
            for entry in commit.regions:
                box = Window(*entry["window"])
                found.setdefault(entry["image"], []).append((box, commit.item, entry["regions"]))
        kept = {image: _uncovered(boxes) for image, boxes in found.items()}
        owned: dict[str, set[str]] = {item: set() for item in records}
        for image, boxes in kept.items():
            for _, item, _ in boxes:
                owned[item].add(image)
        self.tables = [RegionTable(records[item], frozenset(names)) for item, names in sorted(owned.items())]
        ordered = [kept.get(image, []) for image in images]
        self.starts: Ints = np.cumsum([0, *map(len, ordered)])
        self.boxes: Ints = np.array([box.to_list() for boxes in ordered for box, _, _ in boxes], np.int64).reshape(
            -1, 4
        )
        self.keys = [key for boxes in ordered for _, _, key in boxes]
        self._dtypes = [
            value_dtype(int(pixels)) for pixels, boxes in zip(shapes.prod(axis=1), ordered, strict=True) for _ in boxes
        ]
        self._images = images

    def boxes_of(self, image: Ints, row: Ints, col: Ints) -> Ints:
        """The box whose raster of regions holds each pixel, as an index into `boxes` and `keys`; -1 where none does."""
        return boxes_of(self.starts, self.boxes, image, row, col)

    def covers(self, image: int, boxes: Iterable[Window]) -> bool:
        """Whether the regions of one box of the image are those of all `boxes`."""
        have = [Window(*box) for box in self.boxes[self.starts[image] : self.starts[image + 1]].tolist()]
        wanted = list(boxes)
        return any(all(one.contains(box) for box in wanted) for one in have)

    def ids(self, tiles: TileReader, image: Ints, row: Ints, col: Ints) -> list[str | None]:
        """The id of the region at each pixel; None where there is none."""
        box = self.boxes_of(image, row, col)
        values = np.zeros(len(box), np.int64)
        dtypes = np.array([*self._dtypes, ""])[box]
        for dtype in ("uint32", "uint64"):
            here = np.flatnonzero(dtypes == dtype)
            if not len(here):
                continue
            at = box[here]
            places = Places.sort(at, row[here] - self.boxes[at, 0], col[here] - self.boxes[at, 1])
            used = {raster for raster, _, _ in places.groups}
            keys: dict[int, str | None] = {raster: self.keys[raster] for raster in used}
            shapes = {raster: (int(self.boxes[raster, 2]), int(self.boxes[raster, 3])) for raster in used}
            values[here] = gather(tiles, keys, shapes, places, np.dtype(dtype).type(0))
        pairs = zip(image.tolist(), values.tolist(), strict=True)
        return [region_id(self._images[which], value) if value else None for which, value in pairs]


def load_regions(store: Store, product: str, items: Iterable[str]) -> list[Commit]:
    """The commits of items of regions; a get for each, several at once."""
    return list(concurrently(lambda item: read_commit(store, product, item), sorted(items), workers=32))


def region_rows(
    store: Store, index: ImageIndex, images: Collection[str], bbox: Bounds | None = None, class_name: str | None = None
) -> Iterator[pa.Table]:
    """Rows of the regions of `images` in the order of their tables, some at a time.

    `bbox` (west, south, east, north; west > east across the antimeridian) leaves the regions that meet it. Tables, and row
    groups by their statistics, that can hold none are not fetched.
    """
    wanted = frozenset(images)
    tables = [(table.record, table.images & wanted) for table in index.regions.tables if table.images & wanted]
    boxes = None if bbox is None else _split(bbox)
    if len(tables) == 1:  # of one large image, say: no more than a row group in memory
        yield from _rows(store, *tables[0], boxes, class_name)
        return
    for parts in concurrently(lambda one: list(_rows(store, *one, boxes, class_name)), tables, workers=8):
        yield from parts


def _rows(
    store: Store, record: ObjectRecord, images: frozenset[str], boxes: list[Bounds] | None, class_name: str | None
) -> Iterator[pa.Table]:
    """The rows asked for of one table, by row group."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(_opened(store, record), pre_buffer=True) as file:
            if file.schema_arrow.names != regions_schema().names:
                raise LayoutError(
                    f"{record.key} is not a regions table of this version: its columns are {file.schema_arrow.names}"
                )
            for group in range(file.num_row_groups):
                if not _may_hold(file.metadata.row_group(group), images, boxes, class_name):
                    continue
                table = file.read_row_group(group, use_threads=False).cast(regions_schema())
                keep = pc.is_in(table["image"], pa.array(sorted(images)))
                if class_name is not None:
                    keep = pc.and_(keep, pc.equal(table["class_name"], class_name))
                table = table.filter(keep)
                yield table if boxes is None else table.filter(pa.array(_meets(table, boxes)))
    except (pa.ArrowException, OSError) as error:
        raise LayoutError(f"{record.key} cannot be read as Parquet: {error}") from error


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


def _may_hold(
    row_group: pq.RowGroupMetaData, images: frozenset[str], boxes: list[Bounds] | None, class_name: str | None
) -> bool:
    """Whether the statistics of a row group allow it to hold a row that is asked for."""
    columns = (row_group.column(k) for k in range(row_group.num_columns))
    known = {column.path_in_schema: column.statistics for column in columns if column.statistics is not None}

    def bounds(name: str) -> tuple[Any, Any] | None:
        return (known[name].min, known[name].max) if name in known and known[name].has_min_max else None

    for name, asked in (("image", images), ("class_name", None if class_name is None else {class_name})):
        limits = bounds(name)
        if asked is not None and limits is not None and not any(limits[0] <= one <= limits[1] for one in asked):
            return False
    if boxes is None:
        return True
    corners = [bounds(f"bbox.{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    if None in corners:
        nulls = known.get("bbox.xmin")  # no bounds, for no region there has a place
        return nulls is None or nulls.null_count != row_group.num_rows
    west, south, east, north = corners[0][0], corners[1][0], corners[2][1], corners[3][1]  # type: ignore[index]
    return any(w <= east and e >= west and s <= north and n >= south for w, s, e, n in boxes)


def _meets(table: pa.Table, boxes: list[Bounds]) -> NDArray[np.bool_]:
    """Which rows have a geometry that meets one of the boxes."""
    import shapely

    found = np.zeros(len(table), np.bool_)
    geometry = table["geometry"].to_numpy(zero_copy_only=False)
    for box in boxes:
        open_ = np.flatnonzero(~found)
        found[open_] = shapely.intersects(shapely.from_wkb(geometry[open_]), shapely.box(*box))
    return found


def _split(bbox: Bounds) -> list[Bounds]:
    west, south, east, north = bbox
    return [bbox] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]


def _uncovered(boxes: list[tuple[Window, str, str]]) -> list[tuple[Window, str, str]]:
    """Those not inside another; of equal ones that of the first item. Largest first."""
    kept: list[tuple[Window, str, str]] = []
    for one in sorted(boxes, key=lambda entry: (-entry[0].area, entry[0], entry[1])):
        if not any(held[0].contains(one[0]) for held in kept):
            kept.append(one)
    return kept


def _table_of(commit: Commit) -> ObjectRecord:
    parsed = [(record, parse_product_key(record.key)) for record in commit.objects]
    found = [record for record, key in parsed if key.room == "regions" and key.extension == "parquet"]
    if len(found) != 1:
        raise LayoutError(f"the commit of item {commit.item} names {len(found)} regions tables, 1 expected")
    return found[0]
