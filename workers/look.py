"""A picture of one finished image: its input read again, its mask and height from the store."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

from gridscribe.commits import read_commits
from gridscribe.errors import QueryError
from gridscribe.ingest.images import InputOptions, RasterImage
from gridscribe.ingest.raster import open_raster
from gridscribe.manifest import list_jobs, read_plan, read_plan_items
from gridscribe.pipelines.cog import HEIGHT, MASK, RasterKind
from gridscribe.pipelines.picture import draw_picture
from gridscribe.products import only_product, read_product
from gridscribe.store import Store, open_store
from gridscribe.values import Window


def picture(output: str, *, image: str | None = None, size: int = 768, product: str | None = None) -> bytes:
    """PNG bytes of RGB, height and mask of an image side by side; a big image is shown by its middle, at full resolution.

    `image` is an id, a unique beginning of one, or part of the source's name; None takes the first id. Raises `QueryError`
    where there is none, `InputError` where its source is gone.
    """
    store = open_store(output)
    product = product or only_product(store)
    parts: dict[str, list[dict[str, Any]]] = {}
    for commit in read_commits(store, product):
        for entry in commit.images:
            parts.setdefault(entry["image"], []).append(entry)
    if not parts:
        raise QueryError(f"{output}: nothing is committed under product {product}")
    planned = _planned(store, product)
    chosen = _choose(planned, parts, image)
    grid = planned[chosen].grid
    height, width = min(size, grid.height), min(size, grid.width)
    view = Window((grid.height - height) // 2, (grid.width - width) // 2, height, width)
    mask = _read(store, parts[chosen], MASK, view)
    metres = _read(store, parts[chosen], HEIGHT, view).astype(np.float32) * np.float32(HEIGHT.scale or 1)
    metres[metres == np.float32(HEIGHT.nodata) * np.float32(HEIGHT.scale or 1)] = np.nan
    with open_raster(planned[chosen]) as reader:
        rgb = reader.read(view).rgb
    classes = [(c["id"], c["name"], tuple(c["color"])) for c in read_product(store, product)["classes"]]
    return draw_picture(rgb, metres, mask, classes, chosen)


def _planned(store: Store, product: str) -> dict[str, RasterImage]:
    """The images of all jobs of a product, as they were planned."""
    images: dict[str, RasterImage] = {}
    for job in list_jobs(store):
        plan = read_plan(store, job)
        if plan.details["product"] != product:
            continue
        options = InputOptions.from_json(plan.details["options"])
        for parts in read_plan_items(store, plan).column("parts").to_pylist():
            for part in json.loads(parts):
                image = RasterImage.from_json(part["image"], options)
                images[image.image_id] = image
    return images


def _choose(planned: dict[str, RasterImage], parts: dict[str, list[dict[str, Any]]], asked: str | None) -> str:
    have = sorted(set(planned) & set(parts))
    if asked is None:
        if not have:
            raise QueryError("no committed image belongs to a plan that is still there; name one with --image")
        return have[0]
    found = [name for name in have if name == asked]
    found = found or [name for name in have if name.startswith(asked) or asked in planned[name].source]
    if len(found) != 1:
        near = ", ".join((found or have)[:5])
        raise QueryError(f"image {asked!r}: {len(found)} images match; such as {near}")
    return found[0]


def _read(store: Store, parts: list[dict[str, Any]], kind: RasterKind, view: Window) -> NDArray[Any]:
    pixels = np.full(view.shape, kind.nodata, kind.dtype)
    for part in parts:
        box = Window(*part["window"])
        inside = box.intersection(view)
        if inside:
            with MemoryFile(store.get(part[kind.name])) as memory, memory.open() as file:
                local = RasterWindow(inside.col - box.col, inside.row - box.row, inside.width, inside.height)
                pixels[inside.slices(view)] = file.read(1, window=local)
    return pixels
