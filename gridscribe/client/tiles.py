"""Blocks of committed rasters, fetched by range, decoded, and kept as long as they fit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.cog_reader import CogHeader, read_header
from gridscribe.errors import LayoutError
from gridscribe.store import concurrently
from gridscribe.tiff import BLOCK

CACHE_BYTES = 512 << 20
WORKERS = 16

Block = tuple[int, int]
"""(row, column) of a block of a raster."""


class RangeReader(Protocol):
    """What is asked of a store."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer only where the object ends."""

    def get_ranges(self, key: str, ranges: list[tuple[int, int]]) -> list[bytes]:
        """Several (start, length) ranges."""


@dataclass(frozen=True, slots=True)
class Raster:
    """Some blocks of one raster, each [512, 512]."""

    header: CogHeader
    blocks: dict[Block, NDArray[Any]]


class Tiles(Protocol):
    """Where blocks come from."""

    def fetch(self, wants: Mapping[str, Iterable[Block]]) -> dict[str, Raster]:
        """The wanted blocks of each raster, by key."""


class NotHeldError(Exception):
    """A block is not in memory."""


class TileReader:
    """Reads blocks through a cache of headers and decoded blocks, oldest use out first. Safe to use from many threads."""

    def __init__(self, store: RangeReader, cache_bytes: int = CACHE_BYTES) -> None:
        self._store, self._limit = store, cache_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._size = 0

    @property
    def cached_bytes(self) -> int:
        """Memory that the cache holds."""
        return self._size

    def fetch(self, wants: Mapping[str, Iterable[Block]]) -> dict[str, Raster]:
        """The wanted blocks of each raster, by key.

        What is not cached costs at most two requests a raster, one for its header and one for all its blocks (near ones
        travel together), several rasters at once. Raises `StoreError`, or `LayoutError` for a raster that is not ours.
        """
        found: dict[str, Raster] = {}
        missing: list[tuple[str, CogHeader | None, dict[Block, NDArray[Any]], set[Block]]] = []
        with self._lock:
            for key, blocks in wants.items():
                header: CogHeader | None = self._known((key,))
                have = {block: pixels for block in blocks if (pixels := self._known((key, *block))) is not None}
                lacking = set(blocks).difference(have)
                if header is None or lacking:
                    missing.append((key, header, have, lacking))
                else:
                    found[key] = Raster(header, have)
        if len(missing) == 1:
            loaded = [self._load(*missing[0])]
        else:
            loaded = list(concurrently(lambda job: self._load(*job), missing, WORKERS)) if missing else []
        found.update(zip((key for key, *_ in missing), loaded, strict=True))
        return found

    def held(self) -> Tiles:
        """The blocks that are in memory alone: what is not raises `NotHeldError`, and nothing is read or waited for."""
        return _Held(self._held)

    def _held(self, wants: Mapping[str, Iterable[Block]]) -> dict[str, Raster]:
        found = {}
        with self._lock:
            for key, blocks in wants.items():
                header = self._known((key,))
                have = {block: self._known((key, *block)) for block in blocks}
                if header is None or any(pixels is None for pixels in have.values()):
                    raise NotHeldError
                found[key] = Raster(header, have)
        return found

    def _load(self, key: str, header: CogHeader | None, have: dict[Block, NDArray[Any]], blocks: set[Block]) -> Raster:
        header = header or self._header(key)
        data: dict[Block, bytes] = {}
        ranges: dict[Block, tuple[int, int]] = {}
        for row, col in sorted(blocks):
            if not (0 <= row * BLOCK < header.height and 0 <= col * BLOCK < header.width):
                raise LayoutError(f"{key} of {header.height} x {header.width} px has no block {row}, {col}")
            index = row * header.blocks_across + col
            start, count = int(header.offsets[index]), int(header.counts[index])
            if start + count <= len(header.head):
                data[row, col] = header.head[start : start + count]
            else:
                ranges[row, col] = start, count
        data.update(zip(ranges, self._store.get_ranges(key, list(ranges.values())), strict=True) if ranges else ())
        for block, raw in data.items():
            have[block] = pixels = header.decode(raw)
            self._keep((key, *block), pixels, pixels.nbytes if raw else 64)
        return Raster(header, have)

    def _header(self, key: str) -> CogHeader:
        header = read_header(lambda start, length: self._store.get_range(key, start, length), key)
        if (header.block_height, header.block_width) != (BLOCK, BLOCK):
            raise LayoutError(
                f"{key} has blocks of {header.block_height} x {header.block_width} px: gridscribe writes {BLOCK} x {BLOCK}"
            )
        self._keep((key,), header, header.nbytes)
        return header

    def _known(self, name: tuple[Any, ...]) -> Any:
        """What is cached under `name`, now the last to go; the lock is held."""
        if name not in self._kept:
            return None
        self._kept.move_to_end(name)
        return self._kept[name][0]

    def _keep(self, name: tuple[Any, ...], value: Any, size: int) -> None:
        with self._lock:
            _, before = self._kept.pop(name, (None, 0))
            self._kept[name] = value, size
            self._size += size - before
            while self._size > self._limit and self._kept:
                _, (_, gone) = self._kept.popitem(last=False)
                self._size -= gone


@dataclass(frozen=True, slots=True)
class _Held:
    fetch: Callable[[Mapping[str, Iterable[Block]]], dict[str, Raster]]


@dataclass(frozen=True, slots=True)
class Places:
    """Pixels of several rasters, sorted so that those of one block stand together."""

    order: NDArray[np.int64]
    """Place in the caller's arrays of each sorted pixel."""
    row: NDArray[np.int64]
    """Row and column inside the block, sorted."""
    col: NDArray[np.int64]
    edges: list[int]
    """Where each group begins in the sorted arrays, and their length at the end."""
    groups: list[tuple[int, int, int]]
    """(raster, block row, block column) of each group."""

    @classmethod
    def sort(cls, raster: NDArray[np.int64], row: NDArray[np.int64], col: NDArray[np.int64]) -> Places:
        """Of pixels (raster, row, col): any numbers of rasters, rows and columns counted inside each."""
        down, across = row // BLOCK, col // BLOCK
        tall, wide = int(down.max(initial=0)) + 1, int(across.max(initial=0)) + 1
        block = (raster * tall + down) * wide + across
        order = np.argsort(block)
        block = block[order]
        first = np.flatnonzero(np.concatenate([[True], block[1:] != block[:-1]])) if len(block) else block
        picked = order[first]
        groups = zip(raster[picked].tolist(), down[picked].tolist(), across[picked].tolist(), strict=True)
        return cls(order, row[order] % BLOCK, col[order] % BLOCK, [*first.tolist(), len(order)], list(groups))


AT_ONCE = 128
"""Blocks held beside the cache while many are read."""


def gather(
    tiles: Tiles, keys: Mapping[int, str | None], shapes: Mapping[int, tuple[int, int]], places: Places, empty: Any
) -> NDArray[Any]:
    """The value at each of `places`, in the caller's order; `empty` (its dtype is the answer's) where a raster has no key.

    `shapes` are the sizes that the rasters must have: a raster of another size raises `LayoutError`.
    """
    values = np.full(len(places.order), empty)
    for start in range(0, len(places.groups), AT_ONCE):
        part = places.groups[start : start + AT_ONCE]
        wants: dict[str, list[Block]] = {}
        for raster, row, col in part:
            key = keys[raster]
            if key is not None:
                wants.setdefault(key, []).append((row, col))
        found = tiles.fetch(wants)
        for k, (raster, row, col) in enumerate(part, start):
            key = keys[raster]
            if key is None:
                continue
            got = found[key]
            got.header.check(shapes[raster], values.dtype)
            group = slice(places.edges[k], places.edges[k + 1])
            values[places.order[group]] = got.blocks[row, col][places.row[group], places.col[group]]
    return values
