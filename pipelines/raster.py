"""The raster pipeline: one item in, committed objects out; masks first, then regions of images whose masks are committed.

What lies in memory is a band of the item, whatever the size of the image (see `predict_item`).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gridscribe import layout
from gridscribe.commits import Commit, ObjectRecord, commit_item, put_objects
from gridscribe.errors import InputError
from gridscribe.models.engines import SharedEngine
from gridscribe.pipelines.aligning import Alignment, AlignmentSpec
from gridscribe.pipelines.config import RegionOptions
from gridscribe.pipelines.items import Item, Part
from gridscribe.pipelines.predicted import predict_item
from gridscribe.pipelines.reading import Broken
from gridscribe.pipelines.receipts import Receipt
from gridscribe.pipelines.region_items import RasterWork, RegionItem
from gridscribe.pipelines.regions.stage import RegionStage
from gridscribe.pipelines.rows import image_row
from gridscribe.pipelines.segmentor import Segmentor
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.tokens.embedding import PartTokens
from gridscribe.pipelines.tokens.objects import TOKEN_KEYS, token_objects
from gridscribe.pipelines.writing import PartFiles
from gridscribe.store import open_store
from gridscribe.tables import write_images
from gridscribe.token_tables import token_columns


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """Everything a worker needs to build the pipeline; plain data, safe to send to another process."""

    output: str
    product: str
    segmentor: Segmentor
    time_limit: float
    regions: RegionOptions | None = None
    """None where no item of regions will come."""
    alignment: AlignmentSpec | None = None
    """None where nothing is embedded."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that the worker's process must start with (the allocator's settings where torch runs on CPU)."""

    def open(self, cores: int | None = None) -> RasterPipeline:
        """See `JobSpec`; raises what `RasterPipeline` does."""
        return RasterPipeline(self, cores)


class RasterPipeline:
    """Holds the model's engine and the output store; `process` may be called from several threads at once."""

    def __init__(self, spec: PipelineSpec, cores: int | None = None) -> None:
        """Load the model and open the engine; `cores` is how many this process may use (default: all).

        Raises `ModelError` if the model found is not the product's, `EngineError` if this process cannot give its engine.
        """
        self.spec = spec
        self._segmentor = spec.segmentor
        self._engine = SharedEngine(self._segmentor.open(cores))
        self._engine.warm_up()
        self._alignment = None if spec.alignment is None else Alignment(spec.alignment, cores)
        self._store = open_store(spec.output)
        # pyarrow imports what it needs (pandas, where installed) at its first table: at start, not in an item
        write_images(())
        self._regions = (
            None
            if spec.regions is None
            else RegionStage(self._store, spec.product, self._segmentor.classes, spec.regions, self._alignment)
        )

    def process(self, item: RasterWork, deadline: Deadline) -> Receipt:
        """Work on `item` and commit it; returns a receipt. Items of regions: see `RegionStage.process`.

        If all parts succeed the item is committed as one. If an input fails, the good parts are committed as items of
        their own and the failures are named in the receipt. Raises `ItemTimeoutError`, `CancelledError` or `StoreError`;
        then nothing of the item is committed.
        """
        if isinstance(item, RegionItem):
            if self._regions is None:
                raise AssertionError("an item of regions came to a pipeline that makes none")
            return self._regions.process(item, deadline)
        started = time.perf_counter()
        scratch = Path(tempfile.mkdtemp(prefix="gridscribe-item-"))
        try:
            done, failed = predict_item(
                item, self._segmentor.windows, self._engine, self._segmentor, self.spec.product, scratch, deadline
            )
            predicted = time.perf_counter()
            tokens: dict[str, PartTokens] = {}
            if self._alignment is not None and self._alignment.spec.tokens is not None:
                tokens, unread = self._alignment.tokens([files.part for files in done], deadline)
                failed += [Broken(part, error) for part, error in unread]
                done = [files for files in done if files.part.image.image_id in tokens]
            embedded = time.perf_counter()
            if failed:
                commits = [self._commit(Item((files.part,)), [files], tokens, deadline) for files in done]
            else:
                commits = [self._commit(item, done, tokens, deadline)]
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return Receipt(
            item=item.id,
            commits=tuple(commits),
            images=len(done),
            windows=sum(files.windows for files in done),
            failed=tuple(_failure(broken) for broken in failed),
            seconds={
                "predict": predicted - started,
                "embed": embedded - predicted,
                "commit": time.perf_counter() - embedded,
            },
        )

    def close(self) -> None:
        """Release the engines."""
        self._engine.close()
        if self._alignment is not None:
            self._alignment.close()

    def _commit(self, item: Item, parts: list[PartFiles], tokens: Mapping[str, PartTokens], deadline: Deadline) -> str:
        deadline.check()
        product = self.spec.product
        objects: dict[str, bytes | Path] = {}
        for files in parts:
            owner = None if files.part.whole else item.id
            image = files.part.image.image_id
            objects.update({layout.raster_key(product, image, kind, owner): path for kind, path in files.paths.items()})
        stored = {name: tokens[name] for name in (files.part.image.image_id for files in parts) if name in tokens}
        if stored and self._alignment is not None:
            objects |= token_objects(product, item.id, stored, self._alignment.spec.token_plan)
        records = put_objects(self._store, objects)
        named = dict(zip(objects, (record.key for record in records), strict=True))
        rows, images, classes = [], [], [0] * len(self._segmentor.classes)
        for files in parts:
            owner = None if files.part.whole else item.id
            image = files.part.image.image_id
            keys = {kind: named[layout.raster_key(product, image, kind, owner)] for kind in files.paths}
            row = image_row(files, keys)
            if image in tokens:
                row = replace(row, **token_columns(tokens[image].grid))
                keys = keys | {kind: named[make(product, item.id)] for kind, make in TOKEN_KEYS.items()}
            rows.append(row)
            images.append({"image": image, "window": files.part.box.to_list(), **keys})
            classes = [a + b for a, b in zip(classes, files.class_pixels, strict=True)]
        table = put_objects(self._store, {layout.images_key(product, item.id): write_images(rows)})
        statistics: dict[str, Any] = {
            "windows": sum(files.windows for files in parts),
            "pixels": sum(files.part.box.area for files in parts),
            **({"tokens": sum(len(part.grid) for part in stored.values())} if stored else {}),
            "class_pixels": {c.name: n for c, n in zip(self._segmentor.classes, classes, strict=True)},
        }
        all_records: tuple[ObjectRecord, ...] = (*records, *table)
        commit_item(self._store, Commit(product, item.id, all_records, tuple(images), statistics))
        return item.id


def _failure(broken: Broken) -> dict[str, Any]:
    part: Part = broken.part
    error: InputError = broken.error
    return {
        "item": Item((part,)).id,
        "image": part.image.image_id,
        "source": part.image.source,
        "box": part.box.to_list(),
        "error": type(error).__name__,
        "message": str(error),
    }
