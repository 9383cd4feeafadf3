"""What a COG says besides its pixels: place on Earth, names and colours of classes, units, and metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import InputError
from gridscribe.tiff import FieldType, Tag
from gridscribe.values import Grid

if TYPE_CHECKING:
    from gridscribe.pipelines.cog import ClassLike, RasterKind


def color_map(classes: Sequence[ClassLike]) -> NDArray[np.uint16]:
    """TIFF colour map of 256 entries, uint16 [768]: all reds, all greens, all blues; black where no class is."""
    table = np.zeros((3, 256), np.uint16)
    for entry in classes:
        table[:, entry.id] = np.asarray(entry.color, np.uint16) * 257  # 0..255 -> 0..65535
    return table.reshape(-1)


def gdal_metadata(kind: RasterKind, classes: Sequence[ClassLike], metadata: Mapping[str, str]) -> str:
    """The XML of GDAL's metadata tag: items of the file, then the band's description, class names, unit and scale."""
    items = [_item(key, str(value)) for key, value in sorted(metadata.items())]
    items += [_item(f"CLASS_{entry.id}", entry.name, sample=0) for entry in sorted(classes, key=lambda c: c.id)]
    items.append(_item("DESCRIPTION", kind.name, sample=0, role="description"))
    if kind.scale is not None:
        items.append(_item("OFFSET", "0", sample=0, role="offset"))
        items.append(_item("SCALE", repr(kind.scale), sample=0, role="scale"))
    if kind.unit is not None:
        items.append(_item("UNITTYPE", kind.unit, sample=0, role="unittype"))
    return "<GDALMetadata>\n" + "".join(f"  {item}\n" for item in items) + "</GDALMetadata>\n"


def _item(name: str, value: str, sample: int | None = None, role: str | None = None) -> str:
    where = "" if sample is None else f' sample="{sample}"'
    what = "" if role is None else f' role="{role}"'
    # GDAL unescapes the text of an item once more after parsing the XML.
    return f"<Item name={quoteattr(name)}{where}{what}>{escape(escape(value))}</Item>"


def geo_tags(grid: Grid) -> dict[Tag, tuple[FieldType, Any]]:
    """GeoTIFF tags of the grid: none for an image that is not georeferenced (a transform without a CRS is kept).

    Raises `InputError` for a CRS that GeoTIFF cannot express.
    """
    if grid.transform is None:
        return {}
    a, b, c, d, e, f = grid.transform
    tags: dict[Tag, tuple[FieldType, Any]] = dict(_crs_tags(grid.crs))
    if b == d == 0 and a > 0 and e < 0:
        tags[Tag.MODEL_PIXEL_SCALE] = (FieldType.DOUBLE, [a, -e, 0.0])
        tags[Tag.MODEL_TIEPOINT] = (FieldType.DOUBLE, [0.0, 0.0, 0.0, c, f, 0.0])
    else:
        matrix = [a, b, 0.0, c, d, e, 0.0, f, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        tags[Tag.MODEL_TRANSFORMATION] = (FieldType.DOUBLE, matrix)
    return tags


@lru_cache(maxsize=256)
def _crs_tags(crs: str | None) -> tuple[tuple[Tag, tuple[FieldType, Any]], ...]:
    """The GeoTIFF keys of a CRS, as GDAL writes them: taken from a one-pixel file that it makes in memory."""
    import rasterio
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    from gridscribe.cog_reader import first_directory

    if crs is None:
        return ()
    anywhere = Affine(2.0, 0.0, 0.0, 0.0, -2.0, 0.0)
    with MemoryFile() as file:
        # GDAL keeps a CRS that has no GeoTIFF keys in a second file, which would be lost here.
        with (
            rasterio.Env(GDAL_PAM_ENABLED="NO", GTIFF_WRITE_TOWGS84="AUTO"),
            file.open(driver="GTiff", width=1, height=1, count=1, dtype="uint8", crs=crs, transform=anywhere),
        ):
            pass
        with file.open() as written:
            if written.crs is None:
                raise InputError(f"CRS {crs[:200]!r} has no GeoTIFF keys: reproject the input to another CRS")
        fields = first_directory(file.read())
    kept = (Tag.GEO_KEY_DIRECTORY, Tag.GEO_DOUBLE_PARAMS, Tag.GEO_ASCII_PARAMS)
    return tuple((tag, fields[tag]) for tag in kept if tag in fields)
