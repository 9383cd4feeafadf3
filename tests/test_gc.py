"""Collection of what no commit names: what goes, what stays, and when."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from gridscribe import commits as commits_module
from gridscribe import gc as gc_module
from gridscribe import layout
from gridscribe.commits import Commit, commit_item, put_objects
from gridscribe.errors import LayoutError
from gridscribe.gc import GRACE, collect_garbage
from gridscribe.store import ObjectInfo, Store, open_store

P, Q = "a" * 16, "b" * 16


def fill(store: Store) -> tuple[set[str], set[str]]:
    """(keys that must stay, keys that no commit names)."""
    stay = {
        layout.product_key(P): b"{}",
        layout.mask_key(P, "kept"): b"mask",
        layout.images_key(P, "item-1"): b"table",
        layout.vrt_key(P, "kept"): b"vrt of a committed image",
        layout.product_key(Q): b"{}",
        layout.plan_key("job"): b"{}",
        layout.failure_key("job", "lost", 1): b"{}",
        layout.COLLECTION: b"{}",
        "products/notes.txt": b"someone else's",
        f"products/{P}/masks/read me.txt": b"someone else's",
        f"products/{P}/other/x.tif": b"someone else's",
    }
    go = {
        layout.mask_key(P, "lost"): b"12345",
        layout.confidence_key(P, "lost", "item-2"): b"1",
        layout.vrt_key(P, "lost"): b"12",
        layout.with_digest(layout.mask_key(P, "kept"), "c" * 64): b"of a lost race",
        layout.tokens_key(P, "item-1"): b"123",
        layout.mask_key(Q, "kept"): b"the same name under another product",
    }
    records = put_objects(store, {**stay, **go})
    named = [r for r in records if r.key in (layout.mask_key(P, "kept"), layout.images_key(P, "item-1"))]
    commit_item(store, Commit(P, "item-1", tuple(named), ({"image": "kept", "window": [0, 0, 1, 1]},)))
    return {*stay, layout.commit_key(P, "item-1")}, set(go)


def age(store: Store, keys: set[str], by: timedelta = timedelta(days=2)) -> None:
    for key in keys:
        then = time.time() - by.total_seconds()
        os.utime(Path(store.uri) / key, (then, then))


def keys(store: Store) -> set[str]:
    return {info.key for info in store.list()}


def test_what_no_commit_names_goes_and_all_else_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    stay, go = fill(store)
    age(store, stay | go)
    planned = collect_garbage(store, dry_run=True)
    assert planned.dry_run
    assert keys(store) == stay | go
    done = collect_garbage(store)
    assert [info.key for info in done.removed] == [info.key for info in planned.removed] == sorted(go)
    assert keys(store) == stay
    assert done.bytes == planned.bytes == sum(info.size for info in done.removed) > 0
    assert done.kept == 3
    assert done.young == 0
    assert done.foreign == ("products/" + P + "/masks/read me.txt", f"products/{P}/other/x.tif", "products/notes.txt")
    again = collect_garbage(store)
    assert again.removed == ()
    assert again.bytes == 0


def test_young_objects_stay(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    stay, go = fill(store)
    old = {layout.mask_key(P, "lost")}
    age(store, old)
    age(store, {layout.vrt_key(P, "lost")}, GRACE - timedelta(minutes=1))
    found = collect_garbage(store)
    assert {info.key for info in found.removed} == old
    assert found.young == len(go) - 1
    assert keys(store) == stay | go - old


def test_on_s3(s3_uri: str) -> None:
    store = open_store(s3_uri)
    stay, go = fill(store)
    assert collect_garbage(store).removed == ()
    time.sleep(1.1)  # S3 tells times in whole seconds
    assert {info.key for info in collect_garbage(store, timedelta(0)).removed} == go
    assert keys(store) == stay


def test_nothing_goes_while_a_commit_cannot_be_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    stay, go = fill(store)
    store.put(layout.commit_key(Q, "item-9"), b"")
    age(store, stay | go)
    with pytest.raises(LayoutError, match="item-9"):
        collect_garbage(store)
    assert keys(store) == stay | go | {layout.commit_key(Q, "item-9")}


def test_files_of_killed_puts_go(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    stay, go = fill(store)
    for name in ("products/x.tif#1", "jobs/job/plan.json#2", "products/young.tif#1", "mine#1", "products/mine#a"):
        (tmp_path / name).write_bytes(b"part")
    age(store, {"products/x.tif#1", "jobs/job/plan.json#2", "mine#1", "products/mine#a"})
    found = collect_garbage(store, dry_run=True)
    assert [info.key for info in found.leftovers] == ["jobs/job/plan.json#2", "products/x.tif#1"]
    assert (tmp_path / "products/x.tif#1").exists()
    assert collect_garbage(store).bytes == 8
    assert not (tmp_path / "products/x.tif#1").exists()
    assert (tmp_path / "products/young.tif#1").exists()
    assert (tmp_path / "mine#1").exists()
    assert keys(store) == stay | go | {"products/mine#a"}


def test_a_resumed_job_and_a_collection_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job resumed after days finds its old objects, while a collection has already listed them as old."""
    store = open_store(tmp_path)
    key = layout.mask_key(P, "late")
    put_objects(store, {key: b"mask"})
    age(store, {key})
    remove = gc_module._remove

    def meet(store: Store, info: ObjectInfo, limit: object) -> ObjectInfo | None:
        commit_item(store, Commit(P, "late", tuple(put_objects(store, {key: b"mask"}))))
        return remove(store, info, limit)  # type: ignore[arg-type]

    monkeypatch.setattr(gc_module, "_remove", meet)
    assert collect_garbage(store).removed == ()
    assert store.get(key) == b"mask"
    assert commits_module.REFRESH_AGE * 2 <= GRACE


def test_an_empty_output_has_no_garbage(tmp_path: Path) -> None:
    found = collect_garbage(open_store(tmp_path / "none"))
    assert (found.removed, found.leftovers, found.kept, found.foreign) == ((), (), 0, ())
    assert not (tmp_path / "none").exists()
