"""Names of objects: made, read back, refused."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import layout
from gridscribe.errors import LayoutError

IDS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=60).filter(lambda s: s[0] not in "-_")
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)

KEYS = {
    layout.commit_key: ("commits", "", "json"),
    layout.images_key: ("images", "", "parquet"),
    layout.tokens_key: ("tokens", "", "parquet"),
    layout.latents_key: ("tokens", "latents", "parquet"),
    layout.thumbnails_key: ("tokens", "thumbnails", "parquet"),
    layout.regions_key: ("regions", "", "parquet"),
    layout.region_raster_key: ("regions", "regions", "tif"),
    layout.mask_key: ("masks", "", "tif"),
    layout.confidence_key: ("masks", "confidence", "tif"),
    layout.height_key: ("masks", "height", "tif"),
    layout.vrt_key: ("masks", "", "vrt"),
}


def test_names_are_those_of_the_design() -> None:
    assert layout.product_key("p") == "products/p/product.json"
    assert layout.commit_key("p", "i") == "products/p/commits/i.json"
    assert layout.images_key("p", "i") == "products/p/images/i.parquet"
    assert layout.mask_key("p", "a") == "products/p/masks/a.tif"
    assert layout.confidence_key("p", "a") == "products/p/masks/a.confidence.tif"
    assert layout.height_key("p", "a", "i") == "products/p/masks/a/i.height.tif"
    assert layout.vrt_key("p", "a", "height") == "products/p/masks/a.height.vrt"
    assert layout.region_raster_key("p", "a") == "products/p/regions/a.regions.tif"
    assert layout.plan_key("j") == "jobs/j/plan.json"
    assert layout.plan_chunk_key("j", 3) == "jobs/j/plan-00003.parquet"
    assert layout.failure_key("j", "i", 2) == "jobs/j/failed/i.2.json"
    assert layout.manifest_key("j", 1) == "jobs/j/manifest.1.json"
    assert layout.with_digest("a/b.confidence.tif", "f" * 64) == f"a/b.confidence.{'f' * 16}.tif"


@settings(max_examples=40, deadline=None)
@given(product=IDS, name=IDS, digest=DIGESTS)
def test_every_product_key_reads_back(product: str, name: str, digest: str) -> None:
    for make, (room, kind, extension) in KEYS.items():
        key = make(product, name)
        assert layout.parse_product_key(key) == layout.ProductKey(product, room, name, None, kind, None, extension)
        renamed = layout.parse_product_key(layout.with_digest(key, digest))
        assert renamed == layout.ProductKey(product, room, name, None, kind, digest[:16], extension)
    assert len({make(product, name) for make in KEYS}) == len(KEYS)


@settings(max_examples=40, deadline=None)
@given(product=IDS, image=IDS, item=IDS, kind=st.sampled_from(layout.RASTER_KINDS))
def test_parts_of_an_image_read_back(product: str, image: str, item: str, kind: str) -> None:
    parsed = layout.parse_product_key(layout.raster_key(product, image, kind, item))
    assert (parsed.product, parsed.room, parsed.folder, parsed.id) == (product, "masks", image, item)
    assert parsed.kind == ("" if kind == "mask" else kind)


@settings(max_examples=40, deadline=None)
@given(job=IDS, item=IDS, attempt=st.integers(1, 10**6))
def test_job_keys_read_back(job: str, item: str, attempt: int) -> None:
    assert layout.parse_failure_key(layout.failure_key(job, item, attempt)) == (job, item, attempt)
    assert layout.parse_manifest_key(layout.manifest_key(job, attempt)) == (job, attempt)
    assert layout.parse_manifest_key(layout.plan_key(job)) is None
    assert layout.parse_manifest_key(layout.manifest_table_key(job, "0" * 64)) is None
    assert layout.parse_commit_key(layout.commit_key(job, item)) == (job, item)


@pytest.mark.parametrize(
    "bad", ["", "a/b", "..", "a.b", "-a", "_a", "ä", "a b", "a#1", "a\n", "x" * (layout.MAX_ID + 1), "a%2f"]
)
def test_an_id_that_could_escape_is_refused(bad: str) -> None:
    for make in (layout.product_key, layout.plan_key):
        with pytest.raises(LayoutError, match="allowed are"):
            make(bad)
    for make_two in KEYS:
        with pytest.raises(LayoutError):
            make_two("p", bad)
    with pytest.raises(LayoutError):
        layout.mask_key("p", "a", bad)


def test_the_longest_name_fits_a_file_system() -> None:
    longest = layout.with_digest(layout.confidence_key("p", "x" * layout.MAX_ID), "f" * 64).rpartition("/")[2]
    assert len(longest) + len("#999") <= 255


@pytest.mark.parametrize(
    "key",
    [
        "products/p",
        "products/p/other/a.tif",
        "products/p/masks/a",
        "products/p/masks/../a.tif",
        "products/p/masks/a/b/c.tif",
        "products/p/commits/a/b.json",
        "products/p/masks/a.tif#1",
        "jobs/j/plan.json",
        "catalog/collection.json",
        "products/../masks/a.tif",
    ],
)
def test_a_foreign_key_is_no_product_key(key: str) -> None:
    with pytest.raises(LayoutError):
        layout.parse_product_key(key)


@pytest.mark.parametrize("key", ["products/p/commits/a.b.json", "products/p/commits/a.tif", "products/p/images/a.json"])
def test_only_commits_are_commits(key: str) -> None:
    with pytest.raises(LayoutError):
        layout.parse_commit_key(key)


@pytest.mark.parametrize("key", ["jobs/j/failed/a.0.json", "jobs/j/failed/a.json", "jobs/j/failed/a.1.json.bak"])
def test_only_failures_are_failures(key: str) -> None:
    with pytest.raises(LayoutError):
        layout.parse_failure_key(key)
