"""Rows of the images table, from what a finished part is known to be."""

from __future__ import annotations

from datetime import datetime

from gridscribe.footprint import footprint_wkb
from gridscribe.pipelines.writing import PartFiles
from gridscribe.tables import ImageRow


def image_row(files: PartFiles, keys: dict[str, str]) -> ImageRow:
    """The row of one part; `keys` are those of its mask, confidence and height."""
    image, box, grid = files.part.image, files.part.box, files.part.image.grid
    flags = []
    if files.resampled:
        flags.append("resampled")
    if image.gsd is None:
        flags.append("gsd-unknown")
    if files.valid_pixels and not files.height_pixels:
        flags.append("no-height")
    return ImageRow(
        image=image.image_id,
        source=image.source,
        height=grid.height,
        width=grid.width,
        crs=grid.crs,
        transform=grid.transform,
        footprint=footprint_wkb(grid),
        datetime=datetime.fromisoformat(image.datetime) if image.datetime else None,
        gsd=image.gsd,
        box_row=box.row,
        box_col=box.col,
        box_height=box.height,
        box_width=box.width,
        mask=keys["mask"],
        confidence=keys["confidence"],
        height_key=keys["height"],
        valid_fraction=files.valid_pixels / box.area,
        flags=tuple(sorted(flags)),
        height_code=files.height_code,
    )
