"""The second half of an image of several items: VRTs that join its parts, once all of them are committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from gridscribe import layout
from gridscribe.commits import Commit
from gridscribe.errors import AlreadyExistsError
from gridscribe.models.package import ClassInfo
from gridscribe.pipelines.cog import KINDS, MASK
from gridscribe.pipelines.vrt import write_vrt
from gridscribe.store import Store
from gridscribe.values import Grid, Window


def write_vrts(
    store: Store, product: str, grids: dict[str, Grid], commits: Iterable[Commit], classes: Sequence[ClassInfo]
) -> int:
    """Write `<image>.vrt`, `<image>.confidence.vrt` and `<image>.height.vrt` of every image in `grids`; returns how many changed.

    `grids` holds the images whose parts are all committed. A VRT is a view of commits and holds no pixel; when more parts
    of an image are committed later (another area of interest), it is replaced by one that joins them too.
    """
    parts: dict[str, dict[Window, dict[str, str]]] = defaultdict(dict)
    for commit in commits:
        for entry in commit.images:
            if entry["image"] in grids:
                parts[entry["image"]].setdefault(Window(*entry["window"]), entry)
    changed = 0
    for image, boxes in sorted(parts.items()):
        for name, kind in KINDS.items():
            key = layout.vrt_key(product, image, name)
            folder = PurePosixPath(key).parent
            paths = [(str(PurePosixPath(keys[name]).relative_to(folder)), box) for box, keys in boxes.items()]
            data = write_vrt(kind, grids[image], paths, classes if kind is MASK else ())
            changed += _put_view(store, key, data)
    return changed


def _put_view(store: Store, key: str, data: bytes) -> bool:
    try:
        store.put(key, data)
    except AlreadyExistsError:
        if store.get(key) == data:
            return False
        store.replace(key, data)
    return True
