"""The reading stage: an item's images opened one after another, cut into windows in row-major order.

What it yields is a flat stream of events, so that batches can be filled across the small images of a bundle and one
damaged image fails alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import InputError
from gridscribe.ingest.raster import RasterReader, open_raster
from gridscribe.pipelines.items import Item, Part
from gridscribe.pipelines.lattice import Lattice
from gridscribe.pipelines.padded import Padding
from gridscribe.pipelines.scale import WorkGrid, work_grid
from gridscribe.pipelines.stages import Deadline
from gridscribe.values import Window

BANDS = 4  # R, G, B in 0..255 and height in metres, NaN where missing


@dataclass(frozen=True, slots=True)
class Opened:
    """A part begins."""

    part: Part
    work: WorkGrid
    lattice: Lattice
    box: Window  # the part's box on the work grid


@dataclass(slots=True)
class Seen:
    """Window `(k_row, k_col)` of the lattice. `pixels` is float32 [4, window, window], or None where none of its pixels is valid.

    `owned` is the box of work pixels that only this window speaks for; `height` (float32 metres, NaN missing) and `valid`
    (bool) have its shape.
    """

    k_row: int
    k_col: int
    pixels: NDArray[np.float32] | None
    owned: Window
    height: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Closed:
    """A part's last window has been seen."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The part cannot be read; whatever was seen of it is void."""

    part: Part
    error: InputError


Event = Opened | Seen | Closed | Broken


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """How images are cut: the model's window and stride, and its range of ground sampling distance."""

    window: int
    stride: int
    gsd: tuple[float, float]
    strict_gsd: bool


def read_item(item: Item, plan: WindowPlan, deadline: Deadline) -> Iterator[Event]:
    """The stream of an item. An `InputError` becomes a `Broken` event; anything else is a bug and is raised."""
    for part in item.parts:
        try:
            yield from _read_part(part, plan, deadline)
        except InputError as error:
            deadline.check()
            yield Broken(part, error)


def _read_part(part: Part, plan: WindowPlan, deadline: Deadline) -> Iterator[Event]:
    grid = part.image.grid
    work = work_grid(grid, part.image.gsd, plan.gsd, strict=plan.strict_gsd)
    lattice = Lattice(work.grid.height, work.grid.width, plan.window, plan.stride)
    box = work.box(part.box)
    with open_raster(part.image) as reader:
        yield Opened(part, work, lattice, box)
        for k_row, k_col in lattice.meeting(box):
            deadline.check()
            yield _read_window(reader, work, lattice, k_row, k_col, box)
        yield Closed()


def _read_window(reader: RasterReader, work: WorkGrid, lattice: Lattice, k_row: int, k_col: int, box: Window) -> Seen:
    window = lattice.at(k_row, k_col)
    padding = Padding.of(window, work.grid.window)
    source = padding.source
    seen = reader.read(source, work.grid if work.resampled else None)
    pixels: NDArray[np.float32] | None = None
    if seen.valid[padding.inside.slices(source)].any():
        pixels = np.empty((BANDS, *window.shape), np.float32)
        pixels[:3] = padding.fill(seen.rgb)
        pixels[3] = padding.fill(seen.height)
    row, row1 = lattice.rows.owner(k_row)
    col, col1 = lattice.cols.owner(k_col)
    owned = Window(row, col, row1 - row, col1 - col).intersection(box)
    cell = owned.slices(source) if owned else (slice(0, 0), slice(0, 0))
    return Seen(k_row, k_col, pixels, owned, seen.height[cell], seen.valid[cell])
