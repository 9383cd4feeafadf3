"""The table of an item's encoded windows (`products/<product>/tokens/<item>.windows.parquet`): their class vectors.

A token of a dense encoder has some of its window's class vector in it, the same for every token of the window; a question may
take that share off (SegEarth-OV, CVPR 2025). So the vectors are kept beside the tokens: a row per encoded window with `image`,
`page`, `k_row`, `k_col` (int32: its place in the image's lattice of windows), `embedding` (fixed-size list of int8 or
float16) and `scale` (float16), ordered by image, page and place. A window stands in the item that holds its first token.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridscribe.errors import LayoutError
from gridscribe.quantise import Kind, Quantised
from gridscribe.tables import read_table
from gridscribe.token_tables import EMBEDDING, ROWS, tokens_schema

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class WindowEntry:
    """The windows of one image, as far as one item holds them."""

    image: str
    page: int
    places: Sequence[tuple[int, int]]
    """Row and column in the lattice, row-major."""
    vectors: Quantised
    """As many."""


def windows_schema(dim: int, kind: Kind = "int8") -> pa.Schema:
    """The Arrow schema of a table of windows; ValueError as `tokens_schema`."""
    import pyarrow as pa

    tokens = tokens_schema(dim, kind)
    places = [pa.field(name, pa.int32(), nullable=False) for name in ("k_row", "k_col")]
    return pa.schema(
        [tokens.field("image"), tokens.field("page"), *places, *(tokens.field(n) for n in tokens.names[-2:])]
    )


def write_windows(entries: Iterable[WindowEntry], dim: int, kind: Kind = "int8") -> bytes:
    """The bytes of an item's table of windows: they depend on the entries and the pyarrow release alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, sink = windows_schema(dim, kind), io.BytesIO()
    names = ["image", "page", *([EMBEDDING] if kind == "int8" else [])]
    with pq.ParquetWriter(sink, schema, compression="zstd", compression_level=3, use_dictionary=names) as writer:
        for entry in sorted(entries, key=lambda entry: (entry.image, entry.page)):
            count = len(entry.places)
            places = np.array(entry.places, np.int32).reshape(count, 2)
            components = pa.array(np.ascontiguousarray(entry.vectors.values).ravel())
            columns = {
                "image": pa.repeat(pa.scalar(entry.image), count),
                "page": np.full(count, entry.page, np.int32),
                "k_row": places[:, 0],
                "k_col": places[:, 1],
                "embedding": pa.FixedSizeListArray.from_arrays(components, type=schema.field("embedding").type),
                "scale": entry.vectors.scale,
            }
            table = pa.table(columns, schema=schema)
            for start in range(0, count, ROWS):
                writer.write_table(table.slice(start, ROWS), row_group_size=ROWS)
    return sink.getvalue()


def read_windows(data: bytes, key: str, image: str | None = None, page: int = 0) -> list[WindowEntry]:
    """The entries of the table stored at `key`, or that of one image; `LayoutError` where it is no such table."""
    import pyarrow.compute as pc

    table = read_table(data, key)
    if table.column_names != windows_schema(1).names:
        raise LayoutError(f"{key} is not a table of windows of this version: its columns are {table.column_names}")
    names = dict.fromkeys(zip(table["image"].to_pylist(), table["page"].to_pylist(), strict=True))
    wanted = [name for name in names if image is None or name == (image, page)]
    return [
        _entry(table.filter(pc.and_(pc.equal(table["image"], name), pc.equal(table["page"], of))), name, of)
        for name, of in wanted
    ]


def _entry(rows: pa.Table, image: str, page: int) -> WindowEntry:
    places = zip(rows["k_row"].to_pylist(), rows["k_col"].to_pylist(), strict=True)
    values = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
    return WindowEntry(image, page, tuple(places), Quantised(values, rows["scale"].to_numpy()))
