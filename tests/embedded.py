"""Outputs with embeddings made by hand, through the writers that jobs use: regions with random vectors, tokens, concept banks."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from gridscribe import layout
from gridscribe.canonical import sha256
from gridscribe.commits import Commit, commit_item, put_objects, read_commit, read_commits
from gridscribe.pipelines.config import RegionOptions
from gridscribe.pipelines.region_items import RegionItem, RegionPart, remaining_regions
from gridscribe.pipelines.regions.stage import RegionStage
from gridscribe.pipelines.stages import Deadline
from gridscribe.products import product_id
from gridscribe.quantise import quantise
from gridscribe.regions import ROW_GROUP, regions_schema
from gridscribe.store import Store, open_store
from gridscribe.tables import read_images, write_images, write_table
from gridscribe.token_tables import TokenEntry, token_columns, write_tokens
from gridscribe.tokens import TokenGrid
from gridscribe.values import Grid, Window
from gridscribe.window_tables import WindowEntry, write_windows
from tests.outputs import CLASSES, FakeImage, item_id, product_json, write_output

DIM = 24
BANK = {"house": ("home", "dwelling"), "swimming pool": (), "water": ("sea",)}
BANK_DIGEST = sha256(repr(BANK).encode())
Vectors = Callable[[str, int], np.ndarray]


def aligned(uri: str = "nowhere", digest: str = "a" * 64, setting: int = 0, **changes: Any) -> dict[str, Any]:
    """A product's description with an alignment model; `changes` to its settings."""
    product = product_json(setting=setting)
    product["models"].append({"role": "alignment", "name": "tiny", "uri": uri, "digest": digest})
    product["settings"]["alignment"] = {
        "variant": "segearth", "window": 32, "stride": 24, "patch": 8, "gsd": [0.1, 10.0], "embed_dim": DIM,
        "logit_scale": 14.0, "engine": {"name": "torch"}, "tokens": {"kind": "int8"}, "regions": "crop", "labels": 2,
        "concepts": None,
    } | changes  # fmt: skip
    return product


def random_vectors(image: str, count: int, seed: int = 0) -> np.ndarray:
    """Some that are equal, so that there are ties."""
    rng = np.random.default_rng([seed, *image.encode()])
    vectors = rng.normal(size=(count, DIM))
    vectors[count // 2 : count // 2 + 4] = vectors[:1]
    return vectors


def part_of(image: FakeImage, box: Window | None = None) -> RegionPart:
    planned: Any = SimpleNamespace(image_id=image.id, grid=image.grid, source=image.source)
    return RegionPart(planned, box or image.grid.window)


def write_regions(
    store: Store,
    images: Sequence[FakeImage],
    product: dict[str, Any],
    groups: Sequence[Sequence[RegionPart]] | None = None,
    *,
    vectors: Vectors | None = random_vectors,
    bare: float = 0.1,
    rows: int = 16,
) -> str:
    """Commit `images` and their regions, an item for each of `groups`; all but a share `bare` embedded, `rows` to a row group."""
    scratch = open_store(f"memory://{sha256(repr((store.uri, product, groups)).encode())}")
    name = product_id(product)
    for one in (store, scratch):
        assert write_output(one, images, product) == name
    for group in groups or [[part_of(image)] for image in images]:
        stage = RegionStage(scratch, name, CLASSES, RegionOptions(min_pixels=16))  # type: ignore[arg-type]
        (item,) = remaining_regions([RegionItem(tuple(group))], list(read_commits(scratch, name)))
        stage.process(item, Deadline(100))
        made = read_commit(scratch, name, item.id)
        objects: dict[str, Any] = {record.key: scratch.get(record.key) for record in made.objects}
        (key,) = [key for key in objects if key.endswith(".parquet")]
        table = pq.read_table(pa.BufferReader(objects[key])).cast(regions_schema())
        if vectors is not None:
            table = with_vectors(table, vectors, bare)
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", row_group_size=rows, use_dictionary=["image", "class_name"])
        objects[key] = sink.getvalue()
        records = put_objects(store, objects)
        commit_item(store, replace(made, objects=tuple(records)))
    return name


def with_vectors(table: pa.Table, vectors: Vectors, bare: float) -> pa.Table:
    """The table with an embedding and two labels for most of its rows."""
    rng = np.random.default_rng(5)
    raw = np.zeros((len(table), DIM))
    names = np.array(table["image"].to_pylist())
    for name in dict.fromkeys(names.tolist()):
        raw[names == name] = vectors(name, int((names == name).sum()))
    stored = quantise(raw)
    none = rng.random(len(table)) < bare
    labels = [None if gone else [("house", 0.5), ("water", float(k) / 1000)] for k, gone in enumerate(none.tolist())]
    columns = {
        "labels": pa.array(labels, regions_schema().field("labels").type),
        "embedding": pa.array(
            [None if g else v for v, g in zip(stored.values, none, strict=True)], pa.list_(pa.int8())
        ),
        "scale": pa.array(stored.scale, mask=none),
    }
    for field, values in columns.items():
        table = table.set_column(table.column_names.index(field), field, values)
    return table.cast(regions_schema())


def stored_rows(store: Store, product: str) -> list[dict[str, Any]]:
    """The rows of all committed regions tables, read the plain way."""
    keys = [r.key for c in read_commits(store, product) if c.regions for r in c.objects if r.key.endswith(".parquet")]
    return [row for key in sorted(keys) for row in pq.read_table(pa.BufferReader(store.get(key))).to_pylist()]


def write_tokens_of(
    store: Store, product: str, image: FakeImage, parts: dict[Window, tuple[TokenGrid, list[Any], Any]]
) -> None:
    """Commit `image`'s boxes anew, under other ids, with tokens and windows: (grid, places, vectors)."""
    for box, (grid, places, vectors) in parts.items():
        base = item_id([(image, box)])
        old = read_commit(store, product, base)
        store.delete(layout.commit_key(product, base))
        item = sha256(f"{base} with tokens".encode())[:16]
        (table,) = [record.key for record in old.objects if "/images/" in record.key]
        (row,) = read_images(store.get(table), table)
        kind, dim = grid.vectors.kind, grid.vectors.dim  # type: ignore[union-attr]
        objects = {
            layout.tokens_key(product, item): write_tokens([TokenEntry(image.id, 0, grid)], dim, kind, rows=7),
            layout.windows_key(product, item): write_windows([WindowEntry(image.id, 0, places, vectors)], dim, kind),
            layout.images_key(product, item): write_images([replace(row, **token_columns(grid))]),
        }
        records = put_objects(store, objects)
        kept = [record for record in old.objects if record.key != table]
        entry = old.images[0] | {"tokens": records[0].key, "windows": records[1].key}
        commit_item(store, Commit(product, item, (*kept, *records), (entry,)))


def write_bank(store: Store, product: str, seed: int = 3) -> dict[str, np.ndarray]:
    """A concept bank of random vectors, as jobs store it: by name the vector that is read back."""
    vectors = np.random.default_rng(seed).normal(size=(len(BANK), DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    fields = [("name", pa.string()), ("synonyms", pa.list_(pa.string())), ("embedding", pa.list_(pa.float16()))]
    schema = pa.schema(fields, metadata={"digest": BANK_DIGEST, "templates": "a satellite photo of {}.\nseen: {}"})
    columns = {"name": list(BANK), "synonyms": list(map(list, BANK.values())), "embedding": list(vectors)}
    store.put(layout.concepts_key(product), write_table(pa.table(columns, schema=schema)))
    return dict(zip(BANK, vectors.astype(np.float64), strict=True))


def wide_regions(
    store: Store, count: int, dim: int, product: dict[str, Any], *, vectors: Callable[[int, int], Any] | None = None
) -> str:
    """A product with one image and a table of `count` regions of one pixel, row groups as jobs have them."""
    image, side = "wide", int(np.ceil(np.sqrt(count)))
    tiny = FakeImage(image, Grid(side, side, (1.0, 0.0, 5e5, 0.0, -1.0, 5e6), "EPSG:32633"))
    name = write_output(store, [tiny], product)
    sink, rng = io.BytesIO(), np.random.default_rng(0)
    outline = shapely.to_wkb(shapely.box(0, 0, 1, 1), byte_order=1)
    with pq.ParquetWriter(sink, regions_schema(), compression="zstd", use_dictionary=["image", "class_name"]) as writer:
        for start in range(0, count, ROW_GROUP):
            number = min(ROW_GROUP, count - start)
            stored = quantise(rng.normal(size=(number, dim)) if vectors is None else vectors(number, dim))
            values = np.arange(start + 1, start + number + 1)
            lon, lat = 15 + 1e-5 * (values % side), 45 + 1e-5 * (values // side)
            corners = [pa.array(v) for v in (lon, lat, lon + 1e-5, lat + 1e-5)]
            offsets = pa.array(np.arange(0, number * dim + 1, dim, dtype=np.int32))
            columns = {
                "region_id": [f"{image}-{value - 1}" for value in values.tolist()],
                "image": [image] * number,
                "value": values,
                "class_id": np.full(number, 3, np.uint8),
                "class_name": ["building"] * number,
                "area_px": np.ones(number, np.int64),
                "geometry": shapely.to_wkb(shapely.box(lon, lat, lon + 1e-5, lat + 1e-5), byte_order=1),
                "geometry_px": [outline] * number,
                "bbox": pa.StructArray.from_arrays(corners, fields=list(regions_schema().field("bbox").type)),
                "embedding": pa.ListArray.from_arrays(offsets, pa.array(stored.values.ravel())),
                "scale": stored.scale,
            }
            missing = [field for field in regions_schema() if field.name not in columns]
            columns |= {field.name: pa.nulls(number, field.type) for field in missing}
            writer.write_table(pa.table(columns, schema=regions_schema()), row_group_size=ROW_GROUP)
    item = "regions-" + sha256(f"{image} {count}".encode())[:16]
    records = put_objects(store, {layout.regions_key(name, item): sink.getvalue()})
    entry = {"image": image, "window": tiny.grid.window.to_list(), "regions": layout.region_raster_key(name, image)}
    commit_item(store, Commit(name, item, tuple(records), (), {}, (entry,)))
    return name
