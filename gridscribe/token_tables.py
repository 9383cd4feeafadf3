"""The token table of an item (`products/<product>/tokens/<item>.parquet`), and the token columns of the images table.

A row per kept token, ordered by image, page and index: `image`, `page`, `index`, `row`, `col` (int32, on the whole image's
grid), `embedding` (fixed-size list of int8 or float16), `scale` (float16; `embedding * scale` is the vector). Row groups
hold at most `ROWS` rows and never span two images or pages, so their statistics alone tell which of them to read for a
pixel. What was dropped or absorbed stands in the images table, which also has a row where there is no token at all.

Parquet stores int8 as 32-bit integers; dictionary-encoded, the 255 values take one byte again, and ZSTD takes a little
more off. Float16 is stored plainly: BYTE_STREAM_SPLIT would save a twelfth more, and DuckDB does not read it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gridscribe.quantise import KINDS, Kind, Quantised
from gridscribe.tables import ImageRow
from gridscribe.tokens import TokenFrame, TokenGrid
from gridscribe.values import Window

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1024
"""Most rows of a row group."""
EMBEDDING = "embedding.list.element"
PAGE_BYTES = 4 << 20  # a column chunk is one page: a token is fetched by row group, and pages would only add headers


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """The tokens of one image or page, as far as one item holds them; `grid.vectors` are `Quantised`."""

    image: str
    """Image id; for a page the document's."""
    page: int
    grid: TokenGrid


def tokens_schema(dim: int, kind: Kind = "int8") -> pa.Schema:
    """The Arrow schema of a token table of `dim` components a vector; ValueError for another kind or no component."""
    import pyarrow as pa

    if dim < 1 or kind not in KINDS:
        raise ValueError(f"token tables hold vectors of >= 1 components as {' or '.join(KINDS)}, got {dim} as {kind!r}")
    component = pa.field("element", pa.int8() if kind == "int8" else pa.float16(), nullable=False)
    columns = [("image", pa.string()), *((name, pa.int32()) for name in ("page", "index", "row", "col"))]
    columns += [("embedding", pa.list_(component, dim)), ("scale", pa.float16())]
    return pa.schema([pa.field(name, type_, nullable=False) for name, type_ in columns])


def write_tokens(entries: Iterable[TokenEntry], dim: int, kind: Kind = "int8", rows: int = ROWS) -> bytes:
    """The bytes of an item's token table: they depend on the tokens and the pyarrow release alone.

    Entries may come in any order and may be empty; an item without any token is a table of no rows. Raises ValueError where an
    image and page come twice, or vectors are not `Quantised` of this `dim` and `kind`, or `rows` is not in 1..1024.
    """
    import pyarrow.parquet as pq

    if not 1 <= rows <= ROWS:
        raise ValueError(f"row groups of token tables have 1 to {ROWS} rows, not {rows}")
    schema, sink = tokens_schema(dim, kind), io.BytesIO()
    ordered = sorted(entries, key=lambda entry: (entry.image, entry.page))
    for before, after in pairwise(ordered):
        if (before.image, before.page) == (after.image, after.page):
            raise ValueError(f"image {after.image}, page {after.page} comes twice among the tokens of one item")
    names = ["image", "page", *([EMBEDDING] if kind == "int8" else [])]
    with pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=names,
        data_page_size=PAGE_BYTES,
        write_statistics=["image", "page", "index", "row", "col"],
    ) as writer:
        for entry in ordered:
            table = _table(entry, schema, dim, kind)
            for start in range(0, len(table), rows):
                writer.write_table(table.slice(start, rows), row_group_size=rows)
    return sink.getvalue()


def token_columns(grid: TokenGrid) -> dict[str, Any]:
    """The token fields of an `ImageRow`, for `dataclasses.replace(row, **token_columns(grid))`."""
    frame, box = grid.frame, grid.frame.box
    parent = None if grid.parent is None else grid.parent.astype("<i4").tobytes()
    return {
        "patch": frame.patch, "grid_h": frame.grid_h, "grid_w": frame.grid_w, "row0": box.row, "col0": box.col,
        "rows": box.height, "cols": box.width, "n_total": frame.cells, "n_kept": len(grid), "parent": parent,
        "token_transform": frame.transform,
    }  # fmt: skip


def frame_of(row: ImageRow) -> TokenFrame | None:
    """The token frame that a row of the images table tells of; None where the product stores no tokens of it."""
    if row.patch == 0:
        return None
    transform = None
    if row.token_transform is not None:
        a, b, c, d, e, f = row.token_transform
        transform = (a, b, c, d, e, f)
    return TokenFrame(row.grid_h, row.grid_w, row.patch, Window(row.row0, row.col0, row.rows, row.cols), transform)


def _table(entry: TokenEntry, schema: pa.Schema, dim: int, kind: Kind) -> pa.Table:
    import pyarrow as pa

    grid, vectors = entry.grid, entry.grid.vectors
    if not isinstance(vectors, Quantised) or (vectors.dim, vectors.kind) != (dim, kind):
        what = f"{vectors.kind} of {vectors.dim}" if isinstance(vectors, Quantised) else "not quantised"
        raise ValueError(
            f"image {entry.image}, page {entry.page}: vectors are {what}, the table's are {kind} of {dim} components"
        )
    row, col = np.divmod(grid.index, np.int32(grid.frame.grid_w))
    components = pa.array(np.ascontiguousarray(vectors.values).ravel())
    return pa.table(
        {
            "image": pa.repeat(pa.scalar(entry.image), len(grid)),
            "page": np.full(len(grid), entry.page, np.int32),
            "index": grid.index,
            "row": row,
            "col": col,
            "embedding": pa.FixedSizeListArray.from_arrays(components, type=schema.field("embedding").type),
            "scale": vectors.scale,
        },
        schema=schema,
    )
