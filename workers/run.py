"""A raster job from beginning to end: plan, drive, account, catalogue. Used by the CLI and by Python alike."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridscribe.catalog import build_catalog
from gridscribe.commits import read_commits
from gridscribe.coverage import coverage_of
from gridscribe.errors import UsageError
from gridscribe.manifest import inputs_schema, read_failures, write_failure, write_manifest, write_plan
from gridscribe.models.engines import SharedEngine
from gridscribe.pipelines.aligning import checked_package
from gridscribe.pipelines.aoi import read_aoi
from gridscribe.pipelines.concept_bank import store_bank
from gridscribe.pipelines.config import load_job
from gridscribe.pipelines.plan import RasterPlan, plan_raster, remaining
from gridscribe.pipelines.reading import BANDS
from gridscribe.pipelines.region_items import Work, remaining_regions
from gridscribe.pipelines.vrts import write_vrts
from gridscribe.products import write_product
from gridscribe.progress import Quiet, Reporter
from gridscribe.store import Store, open_store
from gridscribe.workers.drive import Failure, Tally, drive
from gridscribe.workers.executor import Executor
from gridscribe.workers.standing import Standing

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


def plan_request(request: RunRequest, reporter: Reporter) -> RasterPlan:
    """Plan what is asked for; writes nothing."""
    if request.executor not in EXECUTORS:
        raise UsageError(f"executor={request.executor!r}: allowed are {', '.join(EXECUTORS)}")
    config = load_job(request.job, request.overrides)
    area = read_aoi(request.aoi) if request.aoi else None
    started = time.monotonic()
    said = started

    def progress(place: str, files: int) -> None:
        nonlocal said
        if time.monotonic() - said > 2:
            said = time.monotonic()
            reporter.say(f"planning, {place}: {files:,}, {files / (said - started):,.0f}/s")

    return plan_raster(request.inputs, config, area=area, progress=progress)


def run_job(request: RunRequest, reporter: Reporter | None = None, stop: threading.Event | None = None) -> RunResult:
    """Run a job to its end, or until `stop` is set.

    Safe to kill at any moment and to run again: what is committed is not computed again, and a finished job writes
    nothing. Raises `UsageError`, `ModelError`, `EngineError` or `StoreError`; bad inputs are accounted, not raised.
    """
    reporter, stop = reporter or Quiet(), stop or threading.Event()
    clock = [time.monotonic()]
    plan = plan_request(request, reporter)
    store = open_store(request.output)
    commits = {commit.item: commit for commit in read_commits(store, plan.product)}
    failures = read_failures(store, plan.job)
    given_up = frozenset() if request.retry_failed else frozenset(failures)
    todo = remaining(plan.items, coverage_of(commits.values()), given_up)
    regions_due = plan.region_items
    regions_todo = remaining_regions(regions_due, list(commits.values()), given_up)
    worked = bool(todo or regions_todo)
    clock.append(time.monotonic())
    tally, regions_tally = Tally(), Tally()
    start = work = regions_work = 0.0
    if worked:
        write_product(store, plan.product_json)
        if plan.alignment is not None and plan.bank is not None:
            store_bank(store, plan.product, plan.bank, checked_package(plan.alignment, ("text",)))
        write_plan(store, plan.job, _plan_details(plan), _plan_table(plan))
        if plan.without_height:
            reporter.say(
                f"{plan.without_height:,} of {len(plan.images):,} images have no height; the model does without"
            )
        executor = _executor(request, plan)
        try:
            executor.ready()
            start = time.monotonic() - clock[-1]
            if todo:
                tally = _drive(plan, todo, "megapixels", executor, store, reporter, stop, failures)
                work = time.monotonic() - clock[-1] - start
                commits |= {commit.item: commit for commit in read_commits(store, plan.product, known=commits)}
                regions_todo = remaining_regions(regions_due, list(commits.values()), given_up)
            if regions_todo and not tally.stopped:
                what = "megapixels of regions"
                regions_tally = _drive(plan, regions_todo, what, executor, store, reporter, stop, failures)
                regions_work = time.monotonic() - clock[-1] - start - work
        finally:
            executor.close()
        commits |= {commit.item: commit for commit in read_commits(store, plan.product, known=commits)}
        failures = read_failures(store, plan.job)
    standing = Standing(plan, list(commits.values()), failures)
    driven = time.monotonic()
    stopped = tally.stopped or regions_tally.stopped
    wrote = _record(standing, store) if not stopped else False
    seconds = {"plan": clock[1] - clock[0], "start": start, "work": work, "regions": regions_work}
    seconds["record"] = time.monotonic() - driven
    seconds["total"] = time.monotonic() - clock[0]
    return RunResult(
        job=plan.job,
        product=plan.product,
        output=store.uri,
        counts=standing.counts,
        without_height=standing.without_height,
        computed=tally.images,
        regions=regions_tally.images,
        windows=tally.windows,
        nothing_to_do=not worked and not wrote,
        stopped=stopped,
        failures=tuple(standing.failed),
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def _drive(
    plan: RasterPlan,
    todo: Sequence[Work],
    unit: str,
    executor: Executor,
    store: Store,
    reporter: Reporter,
    stop: threading.Event,
    earlier: dict[str, list[dict[str, Any]]],
) -> Tally:
    def on_failure(failure: Failure) -> None:
        attempt = len(earlier.get(failure.item, ())) + failure.attempt
        write_failure(store, plan.job, failure.item, attempt, failure.record)
        reporter.say(f"failed: {failure.record['source']}: {failure.record['message']}")

    def on_done(tally: Tally) -> None:
        reporter.advance(-(-tally.pixels // MEGA), f"{tally.images:,} images, {len(tally.failures):,} failed")

    reporter.start(-(-sum(item.pixels for item in todo) // MEGA), unit)  # begun ones count: small work is no 0 of 0
    return drive(todo, executor, attempts=plan.config.attempts, stop=stop, on_done=on_done, on_failure=on_failure)


def _executor(request: RunRequest, plan: RasterPlan) -> Executor:
    spec = plan.spec(request.output)
    if request.executor == "local":
        from gridscribe.workers.local import LocalExecutor

        return LocalExecutor(spec, request.workers)
    from gridscribe.workers.ray import RayExecutor

    return RayExecutor(
        spec, request.workers, request.address, num_gpus=1.0 if plan.segmentor.engine.device == "cuda" else 0.0
    )


def _record(standing: Standing, store: Store) -> bool:
    """Write views, manifest and catalogue of a job whose inputs are all accounted for; returns whether anything changed."""
    import pyarrow as pa

    if standing.counts["left"] or not standing.rows:
        return False
    plan = standing.plan
    cut_up = standing.cut_up()
    changed = write_vrts(store, plan.product, cut_up, standing.commits, plan.segmentor.classes) if cut_up else 0
    details = {"finished": datetime.now(UTC).isoformat(timespec="seconds"), "product": plan.product}
    _, wrote = write_manifest(store, plan.job, pa.Table.from_pylist(standing.rows, inputs_schema()), details)
    if changed or wrote:
        build_catalog(store)
    return bool(changed or wrote)


def _plan_details(plan: RasterPlan) -> dict[str, Any]:
    return {
        "kind": "raster",
        "product": plan.product,
        "inputs": list(plan.inputs),
        "options": plan.config.inputs.to_json(),
        "images": len(plan.images),
        "boxes": {image.image_id: plan.boxes[image.image_id].to_list() for image in plan.images},
        "pixels": sum(item.pixels for item in plan.items),
        "regions": plan.config.regions is not None,
        "accounts": [account.to_json() for account in plan.accounts],
        "planned": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _plan_table(plan: RasterPlan) -> pa.Table:
    """A row per item; `parts` is JSON, a list of `{"image", "box"}` without the input options, which the plan states once."""
    import pyarrow as pa

    return pa.table(
        {
            "item": [item.id for item in plan.items],
            "pixels": pa.array([item.pixels for item in plan.items], pa.int64()),
            "parts": [json.dumps(item.to_json(options=False), separators=(",", ":")) for item in plan.items],
        }
    )


def dry_run_report(request: RunRequest, reporter: Reporter | None = None) -> dict[str, Any]:
    """What `run_job` would do: images, items, bytes, and an estimate of hours from a few windows predicted now.

    Writes nothing. Raises what `run_job` raises before it starts.
    """
    plan = plan_request(request, reporter or Quiet())
    store = open_store(request.output)
    commits = list(read_commits(store, plan.product))
    failed = frozenset() if request.retry_failed else frozenset(read_failures(store, plan.job))
    left = remaining(plan.items, coverage_of(commits), failed)
    windows = plan.window_count(left)
    seconds = _seconds_per_window(plan) if left else 0.0
    return {
        "job": plan.job,
        "product": plan.product,
        "output": store.uri,
        "images": len(plan.images),
        "without_height": plan.without_height,
        "items": len(plan.items),
        "items_left": len(left),
        "windows_left": windows,
        "megapixels": sum(item.pixels for item in plan.items) / MEGA,
        "bytes": sum(source.size or 0 for image in plan.images for source in image.sources),
        "engine": plan.segmentor.engine.to_json(),
        "seconds_per_window": seconds,
        "hours": windows * seconds / 3600,
        "accounts": [account.to_json() for account in plan.accounts],
    }


def _seconds_per_window(plan: RasterPlan) -> float:
    """Measured on this machine, warm, with as many windows under way as a job has."""
    window = np.zeros((BANDS, plan.segmentor.engine.window, plan.segmentor.engine.window), np.float32)
    with SharedEngine(plan.segmentor.open()) as engine:
        count = engine.depth * plan.segmentor.engine.batch
        engine.warm_up()
        started = time.perf_counter()
        for _ in engine.stream([window] * count):
            pass
        return (time.perf_counter() - started) / count
