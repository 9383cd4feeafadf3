"""The stored tokens and window vectors of one image: those under a pixel, and products of all with a query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridscribe.canonical import sha256
from gridscribe.client.index import ImageIndex
from gridscribe.client.search import Float32, dots
from gridscribe.cog_reader import Read
from gridscribe.commits import Commit, ObjectRecord, read_commit
from gridscribe.errors import LayoutError, QueryError
from gridscribe.layout import parse_product_key
from gridscribe.quantise import Quantised
from gridscribe.store import Store
from gridscribe.tables import ImageRow, as_images_table, image_rows, read_table
from gridscribe.token_footer import RowGroup
from gridscribe.token_reader import TokenTable, open_tokens
from gridscribe.token_tables import frame_of
from gridscribe.tokens import TokenFrame
from gridscribe.values import Window
from gridscribe.window_tables import read_windows

if TYPE_CHECKING:
    import pyarrow as pa

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TokenPart:
    """The tokens of an image as far as one item holds them."""

    row: ImageRow
    frame: TokenFrame
    tokens: ObjectRecord
    windows: ObjectRecord | None
    """Of the class vectors of the windows that begin in the part; None where they are not stored."""


def token_parts(store: Store, index: ImageIndex, image: int) -> list[TokenPart]:
    """The parts of an image whose tokens are stored, in order of their boxes; a commit and a table are read for each.

    Raises `LayoutError` where the parts are not of one grid.
    """
    boxes = range(int(index.box_starts[image]), int(index.box_starts[image + 1]))
    items = dict.fromkeys(index.items[box] for box in boxes)
    found = [part for item in items if (part := _part(store, index, index.ids[image], item)) is not None]
    grids = {part.frame.with_box(part.frame.whole) for part in found}
    if len(grids) > 1:
        raise LayoutError(
            f"items of image {index.ids[image]} tell of different token grids: {sorted(map(repr, grids))}"
        )
    return found


def vector_at(store: Store, parts: Iterable[TokenPart], row: int, col: int) -> Quantised | None:
    """The vector that stands for the token under a pixel; None where it was dropped or no part holds it."""
    for part in parts:
        try:
            part.frame.index_at(row, col)
        except ValueError:  # in the box of another part
            continue
        table, read = open_tokens(store, part.tokens.key, part.tokens.size)
        _, vector = table.at_pixel(read, part.row, row, col)
        return vector
    return None


def token_products(store: Store, part: TokenPart, box: Window, query: Float32) -> Float32:
    """Products of the query and the vector that stands for each token of `box` within the part: float32 [rows, cols].

    NaN where a token was dropped. Only row groups that hold such vectors are read, some megabytes at a time.
    """
    table, read = open_tokens(store, part.tokens.key, part.tokens.size)
    groups = table.groups_of(part.row.image, part.row.page)
    count = sum(group.rows for group in groups)
    if count != part.row.n_kept or (count and table.footer.dim != len(query)):
        raise LayoutError(
            f"{part.tokens.key} holds {count} tokens of {table.footer.dim} components of image {part.row.image}; its images "
            f"table says {part.row.n_kept}, the product {len(query)}: they are not of one item"
        )
    if part.row.parent is None:
        return _unmerged(table, part.frame, box, groups, query, read)
    slots = np.frombuffer(part.row.parent, "<i4").reshape(part.frame.box.shape)[box.slices(part.frame.box)]
    if slots.size and not -1 <= slots.min() <= slots.max() < count:
        raise LayoutError(
            f"{part.tokens.key}: image {part.row.image} has tokens merged into slots that it does not have"
        )
    starts = np.cumsum([0, *(group.rows for group in groups)])
    needed = np.unique(np.searchsorted(starts, np.unique(slots[slots >= 0]), side="right") - 1).tolist()
    values = np.full(count + 1, np.nan, np.float32)  # the last stands for slot -1
    batches = table.stream(read, [groups[number] for number in needed])
    for number, batch in zip(needed, batches, strict=True):
        values[starts[number] : starts[number + 1]] = products(batch.vectors, query)
    found: Float32 = values[slots]
    return found


def window_products(store: Store, part: TokenPart, query: Float32) -> tuple[list[Place], Float32]:
    """(places in the lattice, product with the query) of the windows that begin in the part.

    `QueryError` where the windows' vectors are not stored, `LayoutError` where they are not understood.
    """
    if part.windows is None:
        raise QueryError(f"the class vectors of image {part.row.image}'s windows are not stored: ask with bias=0")
    key = part.windows.key
    entries = read_windows(store.get(key), key, part.row.image, part.row.page)
    if not entries:  # all of them begin in other parts
        return [], np.empty(0, np.float32)
    (entry,) = entries
    if entry.vectors.dim != len(query):
        raise LayoutError(f"{key}: vectors of {entry.vectors.dim} components, {len(query)} are expected")
    return list(entry.places), products(entry.vectors, query)


def products(vectors: Quantised, query: Float32) -> Float32:
    """Products of stored vectors, int8 or float16, with a query: float32 [n]."""
    found: Float32 = dots(vectors.values, query) * vectors.scale.astype(np.float32)
    return found


def _unmerged(
    table: TokenTable, frame: TokenFrame, box: Window, groups: tuple[RowGroup, ...], query: Float32, read: Read
) -> Float32:
    """`token_products` where every token that has a vector has its own."""
    out = np.full(box.shape, np.nan, np.float32)
    first, last = box.row * frame.grid_w, box.row1 * frame.grid_w - 1
    for batch in table.stream(read, [group for group in groups if group.last >= first and group.first <= last]):
        rows, cols = np.divmod(batch.index, frame.grid_w)
        here = (rows >= box.row) & (rows < box.row1) & (cols >= box.col) & (cols < box.col1)
        out[rows[here] - box.row, cols[here] - box.col] = products(batch.vectors, query)[here]
    return out


def _part(store: Store, index: ImageIndex, image: str, item: str) -> TokenPart | None:
    commit = read_commit(store, index.product.id, item)
    entry = next((entry for entry in commit.images if entry["image"] == image), {})
    if entry.get("tokens") is None:
        return None
    (images,) = [record for record in commit.objects if parse_product_key(record.key).room == "images"]
    data = store.get(images.key)
    if sha256(data) != images.sha256:
        raise LayoutError(f"{store.uri_of(images.key)} is not what item {item} committed")
    table = _of_image(as_images_table(read_table(data, images.key), images.key), image, 0)
    rows = image_rows(table)
    frame = frame_of(rows[0]) if rows else None
    if frame is None:
        raise LayoutError(f"{images.key} tells of no tokens of image {image}, which item {item} committed")
    windows = entry.get("windows")
    return TokenPart(
        rows[0], frame, _record(commit, entry["tokens"]), None if windows is None else _record(commit, windows)
    )


def _record(commit: Commit, key: str) -> ObjectRecord:
    for record in commit.objects:
        if record.key == key:
            return record
    raise LayoutError(f"the commit of item {commit.item} tells of {key} and does not name it among its objects")


def _of_image(table: pa.Table, image: str, page: int) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.and_(pc.equal(table["image"], image), pc.equal(table["page"], page)))
