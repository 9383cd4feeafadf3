"""MGRS-200k (FarSLIP, arXiv 2511.14901): its JSON, read as it is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gridscribe.errors import InputError
from gridscribe.pipelines.alignment.annotated import AnnotatedImage, AnnotatedRegion

CAPTIONS = ("global_caption", "detailed_caption")
"""The first that is there is the image's caption, as in the authors' reader. `brief_caption` is not used by it."""


def read_mgrs(listing: Path, images: Path) -> list[AnnotatedImage]:
    """The items of `listing` (`text_info.json`), whose files lie below `images`; in its order.

    An item holds `global_filepath`, one of `CAPTIONS`, and `segment`, a list of `bbox` (x1, y1, x2, y2 in pixels of an image of
    W x H), `category` and perhaps `cap`. Files are looked for, not opened. Raises InputError, naming the item and the key, for
    anything that is missing, of another form, or outside its image or `images`.
    """
    try:
        items = json.loads(listing.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{listing}: cannot be read as JSON: {error}") from error
    if not isinstance(items, list) or not items:
        raise InputError(f"{listing}: holds a {type(items).__name__}; a list of items, one per image, is needed")
    return [_item(item, f"{listing}: item {number}", images) for number, item in enumerate(items)]


def _item(item: Any, where: str, images: Path) -> AnnotatedImage:
    name = _text(item, "global_filepath", where)
    path = (images / name).resolve()
    if not path.is_relative_to(images.resolve()):
        raise InputError(f"{where}: global_filepath={name!r} leads out of {images}")
    if not path.is_file():
        raise InputError(f"{where}: {path} is not there")
    caption = next((key for key in CAPTIONS if item.get(key)), None)
    if caption is None:
        raise InputError(f"{where}: has no caption; one of {', '.join(CAPTIONS)} is needed")
    segments = item.get("segment") or []
    if not isinstance(segments, list):
        raise InputError(f"{where}: segment is a {type(segments).__name__}; a list is needed")
    regions = tuple(_region(one, f"{where}: segment {number}") for number, one in enumerate(segments))
    return AnnotatedImage(path, regions, _text(item, caption, where))


def _region(segment: Any, where: str) -> AnnotatedRegion:
    category = _text(segment, "category", where)
    box = segment.get("bbox")
    try:
        x1, y1, x2, y2, width, height = (float(box[key]) for key in ("x1", "y1", "x2", "y2", "W", "H"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: bbox={box!r}: numbers x1, y1, x2, y2, W and H are needed") from error
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise InputError(f"{where}: bbox={box!r}: 0 <= x1 < x2 <= W and 0 <= y1 < y2 <= H must hold")
    caption = _text(segment, "cap", where) if segment.get("cap") else None
    return AnnotatedRegion((x1 / width, y1 / height, x2 / width, y2 / height), category, caption)


def _text(holder: Any, key: str, where: str) -> str:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key}={value!r}: a text is needed")
    return value.strip()
