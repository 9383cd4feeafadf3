"""What runs of all kinds of jobs share: request, result, executor, and driving items with progress and failures told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridscribe.errors import UsageError
from gridscribe.manifest import inputs_schema, write_failure, write_manifest
from gridscribe.pipelines.work import JobSpec, Work
from gridscribe.progress import Reporter
from gridscribe.store import Store
from gridscribe.workers.drive import Failure, Tally, drive
from gridscribe.workers.executor import Executor

if TYPE_CHECKING:
    import pyarrow as pa

EXECUTORS = ("ray", "local")
MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A job as it is asked for."""

    job: str
    inputs: Sequence[str]
    output: str
    executor: str = "ray"
    workers: int = 1
    address: str | None = None
    aoi: Path | None = None
    retry_failed: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did and where the job stands."""

    job: str
    product: str
    output: str
    counts: dict[str, int]
    """images, done, failed, skipped, left: inputs of the job."""
    without_height: int
    """How many of the done images have no height, which their model can do without; flag `no-height` of the images table."""
    computed: int
    """Images (or boxes of them) committed by this run."""
    regions: int
    """Images (or boxes of them) whose regions were committed by this run."""
    windows: int
    nothing_to_do: bool
    stopped: bool
    failures: tuple[dict[str, Any], ...]
    seconds: dict[str, float]
    """plan; start (workers and engines); work (first item submitted to last item committed); regions (the same of items of
    regions); record (views, manifest, catalogue); total."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def check_executor(request: RunRequest) -> None:
    """Raise UsageError for an executor that there is none of."""
    if request.executor not in EXECUTORS:
        raise UsageError(f"executor={request.executor!r}: allowed are {', '.join(EXECUTORS)}")


def planning_progress(reporter: Reporter) -> Callable[[str, int], None]:
    """Tells every two seconds how planning goes."""
    started = said = time.monotonic()

    def progress(place: str, files: int) -> None:
        nonlocal said
        if time.monotonic() - said > 2:
            said = time.monotonic()
            reporter.say(f"planning, {place}: {files:,}, {files / (said - started):,.0f}/s")

    return progress


def open_executor(request: RunRequest, spec: JobSpec, device: str) -> Executor:
    """The executor that is asked for, with workers of `spec`; `device` is the engine's."""
    if request.executor == "local":
        from gridscribe.workers.local import LocalExecutor

        return LocalExecutor(spec, request.workers)
    from gridscribe.workers.ray import RayExecutor

    return RayExecutor(spec, request.workers, request.address, num_gpus=1.0 if device == "cuda" else 0.0)


def write_account(store: Store, job: str, product: str, rows: list[dict[str, Any]]) -> bool:
    """The manifest of a job whose inputs are all accounted for; returns whether it is new."""
    import pyarrow as pa

    details = {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "product": product}
    return bool(write_manifest(store, job, pa.Table.from_pylist(unsigned(rows), inputs_schema()), details)[1])


def unsigned(value: Any) -> Any:
    """Plain data as it may be written down: http(s) addresses without their queries, which may hold a signature.

    Nothing is read by what is written: a job that goes on is planned anew from the inputs that it is given.
    """
    if isinstance(value, str):
        return value.partition("?")[0] if value.startswith(("http://", "https://")) else value
    if isinstance(value, dict):
        return {name: unsigned(one) for name, one in value.items()}
    return [unsigned(one) for one in value] if isinstance(value, list | tuple) else value


def items_table(items: Sequence[Work], parts: Sequence[Any]) -> pa.Table:
    """A row per item; `parts` is plain data of each, stored as JSON."""
    import pyarrow as pa

    return pa.table(
        {
            "item": [item.id for item in items],
            "pixels": pa.array([item.pixels for item in items], pa.int64()),
            "parts": [json.dumps(unsigned(one), separators=(",", ":")) for one in parts],
        }
    )


def drive_items(
    job: str,
    attempts: int,
    todo: Sequence[Work],
    unit: str,
    executor: Executor,
    store: Store,
    reporter: Reporter,
    stop: threading.Event,
    earlier: dict[str, list[dict[str, Any]]],
) -> Tally:
    """Drive items with progress shown in `unit` (a million pixels each); failures are stored, after those of `earlier` runs."""

    def on_failure(failure: Failure) -> None:
        attempt = len(earlier.get(failure.item, ())) + failure.attempt
        write_failure(store, job, failure.item, attempt, failure.record)
        reporter.say(f"failed: {failure.record['source']}: {failure.record['message']}")

    def on_done(tally: Tally) -> None:
        reporter.advance(-(-tally.pixels // MEGA), f"{tally.images:,} images, {len(tally.failures):,} failed")

    reporter.start(-(-sum(item.pixels for item in todo) // MEGA), unit)  # begun ones count: small work is no 0 of 0
    return drive(todo, executor, attempts=attempts, stop=stop, on_done=on_done, on_failure=on_failure)
