"""Reading the images of a product: from its commits, or from the catalogue as far as the commits bear it out.

`catalog/images.parquet` saves reading every commit and every item's table. Each of its rows names the item that it came
from. A query lists the commits that there are (a request per 1000), and believes the catalogue's rows of a product only
where every item that they name is still committed: an item's id is the digest of its images and boxes and its commit is
never overwritten, so a commit that is listed says what it said. Items that the catalogue does not know are read from
their commits; where one that it knows is gone, all are. A stale or missing catalogue costs time and never an answer.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from gridscribe.canonical import sha256
from gridscribe.client.alignment import ROLE, read_alignment
from gridscribe.client.index import ImageIndex, ProductInfo
from gridscribe.client.regions import load_regions
from gridscribe.commits import Commit, ObjectRecord, committed_items, read_commit
from gridscribe.errors import LayoutError, MissingObjectError
from gridscribe.layout import CATALOG_IMAGES, is_regions_item, parse_product_key
from gridscribe.products import read_product
from gridscribe.store import Store, concurrently
from gridscribe.tables import TOKEN_MAPS, as_images_table, images_schema, read_table

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


def load_index(store: Store, product: ProductInfo, items: set[str] | None = None) -> ImageIndex:
    """The index of one product. The commits of its regions are read when these are first asked for.

    `items`: those that are committed; None: they are listed.
    """
    items = committed_items(store, product.id) if items is None else items
    regions = {item for item in items if is_regions_item(item)}
    images = load_images(store, product.id, items - regions)
    return ImageIndex(product, images, partial(load_regions, store, product.id, regions))


def load_product(store: Store, product: str) -> ProductInfo | None:
    """What a query says of the product; None where the product has no classes, and so no masks. One request."""
    value = read_product(store, product)
    if not value.get("classes"):
        return None
    try:
        classes = {int(entry["id"]): str(entry["name"]) for entry in value["classes"]}
        models = [model for model in value["models"] if model["role"] != ROLE]  # that one decides no class
        model = "+".join(f"{model['name']}@{model['digest'][:12]}" for model in models)
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(f"product {product}: its classes or models are not understood ({error})") from error
    return ProductInfo(product, model, classes, read_alignment(value))


def load_images(store: Store, product: str, items: set[str]) -> pa.Table:
    """The rows of a product's committed `items`: `item`, and the columns of the images table but `TOKEN_MAPS`."""
    import pyarrow as pa

    cached = _catalogue(store, product)
    known = set(cached["item"].unique().to_pylist())
    if not known <= items:
        cached, known = cached.slice(0, 0), set()
    tables = concurrently(lambda item: _committed(store, product, item), sorted(items - known), workers=32)
    return pa.concat_tables([cached, *tables])


def _catalogue(store: Store, product: str) -> pa.Table:
    """The catalogue's rows of a product; none where there is no catalogue, or none that this program understands."""
    import pyarrow.compute as pc

    try:
        columns = ["product", *_schema().names]
        table = read_table(store.get(CATALOG_IMAGES), CATALOG_IMAGES, columns)
        return table.filter(pc.equal(table["product"], product)).select(columns[1:]).cast(_schema())
    except MissingObjectError:
        return _schema().empty_table()
    except (LayoutError, KeyError, ValueError) as error:  # pyarrow's errors are ValueError
        _log.warning("%s is not used, `gridscribe catalog` writes it anew: %s", store.uri_of(CATALOG_IMAGES), error)
        return _schema().empty_table()


def _committed(store: Store, product: str, item: str) -> pa.Table:
    """The rows of one item, from its commit and the table that the commit names."""
    import pyarrow as pa

    record = _table_of(read_commit(store, product, item))
    data = store.get(record.key)
    if sha256(data) != record.sha256:
        raise LayoutError(
            f"{store.uri_of(record.key)} is not what item {item} committed: {len(data)} bytes where {record.size} are "
            "expected, or changed"
        )
    table = as_images_table(read_table(data, record.key), record.key)
    table = table.add_column(0, "item", pa.repeat(pa.scalar(item), table.num_rows))
    return table.select(_schema().names).cast(_schema())


def _table_of(commit: Commit) -> ObjectRecord:
    found = [record for record in commit.objects if parse_product_key(record.key).room == "images"]
    if len(found) != 1:
        raise LayoutError(f"the commit of item {commit.item} names {len(found)} images tables, 1 expected")
    return found[0]


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [pa.field("item", pa.string(), nullable=False), *(f for f in images_schema() if f.name not in TOKEN_MAPS)]
    )
