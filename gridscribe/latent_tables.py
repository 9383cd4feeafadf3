"""The table of an item's adaptive latents (`products/<product>/tokens/<item>.latents.parquet`): a row for each crop of a page.

`image`, `page`, `k_row`, `k_col` (int32: the crop's place among its page's), `codes` (list of uint16: as many as it needed) and
`error` (float32: the mean difference of its tokens as the codes tell them). Ordered by image, page and place.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import LayoutError
from gridscribe.tables import read_table

COLUMNS = ["image", "page", "k_row", "k_col", "codes", "error"]


@dataclass(frozen=True, slots=True, eq=False)
class CropLatents:
    """The latents of one crop."""

    image: str
    page: int
    row: int
    col: int
    codes: NDArray[np.uint16]
    error: float


def write_latents(entries: Iterable[CropLatents]) -> bytes:
    """The bytes of an item's table: they depend on the entries and the pyarrow release alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(entries, key=lambda one: (one.image, one.page, one.row, one.col))
    places = {"page": "page", "k_row": "row", "k_col": "col"}
    columns = {
        "image": pa.array([one.image for one in ordered], pa.string()),
        **{name: pa.array([getattr(one, own) for one in ordered], pa.int32()) for name, own in places.items()},
        "codes": pa.array([one.codes for one in ordered], pa.list_(pa.uint16())),
        "error": pa.array([one.error for one in ordered], pa.float32()),
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd", compression_level=3, use_dictionary=["image", "page"])
    return sink.getvalue()


def read_latents(data: bytes, key: str, image: str | None = None, page: int = 0) -> list[CropLatents]:
    """The rows of the table stored at `key`, or those of one page; `LayoutError` where it is no such table."""
    table = read_table(data, key)
    if table.column_names != COLUMNS:
        raise LayoutError(f"{key} is not a table of latents of this version: its columns are {table.column_names}")
    return [
        CropLatents(
            row["image"], row["page"], row["k_row"], row["k_col"], np.array(row["codes"], np.uint16), row["error"]
        )
        for row in table.to_pylist()
        if image is None or (row["image"], row["page"]) == (image, page)
    ]
