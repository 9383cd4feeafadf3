"""Reading token tables by ranges: one token by pixel, the tokens of an image, or all of a product in a stream.

A `TokenTable` is its footer, read once: which row group holds which tokens, and in which bytes. After that a token costs
one ranged request (of its row group), an image one (its row groups lie together), and a pixel whose token was dropped none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.cog_reader import Read
from gridscribe.commits import Commit
from gridscribe.errors import LayoutError
from gridscribe.layout import parse_product_key
from gridscribe.quantise import Quantised
from gridscribe.tables import ImageRow
from gridscribe.token_footer import Footer, RowGroup, Slice, read_footer
from gridscribe.token_tables import frame_of
from gridscribe.tokens import TokenAt, TokenGrid

AT_ONCE = 8 << 20
"""Bytes of neighbouring row groups that a stream asks for in one request."""
_NEEDED = ("index", "embedding", "scale")


class RangeStore(Protocol):
    """What is asked of a store."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer only where the object ends."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """The tokens of one row group: some of one image or page, in order of index."""

    image: str
    page: int
    index: NDArray[np.int32]
    vectors: Quantised


@dataclass(frozen=True, eq=False)
class TokenTable:
    """A token table whose footer was read. Holds no token; safe to use from many threads."""

    footer: Footer

    @classmethod
    def open(cls, read: Read, size: int, name: str) -> TokenTable:
        """Read the footer of the file of `size` bytes behind `read`: one request, two where it is larger than 64 KiB.

        `name` stands in errors. Raises `LayoutError` where it is no token table.
        """
        return cls(read_footer(read, size, name))

    @property
    def nbytes(self) -> int:
        """Memory held, roughly."""
        return len(self.footer.tail) + 2048 * (len(self.footer.groups) + 1)

    def groups_of(self, image: str, page: int = 0) -> tuple[RowGroup, ...]:
        """The row groups of one image or page, in order of index; none where the table has no token of it."""
        return self._places.get((image, page), ())

    def at_pixel(self, read: Read, row: ImageRow, down: int, across: int) -> tuple[TokenAt, Quantised | None]:
        """What became of the token under pixel (`down`, `across`) of the image of `row`, and the vector that stands for it.

        One request of one row group at most, none where the row or the footer tell that the token was dropped. Raises
        ValueError where the pixel is outside the row's box of tokens, `LayoutError` where it has
        no tokens or the two tables do not agree.
        """
        frame = frame_of(row)
        if frame is None:
            raise LayoutError(f"{self.footer.name}: no tokens of image {row.image}, page {row.page} are stored")
        index = frame.index_at(down, across)
        cell = divmod(index, frame.grid_w)
        if row.parent is not None:
            local = int(frame.local(np.array([index]))[0])
            slot = int(np.frombuffer(row.parent, "<i4", count=1, offset=4 * local)[0])
            found = self._slot(read, row, slot) if slot >= 0 else None
        else:
            found = self._index(read, row, index)
        if found is None:
            return TokenAt("dropped", index, *cell, None, None), None
        slot, source, vector = found
        return TokenAt("kept" if source == index else "merged", index, *cell, slot, source), vector

    def grid(self, read: Read, row: ImageRow) -> TokenGrid:
        """All tokens of the image or page of `row`, in one request; errors as `at_pixel`."""
        frame = frame_of(row)
        if frame is None:
            raise LayoutError(f"{self.footer.name}: no tokens of image {row.image}, page {row.page} are stored")
        batches = list(self.stream(read, self.groups_of(row.image, row.page), at_once=self.footer.size))
        index = np.concatenate([np.empty(0, np.int32), *(batch.index for batch in batches)])
        none = Quantised(np.empty((0, self.footer.dim), self.footer.kind), np.empty(0, np.float16))
        parent = None if row.parent is None else np.frombuffer(row.parent, "<i4").astype(np.int32)
        self._agree(row, len(index))
        try:
            return TokenGrid(frame, index, parent, Quantised.concatenate([none, *(b.vectors for b in batches)]))
        except ValueError as error:
            raise LayoutError(f"{self.footer.name}: tokens of image {row.image}, page {row.page}: {error}") from error

    def stream(
        self, read: Read, groups: Iterable[RowGroup] | None = None, at_once: int = AT_ONCE
    ) -> Iterator[TokenBatch]:
        """A batch per row group, in order; neighbours of up to `at_once` bytes travel in one request."""
        for run in _runs(self.footer.groups if groups is None else groups, at_once):
            start, stop = run[0].start, run[-1].stop
            data = self._bytes(read, start, stop)
            for group in run:
                yield self._batch(group, data[group.start - start : group.stop - start])

    @cached_property
    def _places(self) -> dict[tuple[str, int], tuple[RowGroup, ...]]:
        places: dict[tuple[str, int], list[RowGroup]] = {}
        for group in self.footer.groups:
            places.setdefault((group.image, group.page), []).append(group)
        return {key: tuple(value) for key, value in places.items()}

    def _index(self, read: Read, row: ImageRow, index: int) -> tuple[int, int, Quantised] | None:
        groups = self.groups_of(row.image, row.page)
        self._agree(row, sum(group.rows for group in groups))
        at = bisect_right(groups, index, key=lambda group: group.first) - 1
        if at < 0 or index > groups[at].last:
            return None
        batch = self._fetch(read, groups[at])
        place = int(np.searchsorted(batch.index, index))
        if batch.index[place] != index:
            return None
        return sum(group.rows for group in groups[:at]) + place, index, batch.vectors.take(slice(place, place + 1))

    def _slot(self, read: Read, row: ImageRow, slot: int) -> tuple[int, int, Quantised]:
        groups = self.groups_of(row.image, row.page)
        self._agree(row, sum(group.rows for group in groups))
        place = slot
        for group in groups:
            if place < group.rows:
                batch = self._fetch(read, group)
                return slot, int(batch.index[place]), batch.vectors.take(slice(place, place + 1))
            place -= group.rows
        raise LayoutError(f"{self.footer.name}: image {row.image}, page {row.page} has no token in slot {slot}")

    def _agree(self, row: ImageRow, count: int) -> None:
        if count != row.n_kept:
            raise LayoutError(
                f"{self.footer.name} holds {count} tokens of image {row.image}, page {row.page}, its images table says "
                f"{row.n_kept}: they are not of one item"
            )

    def _fetch(self, read: Read, group: RowGroup) -> TokenBatch:
        return self._batch(group, self._bytes(read, group.start, group.stop))

    def _bytes(self, read: Read, start: int, stop: int) -> bytes:
        held = self.footer.size - len(self.footer.tail)
        data = self.footer.tail[start - held : stop - held] if start >= held else read(start, stop - start)
        if len(data) != stop - start:
            raise LayoutError(f"{self.footer.name} ends at byte {start + len(data)}, {stop} expected: it is cut short")
        return data

    def _batch(self, group: RowGroup, data: bytes) -> TokenBatch:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # the pages alone are handed over: the footer is known, and nothing else of the file is looked at
            file = pq.ParquetFile(
                pa.PythonFile(Slice(data, group.start, self.footer.size)), metadata=self.footer.metadata
            )
            table = file.read_row_group(group.number, columns=list(_NEEDED), use_threads=False)
            index, embedding, scale = (table.column(name).combine_chunks() for name in _NEEDED)
            values = embedding.flatten().to_numpy().reshape(len(index), self.footer.dim)
            vectors = Quantised(values, scale.to_numpy(zero_copy_only=False))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise LayoutError(f"{self.footer.name}: row group {group.number} is damaged ({error})") from error
        return TokenBatch(group.image, group.page, index.to_numpy(), vectors)


def open_tokens(store: RangeStore, key: str, size: int) -> tuple[TokenTable, Read]:
    """The token table `key` of `size` bytes (commits say both), and what its methods read with."""

    def read(start: int, length: int) -> bytes:
        return store.get_range(key, start, length)

    return TokenTable.open(read, size, key), read


def stream_tokens(store: RangeStore, commits: Iterable[Commit], at_once: int = AT_ONCE) -> Iterator[TokenBatch]:
    """All tokens that `commits` hold, a batch per row group, in order of commits; memory holds `at_once` bytes of them."""
    for commit in commits:
        for record in commit.objects:
            parsed = parse_product_key(record.key)
            if parsed.room == "tokens" and not parsed.kind:
                table, read = open_tokens(store, record.key, record.size)
                yield from table.stream(read, at_once=at_once)


def _runs(groups: Iterable[RowGroup], at_once: int) -> Iterator[list[RowGroup]]:
    run: list[RowGroup] = []
    for group in groups:
        if run and (group.start != run[-1].stop or group.stop - run[0].start > at_once):
            yield run
            run = []
        run.append(group)
    if run:
        yield run
