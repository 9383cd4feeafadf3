"""The footer of a token table: which row group holds which tokens of which image, and in which bytes of the file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gridscribe.cog_reader import Read
from gridscribe.errors import LayoutError
from gridscribe.token_tables import ROWS, tokens_schema

if TYPE_CHECKING:
    import pyarrow as pa

READ_AHEAD = 64 * 1024
"""Bytes of the first request, from the end of the file: the footer of about 60 row groups, and small tables whole."""
MAX_FOOTER = 256 << 20
MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class RowGroup:
    """What the footer says of one row group."""

    number: int
    image: str
    page: int
    first: int
    """Index of its first and last token."""
    last: int
    rows: int
    start: int
    """Its bytes in the file, [start, stop)."""
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Footer:
    """What is known of a token table without reading a token."""

    name: str
    size: int
    """Bytes of the file."""
    metadata: Any
    """pyarrow's `FileMetaData`."""
    dim: int
    """Components of a vector."""
    kind: np.dtype[Any]
    """int8 or float16."""
    groups: tuple[RowGroup, ...]
    """In order of image, page and index."""
    tail: bytes
    """The last bytes of the file, as far as they were read; row groups inside need no request."""


def read_footer(read: Read, size: int, name: str) -> Footer:
    """The footer of the file of `size` bytes behind `read`: one request, two where it is larger than 64 KiB.

    `name` stands in errors. Raises `LayoutError` where it is no token table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tail = read(max(0, size - READ_AHEAD), min(size, READ_AHEAD)) if size else b""
    if len(tail) < 12 or tail[-4:] != MAGIC:
        raise LayoutError(f"{name} of {size} bytes does not end as Parquet does: it is cut short or no token table")
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > min(size, MAX_FOOTER):
        raise LayoutError(f"{name}: a footer of {length} bytes in a file of {size}: it is damaged")
    if length > len(tail):
        tail = read(size - length, length - len(tail)) + tail
    try:
        metadata = pq.read_metadata(pa.BufferReader(MAGIC + tail[-length:]))
        schema = metadata.schema.to_arrow_schema()
        dim, kind = _vectors(schema, name)
        groups = tuple(_group(metadata.row_group(i), i) for i in range(metadata.num_row_groups))
    except (pa.ArrowException, OSError, ValueError, AttributeError, KeyError) as error:
        raise LayoutError(f"{name} cannot be read as a token table: {error}") from error
    for group in groups:
        if not (1 <= group.rows <= ROWS and group.first <= group.last and 4 <= group.start < group.stop <= size):
            raise LayoutError(f"{name}: row group {group.number} is not one that gridscribe writes: {group}")
    return Footer(name, size, metadata, dim, kind, groups, tail)


class Slice(io.RawIOBase):
    """A file of `size` bytes of which only `data`, from byte `start`, is known; reading others is a ValueError."""

    def __init__(self, data: bytes, start: int, size: int) -> None:
        self._data, self._start, self._size, self._at = data, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        start = self._at - self._start
        if start < 0 or size < 0 or start + size > len(self._data):
            raise ValueError(f"bytes {self._at} to {self._at + size} are outside the row group")
        self._at += size
        return self._data[start : start + size]


def _group(described: Any, number: int) -> RowGroup:
    columns = {(c := described.column(i)).path_in_schema: c for i in range(described.num_columns)}
    image, page, index = (columns[name].statistics for name in ("image", "page", "index"))
    if image.min != image.max or page.min != page.max:
        raise ValueError(f"row group {number} spans images or pages ({image.min} to {image.max})")
    starts = [c.dictionary_page_offset or c.data_page_offset for c in columns.values()]
    stops = [start + c.total_compressed_size for start, c in zip(starts, columns.values(), strict=True)]
    return RowGroup(
        number, image.min, page.min, index.min, index.max, described.num_rows, min(starts), max(stops)
    )  # fmt: skip


def _vectors(schema: pa.Schema, name: str) -> tuple[int, np.dtype[Any]]:
    """(components, dtype) of the vectors; `LayoutError` where the schema is not one of `tokens_schema`."""
    import pyarrow as pa

    field = schema.field("embedding").type if "embedding" in schema.names else None
    if isinstance(field, pa.FixedSizeListType):
        for kind in (np.int8, np.float16):
            if schema.remove_metadata().equals(
                tokens_schema(field.list_size, "int8" if kind is np.int8 else "float16")
            ):
                return field.list_size, np.dtype(kind)
    raise LayoutError(f"{name} is not a token table of this version: its columns are {schema.names}")
