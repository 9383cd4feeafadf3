"""One image's mask as a file of its own: a single COG, or its regions (else the areas of its classes) as polygons."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gridscribe.client.index import ImageIndex
from gridscribe.client.objects import ObjectsBackend
from gridscribe.client.region_tables import region_rows
from gridscribe.client.stored import stored_window
from gridscribe.client.tiles import TileReader
from gridscribe.errors import UsageError
from gridscribe.products import read_product
from gridscribe.store import Store
from gridscribe.tiff import BLOCK
from gridscribe.values import Grid, Window

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

FORMATS = {"cog": ".tif", "gpkg": ".gpkg", "fgb": ".fgb", "parquet": ".parquet"}
"""What `export` writes, and the usual suffix of each."""

DRIVERS = {"gpkg": "GPKG", "fgb": "FlatGeobuf"}
CACHE = 64 << 20  # every block is read once


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    image: str
    product: str
    features: int | None
    """Polygons; None for a COG."""
    complete: bool
    """Whether all of the image is committed; what is not, is nodata or no polygon."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """An image with all its committed boxes."""

    index: ImageIndex
    tiles: TileReader
    image: int

    @property
    def grid(self) -> Grid:
        """The image's grid."""
        return self.index.grid(self.image)

    @property
    def boxes(self) -> list[int]:
        """Indices of its committed boxes."""
        return list(range(int(self.index.box_starts[self.image]), int(self.index.box_starts[self.image + 1])))

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Classes of a window; 255 where there is none."""
        return stored_window(self.index, self.tiles, "mask", self.image, window)


def export(store: Store, image: str, format: str, out: Path, *, product: str | None = None) -> Exported:  # noqa: A002
    """Write the mask of `image` (an id, the beginning of one, or a source) to the new file `out`.

    `cog`: a Cloud Optimized GeoTIFF of the whole image, its parts joined. `gpkg`, `fgb`, `parquet`: polygons in the image's CRS
    (pixels, x = column and y = row, where it is not georeferenced): its regions, where they are committed, with `region_id`,
    `class_id`, `class_name`, `confidence`, `area_px`, `area_m2`, `height_mean` and `height_p95`; else every connected area of a
    class, cut on a lattice of 8192 px, with `class_id`, `class_name`, `area_px` and `area_m2` (on the ground; null where not
    georeferenced). Memory does not grow with the image. `parquet` is GeoParquet 1.1.

    The file appears whole or not at all. Raises `UsageError` for an unknown format or an `out` that exists, `QueryError` for
    an unknown image or product.
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r} is unknown: allowed are {', '.join(FORMATS)}")
    if out.exists():
        raise UsageError(f"{out} exists already: remove it, or choose another name")
    index = ObjectsBackend(store).index(product)
    whole = _Whole(index, TileReader(store, CACHE), index.resolve(image))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".gridscribe-", dir=out.parent)
    except OSError as error:
        raise UsageError(f"cannot write to {out.parent}: {error.strerror}; choose another place") from error
    with folder as name:
        scratch = Path(name) / f"export{FORMATS[format]}"  # some drivers go by the suffix
        features = None
        if format == "cog":
            _cog(store, whole, scratch)
        else:
            features = _polygons(store, whole, format, scratch)
        scratch.replace(out)
    complete = sum(int(index.boxes[box, 2] * index.boxes[box, 3]) for box in whole.boxes) >= whole.grid.window.area
    return Exported(out, index.ids[whole.image], index.product.id, features, complete)


def _cog(store: Store, whole: _Whole, path: Path) -> None:
    grid, index = whole.grid, whole.index
    keys = [index.keys["mask"][box] for box in whole.boxes]
    if len(keys) == 1 and Window(*index.boxes[whole.boxes[0]].tolist()) == grid.window:
        assert keys[0] is not None
        with path.open("wb") as file:
            for piece in store.get_pieces(keys[0]):
                file.write(piece)
        return
    from gridscribe.pipelines.cog import MASK, CogWriter

    entries = read_product(store, index.product.id)["classes"]
    classes = [SimpleNamespace(id=e["id"], name=e["name"], color=tuple(e["color"])) for e in entries]
    assert keys[0] is not None
    metadata = whole.tiles.fetch({keys[0]: ()})[keys[0]].header.items
    writer = CogWriter(MASK, grid, classes=classes, metadata=metadata, scratch=path.parent)
    for row in range(0, grid.height, BLOCK):
        rows = Window(row, 0, min(BLOCK, grid.height - row), grid.width)
        writer.write_rows(row, whole.read(rows))
    writer.save(path)


def _polygons(store: Store, whole: _Whole, format: str, path: Path) -> int:  # noqa: A002
    """Write polygons batch by batch and return their number."""
    import pyarrow as pa

    from gridscribe.polygons import REGION_SCHEMA, SCHEMA, geo_schema, polygon_batches, region_batches

    index = whole.index
    if index.regions.covers(whole.image, (Window(*index.boxes[box].tolist()) for box in whole.boxes)):
        schema = REGION_SCHEMA
        found = region_batches(whole.grid, region_rows(store, index, {index.ids[whole.image]}))
    else:
        schema = SCHEMA
        found = polygon_batches(whole.grid, whole.read, index.product.classes)
    count = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for batch in found:
            count += batch.num_rows
            yield batch

    if format == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, geo_schema(schema, whole.grid.crs), compression="zstd") as writer:
            for batch in batches():
                writer.write_batch(batch)
        return count
    _write_vector(pa.RecordBatchReader.from_batches(schema, batches()), DRIVERS[format], path, whole.grid.crs)
    return count


def _write_vector(reader: Any, driver: str, path: Path, crs: str | None) -> None:
    import warnings

    import pyogrio

    from gridscribe.polygons import LAYER

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # an image that is not georeferenced has none
        pyogrio.write_arrow(
            reader, path, driver=driver, layer=LAYER, geometry_name="geometry", geometry_type="Polygon", crs=crs
        )
