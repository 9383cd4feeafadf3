"""Planning a raster job: inputs and a product in, items and what is left of them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from shapely.geometry.base import BaseGeometry

from gridscribe import __version__
from gridscribe.canonical import canonical_json, sha256
from gridscribe.coverage import Coverage
from gridscribe.ingest.discover import discover
from gridscribe.ingest.images import Account, RasterImage
from gridscribe.models.clip.concepts import ConceptBank
from gridscribe.models.engines import engine_environment
from gridscribe.pipelines.aligning import AlignmentSpec, resolve_alignment
from gridscribe.pipelines.aoi import aoi_box
from gridscribe.pipelines.config import RasterJob, as_settings
from gridscribe.pipelines.cutting import cut
from gridscribe.pipelines.dropout import ENOUGH_DROPPED
from gridscribe.pipelines.items import Item
from gridscribe.pipelines.lattice import Lattice
from gridscribe.pipelines.raster import PipelineSpec
from gridscribe.pipelines.region_items import RegionItem, region_items
from gridscribe.pipelines.scale import work_grid
from gridscribe.pipelines.segmentor import Segmentor, network_segmentor, word_segmentor
from gridscribe.products import product_id
from gridscribe.values import Window

OUTPUT_SCHEMA = 3  # raised when the same settings would write other pixels or other tables


@dataclass(frozen=True, slots=True)
class RasterPlan:
    """One raster job: what to compute, under which product."""

    job: str
    product: str
    product_json: dict[str, Any]
    inputs: tuple[str, ...]
    config: RasterJob
    segmentor: Segmentor
    images: tuple[RasterImage, ...]
    boxes: dict[str, Window]
    """The pixels asked for, by image id."""
    alignment: AlignmentSpec | None
    """The model of embeddings; None where there are none."""
    bank: ConceptBank | None
    """What regions are labelled with; None where they are not."""
    accounts: tuple[Account, ...]
    """Inputs that will not be processed, and why."""
    items: tuple[Item, ...]

    def spec(self, output: str) -> PipelineSpec:
        """What a worker needs."""
        return PipelineSpec(
            output=output,
            product=self.product,
            segmentor=self.segmentor,
            time_limit=self.config.time_limit,
            regions=self.config.regions,
            alignment=self.alignment,
            environment=engine_environment(self.segmentor.engine),
        )

    @property
    def region_items(self) -> list[RegionItem]:
        """The items of regions, in order of the images; none where the job leaves regions out."""
        if self.config.regions is None:
            return []
        return region_items(self.images, self.boxes, self.config.bundle_pixels)

    @property
    def without_height(self) -> int:
        """How many of the images have no height."""
        return sum(not image.has_height for image in self.images)

    def window_count(self, items: Sequence[Item]) -> int:
        """Windows that the engine will see for `items`, empty ones included."""
        total, windows = 0, self.segmentor.windows
        for item in items:
            for part in item.parts:
                work = work_grid(part.image.grid, part.image.gsd, windows.gsd, strict=False)
                lattice = Lattice(work.grid.height, work.grid.width, windows.window, windows.stride)
                total += lattice.count(work.box(part.box))
        return total


def plan_raster(
    inputs: Sequence[str],
    config: RasterJob,
    *,
    area: BaseGeometry | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> RasterPlan:
    """Find the inputs, resolve model and engine, cut items. Writes nothing.

    `progress` is told what is being looked at and the number of files seen so far. Raises `UsageError`, `ModelError` or
    `StoreError`; a bad input is no error but an account of the plan.
    """
    segmentor = _segmentor(config)
    alignment, bank = _alignment(config)
    found = discover(inputs, config.inputs, height_for=_height_for(segmentor, config), progress=progress)
    boxes, outside = _boxes(found.images, area)
    images = tuple(image for image in found.images if image.image_id in boxes)
    accounts = (*found.accounts, *outside)
    items = tuple(cut(images, boxes, item_size=config.item_size, bundle_pixels=config.bundle_pixels))
    product_json = _product(segmentor, alignment, config)
    product = product_id(product_json)
    job = sha256(
        canonical_json(
            {
                "product": product,
                "items": [item.id for item in items],
                "accounts": [[account.source, account.state] for account in accounts],
                "regions": config.regions is not None,  # another request, though the product is the same
            }
        )
    )[:16]
    return RasterPlan(
        job, product, product_json, tuple(inputs), config, segmentor, images, boxes, alignment, bank, accounts, items,
    )  # fmt: skip


def remaining(items: Sequence[Item], coverage: Coverage, failed: frozenset[str] = frozenset()) -> list[Item]:
    """The items still to do, given what is committed and which single parts (by item id) have failed before.

    A bundle of which only some images are left is taken apart, so that nothing committed is computed again.
    """
    left: list[Item] = []
    for item in items:
        open_parts = [
            single
            for single in item.singles()
            if single.id not in failed and not coverage.covers(single.parts[0].image.image_id, single.parts[0].box)
        ]
        left.extend([item] if len(open_parts) == len(item.parts) else open_parts)
    return left


def _segmentor(config: RasterJob) -> Segmentor:
    how: dict[str, Any] = {"window": config.window, "stride": config.stride, "strict_gsd": config.strict_gsd}
    if config.vocabulary is not None:
        return word_segmentor(config.vocabulary, config.engine, **how)
    return network_segmentor(config.model, config.engine, **how)


def _height_for(segmentor: Segmentor, config: RasterJob) -> str | None:
    """Who needs height, for the failures of images without; None where nobody does."""
    if config.inputs.require_height:
        return "input option 'require_height' insists on it"
    if not segmentor.needs_height:
        return None
    return (
        f"model {segmentor.name!r} needs it: its package names no optional_bands, as those do of models trained without height, "
        f"or with drop_height of at least {ENOUGH_DROPPED}"
    )


def _alignment(config: RasterJob) -> tuple[AlignmentSpec | None, ConceptBank | None]:
    if config.alignment is None:
        return None, None
    return resolve_alignment(config.alignment, config.engine, config.tokens, strict_gsd=config.strict_gsd)


def _product(
    segmentor: Segmentor,
    alignment: AlignmentSpec | None,
    config: RasterJob,
) -> dict[str, Any]:
    model, engine, windows = segmentor.model_json(), segmentor.engine, segmentor.windows
    return {
        "schema": OUTPUT_SCHEMA,
        "job": "raster",
        "models": [model] if alignment is None else [model, alignment.model_json()],
        "settings": {
            **as_settings(config),
            **({} if segmentor.settings is None else {"vocabulary": segmentor.settings}),
            **({} if alignment is None else {"alignment": alignment.settings()}),
            "window": windows.window,
            "stride": windows.stride,
            "gsd": list(windows.gsd),
        },
        "engine": engine.to_json(),
        "classes": [{"id": c.id, "name": c.name, "color": list(c.color)} for c in segmentor.classes],
        "versions": {"gridscribe": __version__, engine.name: version(engine.name)},
    }


def _boxes(images: Sequence[RasterImage], area: BaseGeometry | None) -> tuple[dict[str, Window], list[Account]]:
    boxes: dict[str, Window] = {}
    outside: list[Account] = []
    for image in images:
        if area is None:
            boxes[image.image_id] = image.grid.window
            continue
        box = aoi_box(image.grid, area) if image.grid.georeferenced else None
        if box is None:
            reason = (
                "outside the area of interest"
                if image.grid.georeferenced
                else "not georeferenced, and an area is asked for"
            )
            outside.append(Account(image.rgb.name, "skipped", reason, "outside"))
        else:
            boxes[image.image_id] = box
    return boxes, outside
