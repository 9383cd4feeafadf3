"""STAC items as inputs: which assets are RGB and height, and when the image was taken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from gridscribe.errors import InputError, RefusedError, UnpairedError, UsageError
from gridscribe.ingest.remote import scheme_of
from gridscribe.ingest.times import iso

STAC_SUFFIXES = (".json", ".geojson")
_WORDS = {
    "rgb": ("rgb", "visual", "image"),
    "height": ("height", "ndsm", "chm", "agl"),
    "dsm": ("dsm",),
    "dtm": ("dtm",),
}


@dataclass(frozen=True, slots=True)
class StacImage:
    """One item: URIs of its assets by role ("rgb", "height", "dsm", "dtm"), or why it gives no image."""

    name: str
    """Document and item id, for messages."""
    path: str
    """Collection and id: what its image is called."""
    hrefs: dict[str, str]
    datetime: str | None
    problem: InputError | None = None
    lost_height: str | None = None
    """What it says of height that gives none; the RGB asset may still hold it."""


def read_items(name: str, base: str, data: bytes) -> Iterator[StacImage]:
    """The items of a STAC document: an item, or a collection of items (a GeoJSON FeatureCollection, an API's answer).

    Assets are chosen by key, then role, then title: `rgb | visual | image`, and `height | ndsm | chm | agl` or `dsm` with
    `dtm`. `base`: the URI that relative links start from. Raises UsageError where it is no such document.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{name}: not JSON: {exc}") from exc
    kind = document.get("type") if isinstance(document, dict) else None
    if kind in ("Catalog", "Collection"):
        raise UsageError(f"{name}: a STAC {kind}: name its items, or a collection of items (FeatureCollection)")
    features = document.get("features") if kind == "FeatureCollection" else [document]
    if kind not in ("Feature", "FeatureCollection") or not isinstance(features, list):
        raise UsageError(f"{name}: neither a STAC item nor a collection of items")
    for index, feature in enumerate(features):
        yield _item(name, base, feature, index)


def _item(name: str, base: str, feature: Any, index: int) -> StacImage:
    item = feature if isinstance(feature, dict) else {}
    identifier = str(item.get("id") or f"item-{index}")
    label = f"{name}#{identifier}"
    path = "/".join(part for part in (str(item.get("collection") or ""), identifier) if part)
    stated = item.get("properties")
    properties: dict[str, Any] = stated if isinstance(stated, dict) else {}
    time = properties.get("datetime") or properties.get("start_datetime")
    assets = item.get("assets")
    if not isinstance(assets, dict) or not assets:
        return StacImage(label, path, {}, None, UnpairedError(f"{label}: an item without assets"))
    try:
        hrefs = {role: _resolve(label, base, href) for role in _WORDS if (href := _choose(assets, role)) is not None}
    except InputError as exc:
        return StacImage(label, path, {}, None, exc)
    lost = None
    if "height" in hrefs:
        hrefs = {role: href for role, href in hrefs.items() if role in ("rgb", "height")}
    elif not ("dsm" in hrefs and "dtm" in hrefs):
        lost = _lost_height(assets, hrefs)
        hrefs = {role: href for role, href in hrefs.items() if role == "rgb"}
    if "rgb" not in hrefs:
        keys = ", ".join(sorted(map(str, assets))[:12])
        problem = UnpairedError(f"{label}: no asset is RGB (key, role or title rgb, visual or image): has {keys}")
        return StacImage(label, path, {}, None, problem)
    return StacImage(label, path, hrefs, iso(str(time)) if time else None, lost_height=lost)


def _lost_height(assets: dict[str, Any], hrefs: dict[str, str]) -> str | None:
    """What keeps an item that names a height in part from having one; None where it names none at all."""
    for role, other in (("dsm", "dtm"), ("dtm", "dsm")):
        if role in hrefs:
            return f"the {role} asset alone does not give height above ground: add a {other} asset, or an ndsm"
    named = {key: asset if isinstance(asset, dict) else {} for key, asset in assets.items()}
    for role in ("height", "dsm", "dtm"):
        if _match(named, role) is not None:
            return f"the {role} asset has no href"
    return None


def _choose(assets: dict[str, Any], role: str) -> str | None:
    """The href of the asset for `role`."""
    usable = {key: a for key, a in assets.items() if isinstance(a, dict) and isinstance(a.get("href"), str)}
    found = _match(usable, role)
    return None if found is None else str(found["href"])


def _match(assets: dict[str, dict[str, Any]], role: str) -> dict[str, Any] | None:
    """The asset for `role`: the best match of key, then roles, then title, in the order of the words."""
    words = _WORDS[role]
    by_key = {key.casefold(): a for key, a in assets.items()}
    for word in words:
        if word in by_key:
            return by_key[word]
    for word in words:
        for asset in assets.values():
            if word in (str(r).casefold() for r in asset.get("roles") or ()):
                return asset
    for word in words:
        for asset in assets.values():
            if re.search(rf"\b{word}\b", str(asset.get("title") or ""), re.IGNORECASE):
                return asset
    return None


def _resolve(label: str, base: str, href: str) -> str:
    """An asset's URI. A document from elsewhere may not point at local files."""
    local_base = scheme_of(base) == "file"
    try:
        scheme = scheme_of(href)
    except UsageError as exc:
        raise RefusedError(f"{label}: {exc}") from exc
    if scheme != "file":
        return href
    if href.startswith(("file://", "/")):
        if not local_base:
            raise RefusedError(f"{label}: names the local file {href}, and the document is not local")
        return unquote(urlsplit(href).path) if href.startswith("file://") else href
    if local_base:
        return str(PurePosixPath(base).parent / unquote(href))
    if scheme_of(base) in ("http", "https"):
        return urljoin(base, href)
    # urljoin knows no s3://; borrow http's rules
    scheme, rest = base.split("://", 1)
    return scheme + urljoin(f"http://{rest}", href).removeprefix("http")
