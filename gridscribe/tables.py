"""The images table (`products/<product>/images/<item>.parquet`) and Parquet bytes that depend on the rows alone.

A row stands for one image (or document page) as far as one item saw it: an image of several items has a row in
each, equal but for the item's own box, objects and counts. Tables open in pandas, DuckDB and, with footprints,
geopandas.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from gridscribe.errors import LayoutError
from gridscribe.values import Grid, Window

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 65_536
"""Rows of a row group where a table has no reason for smaller ones."""
TOKEN_MAPS = ("parent", "token_transform")
"""Columns that tell where a token lies and no image: large, of no use to find anything, and left out of indexes."""

LATER = {"token_transform", "height_code"}
"""Columns that earlier versions did not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One row of the images table; the fields stand in the order of its columns."""

    image: str
    """Image id; for a page the document's."""
    source: str
    """Where the image came from, as shown to people: a URI, or `archive.tar!/path`."""
    page: int = 0
    """Page of a document, from 0."""
    height: int
    """Pixels of the whole image."""
    width: int
    crs: str | None = None
    """"EPSG:n" or WKT; null where the image is not georeferenced."""
    transform: tuple[float, ...] | None = None
    """The affine terms a, b, c, d, e, f of pixel corners, in rasterio's order."""
    footprint: bytes | None = None
    """WKB of the whole image's outline in OGC:CRS84 (longitude, latitude), split at the antimeridian."""
    datetime: datetime | None = None
    """When the image was taken; null where nothing says so. An aware datetime; stored in UTC to the microsecond."""
    gsd: float | None = None
    """Metres per pixel; null where unknown."""
    box_row: int
    """This item's box of the image, in pixels."""
    box_col: int
    box_height: int
    box_width: int
    mask: str | None = None
    """Key of the class raster of the box."""
    confidence: str | None = None
    """Key of the confidence raster of the box."""
    height_key: str | None = None
    """Key of the height raster of the box."""
    patch: int = 0
    """Pixels of a token's side; 0 (as all token fields) where there are no tokens."""
    grid_h: int = 0
    """Tokens down and across the whole image."""
    grid_w: int = 0
    row0: int = 0
    """This item's box of tokens."""
    col0: int = 0
    rows: int = 0
    cols: int = 0
    n_total: int = 0
    """Tokens in the box before pruning, and stored."""
    n_kept: int = 0
    parent: bytes | None = None
    """Merging only: per token of the box the kept slot that absorbed it, or -1. Here as int32 little-endian, so that a row
    stays a small value that compares; in the file a list<int32>, which every reader of Parquet understands."""
    valid_fraction: float = 1.0
    """Share of the box's pixels that are valid."""
    flags: tuple[str, ...] = ()
    """What a reader should know, such as "resampled" or "no-height"; sorted."""
    token_transform: tuple[float, ...] | None = None
    """The affine terms a, b, c, d, e, f from corners of token cells to pixels; null where they are `patch` alone."""
    height_code: bytes | None = None
    """The heights of the box in at most 10 x 10 cells, a byte each (`gridscribe.height_code`); null where it has none."""

    @property
    def grid(self) -> Grid:
        """The whole image's grid."""
        transform = self.transform
        if transform is None:
            return Grid(self.height, self.width, None, self.crs)
        a, b, c, d, e, f = transform
        return Grid(self.height, self.width, (a, b, c, d, e, f), self.crs)

    @property
    def box(self) -> Window:
        """This item's box of the image."""
        return Window(self.box_row, self.box_col, self.box_height, self.box_width)


@cache
def images_schema() -> pa.Schema:
    """The Arrow schema of the images table, with GeoParquet metadata for `footprint`."""
    import pyarrow as pa

    def need(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    columns = [
        need("image", pa.string()),
        need("source", pa.string()),
        need("page", pa.int32()),
        need("height", pa.int32()),
        need("width", pa.int32()),
        pa.field("crs", pa.string()),
        pa.field("transform", pa.list_(pa.float64())),
        pa.field("footprint", pa.binary()),
        pa.field("datetime", pa.timestamp("us", tz="UTC")),
        pa.field("gsd", pa.float64()),
        *(need(name, pa.int32()) for name in ("box_row", "box_col", "box_height", "box_width")),
        pa.field("mask", pa.string()),
        pa.field("confidence", pa.string()),
        pa.field("height_key", pa.string()),
        *(need(name, pa.int32()) for name in ("patch", "grid_h", "grid_w", "row0", "col0", "rows", "cols")),
        *(need(name, pa.int32()) for name in ("n_total", "n_kept")),
        pa.field("parent", pa.list_(pa.int32())),
        need("valid_fraction", pa.float64()),
        need("flags", pa.list_(pa.string())),
        pa.field("token_transform", pa.list_(pa.float64())),
        pa.field("height_code", pa.binary()),
    ]
    return pa.schema(columns, metadata=geo_metadata("footprint"))


def geo_metadata(column: str, covering: str | None = None, pixels: str | None = None) -> dict[str, str]:
    """GeoParquet 1.1 file metadata for one WKB column in OGC:CRS84 (the default, so it is not spelt out).

    `covering` names a struct column of xmin, ymin, xmax, ymax that bounds each geometry; `pixels` a second WKB column, of
    polygons in no CRS.
    """
    entry: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["MultiPolygon", "Polygon"]}
    if covering is not None:
        entry["covering"] = {"bbox": {corner: [covering, corner] for corner in ("xmin", "ymin", "xmax", "ymax")}}
    columns = {column: entry}
    if pixels is not None:
        columns[pixels] = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}
    return {"geo": json.dumps({"version": "1.1.0", "primary_column": column, "columns": columns}, sort_keys=True)}


def images_table(rows: Iterable[ImageRow]) -> pa.Table:
    """The images table of `rows`, in order of image, page and box."""
    import pyarrow as pa

    ordered = sorted(rows, key=lambda row: (row.image, row.page, row.box_row, row.box_col))
    names = [field.name for field in fields(ImageRow)]
    columns = {name: [_plain(getattr(row, name)) for row in ordered] for name in names if name != "parent"}
    columns["parent"] = _parent_column([row.parent for row in ordered])
    return pa.table(columns, schema=images_schema())


def image_rows(table: pa.Table) -> list[ImageRow]:
    """The rows of an images table as values."""
    parents = [None if not p.is_valid else p.values.to_numpy().astype("<i4").tobytes() for p in table["parent"]]
    rows = table.drop_columns("parent").to_pylist()
    return [
        ImageRow(**{name: _frozen(value) for name, value in row.items()}, parent=parent)
        for row, parent in zip(rows, parents, strict=True)
    ]


def as_images_table(table: pa.Table, key: str) -> pa.Table:
    """`table` with the columns of `images_schema`; `LayoutError` where it is not an images table.

    Tables of earlier versions lack the last columns (before there were tokens, `parent` was null throughout): they read as
    what they say, images without tokens, or without coded heights.
    """
    import pyarrow as pa

    schema = images_schema()
    names = table.column_names
    missing = schema.names[len(names) :]
    if names == schema.names[: len(names)] and set(missing) <= LATER:
        if "token_transform" in missing and table["parent"].null_count == len(table):
            empty = pa.nulls(len(table), schema.field("parent").type)
            table = table.set_column(names.index("parent"), "parent", empty)
        for name in missing:
            table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
    if table.column_names != schema.names:
        raise LayoutError(f"{key} is not an images table of this version: its columns are {table.column_names}")
    try:
        return table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise LayoutError(f"{key} is not an images table of this version: {error}") from error


def write_table(table: pa.Table, row_group_size: int = ROW_GROUP) -> bytes:
    """Parquet bytes that depend on the rows, the schema and the pyarrow release alone: ZSTD, no time, no host."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", compression_level=3, row_group_size=row_group_size)
    return sink.getvalue()


def read_table(data: bytes, key: str, columns: list[str] | None = None) -> pa.Table:
    """The table in the Parquet object `key`; `LayoutError` where the bytes are not Parquet or lack a column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(pa.BufferReader(data)).read(
            columns=columns, use_threads=False
        )  # half of read_table's cost
    except (pa.ArrowException, OSError) as error:
        raise LayoutError(f"{key} cannot be read as Parquet: {error}") from error


def write_images(rows: Iterable[ImageRow]) -> bytes:
    """The bytes of an item's images table."""
    return write_table(images_table(rows))


def read_images(data: bytes, key: str) -> list[ImageRow]:
    """The rows of the images table stored at `key`; `LayoutError` where it is not one."""
    return image_rows(as_images_table(read_table(data, key), key))


def _parent_column(parents: list[bytes | None]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if any(parent is not None and len(parent) % 4 for parent in parents):
        raise ValueError("parent of an image row needs int32 per token: its bytes are no multiple of 4")
    slots = np.frombuffer(b"".join(parent or b"" for parent in parents), "<i4")
    ends = np.cumsum([0, *(len(parent or b"") // 4 for parent in parents)]).astype(np.int32)
    absent = pa.array([parent is None for parent in parents], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(slots), mask=absent)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"datetime {value.isoformat()} states no time zone")
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return value.astimezone(UTC) if isinstance(value, datetime) else value
