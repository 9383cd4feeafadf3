"""Search among the embedded regions of a product: their tables streamed once, then the rows of those that were found.

What is read first of a row group is what a score and the question need: embedding, scale, id, image, class and bounds. Geometries
are read only where a region at the edge of the box asked for might be among the best, and everything else only of the best.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.region_tables import CORNERS, Wanted, open_regions
from gridscribe.client.search import Best, Float32, Hit, Place, Rows, contenders, dots, doubt, scores
from gridscribe.errors import LayoutError, QueryError
from gridscribe.quantise import Quantised
from gridscribe.regions import regions_schema
from gridscribe.store import Store, concurrently

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from gridscribe.client.index import ImageIndex

TABLES_AT_ONCE = 8
"""Tables under way; each holds one row group."""
FIRST, MOST = 8, 64
"""Winners whose rows are read together: few at first, so that the first comes soon."""
VECTORS = ("embedding", "scale")


@dataclass(frozen=True, slots=True)
class Slab:
    """The embedded regions of one row group that are asked for, as far as their bounds tell."""

    rows: Rows
    """Of the row group."""
    vectors: Quantised
    ids: NDArray[Any]
    unsure: NDArray[np.bool_]
    """Whether the geometry must tell: the bounds reach beyond the box."""

    def take(self, rows: Any) -> Slab:
        """Some of them."""
        return Slab(self.rows[rows], self.vectors.take(rows), self.ids[rows], self.unsure[rows])


def search(store: Store, index: ImageIndex, wanted: Wanted, query: Float32, best: Best) -> None:
    """Add to `best` the regions that are wanted.

    Memory: a row group of each of a few tables. Raises `QueryError` where none of the regions met has an embedding, and
    `LayoutError` where one is not of the query's length.
    """
    tables = [number for number, one in enumerate(index.regions.tables) if one.images & wanted.images]
    seen = list(
        concurrently(lambda number: _search_table(store, index, number, wanted, query, best), tables, TABLES_AT_ONCE)
    )
    if any(groups for groups, _ in seen) and not any(embedded for _, embedded in seen):
        raise QueryError(
            f"regions of product {index.product.id} have no embeddings: they were made before its alignment model was used"
        )


def winners(store: Store, index: ImageIndex, hits: list[Hit]) -> Iterator[tuple[Hit, dict[str, Any]]]:
    """The hits, in order, each with its row as plain data, without the embedding; read some at a time, as they are asked for."""
    columns = [name for name in regions_schema().names if name not in VECTORS]
    start, step = 0, FIRST
    while start < len(hits):
        some = hits[start : start + step]
        rows = _read(store, index, [hit.place for hit in some], columns)
        yield from ((hit, rows[hit.place]) for hit in some)
        start, step = start + step, min(2 * step, MOST)


def find(store: Store, index: ImageIndex, number: int, value: int, image: str) -> pa.Table:
    """The row, or none, of the region of `image` with `value` in table `number`; all columns."""
    import pyarrow.compute as pc

    found = regions_schema().empty_table()
    with open_regions(store, index.regions.tables[number].record) as file:
        place = file.schema_arrow.names.index("value")
        for group in range(file.num_row_groups):
            limits = file.metadata.row_group(group).column(place).statistics
            if limits is not None and limits.has_min_max and not limits.min <= value <= limits.max:
                continue
            table = file.read_row_group(group, use_threads=False).cast(regions_schema())
            table = table.filter(pc.and_(pc.equal(table["value"], value), pc.equal(table["image"], image)))
            if len(table):
                found = table
                break
    return found


def _search_table(
    store: Store, index: ImageIndex, number: int, wanted: Wanted, query: Float32, best: Best
) -> tuple[int, int]:
    """(row groups that might hold wanted regions, embedded regions in them)."""
    table = index.regions.tables[number]
    wanted = wanted.among(table.images)
    groups = embedded = 0
    with open_regions(store, table.record) as file:
        for group in range(file.num_row_groups):
            if not wanted.may_be_in(file.metadata.row_group(group)):
                continue
            groups += 1
            slab, count = _slab(file, group, wanted, len(query), table.record.key)
            embedded += count
            if slab is not None:
                best.add(list(_hits(file, number, group, slab, wanted, query, best)))
    return groups, embedded


def _slab(file: pq.ParquetFile, group: int, wanted: Wanted, dim: int, key: str) -> tuple[Slab | None, int]:
    """(what of a row group is asked for and embedded, how many regions in it are embedded)."""
    columns = ["region_id", "image", *VECTORS]
    columns += ["class_name"] if wanted.class_name is not None else []
    columns += ["bbox"] if wanted.boxes is not None else []
    table = file.read_row_group(group, columns=columns, use_threads=False)
    embedded, vectors = vectors_of(table, dim, key)
    keep = wanted.named(table) & embedded
    unsure = np.zeros(len(table), np.bool_)
    if wanted.boxes is not None:
        near, inside = wanted.bounded(*_bounds(table))
        keep &= near
        unsure = ~inside
    rows = np.flatnonzero(keep)
    if not len(rows):
        return None, int(embedded.sum())
    ids = table["region_id"].to_numpy()
    kept = vectors if keep.sum() == len(vectors) else vectors.take(keep[embedded])
    return Slab(rows, kept, ids[rows], unsure[rows]), int(embedded.sum())


def _hits(
    file: pq.ParquetFile, number: int, group: int, slab: Slab, wanted: Wanted, query: Float32, best: Best
) -> Iterator[tuple[float, str, Place]]:
    """Those of a slab that may be among the best."""
    rough, slack = dots(slab.vectors.values, query) * slab.vectors.scale.astype(np.float32), doubt(slab.vectors)
    bar = best.bar
    within = rough + slack >= bar
    asked = np.flatnonzero(within & slab.unsure)
    if len(asked):
        geometry = file.read_row_group(group, columns=["geometry"], use_threads=False)["geometry"]
        within[asked] = wanted.meets(geometry.take(slab.rows[asked]).to_numpy(zero_copy_only=False))
    rows = np.flatnonzero(within)
    rows = rows[contenders(rough[rows], slack[rows], best.room, bar)]
    found = slab.take(rows)
    for score, name, row in zip(scores(found.vectors, query).tolist(), found.ids, found.rows.tolist(), strict=True):
        yield score, name, Place(number, group, row)


def vectors_of(table: pa.Table, dim: int, key: str) -> tuple[NDArray[np.bool_], Quantised]:
    """(which rows of a regions table are embedded, their vectors); `LayoutError` where one has not `dim` components."""
    import pyarrow as pa
    import pyarrow.compute as pc

    embedding, scale = (table[name].combine_chunks() for name in VECTORS)
    valid: NDArray[np.bool_] = embedding.is_valid().to_numpy(zero_copy_only=False)
    if not np.array_equal(valid, scale.is_valid().to_numpy(zero_copy_only=False)):
        raise LayoutError(f"{key}: a region has an embedding without its scale, or a scale without embedding")
    lengths = pc.unique(pc.list_value_length(embedding).drop_null()).to_pylist()
    components = embedding.flatten()
    if lengths not in ([], [dim]) or components.null_count or components.type != pa.int8():
        raise LayoutError(
            f"{key}: embeddings of {sorted(lengths)} components of {components.type}, {dim} of int8 are expected"
        )
    values = components.to_numpy().reshape(-1, dim)
    try:
        return valid, Quantised(values, scale.drop_null().to_numpy(zero_copy_only=False))
    except ValueError as error:
        raise LayoutError(f"{key}: {error}") from error


def geometries(store: Store, index: ImageIndex, places: list[Place]) -> dict[Place, bytes | None]:
    """The geometries (WKB) at some places."""
    return {place: fact["geometry"] for place, fact in _read(store, index, places, ["geometry"]).items()}


def _bounds(table: pa.Table) -> list[NDArray[np.float64]]:
    """West, south, east, north of each row; NaN where it has no place on Earth."""
    import pyarrow.compute as pc

    bounds = table["bbox"].combine_chunks()
    return [pc.fill_null(pc.struct_field(bounds, corner), np.nan).to_numpy(zero_copy_only=False) for corner in CORNERS]


def _read(store: Store, index: ImageIndex, places: list[Place], columns: list[str]) -> dict[Place, dict[str, Any]]:
    """Columns of the rows at some places: a table is opened once, and a row group read once."""
    by_table: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place in places:
        by_table[place.table][place.group].append(place.row)

    def read(number: int) -> list[tuple[Place, dict[str, Any]]]:
        found = []
        with open_regions(store, index.regions.tables[number].record) as file:
            for group, rows in by_table[number].items():
                table = file.read_row_group(group, columns=columns, use_threads=False).take(rows)
                found += [(Place(number, group, row), fact) for row, fact in zip(rows, table.to_pylist(), strict=True)]
        return found

    return dict(pair for pairs in concurrently(read, by_table, TABLES_AT_ONCE) for pair in pairs)
