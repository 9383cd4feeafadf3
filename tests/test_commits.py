"""Commits: canonical bytes, races, kills, and what readers believe."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import commits as commits_module
from gridscribe.canonical import canonical_json, sha256
from gridscribe.commits import (
    Commit,
    ObjectRecord,
    commit_item,
    committed_items,
    put_objects,
    read_commit,
    read_commits,
)
from gridscribe.errors import LayoutError, MissingObjectError, StoreError
from gridscribe.layout import commit_key, commit_prefix, mask_key, with_digest
from gridscribe.store import Store, concurrently, open_store

PRODUCT = "0123456789abcdef"
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def example(item: str = "item-1", mask: bytes = b"mask") -> tuple[Commit, dict[str, bytes]]:
    key = mask_key(PRODUCT, item)
    record = ObjectRecord(key, len(mask), sha256(mask))
    images = ({"image": item, "window": [0, 0, 2, 2], "mask": key},)
    return Commit(PRODUCT, item, (record,), images, {"pixels": 4, "mean": 0.1}), {key: mask}


@settings(max_examples=50, deadline=None)
@given(PLAIN)
def test_canonical_json_reads_back(value: object) -> None:
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), PLAIN, min_size=2, max_size=6))
def test_canonical_json_does_not_depend_on_order(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical_json(turned) == canonical_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_canonical_json_has_no_nan(value: object) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(value)


def test_sha256_of_file_and_bytes_agree(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "f").write_bytes(data)
    assert sha256(tmp_path / "f") == sha256(data)
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_commit_reads_back_and_holds_no_clock(output_uri: str) -> None:
    store = open_store(output_uri)
    commit, objects = example()
    records = put_objects(store, objects)
    assert tuple(records) == commit.objects
    assert commit_item(store, commit) == (commit, True)
    assert read_commit(store, PRODUCT, "item-1") == commit
    assert store.get(commit_key(PRODUCT, "item-1")) == commit.to_bytes()
    time.sleep(0.01)
    assert example()[0].to_bytes() == commit.to_bytes()


def test_the_order_of_objects_does_not_change_the_bytes() -> None:
    records = [ObjectRecord(f"products/p/masks/{n}.tif", n, "0" * 64) for n in range(5)]
    forward, backward = (Commit("p", "i", tuple(order)) for order in (records, records[::-1]))
    assert forward.to_bytes() == backward.to_bytes()


def test_a_second_commit_gets_the_first(output_uri: str) -> None:
    store = open_store(output_uri)
    first, _ = example()
    second = Commit(PRODUCT, "item-1", (), (), {"pixels": 5})
    assert commit_item(store, first) == (first, True)
    assert commit_item(store, second) == (first, False)
    assert commit_item(store, first) == (first, False)
    assert list(read_commits(store, PRODUCT)) == [first]


def race(store: Store, items: int, together: int) -> None:
    """32 workers, each sure of its own result, work on all items; `together` of them begin at the same one."""
    barrier = threading.Barrier(32)
    lock = threading.Lock()
    won: Counter[str] = Counter()
    seen: dict[str, set[bytes]] = {}

    def work(worker: int) -> None:
        barrier.wait()
        for n in range(items):
            item = f"item-{(n + worker // together * 5) % items}"
            commit, objects = example(item, f"mask of {worker}".encode())
            (record,) = put_objects(store, objects)
            holds, ours = commit_item(store, Commit(PRODUCT, item, (record,), commit.images, commit.statistics))
            with lock:
                won[item] += ours
                seen.setdefault(item, set()).add(holds.to_bytes())

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))
    assert won == {f"item-{n}": 1 for n in range(items)}
    assert all(len(commits) == 1 for commits in seen.values()), "workers were told of different winners"
    commits = list(read_commits(store, PRODUCT))
    assert len(commits) == items
    for commit in commits:
        for record in commit.objects:  # whatever name won, the bytes are those that the commit promises
            data = store.get(record.key)
            assert (len(data), sha256(data)) == (record.size, record.sha256)


def test_racing_workers_agree_on_disk(tmp_path: Path) -> None:
    race(open_store(tmp_path), items=30, together=32)


def test_racing_workers_agree_on_s3(s3_uri: str) -> None:
    race(open_store(s3_uri), items=12, together=2)


def test_same_bytes_are_reused_and_other_bytes_get_a_name_of_their_own(output_uri: str, tmp_path: Path) -> None:
    store = open_store(output_uri)
    key = mask_key(PRODUCT, "a")
    (first,) = put_objects(store, {key: b"one"})
    assert first == ObjectRecord(key, 3, sha256(b"one"))
    assert put_objects(store, {key: b"one"}) == [first]
    (other,) = put_objects(store, {key: b"two"})
    assert other == ObjectRecord(with_digest(key, sha256(b"two")), 3, sha256(b"two"))
    assert put_objects(store, {key: b"two"}) == [other]
    (tmp_path / "f").write_bytes(b"three" * 100_000)
    (third,) = put_objects(store, {key: tmp_path / "f"})
    assert third.key == with_digest(key, sha256(tmp_path / "f"))
    assert {info.key for info in store.list()} == {first.key, other.key, third.key}
    assert store.get(key) == b"one"


def test_records_come_in_the_order_asked() -> None:
    store = open_store("memory://order")
    keys = [mask_key(PRODUCT, f"i{n}") for n in range(100)]
    assert [record.key for record in put_objects(store, {key: key.encode() for key in keys})] == keys


def test_a_digest_name_with_other_bytes_is_an_error() -> None:
    store = open_store("memory://tampered")
    key = mask_key(PRODUCT, "a")
    store.put(key, b"one")
    store.put(with_digest(key, sha256(b"two")), b"22")
    with pytest.raises(StoreError, match="changed from outside"):
        put_objects(store, {key: b"two"})


def test_an_old_object_is_renewed_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a collection under way, which saw it as old, could remove what is about to be committed."""
    store = open_store(tmp_path)
    key = mask_key(PRODUCT, "a")
    put_objects(store, {key: b"one"})
    before = store.head(key)
    time.sleep(0.02)
    put_objects(store, {key: b"one"})
    assert store.head(key) == before
    monkeypatch.setattr(commits_module, "REFRESH_AGE", timedelta(milliseconds=10))
    (record,) = put_objects(store, {key: b"one"})
    assert record.key == key
    assert store.head(key).last_modified > before.last_modified
    assert store.get(key) == b"one"


def test_reading_is_ordered_and_incremental(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for n in (3, 1, 2):
        commit_item(store, example(f"item-{n}")[0])
    assert [commit.item for commit in read_commits(store, PRODUCT)] == ["item-1", "item-2", "item-3"]
    assert [commit.item for commit in read_commits(store, PRODUCT, known={"item-2", "gone"})] == ["item-1", "item-3"]
    assert committed_items(store, PRODUCT) == {"item-1", "item-2", "item-3"}
    assert list(read_commits(store, "feedfeedfeedfeed")) == []
    with pytest.raises(MissingObjectError):
        read_commit(store, PRODUCT, "item-4")


def test_more_commits_than_a_page_of_a_listing(s3_uri: str) -> None:
    store = open_store(s3_uri)
    items = [f"item-{n:05d}" for n in range(1010)]  # S3 lists 1000 at a time

    def write(item: str) -> None:  # unconditionally, for that is quicker on this server
        store.replace(commit_key(PRODUCT, item), Commit(PRODUCT, item, ()).to_bytes())

    assert len(list(concurrently(write, items))) == len(items)
    assert [commit.item for commit in read_commits(store, PRODUCT)] == items


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema":1}',
        b'{"schema":1,"product":"p","item":"i","objects":[{}],"images":[],"statistics":{}}',
        b'{"schema":2,"product":"0123456789abcdef","item":"a","objects":[],"images":[],"statistics":{}}',
        b'{"schema":1,"product":"0123456789abcdef","item":"other","objects":[],"images":[],"statistics":{}}',
    ],
)
def test_a_damaged_or_misplaced_commit_is_named(data: bytes) -> None:
    store = open_store(f"memory://{sha256(data)[:8]}")
    store.put(commit_key(PRODUCT, "a"), data)
    with pytest.raises(LayoutError, match=f"{commit_prefix(PRODUCT)}/a.json"):
        list(read_commits(store, PRODUCT))


KILLED = """
import os, signal, sys
from gridscribe.commits import commit_item, put_objects
from gridscribe.store import open_store
sys.path.insert(0, sys.argv[2])
from test_commits import example
commit, objects = example()
put_objects(open_store(sys.argv[1]), objects)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_killed_before_its_commit_has_done_nothing(output_uri: str) -> None:
    code = subprocess.run([sys.executable, "-c", KILLED, output_uri, str(Path(__file__).parent)]).returncode
    assert code == -signal.SIGKILL
    store = open_store(output_uri)
    assert [info.key for info in store.list()] == [mask_key(PRODUCT, "item-1")]
    assert list(read_commits(store, PRODUCT)) == []
    commit, objects = example()
    assert commit_item(
        store, Commit(PRODUCT, "item-1", tuple(put_objects(store, objects)), commit.images, commit.statistics)
    )
    assert store.get(commit_key(PRODUCT, "item-1")) == commit.to_bytes()
    assert len(list(store.list())) == 2
