"""Plans, failures and manifests under `jobs/`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from gridscribe import manifest as manifest_module
from gridscribe.errors import LayoutError, MissingObjectError
from gridscribe.layout import manifest_key, plan_key
from gridscribe.manifest import (
    inputs_schema,
    list_jobs,
    read_failures,
    read_manifest,
    read_manifest_inputs,
    read_plan,
    read_plan_items,
    write_failure,
    write_manifest,
    write_plan,
)
from gridscribe.store import open_store


def items(count: int, text: str = "work") -> pa.Table:
    return pa.table({"item": [f"item-{n:06d}" for n in range(count)], "work": [f"{text} {n}" for n in range(count)]})


def inputs(**states: str) -> pa.Table:
    rows = [
        {"source": source, "state": state, "image": f"{source}-1" if state == "done" else None, "reason": None}
        for source, state in states.items()
    ]
    return pa.Table.from_pylist([{**row, "item": None, "error": None} for row in rows], schema=inputs_schema())


def test_a_plan_reads_back(output_uri: str) -> None:
    store = open_store(output_uri)
    with pytest.raises(MissingObjectError):
        read_plan(store, "job")
    plan, ours = write_plan(store, "job", {"product": "p", "inputs": ["a.tar"]}, items(5))
    assert ours
    assert plan.items == 5
    assert read_plan(store, "job") == plan
    assert read_plan_items(store, plan).equals(items(5))
    assert list_jobs(store) == ["job"]


def test_the_first_plan_of_a_job_holds(output_uri: str) -> None:
    store = open_store(output_uri)
    first, _ = write_plan(store, "job", {"by": 1}, items(3))
    second, ours = write_plan(store, "job", {"by": 2}, items(4, "other"))
    assert not ours
    assert second == first
    assert read_plan_items(store, second).equals(items(3))


def test_racing_planners_agree(tmp_path: Any) -> None:
    store = open_store(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: write_plan(store, "job", {"by": n}, items(50, str(n))), range(8)))
    assert sum(ours for _, ours in results) == 1
    assert len({repr(plan) for plan, _ in results}) == 1
    plan = results[0][0]
    assert read_plan_items(store, plan).equals(items(50, str(plan.details["by"])))


def test_a_plan_of_many_chunks_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store("memory://chunks")
    monkeypatch.setattr(manifest_module, "CHUNK_BYTES", 4096)
    plan, _ = write_plan(store, "job", {}, items(5000))
    assert len(plan.tables) > 10
    assert read_plan_items(store, plan).equals(items(5000))


def test_an_empty_plan_is_a_plan() -> None:
    store = open_store("memory://empty")
    plan, _ = write_plan(store, "job", {}, items(0))
    assert read_plan_items(store, plan).equals(items(0))


def test_an_item_planned_twice_is_an_error() -> None:
    twice = pa.concat_tables([items(2), items(1)])
    with pytest.raises(LayoutError, match="names 1 items twice"):
        write_plan(open_store("memory://twice"), "job", {}, twice)


def test_a_changed_chunk_is_noticed() -> None:
    store = open_store("memory://chunk")
    plan, _ = write_plan(store, "job", {}, items(3))
    store.replace(plan.tables[0].key, b"other")
    with pytest.raises(LayoutError, match="changed after"):
        read_plan_items(store, plan)


def test_failures_are_kept_by_attempt(output_uri: str) -> None:
    store = open_store(output_uri)
    assert read_failures(store, "job") == {}
    assert write_failure(store, "job", "a", 1, {"error": "UnreadableError", "message": "cut short"}) == 1
    assert write_failure(store, "job", "a", 1, {"error": "UnreadableError", "message": "cut short"}) == 1
    assert write_failure(store, "job", "a", 1, {"error": "ItemTimeoutError", "message": "600 s"}) == 2
    for attempt in range(3, 12):
        assert write_failure(store, "job", "a", attempt, {"error": str(attempt)}) == attempt
    write_failure(store, "job", "b", 1, {"error": "b"})
    failures = read_failures(store, "job")
    assert [f["error"] for f in failures["a"]] == ["UnreadableError", "ItemTimeoutError", *map(str, range(3, 12))]
    assert list(failures) == ["a", "b"]


def test_no_failure_of_racing_workers_is_lost(tmp_path: Any) -> None:
    store = open_store(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        attempts = list(pool.map(lambda n: write_failure(store, "job", "a", 1, {"by": n}), range(32)))
    assert sorted(attempts) == list(range(1, 33))
    assert sorted(f["by"] for f in read_failures(store, "job")["a"]) == list(range(32))


def test_the_highest_manifest_holds(output_uri: str) -> None:
    store = open_store(output_uri)
    assert read_manifest(store, "job") is None
    for n in range(1, 12):  # past 9, where names and numbers order differently
        table = inputs(**{f"s{k}": "done" for k in range(n)}, broken="failed", text="skipped")
        manifest, written = write_manifest(store, "job", table, {"run": n})
        assert written
        assert manifest.number == n
        assert manifest.counts == {"done": n, "skipped": 1, "failed": 1}
    latest = read_manifest(store, "job")
    assert latest == manifest
    assert read_manifest_inputs(store, manifest).equals(table.sort_by("source"))


def test_a_manifest_that_says_the_same_is_not_written() -> None:
    store = open_store("memory://same")
    first, _ = write_manifest(store, "job", inputs(a="done", b="failed"), {"finished": "10:00"})
    keys = {info.key for info in store.list()}
    again, written = write_manifest(store, "job", inputs(b="failed", a="done"), {"finished": "11:00"})
    assert not written
    assert again == first
    assert {info.key for info in store.list()} == keys
    _, written = write_manifest(store, "job", inputs(a="done", b="done"), {})
    assert written


def test_racing_manifests_take_numbers_of_their_own(tmp_path: Any) -> None:
    store = open_store(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: write_manifest(store, "job", inputs(**{f"s{n}": "done"}), {})[0], range(8)))
    assert sorted(manifest.number for manifest in made) == list(range(1, 9))
    latest = read_manifest(store, "job")
    assert latest == max(made, key=lambda manifest: manifest.number)


def test_inputs_are_accounted_for_once_and_in_known_states() -> None:
    store = open_store("memory://states")
    with pytest.raises(LayoutError, match="twice"):
        write_manifest(store, "job", pa.concat_tables([inputs(a="done"), inputs(a="failed")]), {})
    _, written = write_manifest(
        open_store("memory://named-twice"), "job", pa.concat_tables([inputs(a="done"), inputs(a="skipped")]), {}
    )
    assert written
    with pytest.raises(LayoutError, match=r"\['lost'\]: allowed are done, skipped, failed"):
        write_manifest(store, "job", inputs(a="lost"), {})
    assert list(store.list()) == []


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema":1}', b'{"schema":7}'])
def test_damaged_records_are_named(data: bytes) -> None:
    store = open_store(f"memory://damaged-{len(data)}-{data[-2:].hex()}")
    store.put(plan_key("job"), data)
    store.put(manifest_key("job", 1), data)
    with pytest.raises(LayoutError, match=r"jobs/job/plan.json"):
        read_plan(store, "job")
    with pytest.raises(LayoutError, match=r"jobs/job/manifest.1.json"):
        read_manifest(store, "job")
