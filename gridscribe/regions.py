"""The regions table (`products/<product>/regions/<item>.parquet`), and how a region's id and the pixels' value hang together.

A region is a 4-connected area of one class in the whole image; one wider or higher than 2048 px is cut on a lattice of cells of
2048 px that begins at the image's first pixel. It is named by the row-major index of its first pixel: the id is the image's and
that index, the value in `<image>.regions.tif` that index plus one, so that either tells the other and no table is needed
between them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from gridscribe.tables import geo_metadata

if TYPE_CHECKING:
    import pyarrow as pa

CELL = 2048
"""Pixels of a cell's side: a component wider or higher than this is cut."""
ROW_GROUP = 4096
"""Rows of a row group. Regions stand by the 2048 px cell of their first pixel, in each first those longer than 512 px, then by
blocks of 512 px, so that the bounds of a row group are small."""


@cache
def regions_schema() -> pa.Schema:
    """The Arrow schema of the regions table, with GeoParquet 1.1 metadata.

    - `region_id`, `image`, `value` (int64: of the region's pixels in the raster), `class_id`, `class_name`;
    - `confidence`: mean over the region's pixels, 0..1;
    - `area_px`; `area_m2` on the WGS 84 ellipsoid, null where not georeferenced;
    - `height_mean`, `height_p95`: metres above ground, of the pixels that have a height; null where none has. The percentile is
      interpolated linearly;
    - `geometry`: WKB in OGC:CRS84, split at the antimeridian; null where not georeferenced. `bbox`: its bounds;
    - `geometry_px`: WKB, x = column and y = row of the image;
    - `labels`: list of (text, score); `embedding`: int8, times `scale` (float16). Null while regions are not embedded.
    """
    import pyarrow as pa

    def need(name: str, kind: pa.DataType) -> pa.Field:
        return pa.field(name, kind, nullable=False)

    corners = [need(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")]
    label = pa.struct([need("text", pa.string()), need("score", pa.float32())])
    columns = [
        need("region_id", pa.string()),
        need("image", pa.string()),
        need("value", pa.int64()),
        need("class_id", pa.uint8()),
        need("class_name", pa.string()),
        pa.field("confidence", pa.float32()),
        need("area_px", pa.int64()),
        pa.field("area_m2", pa.float64()),
        pa.field("height_mean", pa.float32()),
        pa.field("height_p95", pa.float32()),
        pa.field("geometry", pa.binary()),
        need("geometry_px", pa.binary()),
        pa.field("bbox", pa.struct(corners)),
        pa.field("labels", pa.list_(label)),
        pa.field("embedding", pa.list_(pa.int8())),
        pa.field("scale", pa.float16()),
    ]
    return pa.schema(columns, metadata=geo_metadata("geometry", covering="bbox", pixels="geometry_px"))


def region_id(image: str, value: int) -> str:
    """The id of the region whose pixels have `value` (at least 1) in the image's raster of regions."""
    return f"{image}-{value - 1}"


def value_dtype(pixels: int) -> str:
    """The dtype of the raster of regions of an image of so many pixels: uint32, or uint64 where indices do not fit."""
    return "uint32" if pixels < 1 << 32 else "uint64"
