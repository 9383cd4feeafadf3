"""The writing stage: answers of one part blended into rows, rows into COGs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.height_code import HeightCoder
from gridscribe.models.package import MaskClasses
from gridscribe.pipelines.blend import Blender
from gridscribe.pipelines.cog import CONFIDENCE, HEIGHT, MASK, CogWriter
from gridscribe.pipelines.items import Part
from gridscribe.pipelines.reading import Opened, Seen
from gridscribe.values import Grid, Window

CENTIMETRES = np.float32(100)
HEIGHT_LIMITS = np.float32(-327.67), np.float32(327.67)  # what int16 centimetres can say; beyond it saturates

KINDS = (MASK, CONFIDENCE, HEIGHT)


@dataclass(frozen=True, slots=True)
class PartFiles:
    """A finished part: its encoded files and what is known of it."""

    part: Part
    paths: dict[str, Path]
    windows: int
    class_pixels: tuple[int, ...]
    valid_pixels: int
    height_pixels: int
    resampled: bool
    height_code: bytes | None
    """See `gridscribe.height_code`; None where no pixel has a height."""


class PartWriter:
    """Takes a part's windows in row-major order and leaves three COGs; memory is bounded by a band."""

    def __init__(self, opened: Opened, folder: Path, package: MaskClasses, product: str) -> None:
        folder.mkdir(parents=True)
        self._opened, self._folder = opened, folder
        self._package, self._product = package, product
        self._classes = len(package.classes)
        self._blender = Blender(opened.lattice, opened.box, self._classes)
        grid, box = opened.part.image.grid, opened.part.box
        part_grid = Grid(box.height, box.width, grid.window_transform(box), grid.crs)
        self._writers = {
            kind.name: CogWriter(
                kind,
                part_grid,
                classes=package.classes if kind is MASK else (),
                metadata=self._metadata(),
                scratch=folder,
            )
            for kind in KINDS
        }
        work = opened.work
        self._rows = work.index(box.row, box.row1, work.grid.height) if work.resampled else None
        self._cols = work.index(box.col, box.col1, work.grid.width) - opened.box.col if work.resampled else None
        self._band = Window(opened.box.row, opened.box.col, 0, opened.box.width)  # the work rows being gathered
        self._rasters: dict[str, NDArray[Any]] = {}
        self._counts = np.zeros(256, np.int64)
        self._height_pixels = 0
        self._coder = HeightCoder(box.height, box.width)
        self._windows = 0

    def add(self, seen: Seen, probabilities: NDArray[np.float32] | None) -> None:
        """The next window of the part: its probabilities (None: nothing valid in it), and the height and validity of its cell."""
        cell, mask, confidence = self._blender.add(seen.k_row, seen.k_col, probabilities)
        self._windows += probabilities is not None
        if not cell:
            return
        if not seen.valid.all():
            mask[~seen.valid] = MASK.nodata
            confidence[~seen.valid] = CONFIDENCE.nodata
        if cell.row >= self._band.row1:
            self._flush()
            self._band = Window(cell.row, self._band.col, cell.height, self._band.width)
            self._rasters = {kind.name: np.empty(self._band.shape, kind.dtype) for kind in KINDS}
        at = cell.slices(self._band)
        self._rasters[MASK.name][at] = mask
        self._rasters[CONFIDENCE.name][at] = confidence
        self._rasters[HEIGHT.name][at] = _centimetres(seen.height)

    def finish(self) -> PartFiles:
        """Write the last rows and encode; returns the files."""
        self._flush()
        paths = {}
        for name, writer in self._writers.items():
            paths[name] = self._folder / f"{name}.tif"
            writer.save(paths[name])
        return PartFiles(
            part=self._opened.part,
            paths=paths,
            windows=self._windows,
            class_pixels=tuple(int(n) for n in self._counts[: self._classes]),
            valid_pixels=int(self._counts[: MASK.nodata].sum()),
            height_pixels=self._height_pixels,
            resampled=self._opened.work.resampled,
            height_code=self._coder.codes() if self._height_pixels else None,
        )

    def discard(self) -> None:
        """Drop everything: the part is void."""
        for writer in self._writers.values():
            writer.close()

    def _flush(self) -> None:
        """Write the band's work rows; on a resampled grid, the image rows and columns whose centres lie in them."""
        if not self._band:
            return
        rows, box, arrays = self._band, self._opened.part.box, self._rasters
        if self._rows is None or self._cols is None:
            first = rows.row - box.row
        else:
            first, last = np.searchsorted(self._rows, [rows.row, rows.row1])
            pick = np.ix_(self._rows[first:last] - rows.row, self._cols)
            arrays = {kind: array[pick] for kind, array in arrays.items()}
        for kind, array in arrays.items():
            if len(array):
                self._writers[kind].write_rows(int(first), array)
        for row in arrays[MASK.name]:  # row by row: counting makes eight bytes of each pixel
            self._counts += np.bincount(row, minlength=256)
        self._height_pixels += int(np.count_nonzero(arrays[HEIGHT.name] != HEIGHT.nodata))
        self._coder.add(int(first), arrays[HEIGHT.name], int(HEIGHT.nodata))

    def _metadata(self) -> dict[str, str]:
        metadata = {"GRIDSCRIBE_PRODUCT": self._product, "GRIDSCRIBE_MODEL": self._package.name}
        if self._opened.work.resampled:
            metadata["GRIDSCRIBE_RESAMPLED"] = f"predicted at {self._opened.work.factor:g} pixels to one of these"
        return metadata


def _centimetres(height: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = np.clip(height, *HEIGHT_LIMITS) * CENTIMETRES
    np.rint(scaled, out=scaled)
    scaled[np.isnan(scaled)] = HEIGHT.nodata
    return scaled.astype(np.int16)
