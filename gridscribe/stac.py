"""STAC of georeferenced results: a collection, and an item per image (STAC 1.1; pystac writes it).

**Time.** STAC wants either a datetime or an interval. An image that states no time gets `datetime: null` with an
interval so wide that it says nothing (`UNKNOWN_TIME`), and `gridscribe:datetime: "unknown"`; never the time of
processing. The collection's interval covers the known times, and is open at both ends where there are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gridscribe.canonical import canonical_json
from gridscribe.footprint import lonlat_bbox
from gridscribe.layout import catalog_item_key, product_key

if TYPE_CHECKING:
    from pystac import Asset
    from shapely import MultiPolygon, Polygon

COLLECTION_ID = "gridscribe"
UNKNOWN_TIME = (datetime(1700, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
"""Before any aerial image and after any planned one; within what nanosecond timestamps can hold."""

EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v2.0.0", "classification/v2.0.0", "processing/v1.2.0")
]
_TO_ROOT = "../../../"  # from catalog/items/<product>/<image>.json to the output URI
_BANDS: dict[str, dict[str, Any]] = {
    "mask": {"name": "class", "data_type": "uint8", "nodata": 255},
    "confidence": {"name": "confidence", "data_type": "uint8", "nodata": 255, "raster:scale": 1 / 254},
    "height": {"name": "height", "data_type": "int16", "nodata": -32768, "unit": "m", "raster:scale": 0.01},
}
_TITLES = {
    "mask": "Class of each pixel",
    "confidence": "Probability of that class",
    "height": "Height above ground that the model saw",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One raster of an image: its kind, its key, and where it begins (row, col) if it is not the whole image."""

    kind: str
    key: str
    origin: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Scene:
    """A georeferenced image of one product, as far as STAC describes it."""

    product: str
    image: str
    source: str
    shape: tuple[int, int]
    crs: str
    transform: tuple[float, ...]
    geometry: Polygon | MultiPolygon
    datetime: datetime | None
    gsd: float | None
    parts: tuple[Part, ...]

    @property
    def key(self) -> str:
        """Where its item JSON stands."""
        return catalog_item_key(self.product, self.image)


def item_json(scene: Scene, product: dict[str, Any]) -> bytes:
    """The STAC item of one image; `product` is the product's description. Canonical JSON, links and assets relative."""
    import pystac
    import shapely.geometry

    start, end = (None, None) if scene.datetime else UNKNOWN_TIME
    properties: dict[str, Any] = {
        **_projection(scene.crs),
        "proj:shape": list(scene.shape),
        "proj:transform": list(scene.transform),
        "processing:level": "L4",
        "gridscribe:product": scene.product,
        "gridscribe:image": scene.image,
    }
    if product.get("versions"):
        properties["processing:software"] = product["versions"]
    if scene.gsd is not None:
        properties["gsd"] = scene.gsd
    if scene.datetime is None:
        properties["gridscribe:datetime"] = "unknown"
    item = pystac.Item(
        id=f"{scene.image}_{scene.product}",
        geometry=shapely.geometry.mapping(scene.geometry),
        bbox=list(lonlat_bbox(scene.geometry)),
        datetime=scene.datetime,
        start_datetime=start,
        end_datetime=end,
        properties=properties,
        stac_extensions=EXTENSIONS,
        collection=COLLECTION_ID,
    )
    for part in scene.parts:
        name = part.kind if part.origin is None else f"{part.kind}-{part.origin[0]}-{part.origin[1]}"
        item.add_asset(name, _asset(part, product.get("classes") or []))
    for rel in (pystac.RelType.ROOT, pystac.RelType.PARENT, pystac.RelType.COLLECTION):
        item.add_link(pystac.Link(rel, "../../collection.json", pystac.MediaType.JSON))
    item.add_link(pystac.Link("derived_from", scene.source.split("!/")[0], title=scene.source))
    for model in product["models"]:
        extra = {"mlm:name": model.get("name", model["digest"]), "processing:level": "L4"}
        target = model.get("uri", _TO_ROOT + product_key(scene.product))
        item.add_link(pystac.Link("derived_from", target, title=f"model: {model['role']}", extra_fields=extra))
    described = _TO_ROOT + product_key(scene.product)
    item.add_link(pystac.Link("describedby", described, pystac.MediaType.JSON, title="product"))
    return canonical_json(item.to_dict(include_self_link=False, transform_hrefs=False))


def collection_json(
    scenes: Iterable[tuple[str, str]], boxes: Sequence[Sequence[float]], times: Sequence[datetime], images_key: str
) -> bytes:
    """The STAC collection over items given as (key, image).

    `boxes` are the bounding boxes of all footprints, `times` the known times, `images_key` the index of all images.
    """
    import pystac

    west, south, east, north = -180.0, -90.0, 180.0, 90.0
    if boxes:
        west, south = (min(box[i] for box in boxes) for i in (0, 1))
        east, north = (max(box[i] for box in boxes) for i in (2, 3))
    interval: list[datetime | None] = [min(times), max(times)] if times else [None, None]
    extent = pystac.Extent(pystac.SpatialExtent([[west, south, east, north]]), pystac.TemporalExtent([interval]))
    collection = pystac.Collection(
        id=COLLECTION_ID,
        title="gridscribe results",
        description="Class masks, confidence and height of georeferenced images. A cache: commits are what holds.",
        extent=extent,
        license="other",
    )
    collection.add_asset(
        "images",
        pystac.Asset(
            images_key.rpartition("/")[2],
            title="Index of all images, georeferenced or not",
            media_type="application/vnd.apache.parquet",
            roles=["metadata"],
        ),
    )
    for key, image in scenes:
        href = "./" + key.removeprefix("catalog/")
        collection.add_link(pystac.Link(pystac.RelType.ITEM, href, pystac.MediaType.GEOJSON, title=image))
    return canonical_json(collection.to_dict(include_self_link=False, transform_hrefs=False))


def _asset(part: Part, classes: list[dict[str, Any]]) -> Asset:
    import pystac

    is_vrt = part.key.endswith(".vrt")
    extra: dict[str, Any] = {"bands": [_BANDS[part.kind]]}
    if part.kind == "mask":
        extra["classification:classes"] = [
            {
                "value": entry["id"],
                "name": re.sub(r"[^0-9A-Za-z_-]+", "_", entry["name"]),
                "title": entry["name"],
                "color_hint": "{:02X}{:02X}{:02X}".format(*entry["color"]),
            }
            for entry in classes
        ]
    return pystac.Asset(
        _TO_ROOT + part.key,
        title=_TITLES[part.kind],
        media_type="application/x-gdal-vrt+xml" if is_vrt else pystac.MediaType.COG,
        roles=["data"],
        extra_fields=extra,
    )


@lru_cache(maxsize=64)
def _projection(crs: str) -> dict[str, Any]:
    """`proj:code` where the CRS is "AUTHORITY:code", else that as null with `proj:wkt2`."""
    if re.fullmatch(r"[A-Za-z]+:[0-9A-Za-z]+", crs):
        return {"proj:code": crs}
    from pyproj import CRS

    return {"proj:code": None, "proj:wkt2": CRS.from_user_input(crs).to_wkt("WKT2_2019")}
