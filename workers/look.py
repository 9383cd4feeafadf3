"""Pictures of finished images: their input read again, their masks and heights from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

from gridscribe.client import Match
from gridscribe.commits import read_commits
from gridscribe.errors import GridscribeError, MissingObjectError, QueryError
from gridscribe.ingest.images import InputOptions, RasterImage
from gridscribe.ingest.raster import open_raster
from gridscribe.manifest import Plan, list_jobs, read_plan, read_plan_items
from gridscribe.pipelines.cog import HEIGHT, MASK, RasterKind
from gridscribe.pipelines.match_picture import Outline, draw_matches
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
    if read_product(store, product).get("job") == "documents":
        raise QueryError(
            f"product {product} is of documents: ask `gridscribe page OUTPUT DOCUMENT NUMBER PHRASE --picture FILE`"
        )
    parts: dict[str, list[dict[str, Any]]] = {}
    for commit in read_commits(store, product):
        for entry in commit.images:
            parts.setdefault(entry["image"], []).append(entry)
    if not parts:
        raise QueryError(f"{output}: nothing is committed under product {product}")
    planned = planned_images(store, product)
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


def matches_picture(output: str, matches: Sequence[Match], title: str, *, size: int = 1024) -> bytes:
    """PNG bytes of the best match and of others that lie within `size` pixels about it, outlined over their image.

    Over the mask where the source is gone or cannot be read; the title says so. `matches` are best first, at least one.
    """
    best = matches[0]
    store, product = open_store(output), best.product
    parts = [
        entry for commit in read_commits(store, product) for entry in commit.images if entry["image"] == best.image
    ]
    view = _around(best, parts, size)
    photo, note = _photo(store, product, best.image, parts, view)
    frame = shapely.box(view.col, view.row, view.col1, view.row1)
    outlines = [
        Outline(match.geometry_px, f"{rank} {match.score:.2f}", match is best)
        for rank, match in enumerate(matches, start=1)
        if match.image == best.image and match.geometry_px.intersects(frame)
    ]
    return draw_matches(photo, view, outlines, f"{title}   {best.image}{note}")


def _around(match: Match, parts: list[dict[str, Any]], size: int) -> Window:
    """Up to `size` pixels a side about the middle of a match, within what is committed of its image."""
    boxes = [Window(*part["window"]) for part in parts]
    top, left = min(box.row for box in boxes), min(box.col for box in boxes)
    height, width = max(box.row1 for box in boxes) - top, max(box.col1 for box in boxes) - left
    west, north, east, south = match.geometry_px.bounds
    rows, cols = min(size, height), min(size, width)
    row = min(max(round((north + south) / 2) - rows // 2, top), top + height - rows)
    col = min(max(round((west + east) / 2) - cols // 2, left), left + width - cols)
    return Window(row, col, rows, cols)


def _photo(
    store: Store, product: str, image: str, parts: list[dict[str, Any]], view: Window
) -> tuple[NDArray[np.uint8], str]:
    """(the image's pixels [h, w, 3], or where its source cannot be read its mask in colours; what to say of that)."""
    planned = planned_images(store, product).get(image)
    reason = "its plan is gone"
    if planned is not None:
        try:
            with open_raster(planned) as reader:
                return np.ascontiguousarray(np.moveaxis(reader.read(view).rgb, 0, -1)), ""
        except GridscribeError:
            reason = "its source cannot be read"
    colors = np.full((256, 3), 255, np.uint8)
    for entry in read_product(store, product)["classes"]:
        colors[entry["id"]] = entry["color"]
    return colors[_read(store, parts, MASK, view)], f" (mask: {reason})"


def planned_images(store: Store, product: str) -> dict[str, RasterImage]:
    """The images of all jobs of a product, as they were planned."""
    images: dict[str, RasterImage] = {}
    for job in list_jobs(store):
        plan = plan_of(store, job, product)
        if plan is None:
            continue
        options = InputOptions.from_json(plan.details["options"])
        for parts in read_plan_items(store, plan).column("parts").to_pylist():
            for part in json.loads(parts):
                image = RasterImage.from_json(part["image"], options)
                images[image.image_id] = image
    return images


def plan_of(store: Store, job: str, product: str) -> Plan | None:
    """The plan of a job; None where it is of another product, or planning was cut short."""
    try:
        plan = read_plan(store, job)
    except MissingObjectError:
        return None
    return plan if plan.details["product"] == product else None


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
