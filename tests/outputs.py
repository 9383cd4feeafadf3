"""Small outputs made by hand: rasters through the COG writer, tables, commits and products as a job writes them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from gridscribe import layout
from gridscribe.canonical import sha256
from gridscribe.commits import Commit, commit_item, put_objects
from gridscribe.footprint import footprint_wkb
from gridscribe.pipelines.cog import CONFIDENCE, HEIGHT, KINDS, MASK, encode_cog
from gridscribe.products import write_product
from gridscribe.store import Store
from gridscribe.tables import ImageRow, write_images
from gridscribe.values import Grid, Window


@dataclass(frozen=True)
class Label:
    id: int
    name: str
    color: tuple[int, int, int]


CLASSES = (
    Label(0, "other", (0, 0, 0)), Label(1, "ground", (150, 120, 90)), Label(2, "low vegetation", (120, 200, 80)),
    Label(3, "building", (220, 40, 40)), Label(4, "water", (30, 90, 220)), Label(5, "road", (110, 110, 110)),
    Label(6, "tree", (0, 110, 30)),
)  # fmt: skip


@dataclass
class FakeImage:
    """An image with made-up results over all of it; `boxes` are the parts that are committed, an item each."""

    id: str
    grid: Grid
    datetime: datetime | None = None
    boxes: Sequence[Window] = ()
    seed: int = 0
    nodata: Window | None = None
    flags: tuple[str, ...] = ()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.arrays:
            rng = np.random.default_rng([self.seed, *self.id.encode()])
            shape = self.grid.shape
            blobs = rng.integers(0, 7, (shape[0] // 5 + 1, shape[1] // 5 + 1)).repeat(5, 0).repeat(5, 1)
            self.arrays = {
                "mask": blobs[: shape[0], : shape[1]].astype(np.uint8),
                "confidence": rng.integers(0, 255, shape).astype(np.uint8),
                "height": rng.integers(-300, 3000, shape).astype(np.int16),
            }
            if self.nodata is not None:
                for kind in KINDS.values():
                    self.arrays[kind.name][self.nodata.slices()] = kind.nodata
        self.boxes = self.boxes or (self.grid.window,)

    @property
    def source(self) -> str:
        return f"scenes.tar!/{self.id}_rgb.tif"


def product_json(name: str = "scenes", setting: int = 0) -> dict[str, Any]:
    return {
        "schema": 1,
        "job": "raster",
        "models": [{"role": "segmentor", "name": name, "uri": name, "digest": sha256(name.encode())}],
        "settings": {"setting": setting},
        "engine": {"name": "torch"},
        "classes": [{"id": c.id, "name": c.name, "color": list(c.color)} for c in CLASSES],
        "versions": {"gridscribe": "0"},
    }


def write_output(
    store: Store, images: Sequence[FakeImage], product: dict[str, Any] | None = None, *, bundle: bool = True
) -> str:
    """Commit `images` under a product and return its id. Whole images share an item if `bundle`; each box has its own."""
    name = write_product(store, product or product_json())
    whole = [image for image in images if list(image.boxes) == [image.grid.window]]
    groups = [[(image, image.grid.window) for image in whole]] if bundle else [[(i, i.grid.window)] for i in whole]
    groups += [[(image, box)] for image in images if image not in whole for box in image.boxes]
    for parts in groups:
        if parts:
            _commit(store, name, parts)
    return name


def item_id(parts: Sequence[tuple[FakeImage, Window]]) -> str:
    return sha256(repr([(image.id, box.to_list()) for image, box in parts]).encode())[:16]


def _commit(store: Store, product: str, parts: Sequence[tuple[FakeImage, Window]]) -> None:
    item = item_id(parts)
    objects: dict[str, bytes | Path] = {}
    rows, entries = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (image, box) in enumerate(parts):
            owner = None if box == image.grid.window else item
            grid = Grid(box.height, box.width, image.grid.window_transform(box), image.grid.crs)
            keys = {}
            for kind in (MASK, CONFIDENCE, HEIGHT):
                path = Path(folder) / f"{number}.{kind.name}.tif"
                array = np.ascontiguousarray(image.arrays[kind.name][box.slices()])
                encode_cog(path, kind, array, grid, classes=CLASSES if kind is MASK else ())
                keys[kind.name] = layout.raster_key(product, image.id, kind.name, owner)
                objects[keys[kind.name]] = path.read_bytes()
            rows.append(
                ImageRow(
                    image=image.id, source=image.source, height=image.grid.height, width=image.grid.width,
                    crs=image.grid.crs, transform=image.grid.transform, footprint=footprint_wkb(image.grid),
                    datetime=image.datetime, gsd=0.2, box_row=box.row, box_col=box.col, box_height=box.height,
                    box_width=box.width, mask=keys["mask"], confidence=keys["confidence"], height_key=keys["height"],
                    flags=image.flags,
                )
            )  # fmt: skip
            entries.append({"image": image.id, "window": box.to_list(), **keys})
        records = put_objects(store, objects)
    records += put_objects(store, {layout.images_key(product, item): write_images(rows)})
    commit_item(store, Commit(product, item, tuple(records), tuple(entries)))
