"""The catalogue, read back by other programs, and rebuilt from commits alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import pystac
import pytest
import shapely
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from gridscribe import layout
from gridscribe.catalog import build_catalog, catalog_schema, images_of, read_catalog
from gridscribe.commits import Commit, commit_item, put_objects, read_commits
from gridscribe.errors import LayoutError, MissingObjectError
from gridscribe.footprint import footprint_wkb
from gridscribe.products import write_product
from gridscribe.stac import UNKNOWN_TIME
from gridscribe.store import Store, open_store
from gridscribe.tables import ImageRow, write_images
from gridscribe.values import Grid, Window

LYON = Grid(600, 400, (0.2, 0.0, 842_000.0, 0.0, -0.2, 6_519_000.0), "EPSG:2154")
FIJI = Grid(1000, 1000, (100.0, 0.0, 800_000.0, 0.0, -100.0, 100_000.0), "EPSG:32660")
PLAIN = Grid(50, 60)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
CLASSES = [
    {"id": 0, "name": "other", "color": [0, 0, 0]},
    {"id": 2, "name": "low vegetation", "color": [124, 252, 0]},
]


def product(**changes: Any) -> dict[str, Any]:
    model = {"role": "segmentation", "name": "timf-b0", "uri": "s3://models/timf-b0", "digest": "d" * 64}
    values = {"models": [model], "settings": {}, "engine": {"name": "torch"}, "schema": 1}
    return {**values, "versions": {"gridscribe": "0.1.0"}, "classes": CLASSES, **changes}


def add(
    store: Store,
    name: str,
    item: str,
    images: dict[str, Grid],
    box: Window | None = None,
    taken: datetime | None = None,
) -> None:
    """Commit one item: all of `images`, or `box` of the only one."""
    objects: dict[str, bytes | Path] = {}
    rows = []
    for image, grid in images.items():
        part = box or grid.window
        owner = item if box else None
        keys = {kind: layout.raster_key(name, image, kind, owner) for kind in layout.RASTER_KINDS}
        objects.update({key: key.encode() for key in keys.values()})
        rows.append(
            ImageRow(
                image=image,
                source=f"s3://in/tiles.tar!/{image}.tif",
                height=grid.height,
                width=grid.width,
                crs=grid.crs,
                transform=grid.transform,
                footprint=footprint_wkb(grid),
                datetime=taken,
                gsd=0.2,
                box_row=part.row,
                box_col=part.col,
                box_height=part.height,
                box_width=part.width,
                mask=keys["mask"],
                confidence=keys["confidence"],
                height_key=keys["height"],
            )
        )
    objects[layout.images_key(name, item)] = write_images(rows)
    commit_item(store, Commit(name, item, tuple(put_objects(store, objects))))


def fill(store: Store) -> str:
    name = write_product(store, product())
    add(store, name, "item-1", {"lyon-1": LYON, "plain-1": PLAIN}, taken=NOON)
    add(store, name, "item-2", {"fiji-1": FIJI})
    return name


def load(kind: Any, path: str) -> Any:
    """A STAC object as pystac reads it; Any, since nearly all of its fields may be None by type."""
    return kind.from_file(path)


def objects(store: Store, prefix: str = layout.CATALOG) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list(prefix)}


def test_stac_opens_without_us(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = fill(store)
    report = build_catalog(store)
    assert (report.products, report.images, report.items, report.removed) == (1, 3, 2, 0)
    collection = load(pystac.Collection, str(tmp_path / layout.COLLECTION))
    items = {item.properties["gridscribe:image"]: item for item in collection.get_items()}
    assert set(items) == {"lyon-1", "fiji-1"}
    for entry in (collection, *items.values()):
        JsonSchemaSTACValidator().validate_core(entry.to_dict(), entry.STAC_OBJECT_TYPE, "1.1.0")
    for item in items.values():
        assert item.get_root().id == item.get_parent().id == item.collection_id == collection.id
        for asset in ("mask", "confidence", "height"):
            href = item.assets[asset].get_absolute_href()
            assert href is not None
            assert Path(href).read_text() == layout.raster_key(name, item.properties["gridscribe:image"], asset)
        (described,) = item.get_links("describedby")
        assert Path(described.get_absolute_href()) == tmp_path / layout.product_key(name)
    assert Path(collection.assets["images"].get_absolute_href()) == tmp_path / layout.CATALOG_IMAGES


def test_items_say_what_is_known(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = fill(store)
    build_catalog(store)
    lyon = load(pystac.Item, str(tmp_path / layout.catalog_item_key(name, "lyon-1")))
    assert lyon.datetime == NOON
    assert shapely.geometry.shape(lyon.geometry).equals(shapely.from_wkb(footprint_wkb(LYON)))
    said = lyon.properties
    assert said["proj:code"] == "EPSG:2154"
    assert said["proj:shape"] == [600, 400]
    assert said["proj:transform"] == list(LYON.transform or ())
    assert said["gsd"] == 0.2
    assert said["processing:software"] == {"gridscribe": "0.1.0"}
    sources = [(link.href, link.extra_fields.get("mlm:name")) for link in lyon.get_links("derived_from")]
    assert sources == [("s3://in/tiles.tar", None), ("s3://models/timf-b0", "timf-b0")]
    mask = lyon.assets["mask"].to_dict()
    assert mask["bands"] == [{"name": "class", "data_type": "uint8", "nodata": 255}]
    assert mask["classification:classes"][1] == {
        "value": 2,
        "name": "low_vegetation",
        "title": "low vegetation",
        "color_hint": "7CFC00",
    }
    assert lyon.assets["height"].to_dict()["bands"][0]["unit"] == "m"


def test_an_unknown_time_is_said_to_be_unknown(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = write_product(store, product())
    add(store, name, "item-1", {"fiji-1": FIJI})
    build_catalog(store)
    item = load(pystac.Item, str(tmp_path / layout.catalog_item_key(name, "fiji-1")))
    assert item.datetime is None
    assert item.properties["gridscribe:datetime"] == "unknown"
    start, end = item.common_metadata.start_datetime, item.common_metadata.end_datetime
    assert (start, end) == UNKNOWN_TIME
    collection = load(pystac.Collection, str(tmp_path / layout.COLLECTION))
    assert collection.extent.temporal.intervals == [[None, None]]
    # across the antimeridian: two parts, and a box whose west is east of its east
    assert item.geometry["type"] == "MultiPolygon"
    assert item.bbox[0] > item.bbox[2]


def test_a_crs_without_a_code_is_given_as_wkt2(tmp_path: Path) -> None:
    from pyproj import CRS

    store = open_store(tmp_path)
    name = write_product(store, product())
    wkt = CRS("EPSG:2154").to_wkt("WKT1_GDAL")
    add(store, name, "item-1", {"lyon-1": Grid(600, 400, LYON.transform, wkt)})
    build_catalog(store)
    said = json.loads(store.get(layout.catalog_item_key(name, "lyon-1")))["properties"]
    assert said["proj:code"] is None
    assert said["proj:wkt2"].startswith("PROJCRS[")
    assert CRS(said["proj:wkt2"]) == CRS(wkt)


def test_the_index_opens_in_duckdb_and_geopandas(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = fill(store)
    build_catalog(store)
    file = str(tmp_path / layout.CATALOG_IMAGES)
    with duckdb.connect() as db:
        db.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        query = "SELECT product, item, image, mask FROM read_parquet(?) WHERE bbox.ymin > 40 ORDER BY image"
        assert db.execute(query, [file]).fetchall() == [(name, "item-1", "lyon-1", layout.mask_key(name, "lyon-1"))]
        assert db.execute("SELECT image FROM read_parquet(?) WHERE bbox IS NULL", [file]).fetchall() == [("plain-1",)]
    frame = geopandas.read_parquet(file)
    assert list(frame["image"]) == ["fiji-1", "lyon-1", "plain-1"]
    assert list(geopandas.read_parquet(file, bbox=(4, 45, 5, 46))["image"]) == ["lyon-1"]
    assert read_catalog(store).schema.equals(catalog_schema())
    assert "parent" not in catalog_schema().names  # of many tokens, and of no use here


def test_a_rebuild_writes_what_changed_and_nothing_else(output_uri: str) -> None:
    store = open_store(output_uri)
    name = fill(store)
    assert build_catalog(store).written == 4
    before = objects(store)
    times = {info.key: info.last_modified for info in store.list(layout.CATALOG)}
    assert build_catalog(store).written == 0
    assert {info.key: info.last_modified for info in store.list(layout.CATALOG)} == times
    add(store, name, "item-3", {"lyon-2": LYON}, taken=NOON)
    assert build_catalog(store).written == 3  # its item, the index, the collection
    after = objects(store)
    assert {key for key in before if after[key] != before[key]} == {layout.COLLECTION, layout.CATALOG_IMAGES}


def test_the_bytes_depend_on_the_commits_alone(tmp_path: Path) -> None:
    one, two = (open_store(tmp_path / name) for name in "ab")
    name = write_product(one, product())
    write_product(two, product())
    work = [("item-1", {"lyon-1": LYON}), ("item-2", {"fiji-1": FIJI}), ("item-3", {"plain-1": PLAIN})]
    for item, images in work:
        add(one, name, item, images)
    build_catalog(two)  # an earlier, empty one leaves no trace
    for item, images in reversed(work):
        add(two, name, item, images)
    build_catalog(one)
    build_catalog(two)
    assert objects(one) == objects(two)


def test_a_damaged_cache_is_rebuilt(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = fill(store)
    build_catalog(store)
    good = objects(store)
    store.replace(layout.CATALOG_IMAGES, b"not Parquet")
    store.replace(layout.COLLECTION, b"x" * len(good[layout.COLLECTION]))
    store.delete(layout.catalog_item_key(name, "lyon-1"))
    assert build_catalog(store).written == 3
    assert objects(store) == good


def test_products_stand_side_by_side_and_go_with_their_commits(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first = fill(store)
    second = write_product(store, product(schema=2))
    add(store, second, "item-1", {"lyon-1": LYON})
    report = build_catalog(store)
    assert (report.products, report.images, report.items) == (2, 4, 3)
    collection = load(pystac.Collection, str(tmp_path / layout.COLLECTION))
    assert {item.id for item in collection.get_items()} == {f"lyon-1_{first}", f"fiji-1_{first}", f"lyon-1_{second}"}
    for info in list(store.list(layout.product_prefix(second))):
        store.delete(info.key)
    report = build_catalog(store)
    assert (report.products, report.items, report.removed) == (1, 2, 1)
    assert not store.exists(layout.catalog_item_key(second, "lyon-1"))


def test_an_image_of_several_items_has_a_part_for_each_or_a_vrt(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = write_product(store, product())
    for item, row in (("top", 0), ("bottom", 512)):
        add(store, name, item, {"lyon-1": LYON}, Window(row, 0, min(512, 600 - row), 400))
    build_catalog(store)
    assets = load(pystac.Item, str(tmp_path / layout.catalog_item_key(name, "lyon-1"))).assets
    assert {key for key in assets if key.startswith("mask")} == {"mask-0-0", "mask-512-0"}
    assert assets["mask-512-0"].get_absolute_href() == str(tmp_path / layout.mask_key(name, "lyon-1", "bottom"))
    store.put(layout.vrt_key(name, "lyon-1"), b"<VRTDataset/>")
    build_catalog(store)
    assets = load(pystac.Item, str(tmp_path / layout.catalog_item_key(name, "lyon-1"))).assets
    assert assets["mask"].get_absolute_href() == str(tmp_path / layout.vrt_key(name, "lyon-1"))
    assert assets["mask"].media_type == "application/x-gdal-vrt+xml"
    assert [row["item"] for row in read_catalog(store).to_pylist()] == ["top", "bottom"]


def test_an_image_committed_twice_is_listed_once(tmp_path: Path) -> None:
    """Whole and in parts (another item size), and whole in two bundles: boxes inside others are left out."""
    store = open_store(tmp_path)
    name = write_product(store, product())
    add(store, name, "part", {"lyon-1": LYON}, Window(0, 0, 512, 400))
    add(store, name, "zz", {"lyon-1": LYON, "plain-1": PLAIN})
    add(store, name, "aa", {"plain-1": PLAIN})
    table = images_of(store, name, read_commits(store, name))
    assert [(row["image"], row["item"]) for row in table.to_pylist()] == [("lyon-1", "zz"), ("plain-1", "aa")]


def test_uncommitted_objects_are_not_believed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = fill(store)
    row = ImageRow(image="ghost", source="x", height=1, width=1, box_row=0, box_col=0, box_height=1, box_width=1)
    store.put(layout.images_key(name, "item-9"), write_images([row]))
    build_catalog(store)
    assert "ghost" not in read_catalog(store).column("image").to_pylist()


def test_an_empty_output_has_an_empty_catalogue(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(MissingObjectError):
        read_catalog(store)
    report = build_catalog(store)
    assert (report.products, report.images, report.items) == (0, 0, 0)
    assert len(read_catalog(store)) == 0
    collection = load(pystac.Collection, str(tmp_path / layout.COLLECTION))
    JsonSchemaSTACValidator().validate_core(collection.to_dict(), collection.STAC_OBJECT_TYPE, "1.1.0")


def test_a_commit_without_its_table_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    name = write_product(store, product())
    commit_item(store, Commit(name, "bare", ()))
    with pytest.raises(LayoutError, match="'bare' names 0 images tables"):
        build_catalog(store)


def test_progress_is_told(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store)
    told: list[tuple[int, int]] = []
    build_catalog(store, lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
