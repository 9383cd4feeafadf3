"""Remove what no commit names: objects of killed workers and of lost races.

Only objects under `products/` that are older than a grace period go, so that what a running job has put and not yet
committed stays (and `put_objects` renews an old object before a new commit may name it). Commits, product
descriptions, jobs and the catalogue are never touched, nor is anything whose name gridscribe would not write.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gridscribe.commits import read_commits
from gridscribe.errors import LayoutError, MissingObjectError
from gridscribe.layout import CATALOG, JOBS, PRODUCTS, ProductKey, parse_product_key
from gridscribe.store import ObjectInfo, Store, concurrently

GRACE = timedelta(days=1)
"""Default age below which an object that no commit names is left alone; it must exceed the longest time from an
item's first put to its commit, and twice `commits.REFRESH_AGE` keeps it safe for resumed jobs too."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What a collection found."""

    removed: tuple[ObjectInfo, ...]
    """Objects that no commit names (in a dry run: that would have been removed), sorted by key."""
    leftovers: tuple[ObjectInfo, ...]
    """Files of killed puts in a local folder, removed likewise."""
    young: int
    """Objects that no commit names yet and that are younger than the grace period."""
    kept: int
    """Objects that commits name."""
    foreign: tuple[str, ...]
    """Keys under `products/` that gridscribe does not write; left alone."""
    dry_run: bool

    @property
    def bytes(self) -> int:
        """Bytes of `removed` and `leftovers`."""
        return sum(info.size for info in (*self.removed, *self.leftovers))


def collect_garbage(store: Store, grace: timedelta = GRACE, *, dry_run: bool = False) -> Garbage:
    """Remove objects under `products/` that no commit names and that are older than `grace`.

    Safe while jobs run, as long as `grace` is a day or more; with a shorter one, only while nothing writes. A
    commit that cannot be read raises `LayoutError` before anything is removed. Costs a listing, a get per commit,
    two requests per removal.
    """
    limit = datetime.now(UTC) - grace
    # listed before commits are read: what is put and committed in between is younger than the grace period anyway
    found: dict[str, list[tuple[ObjectInfo, ProductKey]]] = defaultdict(list)
    foreign: list[str] = []
    for info in store.list(PRODUCTS):
        try:
            parsed = parse_product_key(info.key)
        except LayoutError:
            foreign.append(info.key)
            continue
        if parsed.room not in ("", "commits"):
            found[parsed.product].append((info, parsed))
    parts = (info for room in (CATALOG, JOBS, PRODUCTS) for info in store.leftovers(room))
    leftovers = sorted((info for info in parts if info.last_modified < limit), key=lambda info: info.key)
    unnamed = [info for product, objects in found.items() for info in _unnamed(store, product, objects)]
    old = sorted((info for info in unnamed if info.last_modified < limit), key=lambda info: info.key)
    removed = old
    if not dry_run:
        removed = [info for info in concurrently(lambda info: _remove(store, info, limit), old) if info is not None]
        for info in leftovers:
            store.delete_leftover(info)
    return Garbage(
        removed=tuple(removed),
        leftovers=tuple(leftovers),
        young=len(unnamed) - len(old),
        kept=sum(map(len, found.values())) - len(unnamed),
        foreign=tuple(sorted(foreign)),
        dry_run=dry_run,
    )


def _unnamed(store: Store, product: str, objects: list[tuple[ObjectInfo, ProductKey]]) -> list[ObjectInfo]:
    """The product's objects that none of its commits names. A VRT counts as named where a commit holds its image."""
    named: set[str] = set()
    images: set[str] = set()
    for commit in read_commits(store, product):
        named.update(record.key for record in commit.objects)
        images.update(image["image"] for image in commit.images)
    return [
        info
        for info, parsed in objects
        if info.key not in named and not (parsed.extension == "vrt" and parsed.id in images)
    ]


def _remove(store: Store, info: ObjectInfo, limit: datetime) -> ObjectInfo | None:
    """Remove one object unless it was renewed since it was listed; None where it is kept or gone."""
    try:
        if store.head(info.key).last_modified >= limit:
            return None
    except MissingObjectError:
        return None
    store.delete(info.key)
    return info
