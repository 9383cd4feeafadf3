"""The catalogue: a STAC collection of georeferenced results, and one index of all images.

A cache, rebuilt from commits whenever it is asked for and never believed over them; the only objects that are
overwritten. The bytes depend on the commits alone, and what has not changed is not written again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gridscribe import layout
from gridscribe.commits import Commit, read_commits
from gridscribe.errors import LayoutError
from gridscribe.products import list_products, read_product
from gridscribe.stac import Part, Scene, collection_json, item_json
from gridscribe.store import ObjectInfo, Store, concurrently
from gridscribe.tables import TOKEN_MAPS, as_images_table, geo_metadata, images_schema, read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

ITEMS = f"{layout.CATALOG}/items"
ROW_GROUP = 8192
KINDS = {
    "mask": "mask",
    "confidence": "confidence",
    "height": "height_key",
}  # raster kind -> column of the images table


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a rebuild found and did."""

    products: int
    images: int
    """Rows of the index: an image of several items has one for each."""
    items: int
    """STAC items: georeferenced images."""
    written: int
    """Objects written; those whose bytes had not changed are not among them."""
    removed: int
    """STAC items of images that no commit holds any more."""


def catalog_schema() -> pa.Schema:
    """Columns of `catalog/images.parquet`: those of the images table but `parent` and `token_transform` (large, and of
    no use to find anything), and

    - `product`, `item`: whose commit the row comes from;
    - `bbox`: xmin, ymin, xmax, ymax of the footprint (float64, degrees; null where not georeferenced; -180 to 180
    across
      the antimeridian): a GeoParquet 1.1 covering, for readers that skip row groups.
    """
    import pyarrow as pa

    corners = [pa.field(name, pa.float64(), nullable=False) for name in ("xmin", "ymin", "xmax", "ymax")]
    columns = [
        pa.field("product", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        *(field for field in images_schema() if field.name not in TOKEN_MAPS),
        pa.field("bbox", pa.struct(corners)),
    ]
    return pa.schema(columns, metadata=geo_metadata("footprint", covering="bbox"))


def images_of(store: Store, product: str, commits: Iterable[Commit]) -> pa.Table:
    """The images tables of `commits` as one, with the columns of `catalog_schema`, ordered by image, page and box.

    Commits of regions have none and are passed over.
    Where items overlap (the same image committed whole and in parts, or in two bundles), a box inside another is
    left out. One get per commit, several at once.
    """
    import pyarrow as pa

    def read(commit: Commit) -> pa.Table:
        tables = [r.key for r in commit.objects if layout.parse_product_key(r.key).room == "images"]
        if len(tables) != 1:
            raise LayoutError(f"the commit of item {commit.item!r} names {len(tables)} images tables, expected one")
        table = as_images_table(read_table(store.get(tables[0]), tables[0]), store.uri_of(tables[0]))
        for name, value in (("product", product), ("item", commit.item)):
            table = table.append_column(name, pa.repeat(pa.scalar(value), len(table)))
        return table

    tables = list(concurrently(read, (commit for commit in commits if not layout.is_regions_item(commit.item))))
    if not tables:
        return catalog_schema().empty_table()
    table = pa.concat_tables(tables).combine_chunks()
    table = _without_covered(table.append_column("bbox", _bounds(table.column("footprint"))))
    order = [(name, "ascending") for name in ("image", "page", "box_row", "box_col", "item")]
    return table.sort_by(order).select(catalog_schema().names).cast(catalog_schema())


def build_catalog(store: Store, progress: Callable[[int, int], None] | None = None) -> Catalogue:
    """Rebuild `catalog/` from the commits of all products.

    `progress` is told (items done, items in all). Costs, per product, what `read_commits` and `images_of` cost, and
    per georeferenced image that is new or changed one put; one listing tells which are not.
    """
    import pyarrow as pa

    products = [product for product in list_products(store) if store.exists(layout.product_key(product))]
    existing = {info.key: info for info in store.list(layout.CATALOG)}
    tables = [images_of(store, product, read_commits(store, product)) for product in products]
    index = pa.concat_tables(tables) if tables else catalog_schema().empty_table()
    descriptions = {product: read_product(store, product) for product in products}
    scenes = list(_scenes(store, index))

    # made in this thread, for only the requests gain from many
    jsons = ((scene.key, item_json(scene, descriptions[scene.product])) for scene in scenes)
    written = 0
    for done, changed in enumerate(concurrently(lambda pair: _refresh(store, *pair, existing), jsons), start=1):
        written += changed
        if progress is not None:
            progress(done, len(scenes))
    boxes = [scene.geometry.bounds for scene in scenes]
    times = [scene.datetime for scene in scenes if scene.datetime is not None]
    collection = collection_json(((s.key, s.image) for s in scenes), boxes, times, layout.CATALOG_IMAGES)
    written += _refresh(store, layout.CATALOG_IMAGES, write_table(index, ROW_GROUP), existing)
    written += _refresh(store, layout.COLLECTION, collection, existing)
    items = {key for key in existing if key.startswith(f"{ITEMS}/")}
    stale = sorted(items.difference(scene.key for scene in scenes))
    for _ in concurrently(store.delete, stale):
        pass
    return Catalogue(len(products), len(index), len(scenes), written, len(stale))


def read_catalog(store: Store) -> pa.Table:
    """The index of all images; `MissingObjectError` where no catalogue was built."""
    return read_table(store.get(layout.CATALOG_IMAGES), layout.CATALOG_IMAGES)


def _scenes(store: Store, index: pa.Table) -> Iterator[Scene]:
    """Georeferenced images of the index, in its order."""
    import pyarrow.compute as pc
    import shapely

    located = index.filter(pc.is_valid(index.column("footprint")))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in located.to_pylist():
        groups[row["product"], row["image"]].append(row)
    for (product, image), rows in groups.items():
        first = rows[0]
        yield Scene(
            product=product,
            image=image,
            source=first["source"],
            shape=(first["height"], first["width"]),
            crs=first["crs"],
            transform=tuple(first["transform"]),
            geometry=shapely.from_wkb(first["footprint"]),
            datetime=first["datetime"],
            gsd=first["gsd"],
            parts=tuple(_parts(store, product, image, rows)),
        )


def _parts(store: Store, product: str, image: str, rows: list[dict[str, Any]]) -> Iterator[Part]:
    whole = len(rows) == 1 and (rows[0]["box_height"], rows[0]["box_width"]) == (rows[0]["height"], rows[0]["width"])
    for kind, column in KINDS.items():
        vrt = layout.vrt_key(product, image, kind)
        if not whole and store.exists(vrt):
            yield Part(kind, vrt, None)
        for row in rows:
            if row[column] is not None:
                yield Part(kind, row[column], None if whole else (row["box_row"], row["box_col"]))


def _without_covered(table: pa.Table) -> pa.Table:
    """The table without boxes that lie inside another box of the same image and page."""
    import numpy as np
    import pyarrow as pa

    names = ("image", "page", "box_row", "box_col", "box_height", "box_width", "item")
    columns = [table.column(name).to_pylist() for name in names]
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    for position, (image, page) in enumerate(zip(columns[0], columns[1], strict=True)):
        groups[image, page].append(position)
    keep = np.ones(len(table), bool)
    for positions in groups.values():
        if len(positions) == 1:
            continue
        boxes = {p: tuple(column[p] for column in columns[2:6]) for p in positions}
        held: list[tuple[int, ...]] = []
        # largest first, so that one pass finds what is inside another; then by item, so that all readers agree
        for p in sorted(positions, key=lambda p: (-boxes[p][2] * boxes[p][3], columns[6][p])):
            row, col, height, width = boxes[p]
            keep[p] = not any(
                r <= row and c <= col and r + h >= row + height and c + w >= col + width for r, c, h, w in held
            )
            if keep[p]:
                held.append((row, col, height, width))
    return table if keep.all() else table.filter(pa.array(keep))


def _bounds(footprints: pa.ChunkedArray) -> pa.StructArray:
    import numpy as np
    import pyarrow as pa
    import shapely

    geometry = shapely.from_wkb(np.array(footprints.to_pylist(), dtype=object))
    bounds = shapely.bounds(geometry).reshape(-1, 4)
    missing = np.isnan(bounds[:, 0])
    fields = list(catalog_schema().field("bbox").type)
    columns = [pa.array(np.where(missing, 0.0, bounds[:, i])) for i in range(4)]
    return pa.StructArray.from_arrays(columns, fields=fields, mask=pa.array(missing))


def _refresh(store: Store, key: str, data: bytes, existing: dict[str, ObjectInfo]) -> bool:
    """Write `data` unless it is there already; whether it was written."""
    info = existing.get(key)
    if info is not None and info.size == len(data):
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()  # S3's etag of a plain put, in quotes
        if info.etag == f'"{md5}"' or store.get(key) == data:
            return False
    store.replace(key, data)
    return True
