"""The regions of one image: masks in, a raster and rows of a table out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gridscribe.client.blocks import joined_window
from gridscribe.client.stored import EMPTY
from gridscribe.client.tiles import TileReader
from gridscribe.pipelines.cog import REGIONS, CogWriter
from gridscribe.pipelines.memory import give_back_free_memory
from gridscribe.pipelines.region_items import RegionPart
from gridscribe.pipelines.regions.cells import Cell, cell_of
from gridscribe.pipelines.regions.rows import Group, region_rows
from gridscribe.pipelines.regions.strips import Strip, settled
from gridscribe.pipelines.stages import Deadline
from gridscribe.regions import CELL, value_dtype
from gridscribe.tiff import BLOCK
from gridscribe.values import Grid, Window

Embed = Callable[[Group], Mapping[str, pa.Array]]
"""Gives `labels`, `embedding` and `scale` of the regions of a group."""
LARGE = 1 << 20
"""Pixels of a window whose arrays are given back to the system at once: kept, they would lie beside those of the next shape."""


class ImageRegions:
    """Finds the regions of a part and writes them.

    Two rows of cells lie in memory, as runs, and one after another the pixels around the regions that begin in one cell; of
    the regions that are done nothing is kept.
    """

    def __init__(
        self, part: RegionPart, tiles: TileReader, classes: Mapping[int, str], min_pixels: int, deadline: Deadline,
        cell: int = CELL, *, embed: Embed | None = None,
    ) -> None:  # fmt: skip
        """`classes` names the values of masks; `cell` is the side of the lattice's cells; `embed` gives vectors and labels."""
        self._part, self._tiles, self._classes, self._embed = part, tiles, classes, embed
        self._min_pixels, self._deadline, self._cell = min_pixels, deadline, cell

    def write(self, path: Path, metadata: Mapping[str, str]) -> Iterator[pa.Table]:
        """Write the raster of regions to `path`, yielding rows of the table as they are found.

        Raises `RefusedError` for a place that is none, `ItemTimeoutError` and `CancelledError` as the deadline says.
        """
        image, box = self._part.image, self._part.box
        kind = replace(REGIONS, dtype=value_dtype(image.grid.window.area))
        grid = Grid(box.height, box.width, image.grid.window_transform(box), image.grid.crs)
        writer = CogWriter(kind, grid, metadata=metadata, scratch=path.parent)
        try:
            for strips, regions in settled(self._strips(), self._min_pixels, self._cell):
                window = strips[0].window
                self._write(writer, strips[0], kind.dtype)
                for members in _groups(regions, window.row, image.grid.width, self._cell):
                    self._deadline.check()
                    group = self._group(strips, members)
                    embedded = {} if self._embed is None else self._embed(group)
                    yield region_rows(image.image_id, image.grid, self._classes, group, embedded)
                    if group.window.area > LARGE:
                        del group
                        give_back_free_memory()
            writer.save(path)
        finally:
            writer.close()

    def _write(self, writer: CogWriter, strip: Strip, dtype: str) -> None:
        window, box = strip.window, self._part.box
        if self._cell % BLOCK == 0:  # so are the edges of boxes: cells are rows of whole blocks
            for row in range(window.row, window.row1, BLOCK):
                row1 = min(row + BLOCK, window.row1)
                writer.write_tiles(row - box.row, row1 - row, strip.parts(row, row1, dtype))
        else:
            for row in range(window.row, window.row1):
                writer.write_rows(row - box.row, np.concatenate(list(strip.parts(row, row + 1, dtype)), axis=1))

    def _strips(self) -> Iterator[Strip]:
        for _, row in groupby(self._cells(), key=lambda cell: cell.window.row):
            yield Strip(list(row))

    def _cells(self) -> Iterator[Cell]:
        for window in self._part.box.split(self._cell):
            self._deadline.check()
            yield cell_of(self._read("mask", window), window, self._part.image.grid.width)

    def _read(self, kind: str, window: Window) -> NDArray[Any]:
        boxes = [(stored.box, getattr(stored, kind)) for stored in self._part.stored]
        return joined_window(self._tiles, boxes, EMPTY[kind], window)

    def _group(self, strips: list[Strip], members: NDArray[Any]) -> Group:
        """The regions `members` with the pixels around them."""
        top, left = int(members["top"].min()), int(members["left"].min())
        window = Window(top, left, int(members["bottom"].max()) - top, int(members["right"].max()) - left)
        confidence, height = (self._read(kind, window) for kind in ("confidence", "height"))
        return Group(members, window, _labels(strips, members["value"], window), confidence, height)


def _groups(regions: NDArray[Any], row: int, width: int, cell: int) -> list[NDArray[Any]]:
    """The regions that begin in a row of cells, by cell, in each the long ones, then by `BLOCK`.

    A group is worked on as a whole, in the window around it. The many regions that are small are so taken a block at a time,
    and those that may be as large as a cell as many as fit into a window not much larger than one.
    """
    if not len(regions):
        return []
    rows, cols = np.divmod(regions["value"] - 1, width)
    long = (regions["bottom"] - regions["top"] > BLOCK) | (regions["right"] - regions["left"] > BLOCK)
    block = np.where(long, -1, (rows - row) // BLOCK * (cell // BLOCK + 1) + cols % cell // BLOCK)
    order = np.lexsort((regions["value"], block, cols // cell))
    names = np.stack([(cols // cell)[order], block[order]])
    together = np.split(regions[order], np.flatnonzero((np.diff(names) != 0).any(axis=0)) + 1)
    return [part for group in together for part in _within(group, (cell + BLOCK) ** 2)]


def _within(regions: NDArray[Any], pixels: int) -> Iterator[NDArray[Any]]:
    """Some after some of the regions, so many that the window around them holds at most `pixels`, or one."""
    edges = np.stack([regions[name] for name in ("top", "left", "bottom", "right")], axis=1).tolist()
    first, (top, left, bottom, right) = 0, edges[0]
    for number, (above, before, below, after) in enumerate(edges):
        top, left, bottom, right = min(top, above), min(left, before), max(bottom, below), max(right, after)
        if number > first and (bottom - top) * (right - left) > pixels:
            yield regions[first:number]
            first, (top, left, bottom, right) = number, edges[number]
    yield regions[first:]


def _labels(strips: list[Strip], values: NDArray[np.int64], window: Window) -> NDArray[np.int32]:
    """1..n where the ascending `values` are, 0 elsewhere."""
    labels = np.zeros(window.shape, np.int32)
    for strip in strips:
        for number, cell in enumerate(strip.cells):
            inside = cell.window.intersection(window)
            if not inside:
                continue
            known = strip.values[strip.of_cell(number)]
            place = np.minimum(np.searchsorted(values, known), len(values) - 1)
            local = np.where(values[place] == known, place + 1, 0).astype(np.int32)
            if local.any():
                rows = cell.rows(local, inside.row, inside.row1)
                columns = slice(inside.col - cell.window.col, inside.col1 - cell.window.col)
                labels[inside.slices(window)] = rows[:, columns]
    return labels
