"""What stands under `jobs/<job>/`: the plan, the failures, and the manifest of what became of every input.

Unlike commits these may hold times, hosts and attempts. All are created once: a second planner of the same job gets
the first one's plan, a failure takes the next free attempt, a manifest the next free number, and the highest number
holds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from gridscribe import layout
from gridscribe.canonical import canonical_json, sha256
from gridscribe.commits import ObjectRecord, put_objects
from gridscribe.errors import AlreadyExistsError, LayoutError
from gridscribe.store import Store, concurrently
from gridscribe.tables import read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 1
"""Version of the JSON written here."""

CHUNK_BYTES = 32 << 20
"""Bytes of a table's rows in memory that go into one Parquet object."""

STATES = ("done", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned job. `details` is the planner's own plain data: inputs, product, options."""

    job: str
    details: dict[str, Any]
    items: int
    """Number of items."""
    tables: tuple[ObjectRecord, ...]
    """The Parquet objects that hold the items, in order."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What became of the inputs of a job, as of its `number`-th manifest."""

    job: str
    number: int
    counts: dict[str, int]
    """Inputs by state: "done", "skipped", "failed"."""
    tables: tuple[ObjectRecord, ...]
    """The Parquet objects that hold a row per input, in order."""
    details: dict[str, Any] = field(default_factory=dict)
    """Plain data of the run that wrote it: times, hosts, settings."""


@cache
def inputs_schema() -> pa.Schema:
    """Columns of a manifest's table: one row per input.

    `source` as shown to people; `state` one of "done", "skipped", "failed"; for done ones `image` (its id) and
    `item` (under which it was committed); for the others `reason` (a sentence) and `error` (class name or kind).
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("source", pa.string(), nullable=False),
            pa.field("state", pa.string(), nullable=False),
            pa.field("image", pa.string()),
            pa.field("item", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("error", pa.string()),
        ]
    )


def list_jobs(store: Store) -> list[str]:
    """Ids of all jobs that have anything under `jobs/`, sorted; one request. Not all need have been planned to the
    end."""
    return store.folders(layout.JOBS)


def write_plan(store: Store, job: str, details: dict[str, Any], items: pa.Table) -> tuple[Plan, bool]:
    """Write a plan, and say (the plan that holds, whether this call made it).

    `items` is a table with a column `item` of unique ids, and whatever a worker needs besides; it goes into Parquet
    objects of about `CHUNK_BYTES`, and `plan.json` comes last: a job without it is not planned. The first plan of a
    job holds.
    """
    ids = items.column("item").to_pylist()
    if len(set(ids)) != len(ids):
        raise LayoutError(f"the plan of job {job!r} names {len(ids) - len(set(ids))} items twice")
    if store.exists(layout.plan_key(job)):
        return read_plan(store, job), False
    chunks = {layout.plan_chunk_key(job, n): data for n, data in enumerate(_chunks(items))}
    plan = Plan(job, details, len(ids), tuple(put_objects(store, chunks)))
    value = {"schema": SCHEMA, "job": job, "items": plan.items, "details": details, "tables": _to_json(plan.tables)}
    try:
        store.put(layout.plan_key(job), canonical_json(value))
    except AlreadyExistsError:
        return read_plan(store, job), False
    return plan, True


def read_plan(store: Store, job: str) -> Plan:
    """The plan of a job, without its items; `MissingObjectError` where the job is not planned."""
    key = layout.plan_key(job)
    value = _read_json(store, key)
    try:
        return Plan(job, value["details"], value["items"], _from_json(value["tables"]))
    except (KeyError, TypeError) as error:
        raise LayoutError(f"{store.uri_of(key)} is no plan of this version: {error}") from error


def read_plan_items(store: Store, plan: Plan) -> pa.Table:
    """The items of a plan, in the planner's order."""
    return _read_tables(store, plan.tables)


def write_failure(store: Store, job: str, item: str, attempt: int, failure: dict[str, Any]) -> int:
    """Record one failed attempt at an item, and return its number: `attempt`, or the next that is free.

    `failure` is plain data: `error` (class name), `message`, `source` ... A record of the very same bytes is not
    written twice.
    """
    while True:
        key = layout.failure_key(job, item, attempt)
        data = canonical_json({"schema": SCHEMA, "job": job, "item": item, "attempt": attempt, "failure": failure})
        try:
            store.put(key, data)
        except AlreadyExistsError:
            if store.get(key) != data:
                attempt += 1
                continue
        return attempt


def read_failures(store: Store, job: str) -> dict[str, list[dict[str, Any]]]:
    """Per item, what its attempts failed with, in order of attempt. One listing and a get per failure."""
    keys = [info.key for info in store.list(layout.failed_prefix(job))]
    ordered = sorted(keys, key=layout.parse_failure_key)
    failures: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, value in zip(ordered, concurrently(lambda key: _read_json(store, key), ordered), strict=True):
        failures[layout.parse_failure_key(key)[1]].append(value["failure"])
    return dict(failures)


def write_manifest(store: Store, job: str, inputs: pa.Table, details: dict[str, Any]) -> tuple[Manifest, bool]:
    """Write what became of every input, and say (the manifest that holds, whether one was written).

    `inputs` has the columns of `inputs_schema`. Where the latest manifest says the same of every input, it holds
    and nothing is written. `details` (times, hosts) are not compared. Raises `LayoutError` for an unknown state or
    an input named twice.
    """
    inputs = (
        inputs.select(inputs_schema().names)
        .cast(inputs_schema())
        .sort_by([("source", "ascending"), ("state", "ascending"), ("reason", "ascending")])
    )
    counts = _count(job, inputs)
    chunks = {layout.manifest_table_key(job, sha256(data)): data for data in _chunks(inputs)}
    latest = read_manifest(store, job)
    if latest and [record.sha256 for record in latest.tables] == [sha256(data) for data in chunks.values()]:
        return latest, False
    tables = tuple(put_objects(store, chunks))
    number = latest.number + 1 if latest else 1
    while True:
        manifest = Manifest(job, number, counts, tables, details)
        value = {"schema": SCHEMA, "job": job, "counts": counts, "details": details, "tables": _to_json(tables)}
        try:
            store.put(layout.manifest_key(job, number), canonical_json(value))
        except AlreadyExistsError:
            number += 1  # another driver of the same job was faster
            continue
        return manifest, True


def read_manifest(store: Store, job: str) -> Manifest | None:
    """The manifest with the highest number, without its table; None where the job has none yet. One listing and a
    get."""
    keys = (layout.parse_manifest_key(info.key) for info in store.list(layout.job_prefix(job)))
    number = max((found[1] for found in keys if found), default=None)
    if number is None:
        return None
    key = layout.manifest_key(job, number)
    value = _read_json(store, key)
    try:
        return Manifest(job, number, value["counts"], _from_json(value["tables"]), value["details"])
    except (KeyError, TypeError) as error:
        raise LayoutError(f"{store.uri_of(key)} is no manifest of this version: {error}") from error


def read_manifest_inputs(store: Store, manifest: Manifest) -> pa.Table:
    """The row of every input, by source."""
    return _read_tables(store, manifest.tables)


def _count(job: str, inputs: pa.Table) -> dict[str, int]:
    import pyarrow.compute as pc

    worked_on = inputs.filter(pc.not_equal(inputs.column("state"), "skipped")).column("source")
    if len(worked_on) != pc.count_distinct(worked_on).as_py():
        raise LayoutError(f"the manifest of job {job!r} names an input twice: each is done or failed, and once")
    found = {entry["values"]: entry["counts"] for entry in pc.value_counts(inputs.column("state")).to_pylist()}
    unknown = sorted(set(found) - set(STATES))
    if unknown:
        raise LayoutError(f"the manifest of job {job!r} has inputs in state {unknown}: allowed are {', '.join(STATES)}")
    return {state: found.get(state, 0) for state in STATES}


def _chunks(table: pa.Table) -> list[bytes]:
    """The table as Parquet objects of about `CHUNK_BYTES` of rows each, at least one."""
    rows = max(1, len(table) * CHUNK_BYTES // max(1, table.nbytes))
    return [write_table(table.slice(start, rows)) for start in range(0, max(1, len(table)), rows)]


def _read_tables(store: Store, tables: tuple[ObjectRecord, ...]) -> pa.Table:
    import pyarrow as pa

    def read(record: ObjectRecord) -> pa.Table:
        data = store.get(record.key)
        if sha256(data) != record.sha256:
            raise LayoutError(f"{store.uri_of(record.key)} was changed after it was written")
        return read_table(data, record.key)

    return pa.concat_tables(concurrently(read, tables, workers=8))


def _read_json(store: Store, key: str) -> dict[str, Any]:
    try:
        value = json.loads(store.get(key))
        schema = value["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise LayoutError(f"{store.uri_of(key)} is damaged: {type(error).__name__}: {error}") from error
    if schema != SCHEMA:
        raise LayoutError(f"{store.uri_of(key)} has schema {schema}, this program reads {SCHEMA}: update gridscribe")
    result: dict[str, Any] = value
    return result


def _to_json(records: tuple[ObjectRecord, ...]) -> list[dict[str, Any]]:
    return [record.to_json() for record in records]


def _from_json(records: list[dict[str, Any]]) -> tuple[ObjectRecord, ...]:
    return tuple(ObjectRecord(record["key"], record["size"], record["sha256"]) for record in records)
