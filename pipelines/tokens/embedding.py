"""The tokens of one part of an image: read, encode, blend, reduce; in memory bounded by a row of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.ingest.raster import RasterReader
from gridscribe.models.pruning import Candidates, Pruner
from gridscribe.pipelines.padded import Padding
from gridscribe.pipelines.scale import WorkGrid, work_grid
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.token_blend import Encoder, Place, TokenBand, encode_box, patch_lattice
from gridscribe.quantise import Kind, Quantised, quantise
from gridscribe.tokens import TokenFrame, TokenGrid
from gridscribe.values import Window

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """How images are encoded and their tokens reduced."""

    window: int
    """Pixels a side that the encoder sees at once, a multiple of the patch."""
    stride: int
    """Pixels from one window to the next, a multiple of the patch."""
    patch: int
    dim: int
    """Components of a vector."""
    gsd: tuple[float, float]
    """The encoder's range of ground sampling distance, metres."""
    strict_gsd: bool
    pruner: Pruner
    kind: Kind = "int8"
    """How vectors are stored."""

    @property
    def block(self) -> int:
        """Tokens a side of the blocks that are reduced by themselves, and never cut between items."""
        return int(getattr(self.pruner, "block", 1))


@dataclass(frozen=True, slots=True)
class PartTokens:
    """What is stored of a part."""

    grid: TokenGrid
    """Vectors `Quantised`."""
    places: tuple[Place, ...]
    """The encoded windows whose first token lies in the part's box of tokens, row-major."""
    cls: Quantised
    """Their class vectors, as many."""


class PartEmbedder:
    """Makes the tokens of one box of an image.

    A box of pixels owns the blocks of tokens whose first pixel lies in it. So each block belongs to one item wherever items
    are cut, and is encoded whole: windows that meet it are read beyond the item's edge.
    """

    def __init__(self, reader: RasterReader, box: Window, gsd: float | None, plan: TokenPlan) -> None:
        """`box` is in pixels of the image, `gsd` the image's. Raises `RefusedError` where the plan is strict about it."""
        self._reader, self._plan = reader, plan
        self._work = work_grid(reader.grid, gsd, plan.gsd, strict=plan.strict_gsd)
        height, width = self._work.grid.height, self._work.grid.width
        self.frame = token_frame(self._work, plan.patch)
        self.box = owned_tokens(self.frame, self._work.factor, box, reader.grid.window, plan.block)
        """In tokens; may hold none, where an image is cut more finely than blocks are."""
        self._lattice = patch_lattice(height, width, plan.window, plan.stride, plan.patch)
        self._valid = np.zeros(self.box.shape, np.bool_)

    def embed(self, encoder: Encoder, deadline: Deadline, digest: str = "") -> PartTokens:
        """Encode, blend and reduce; `digest` is of the image, for methods that draw lots.

        Raises `InputError` as reading does, and as the deadline says.
        """
        plan = self._plan
        grids: list[TokenGrid] = []
        places: list[Place] = []
        vectors: list[Float32] = []

        def read(window: Window) -> Float32 | None:
            deadline.check()
            return self._read(window)

        bands = encode_box(read, encoder, self._lattice, self.box, patch=plan.patch, dim=plan.dim)
        for stripe, tokens, covered in self._stripes(bands, places, vectors) if self.box else ():
            usable = covered & self._valid[stripe.slices(self.box)]
            frame = self.frame.with_box(stripe)
            flat = tokens.reshape(stripe.area, -1)
            chosen = plan.pruner.select(Candidates(frame, vectors=flat, valid=usable.ravel(), digest=digest))
            grids.append(_stored(chosen.tokens(flat), plan.kind))
        cls = np.stack(vectors) if vectors else np.empty((0, plan.dim), np.float32)
        return PartTokens(_stacked(self.frame.with_box(self.box), grids, plan), tuple(places), quantise(cls, plan.kind))

    def _stripes(
        self, bands: Iterator[TokenBand], places: list[Place], vectors: list[Float32]
    ) -> Iterator[tuple[Window, Float32, NDArray[np.bool_]]]:
        """Rows of blocks, with their tokens [rows, cols, D] and which of them a window saw; windows that begin here are kept."""
        block, top = self._plan.block, self.box.row
        held: list[tuple[Float32, NDArray[np.bool_]]] = []
        count = 0
        for band in bands:
            for place, vector in zip(band.places, band.cls, strict=True):
                if self.box.contains(Window(self._lattice.at(*place).row, self._lattice.at(*place).col, 1, 1)):
                    places.append(place)
                    vectors.append(vector)
            held.append((band.tokens, band.covered))
            count += len(band.covered)
            stop = self.box.row1 if band.box.row1 == self.box.row1 else (top + count) // block * block
            if stop > top:
                tokens, covered = (np.concatenate(parts) for parts in zip(*held, strict=True))
                rows = stop - top
                yield Window(top, self.box.col, rows, self.box.width), tokens[:rows], covered[:rows]
                held, count, top = [(tokens[rows:], covered[rows:])], count - rows, stop

    def _read(self, window: Window) -> Float32 | None:
        """The window's pixels, its far edge padded; notes which tokens of the box have a valid pixel."""
        padding, work, patch = Padding.of(window, self._work.grid.window), self._work, self._plan.patch
        rgb, known = self._reader.read_color(padding.source, work.grid if work.resampled else None)
        valid = np.zeros(window.shape, np.bool_)  # padding never is
        valid[padding.inside.slices(window)] = known[padding.inside.slices(padding.source)]
        cells = Window(window.row // patch, window.col // patch, window.height // patch, window.width // patch)
        here = cells.intersection(self.box)
        if here:
            seen: NDArray[np.bool_] = np.any(valid.reshape(cells.height, patch, cells.width, patch), axis=(1, 3))
            self._valid[here.slices(self.box)] |= seen[here.slices(cells)]
        return padding.fill(rgb).astype(np.float32) if valid.any() else None


def token_frame(work: WorkGrid, patch: int) -> TokenFrame:
    """The tokens of a whole image; with a transform where the encoder sees it resampled."""
    grid = work.grid
    if not work.resampled:
        return TokenFrame.of_image(grid.height, grid.width, patch)
    side = patch / work.factor  # image pixels to a token
    return TokenFrame.of_image(grid.height, grid.width, patch, (side, 0.0, 0.0, 0.0, side, 0.0))


def owned_tokens(frame: TokenFrame, factor: float, box: Window, image: Window, block: int) -> Window:
    """The box of tokens that a box of an image's pixels owns: the blocks whose first pixel lies in it."""
    step = block * frame.patch / factor  # image pixels to a block

    def edge(pixel: int, size: int, tokens: int) -> int:
        return tokens if pixel >= size else min(tokens, int(np.ceil(pixel / step - 1e-9)) * block)

    row, row1 = (edge(pixel, image.height, frame.grid_h) for pixel in (box.row, box.row1))
    col, col1 = (edge(pixel, image.width, frame.grid_w) for pixel in (box.col, box.col1))
    return Window(row, col, max(0, row1 - row), max(0, col1 - col))


def _stored(grid: TokenGrid, kind: Kind) -> TokenGrid:
    return grid.with_vectors(quantise(grid.dense(), kind))


def _stacked(frame: TokenFrame, stripes: list[TokenGrid], plan: TokenPlan) -> TokenGrid:
    """One grid of stripes of full width, from top to bottom: their kept tokens and slots simply follow each other."""
    if not stripes:
        none = np.empty(0, np.int32)
        vectors = quantise(np.empty((0, plan.dim), np.float32), plan.kind)
        return TokenGrid(frame, none, None, vectors)
    starts = np.cumsum([0, *(len(stripe) for stripe in stripes[:-1])])
    parents = [
        np.where(stripe.source_map >= 0, stripe.source_map + start, -1).astype(np.int32)
        for stripe, start in zip(stripes, starts.tolist(), strict=True)
    ]
    merged = any(stripe.parent is not None for stripe in stripes)
    vectors = Quantised.concatenate([stripe.vectors for stripe in stripes if isinstance(stripe.vectors, Quantised)])
    index = np.concatenate([stripe.index for stripe in stripes])
    return TokenGrid(frame, index, np.concatenate(parents) if merged else None, vectors)
