"""How answers travel between a service and its clients: tables and arrays as Arrow streams, all else as JSON.

Both sides live here, so that `Client("http://...")` gives what `Client("s3://...")` gives: floats keep all their bits (JSON
numbers are written so that they read back the same), arrays their types. Arrays travel in one Arrow stream of one row: a column
of lists for each array, row-major, and in the schema's metadata, under `gridscribe`, a JSON object with their shapes and with
whatever else the answer says. Answers are compressed with ZSTD.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.found import Heatmap, Label, Match, PointOnImage, Region, RegionFacts, TextMask
from gridscribe.client.page import PageToken
from gridscribe.client.page_search import PageMatch
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.errors import LayoutError
from gridscribe.latent_tables import CropLatents
from gridscribe.quantise import Quantised
from gridscribe.tokens import TokenFrame, TokenGrid
from gridscribe.values import Window

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"
"""Media type of an Arrow IPC stream."""

Arrays = dict[str, NDArray[Any]]
R = TypeVar("R", Match, Region)


def table_bytes(table: pa.Table, *, compressed: bool = True) -> bytes:
    """The table as an Arrow stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if compressed else None)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def table_of(data: bytes) -> pa.Table:
    """The inverse of `table_bytes`; `LayoutError` for what is no Arrow stream."""
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise LayoutError(f"{len(data)} bytes are no Arrow stream ({str(error)[:200]})") from error
    return table


def arrays_bytes(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named arrays of any shape, and what is said of them (plain data)."""
    import pyarrow as pa

    shapes = {name: list(array.shape) for name, array in arrays.items()}
    columns = []
    for array in arrays.values():
        values = pa.array(np.ascontiguousarray(array).reshape(-1))
        columns.append(pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values))
    told = json.dumps({**facts, "shapes": shapes}, allow_nan=False)
    schema = pa.schema(
        [pa.field(name, column.type) for name, column in zip(arrays, columns, strict=True)], {"gridscribe": told}
    )
    return table_bytes(pa.Table.from_arrays(columns, schema=schema))


def arrays_of(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """The inverse of `arrays_bytes`; `LayoutError` for anything else."""
    table = table_of(data)
    try:
        facts: dict[str, Any] = json.loads(table.schema.metadata[b"gridscribe"])
        shapes = facts.pop("shapes")
        arrays = {
            name: table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(shapes[name])
            for name in table.column_names
        }
    except (TypeError, KeyError, ValueError) as error:
        raise LayoutError(f"an Arrow stream of {len(data)} bytes holds no arrays ({error!r})") from error
    return facts, arrays


def pixel_of(value: Mapping[str, Any]) -> Pixel:
    """The inverse of `Pixel.to_json`."""
    facts = {name.name: value[name.name] for name in fields(Pixel)}
    facts["datetime"] = _time(facts["datetime"])
    facts["flags"] = tuple(facts["flags"])
    facts["labels"] = None if facts["labels"] is None else _labels(facts["labels"])
    facts["embedding"] = _vector(facts["embedding"])
    return Pixel(**facts)


def region_of(value: Mapping[str, Any]) -> Region:
    """The inverse of `Region.to_json`."""
    return Region(**_region_facts(value), embedding=_vector(value["embedding"]))


def match_of(value: Mapping[str, Any]) -> Match:
    """The inverse of `Match.to_json`."""
    return Match(**_region_facts(value), score=value["score"], query=value["query"])


def masks_bytes(masks: Sequence[Mask]) -> bytes:
    """Masks of one question."""
    told = []
    for mask in masks:
        facts = {name.name: getattr(mask, name.name) for name in fields(Mask) if name.name != "array"}
        told.append({**facts, "classes": sorted(mask.classes.items())})
    return arrays_bytes({"masks": told}, {str(i): mask.array for i, mask in enumerate(masks)})


def masks_of(data: bytes) -> tuple[Mask, ...]:
    """The inverse of `masks_bytes`."""
    facts, arrays = arrays_of(data)
    return tuple(
        Mask(
            array=arrays[str(i)],
            transform=_affine(one["transform"]),
            images=tuple(one["images"]),
            classes={int(number): name for number, name in one["classes"]},
            **{name: one[name] for name in ("crs", "coverage", "product", "model")},
        )
        for i, one in enumerate(facts["masks"])
    )


_ON_IMAGE = ("crs", "query", "image", "product", "alignment")


def heatmap_bytes(heat: Heatmap) -> bytes:
    """A heat map."""
    names = (*_ON_IMAGE, "transform", "pixel_transform", "grid_h", "grid_w", "bias", "coverage")
    facts = {name: getattr(heat, name) for name in names}
    return arrays_bytes({**facts, "box": heat.box.to_list()}, {"array": heat.array})


def heatmap_of(data: bytes) -> Heatmap:
    """The inverse of `heatmap_bytes`."""
    facts, arrays = arrays_of(data)
    return Heatmap(
        array=arrays["array"],
        transform=None if facts["transform"] is None else _affine(facts["transform"]),
        pixel_transform=_affine(facts["pixel_transform"]),
        box=Window(*facts["box"]),
        **{name: facts[name] for name in (*_ON_IMAGE, "grid_h", "grid_w", "bias", "coverage")},
    )


def text_mask_bytes(mask: TextMask, memory: Mapping[str, Any] | None) -> bytes:
    """The pixels that a phrase means; `memory` is the state of `Prototypes` after the question, where it had one."""
    names = (*_ON_IMAGE, "transform", "method", "threshold", "regions", "scores", "first")
    facts = {name: getattr(mask, name) for name in names}
    if mask.threshold is not None and not math.isfinite(mask.threshold):
        facts["threshold"] = str(mask.threshold)  # where no cell has a value; JSON has no such number
    facts |= {"window": mask.window.to_list(), "points": [asdict(point) for point in mask.points], "memory": memory}
    return arrays_bytes(facts, {"array": mask.array})


def text_mask_of(data: bytes) -> tuple[TextMask, dict[str, Any] | None]:
    """The inverse of `text_mask_bytes`."""
    facts, arrays = arrays_of(data)
    mask = TextMask(
        array=arrays["array"],
        transform=None if facts["transform"] is None else _affine(facts["transform"]),
        window=Window(*facts["window"]),
        points=tuple(PointOnImage(**point) for point in facts["points"]),
        regions=tuple(facts["regions"]),
        scores=tuple(facts["scores"]),
        first=tuple(facts["first"]),
        threshold=None if facts["threshold"] is None else float(facts["threshold"]),
        **{name: facts[name] for name in (*_ON_IMAGE, "method")},
    )
    return mask, facts["memory"]


def page_match_of(value: Mapping[str, Any]) -> PageMatch:
    """From the JSON object of `dataclasses.asdict`."""
    return PageMatch(**{**value, "box": tuple(value["box"]), "box_px": tuple(value["box_px"])})


def token_json(token: PageToken) -> dict[str, Any]:
    """Plain data."""
    value = {name.name: getattr(token, name.name) for name in fields(PageToken)}
    return {**value, "embedding": None if token.embedding is None else token.embedding.tolist()}


def token_of(value: Mapping[str, Any]) -> PageToken:
    """The inverse of `token_json`."""
    return PageToken(**{**value, "box": tuple(value["box"]), "embedding": _vector(value["embedding"])})


def grid_bytes(grid: TokenGrid) -> bytes:
    """Tokens and their vectors."""
    frame, vectors = grid.frame, grid.vectors
    box = None if frame.box == frame.whole else frame.box.to_list()
    facts = {"grid": [frame.grid_h, frame.grid_w, frame.patch], "box": box, "transform": frame.transform}
    arrays: Arrays = {"index": grid.index}
    if grid.parent is not None:
        arrays["parent"] = grid.parent
    if isinstance(vectors, Quantised):
        arrays |= {"values": vectors.values, "scale": vectors.scale}
    elif vectors is not None:
        arrays["vectors"] = vectors
    return arrays_bytes(facts, arrays)


def grid_of(data: bytes) -> TokenGrid:
    """The inverse of `grid_bytes`."""
    facts, arrays = arrays_of(data)
    transform = None if facts["transform"] is None else _affine(facts["transform"])
    grid_h, grid_w, patch = facts["grid"]
    frame = TokenFrame(grid_h, grid_w, patch, transform=transform)
    if facts["box"] is not None:
        frame = frame.with_box(Window(*facts["box"]))
    vectors: Any = arrays.get("vectors")
    if "values" in arrays:
        vectors = Quantised(arrays["values"], arrays["scale"])
    return TokenGrid(frame, arrays["index"], arrays.get("parent"), vectors)


def latents_json(latents: Sequence[CropLatents]) -> list[dict[str, Any]]:
    """Plain data."""
    return [
        {"image": one.image, "page": one.page, "row": one.row, "col": one.col, "codes": one.codes.tolist(),
         "error": one.error}
        for one in latents
    ]  # fmt: skip


def latents_of(values: Sequence[Mapping[str, Any]]) -> list[CropLatents]:
    """The inverse of `latents_json`."""
    return [CropLatents(**{**value, "codes": np.array(value["codes"], np.uint16)}) for value in values]


def _region_facts(value: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name.name: value[name.name] for name in fields(RegionFacts)}
    for name in ("geometry", "geometry_px"):
        facts[name] = _geometry(facts[name])
    facts["labels"] = _labels(facts["labels"])
    facts["datetime"] = _time(facts["datetime"])
    return facts


def _geometry(value: Mapping[str, Any] | None) -> Any:
    if value is None:
        return None
    import shapely

    return shapely.from_geojson(json.dumps(value))


def _labels(values: Sequence[Mapping[str, Any]]) -> tuple[Label, ...]:
    return tuple(Label(value["text"], value["score"]) for value in values)


def _vector(values: Sequence[float] | None) -> NDArray[np.float32] | None:
    return None if values is None else np.array(values, np.float32)


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _affine(values: Sequence[float]) -> tuple[float, float, float, float, float, float]:
    a, b, c, d, e, f = values
    return a, b, c, d, e, f
