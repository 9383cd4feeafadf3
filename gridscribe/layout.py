"""Every name under an output URI: keys made from ids, and ids read back from keys.

Keys are relative to the output URI and use `/`. Ids (of products, jobs, items and images) are letters, digits, `-`
and `_`: no dot, so that the suffixes of a name can always be told from the id, and nothing that a URI, a shell or a
file system gives another meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gridscribe.errors import LayoutError

MAX_ID = 180  # a file name is at most 255 bytes; the longest suffix is ".confidence.<16 hex>.tif" plus a temporary mark
ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_ID - 1}}}")

PRODUCTS = "products"
JOBS = "jobs"
CATALOG = "catalog"
COLLECTION = f"{CATALOG}/collection.json"
CATALOG_IMAGES = f"{CATALOG}/images.parquet"

RASTER_KINDS = ("mask", "confidence", "height")
REGIONS_ITEM = "regions-"
"""What ids of items of regions begin with, so that a listing tells their commits from those of masks."""

_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)((?:\.[A-Za-z0-9-]+)*)\.([a-z0-9]+)")
_DIGEST = re.compile(r"[0-9a-f]{16}")


def check_id(value: str, what: str = "id") -> str:
    """`value` if it can stand in a key, else `LayoutError` saying what is allowed."""
    if not ID.fullmatch(value):
        raise LayoutError(
            f"{what} {value!r} cannot be part of an object's name: allowed are 1 to {MAX_ID} of A-Z a-z 0-9 _ -, "
            "beginning with a letter or digit"
        )
    return value


def product_prefix(product: str) -> str:
    """`products/<product>`: everything that the product wrote."""
    return f"{PRODUCTS}/{check_id(product, 'product')}"


def product_key(product: str) -> str:
    """`products/<product>/product.json`."""
    return f"{product_prefix(product)}/product.json"


def commit_prefix(product: str) -> str:
    """`products/<product>/commits`."""
    return f"{product_prefix(product)}/commits"


def commit_key(product: str, item: str) -> str:
    """`products/<product>/commits/<item>.json`."""
    return f"{commit_prefix(product)}/{check_id(item, 'item')}.json"


def images_key(product: str, item: str) -> str:
    """`products/<product>/images/<item>.parquet`."""
    return f"{product_prefix(product)}/images/{check_id(item, 'item')}.parquet"


def tokens_key(product: str, item: str) -> str:
    """`products/<product>/tokens/<item>.parquet`."""
    return f"{product_prefix(product)}/tokens/{check_id(item, 'item')}.parquet"


def windows_key(product: str, item: str) -> str:
    """`products/<product>/tokens/<item>.windows.parquet`: the class vectors of the windows that tokens come from."""
    return f"{product_prefix(product)}/tokens/{check_id(item, 'item')}.windows.parquet"


def thumbnails_key(product: str, item: str) -> str:
    """`products/<product>/tokens/<item>.thumbnails.parquet`: the tokens of whole pages in one crop, on grids of their own."""
    return f"{product_prefix(product)}/tokens/{check_id(item, 'item')}.thumbnails.parquet"


def latents_key(product: str, item: str) -> str:
    """`products/<product>/tokens/<item>.latents.parquet`: adaptive latents of the crops of pages, which have no grid."""
    return f"{product_prefix(product)}/tokens/{check_id(item, 'item')}.latents.parquet"


def concepts_key(product: str) -> str:
    """`products/<product>/concepts.parquet`: the concept bank that labels of regions are taken from."""
    return f"{product_prefix(product)}/concepts.parquet"


def regions_key(product: str, item: str) -> str:
    """`products/<product>/regions/<item>.parquet`."""
    return f"{product_prefix(product)}/regions/{check_id(item, 'item')}.parquet"


def region_raster_key(product: str, image: str, item: str | None = None) -> str:
    """`products/<product>/regions/<image>.regions.tif`: the region at each pixel.

    With `item`, of a box of the image (an area of interest): `regions/<image>/<item>.regions.tif`.
    """
    stem = f"{product_prefix(product)}/regions/{check_id(image, 'image')}"
    if item is not None:
        stem = f"{stem}/{check_id(item, 'item')}"
    return f"{stem}.regions.tif"


def is_regions_item(item: str) -> bool:
    """Whether an item's id is that of regions; ids of masks are hex digits alone."""
    return item.startswith(REGIONS_ITEM)


def raster_key(product: str, image: str, kind: str = "mask", item: str | None = None) -> str:
    """Key of one raster: `masks/<image>.tif`, `masks/<image>.confidence.tif` or `masks/<image>.height.tif`.

    With `item`, the part of an image that several items share: `masks/<image>/<item>.tif` and so on.
    """
    stem = f"{product_prefix(product)}/masks/{check_id(image, 'image')}"
    if item is not None:
        stem = f"{stem}/{check_id(item, 'item')}"
    return f"{stem}{_kind_suffix(kind)}.tif"


def mask_key(product: str, image: str, item: str | None = None) -> str:
    """Key of the class raster; see `raster_key`."""
    return raster_key(product, image, "mask", item)


def confidence_key(product: str, image: str, item: str | None = None) -> str:
    """Key of the confidence raster; see `raster_key`."""
    return raster_key(product, image, "confidence", item)


def height_key(product: str, image: str, item: str | None = None) -> str:
    """Key of the height raster; see `raster_key`."""
    return raster_key(product, image, "height", item)


def vrt_key(product: str, image: str, kind: str = "mask") -> str:
    """`masks/<image>.vrt`, `masks/<image>.confidence.vrt` ...: the parts of an image of several items as one raster."""
    return f"{product_prefix(product)}/masks/{check_id(image, 'image')}{_kind_suffix(kind)}.vrt"


def page_key(product: str, name: str) -> str:
    """`products/<product>/pages/<name>`; `name` is an id with suffixes, such as `report-1a2b3c4d_0007.tif`."""
    if not _NAME.fullmatch(name):
        raise LayoutError(f"page object {name!r} cannot be an object's name: an id and suffixes are allowed")
    return f"{product_prefix(product)}/pages/{name}"


def page_image(document: str, page: int) -> str:
    """`<document>_0007`: what a page of a document, counted from 0, is called where images are."""
    return f"{document}_{page:04d}"


def job_prefix(job: str) -> str:
    """`jobs/<job>`."""
    return f"{JOBS}/{check_id(job, 'job')}"


def plan_key(job: str) -> str:
    """`jobs/<job>/plan.json`, put last: a job without it was never planned."""
    return f"{job_prefix(job)}/plan.json"


def plan_chunk_key(job: str, index: int) -> str:
    """`jobs/<job>/plan-00000.parquet`: a chunk of the planned items."""
    return f"{job_prefix(job)}/plan-{index:05d}.parquet"


def failed_prefix(job: str) -> str:
    """`jobs/<job>/failed`."""
    return f"{job_prefix(job)}/failed"


def failure_key(job: str, item: str, attempt: int) -> str:
    """`jobs/<job>/failed/<item>.<attempt>.json`, attempts counted from 1."""
    return f"{failed_prefix(job)}/{check_id(item, 'item')}.{attempt}.json"


def manifest_key(job: str, number: int) -> str:
    """`jobs/<job>/manifest.<n>.json`, counted from 1; the highest holds."""
    return f"{job_prefix(job)}/manifest.{number}.json"


def manifest_table_key(job: str, digest: str) -> str:
    """`jobs/<job>/manifest-<16 hex of its SHA-256>.parquet`: what became of every input."""
    return f"{job_prefix(job)}/manifest-{digest[:16]}.parquet"


def catalog_item_key(product: str, image: str) -> str:
    """`catalog/items/<product>/<image>.json`: the STAC item of a georeferenced image."""
    return f"{CATALOG}/items/{check_id(product, 'product')}/{check_id(image, 'image')}.json"


def with_digest(key: str, sha256: str) -> str:
    """`key` with 16 hex of `sha256` before its last suffix: the name used where `key` holds other bytes."""
    stem, dot, suffix = key.rpartition(".")
    return f"{stem}.{sha256[:16]}{dot}{suffix}"


@dataclass(frozen=True, slots=True)
class ProductKey:
    """A key under `products/` taken apart."""

    product: str
    room: str
    """"commits", "images", "masks", "regions", "tokens", "pages", or "" for `product.json` and `concepts.parquet`."""
    id: str
    """The item's or image's id (first part of the file name); "product" for `product.json`, "concepts" likewise."""
    folder: str | None
    """The image's id where the object is a part of an image (`masks/<image>/<item>.tif`; `regions/` likewise)."""
    kind: str
    """The suffixes between id and extension without digest: "", "confidence", "height", "regions", "windows", "latents" ..."""
    digest: str | None
    """16 hex where the object's own name was taken by other bytes."""
    extension: str


def parse_product_key(key: str) -> ProductKey:
    """Take apart a key under `products/`; `LayoutError` where it is not one that gridscribe writes."""
    parts = key.split("/")
    if len(parts) not in (3, 4, 5) or parts[0] != PRODUCTS or not ID.fullmatch(parts[1]):
        raise LayoutError(f"{key!r} is not a product's object: expected products/<product>/...")
    rooms = {3: ("",), 4: ("commits", "images", "masks", "regions", "tokens", "pages"), 5: ("masks", "regions")}[
        len(parts)
    ]
    room = parts[2] if len(parts) > 3 else ""
    folder = parts[3] if len(parts) == 5 else None
    match = _NAME.fullmatch(parts[-1])
    if match is None or room not in rooms or (folder is not None and not ID.fullmatch(folder)):
        raise LayoutError(f"{key!r} is not a name that gridscribe writes under products/{parts[1]}")
    name, middle, extension = match.groups()
    kinds = middle.split(".")[1:]
    digest = kinds.pop() if kinds and _DIGEST.fullmatch(kinds[-1]) else None
    return ProductKey(parts[1], room, name, folder, ".".join(kinds), digest, extension)


def parse_commit_key(key: str) -> tuple[str, str]:
    """(product, item) of a commit's key; `LayoutError` for any other."""
    parsed = parse_product_key(key)
    if parsed.room != "commits" or parsed.kind or parsed.digest or parsed.extension != "json":
        raise LayoutError(f"{key!r} is not a commit: expected products/<product>/commits/<item>.json")
    return parsed.product, parsed.id


def parse_failure_key(key: str) -> tuple[str, str, int]:
    """(job, item, attempt) of a failure's key; `LayoutError` for any other."""
    match = re.fullmatch(r"jobs/([^/]+)/failed/([^/.]+)\.([1-9][0-9]*)\.json", key)
    if match is None:
        raise LayoutError(f"{key!r} is not a failure record: expected jobs/<job>/failed/<item>.<attempt>.json")
    return match[1], match[2], int(match[3])


def parse_manifest_key(key: str) -> tuple[str, int] | None:
    """(job, n) of `jobs/<job>/manifest.<n>.json`, or None for any other key."""
    match = re.fullmatch(r"jobs/([^/]+)/manifest\.([1-9][0-9]*)\.json", key)
    return (match[1], int(match[2])) if match else None


def _kind_suffix(kind: str) -> str:
    if kind not in RASTER_KINDS:
        raise LayoutError(f"raster kind {kind!r} is unknown: allowed are {', '.join(RASTER_KINDS)}")
    return "" if kind == "mask" else f".{kind}"
