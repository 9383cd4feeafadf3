"""The writing stage: answers of one part blended into rows, rows into COGs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.package import ModelPackage
from gridscribe.pipelines.blend import BandBlender
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


class PartWriter:
    """Takes a part's windows in row-major order and leaves three COGs; memory is bounded by a band."""

    def __init__(self, opened: Opened, folder: Path, package: ModelPackage, product: str) -> None:
        folder.mkdir(parents=True)
        self._opened, self._folder = opened, folder
        self._package, self._product = package, product
        self._classes = len(package.classes)
        self._blender = BandBlender(opened.lattice, opened.box, self._classes)
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
        self._band: Window | None = None  # the work rows whose owned cells are being gathered
        self._height = np.empty((0, 0), np.float32)
        self._valid = np.empty((0, 0), np.bool_)
        self._counts = np.zeros(256, np.int64)
        self._height_pixels = 0
        self._windows = 0

    def add(self, seen: Seen, probabilities: NDArray[np.float32] | None) -> None:
        """One window: its probabilities (None: nothing valid in it) and the height and validity that it owns."""
        self._turn_to(seen.window.row)
        if probabilities is not None:
            self._blender.add(seen.window, probabilities)
            self._windows += 1
        if seen.owned:
            band = self._ensure_band(seen.owned)
            self._height[seen.owned.slices(band)] = seen.height
            self._valid[seen.owned.slices(band)] = seen.valid

    def finish(self) -> PartFiles:
        """Write the last rows and encode; returns the files."""
        self._flush(self._opened.box.row1)
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
        )

    def discard(self) -> None:
        """Drop everything: the part is void."""
        for writer in self._writers.values():
            writer.close()

    def _turn_to(self, row: int) -> None:
        """All windows of earlier rows have come: finish what is above image row `row` of the work grid."""
        if self._band is not None and row >= self._band.row1:
            self._flush(row)

    def _ensure_band(self, owned: Window) -> Window:
        if self._band is None:
            box = self._opened.box
            self._band = Window(owned.row, box.col, owned.height, box.width)
            self._height = np.full(self._band.shape, np.nan, np.float32)
            self._valid = np.zeros(self._band.shape, np.bool_)
        return self._band

    def _flush(self, row: int) -> None:
        for rows, mask, confidence in self._blender.advance(row):
            if self._band is None or rows.row != self._band.row or rows.height != self._band.height:
                raise AssertionError(f"blended rows {rows} are not the owned rows {self._band}")
            if not self._valid.all():
                mask[~self._valid] = MASK.nodata
                confidence[~self._valid] = CONFIDENCE.nodata
            self._write(rows, {"mask": mask, "confidence": confidence, "height": _centimetres(self._height)})
            self._band = None

    def _write(self, rows: Window, arrays: dict[str, NDArray[np.uint8] | NDArray[np.int16]]) -> None:
        """Write work rows; on a resampled grid, the image rows and columns whose centres lie in them."""
        box = self._opened.part.box
        if self._rows is None or self._cols is None:
            first = rows.row - box.row
        else:
            first, last = np.searchsorted(self._rows, [rows.row, rows.row1])
            pick = np.ix_(self._rows[first:last] - rows.row, self._cols)
            arrays = {kind: array[pick] for kind, array in arrays.items()}
        for kind, array in arrays.items():
            if len(array):
                self._writers[kind].write_rows(int(first), array)
        self._counts += np.bincount(arrays["mask"].ravel(), minlength=256)
        self._height_pixels += int(np.count_nonzero(arrays["height"] != HEIGHT.nodata))

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
