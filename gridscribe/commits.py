"""Commits: what makes an item's objects part of a product.

Objects are put first, under create-only names; then one small JSON names them, put with create-if-absent. Whoever loses
that race keeps the winner's objects and goes on. Readers believe commits and nothing else: an object that no commit
names does not exist for them. A commit holds no time, host or attempt, so the same work gives the same bytes
wherever and whenever it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gridscribe.canonical import canonical_json, sha256
from gridscribe.errors import AlreadyExistsError, LayoutError, StoreError
from gridscribe.layout import commit_key, commit_prefix, parse_commit_key, with_digest
from gridscribe.store import Store, concurrently

SCHEMA = 1
"""Version of a commit's JSON."""

REFRESH_AGE = timedelta(hours=12)
"""An existing object older than this is written again, with the same bytes, before a new commit may name it: `gc` takes
uncommitted objects older than its grace period (a day), and must not take one that is about to be committed."""


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One committed object: its key, its size in bytes and the lower-case hex SHA-256 of its bytes."""

    key: str
    size: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"key": self.key, "size": self.size, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Commit:
    """What one item wrote under one product."""

    product: str
    item: str
    objects: tuple[ObjectRecord, ...]
    images: tuple[dict[str, Any], ...] = ()
    """A dict per image: `image`, `window` ([row, col, height, width]), keys `mask`, `confidence`, `height` ..."""
    statistics: dict[str, Any] = field(default_factory=dict)
    regions: tuple[dict[str, Any], ...] = ()
    """Of an item of regions, which has no `images`: a dict per image, `image`, `window` and the raster's key `regions`."""

    def to_bytes(self) -> bytes:
        """Canonical JSON; equal commits have equal bytes."""
        value = {
            "schema": SCHEMA,
            "product": self.product,
            "item": self.item,
            "objects": [record.to_json() for record in sorted(self.objects, key=lambda record: record.key)],
            "images": list(self.images),
            "statistics": self.statistics,
        }
        return canonical_json({**value, "regions": list(self.regions)} if self.regions else value)

    @classmethod
    def from_bytes(cls, data: bytes, key: str) -> Commit:
        """Read the commit stored at `key`; `LayoutError` where it is damaged, of another version or another item."""
        try:
            value = json.loads(data)
            schema, product, item = value["schema"], value["product"], value["item"]
            objects = tuple(ObjectRecord(o["key"], o["size"], o["sha256"]) for o in value["objects"])
            images, statistics = tuple(value["images"]), value["statistics"]
            regions = tuple(value.get("regions", ()))
        except (ValueError, KeyError, TypeError) as error:
            raise LayoutError(
                f"{key} is damaged ({len(data)} bytes, {type(error).__name__}: {error}): remove it and run the job "
                "again, which computes that item anew"
            ) from error
        if schema != SCHEMA:
            raise LayoutError(f"{key} has commit schema {schema}, this program reads {SCHEMA}: update gridscribe")
        if (product, item) != parse_commit_key(key):
            raise LayoutError(f"{key} is the commit of item {item!r} of product {product!r}: it was moved or copied")
        return cls(product, item, objects, images, statistics, regions)


def put_objects(store: Store, objects: Mapping[str, bytes | Path]) -> list[ObjectRecord]:
    """Create all of `objects` and say, in their order, what to name in the commit.

    Where a key holds the same bytes already (a killed run's, a racing worker's, or this put's own after a lost
    answer) that object is used. Where it holds other bytes, the object is created under the key with 16 hex of its
    digest before the suffix, and the record says so. Several puts travel at once.
    """
    return list(concurrently(lambda pair: _put_object(store, *pair), objects.items(), workers=8))


def _put_object(store: Store, key: str, data: bytes | Path) -> ObjectRecord:
    digest = sha256(data)
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    for name in (key, with_digest(key, digest)):
        try:
            store.put(name, data)
        except AlreadyExistsError:
            if not _holds(store, name, size, digest):
                continue
            if datetime.now(UTC) - store.head(name).last_modified > REFRESH_AGE:
                store.replace(name, data)
        return ObjectRecord(name, size, digest)
    raise StoreError(
        f"{store.uri_of(with_digest(key, digest))} holds bytes that are not those of its name: it was changed from "
        "outside; remove it and run again"
    )


def _holds(store: Store, key: str, size: int, digest: str) -> bool:
    if store.head(key).size != size:
        return False
    found = hashlib.sha256()
    for piece in store.get_pieces(key):
        found.update(piece)
    return found.hexdigest() == digest


def commit_item(store: Store, commit: Commit) -> tuple[Commit, bool]:
    """Commit, and say (the commit that holds, whether this call made it).

    Of all calls for one product and item, on any number of machines, exactly one makes it; the others get the winner's.
    After an answer lost on the way the maker may be told that it lost; the commit that it gets is then its own,
    byte for byte.
    """
    key = commit_key(commit.product, commit.item)
    data = commit.to_bytes()
    try:
        store.put(key, data)
    except AlreadyExistsError:
        return read_commit(store, commit.product, commit.item), False
    return Commit.from_bytes(data, key), True


def read_commit(store: Store, product: str, item: str) -> Commit:
    """The commit of one item; `MissingObjectError` where it is not committed, `LayoutError` where it is damaged."""
    key = commit_key(product, item)
    return Commit.from_bytes(store.get(key), key)


def committed_items(store: Store, product: str) -> set[str]:
    """Ids of all committed items, from one listing: a request per 1000 on object storage, and no commit is read."""
    return {parse_commit_key(info.key)[1] for info in store.list(commit_prefix(product))}


def read_commits(store: Store, product: str, known: Collection[str] = (), workers: int = 32) -> Iterator[Commit]:
    """All commits of a product in order of item id, except the items in `known`.

    Costs one listing (a request per 1000 commits) and one get per commit that is not known, `workers` at once; a
    caller that keeps what it has read and passes it as `known` pays for the listing and the new ones alone. (A
    listing cannot start at the new ones: item ids are not in order of time.)
    """
    items = sorted(committed_items(store, product).difference(known))
    return concurrently(lambda item: read_commit(store, product, item), items, workers)
