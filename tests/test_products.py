"""Products: what decides the id and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.canonical import canonical_json
from gridscribe.errors import LayoutError, QueryError
from gridscribe.layout import product_key
from gridscribe.products import list_products, only_product, product_id, read_product, write_product
from gridscribe.store import open_store


def product(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "models": [{"role": "segmentation", "name": "timf-b0", "uri": "/models/timf", "digest": "d" * 64}],
        "settings": {"window": 512, "stride": 384},
        "engine": {"name": "openvino", "device": "cpu", "precision": "bfloat16", "batch": 4},
        "schema": 1,
        "versions": {"gridscribe": "0.1.0"},
    }
    return {**values, **changes}


def test_where_a_model_lies_does_not_count() -> None:
    moved = [{"role": "segmentation", "name": "other", "uri": "s3://b/m", "digest": "d" * 64, "classes": 7}]
    assert product_id(product(models=moved)) == product_id(product())
    assert product_id(product(versions={"gridscribe": "9"}, classes=[1])) == product_id(product())
    assert len(product_id(product())) == 16


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["models", "settings", "engine", "schema"]), st.integers(2, 10**9))
def test_what_decides_pixels_counts(key: str, value: int) -> None:
    changed: Any = {
        "models": [{"role": "segmentation", "digest": str(value)}],
        "settings": {"window": 512, "stride": value},
        "engine": {"name": "torch", "threads": value},
        "schema": value,
    }[key]
    assert product_id(product(**{key: changed})) != product_id(product())


def test_the_role_and_the_order_of_models_count() -> None:
    one, two = ({"role": role, "digest": digest} for role, digest in (("a", "1"), ("b", "2")))
    ids = [product_id(product(models=models)) for models in ([one, two], [two, one], [one], [{**one, "role": "b"}])]
    assert len(set(ids)) == 4


def test_the_first_description_stays(output_uri: str) -> None:
    store = open_store(output_uri)
    name = write_product(store, product())
    assert write_product(store, product(versions={"gridscribe": "9"})) == name
    assert read_product(store, name) == {**product(), "product": name}
    other = write_product(store, product(schema=2))
    assert list_products(store) == sorted([name, other])


def test_the_only_product_is_found_or_the_choice_is_named() -> None:
    store = open_store("memory://only")
    with pytest.raises(QueryError, match="no product"):
        only_product(store)
    first = write_product(store, product())
    assert only_product(store) == first
    second = write_product(store, product(schema=2))
    with pytest.raises(QueryError, match="2 products") as caught:
        only_product(store)
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_a_changed_or_damaged_description_is_refused() -> None:
    store = open_store("memory://changed")
    name = product_id(product())
    store.put(product_key(name), canonical_json(product(schema=2)))
    with pytest.raises(LayoutError, match="changed after"):
        read_product(store, name)
    store.replace(product_key(name), b"{")
    with pytest.raises(LayoutError, match="damaged"):
        write_product(store, product())
    with pytest.raises(LayoutError, match="missing: engine"):
        product_id(json.loads('{"models":[],"settings":{},"schema":1}'))
    with pytest.raises(LayoutError, match="role and a digest"):
        product_id(product(models=[{"name": "x"}]))
