"""Products: everything that decides the pixels of a result, and the id that is its digest.

A product is plain data with the keys

- `models`: a list of `{"role", "digest", "name", "uri", ...}`, one per network (`role` says what for:
"segmentation" ...); - `settings`: what the pipeline was told (windows, overlap, input scaling ...); - `engine`: the
resolved engine (name, device, precision, batch, window, threads); - `schema`: the version of the objects' layout,
an integer;

which decide the id, and any others (`versions`, `classes` ...), which inform. Of a model only role and digest
count: the same weights under another name or URI give the same pixels.
"""

from __future__ import annotations

import json
from typing import Any

from gridscribe.canonical import canonical_json, sha256
from gridscribe.errors import AlreadyExistsError, LayoutError, QueryError
from gridscribe.layout import PRODUCTS, product_key
from gridscribe.store import Store

_DECIDING = ("models", "settings", "engine", "schema")


def product_id(product: dict[str, Any]) -> str:
    """The first 16 hex of the SHA-256 of what decides the pixels. `LayoutError` where one of its keys is missing."""
    missing = [key for key in _DECIDING if key not in product]
    if missing:
        raise LayoutError(f"a product needs {', '.join(_DECIDING)}; missing: {', '.join(missing)}")
    try:
        models = [{"role": model["role"], "digest": model["digest"]} for model in product["models"]]
    except (KeyError, TypeError) as error:
        raise LayoutError(f"each of a product's models needs a role and a digest: {product['models']!r}") from error
    deciding = {"models": models, **{key: product[key] for key in _DECIDING[1:]}}
    return sha256(canonical_json(deciding))[:16]


def write_product(store: Store, product: dict[str, Any]) -> str:
    """Create `product.json` where it is not there, and return the product's id.

    The one that is there stays, also where it differs in what does not count. Raises `LayoutError` where it was
    damaged.
    """
    product_name = product_id(product)
    try:
        store.put(product_key(product_name), canonical_json({**product, "product": product_name}))
    except AlreadyExistsError:
        read_product(store, product_name)
    return product_name


def read_product(store: Store, product: str) -> dict[str, Any]:
    """The product's description with its id under `product`; `LayoutError` where it does not have the id of its key."""
    key = product_key(product)
    try:
        value = json.loads(store.get(key))
        found = product_id(value)
    except (ValueError, TypeError) as error:
        raise LayoutError(f"{store.uri_of(key)} is damaged: {error}; remove it and run the job again") from error
    if found != product:
        raise LayoutError(f"{store.uri_of(key)} describes product {found}: it was changed after it was written")
    return {**value, "product": product}


def list_products(store: Store) -> list[str]:
    """Ids of all products, sorted; one request."""
    return store.folders(PRODUCTS)


def only_product(store: Store) -> str:
    """The id of the only product; `QueryError` where there is none, or more than one, naming them."""
    products = list_products(store)
    if len(products) == 1:
        return products[0]
    if not products:
        raise QueryError(f"{store.uri} holds no product: run a job with this output first")
    raise QueryError(f"{store.uri} holds {len(products)} products, choose one: {', '.join(products)}")
