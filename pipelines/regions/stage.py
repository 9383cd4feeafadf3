"""The regions stage: one item in (images whose masks are committed), a table, rasters and a commit out."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from gridscribe import layout
from gridscribe.client.tiles import TileReader
from gridscribe.commits import Commit, commit_item, put_objects
from gridscribe.ingest.raster import open_raster
from gridscribe.models.package import ClassInfo
from gridscribe.pipelines.aligning import Alignment
from gridscribe.pipelines.concept_bank import Concepts, read_bank
from gridscribe.pipelines.config import RegionOptions
from gridscribe.pipelines.receipts import Receipt
from gridscribe.pipelines.region_items import RegionItem, RegionPart
from gridscribe.pipelines.regions.embedding import RegionEmbedder
from gridscribe.pipelines.regions.image import Embed, ImageRegions
from gridscribe.pipelines.regions.pooling import TokenPool
from gridscribe.pipelines.stages import Deadline
from gridscribe.regions import ROW_GROUP, regions_schema
from gridscribe.store import Store

CACHE_BYTES = 24 << 20
"""Blocks kept: what the windows around neighbouring groups of regions read twice."""


class RegionStage:
    """Makes and commits regions; may be used from several threads at once."""

    def __init__(
        self, store: Store, product: str, classes: Sequence[ClassInfo], options: RegionOptions,
        alignment: Alignment | None = None,
    ) -> None:  # fmt: skip
        """With an `alignment` that embeds regions they get vectors, and labels where the product has a concept bank.

        Raises `LayoutError` where that bank is missing or another.
        """
        self._store, self._product, self._options = store, product, options
        self._alignment = alignment if alignment is not None and alignment.spec.regions is not None else None
        self._concepts: Concepts | None = None
        if self._alignment is not None and self._alignment.spec.concepts is not None:
            self._concepts = read_bank(store, product, self._alignment.spec.concepts["digest"])
        self._classes = {entry.id: entry.name for entry in classes}

    def process(self, item: RegionItem, deadline: Deadline) -> Receipt:
        """Make the regions of `item` and commit them, all of its images or none; returns a receipt.

        Raises `InputError` where an image cannot be done, `ItemTimeoutError`, `CancelledError`, `StoreError`, or `LayoutError`
        where a committed mask is not what its commit says; then nothing is committed.
        """
        started = time.perf_counter()
        scratch = Path(tempfile.mkdtemp(prefix="gridscribe-regions-"))
        try:
            rasters, count = self._make(item, scratch, deadline)
            made = time.perf_counter()
            deadline.check()
            self._commit(item, rasters, scratch / "table.parquet", count)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        seconds = {"regions": made - started, "commit": time.perf_counter() - made}
        return Receipt(item=item.id, commits=(item.id,), images=len(item.parts), seconds=seconds)

    def _make(self, item: RegionItem, scratch: Path, deadline: Deadline) -> tuple[list[Path], int]:
        """(the raster of each image, number of regions); the table is written beside them."""
        metadata = {
            "GRIDSCRIBE_PRODUCT": self._product,
            "GRIDSCRIBE_REGIONS": "index of the region's first pixel in the whole image, row-major, plus 1",
            "GRIDSCRIBE_REGION_MIN_PIXELS": str(self._options.min_pixels),
        }
        tiles = TileReader(self._store, CACHE_BYTES)
        rasters = []
        with _TableWriter(scratch / "table.parquet") as table:
            for number, part in enumerate(item.parts):
                rasters.append(scratch / f"{number}.tif")
                with self._embedding(part, deadline) as embed:
                    found = ImageRegions(part, tiles, self._classes, self._options.min_pixels, deadline, embed=embed)
                    for rows in found.write(rasters[-1], metadata):
                        table.add(rows)
        return rasters, table.rows

    @contextmanager
    def _embedding(self, part: RegionPart, deadline: Deadline) -> Iterator[Embed | None]:
        """What embeds the regions of an image, its files open as long as it is used."""
        alignment = self._alignment
        if alignment is None:
            yield None
            return
        pool = None
        if alignment.spec.regions in ("tokens", "both"):
            pool = TokenPool(self._store, part.image.image_id, part.stored, alignment.spec.dim)
        with open_raster(part.image) as reader:
            yield RegionEmbedder(reader, part.image.gsd, alignment, self._concepts, pool, deadline).columns

    def _commit(self, item: RegionItem, rasters: list[Path], table: Path, count: int) -> None:
        product = self._product
        owners = [None if part.whole else item.id for part in item.parts]
        images = [part.image.image_id for part in item.parts]
        keys = [layout.region_raster_key(product, image, owner) for image, owner in zip(images, owners, strict=True)]
        objects: dict[str, bytes | Path] = dict(zip(keys, rasters, strict=True))
        objects[layout.regions_key(product, item.id)] = table
        records = put_objects(self._store, objects)
        regions = tuple(
            {"image": part.image.image_id, "window": part.box.to_list(), "regions": record.key}
            for part, record in zip(item.parts, records[:-1], strict=True)
        )
        statistics = {"regions": count, "pixels": item.pixels, "min_pixels": self._options.min_pixels}
        commit_item(self._store, Commit(product, item.id, tuple(records), (), statistics, regions))


class _TableWriter:
    """Rows to a Parquet file, in row groups of `ROW_GROUP` however they come; the bytes depend on the rows alone."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path,
            regions_schema(),
            compression="zstd",
            compression_level=3,
            use_dictionary=["image", "class_name", "embedding.list.element"],  # of the others few values come twice
        )
        self._waiting = regions_schema().empty_table()
        self.rows = 0

    def __enter__(self) -> _TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and len(self._waiting):
            self._write(len(self._waiting))
        self._writer.close()

    def add(self, rows: pa.Table) -> None:
        """The next rows."""
        self.rows += len(rows)
        self._waiting = pa.concat_tables([self._waiting, rows])
        while len(self._waiting) >= ROW_GROUP:
            self._write(ROW_GROUP)

    def _write(self, count: int) -> None:
        self._writer.write_table(self._waiting.slice(0, count).combine_chunks(), row_group_size=ROW_GROUP)
        self._waiting = self._waiting.slice(count).combine_chunks()
