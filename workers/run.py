"""A job from beginning to end, raster jobs here: plan, drive, account, catalogue. Used by the CLI and by Python alike."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gridscribe.catalog import build_catalog
from gridscribe.commits import read_commits
from gridscribe.coverage import coverage_of
from gridscribe.errors import UsageError
from gridscribe.manifest import read_failures, write_plan
from gridscribe.models.engines import SharedEngine
from gridscribe.pipelines.aligning import checked_package
from gridscribe.pipelines.aoi import read_aoi
from gridscribe.pipelines.concept_bank import store_bank
from gridscribe.pipelines.config import RasterJob, load_job
from gridscribe.pipelines.documents.options import PagesJob
from gridscribe.pipelines.plan import RasterPlan, plan_raster, remaining
from gridscribe.pipelines.reading import BANDS
from gridscribe.pipelines.region_items import remaining_regions
from gridscribe.pipelines.vrts import write_vrts
from gridscribe.products import write_product
from gridscribe.progress import Quiet, Reporter
from gridscribe.store import Store, open_store
from gridscribe.workers.documents import dry_run_documents, run_documents
from gridscribe.workers.drive import Tally
from gridscribe.workers.running import (
    MEGA,
    RunRequest,
    RunResult,
    check_executor,
    drive_items,
    items_table,
    open_executor,
    planning_progress,
    unsigned,
    write_account,
)
from gridscribe.workers.standing import Standing

__all__ = ["RunRequest", "RunResult", "dry_run_report", "plan_request", "run_job"]


def plan_request(request: RunRequest, reporter: Reporter) -> RasterPlan:
    """Plan the raster job that is asked for; writes nothing."""
    check_executor(request)
    config = load_job(request.job, request.overrides)
    if isinstance(config, PagesJob):
        raise UsageError(f"job {request.job!r} is a documents job, a raster job is planned here")
    return _plan(request, config, reporter)


def _plan(request: RunRequest, config: RasterJob, reporter: Reporter) -> RasterPlan:
    area = read_aoi(request.aoi) if request.aoi else None
    return plan_raster(request.inputs, config, area=area, progress=planning_progress(reporter))


def run_job(request: RunRequest, reporter: Reporter | None = None, stop: threading.Event | None = None) -> RunResult:
    """Run a job to its end, or until `stop` is set.

    Safe to kill at any moment and to run again: what is committed is not computed again, and a finished job writes
    nothing. Raises `UsageError`, `ModelError`, `EngineError` or `StoreError`; bad inputs are accounted, not raised.
    """
    check_executor(request)
    config = load_job(request.job, request.overrides)
    reporter, stop = reporter or Quiet(), stop or threading.Event()
    if isinstance(config, PagesJob):
        return run_documents(request, config, reporter, stop)
    return _run_raster(request, config, reporter, stop)


def _run_raster(request: RunRequest, config: RasterJob, reporter: Reporter, stop: threading.Event) -> RunResult:
    clock = [time.monotonic()]
    plan = _plan(request, config, reporter)
    store = open_store(request.output)
    commits = {commit.item: commit for commit in read_commits(store, plan.product)}
    failures = read_failures(store, plan.job)
    given_up = frozenset() if request.retry_failed else frozenset(failures)
    todo = remaining(plan.items, coverage_of(commits.values()), given_up)
    regions_due = plan.region_items
    regions_todo = remaining_regions(regions_due, list(commits.values()), given_up)
    worked = bool(todo or regions_todo)
    clock.append(time.monotonic())
    tally, regions_tally, tries = Tally(), Tally(), config.attempts
    start = work = regions_work = 0.0
    if worked:
        write_product(store, plan.product_json)
        if plan.alignment is not None and plan.bank is not None:
            store_bank(store, plan.product, plan.bank, checked_package(plan.alignment, ("text",)))
        parts = [item.to_json(options=False) for item in plan.items]  # the plan states the input options once
        write_plan(store, plan.job, unsigned(_plan_details(plan)), items_table(plan.items, parts))
        if plan.without_height:
            reporter.say(
                f"{plan.without_height:,} of {len(plan.images):,} images have no height; the model does without"
            )
        executor = open_executor(request, plan.spec(request.output), plan.segmentor.engine.device)
        try:
            executor.ready()
            start = time.monotonic() - clock[-1]
            if todo:
                tally = drive_items(plan.job, tries, todo, "megapixels", executor, store, reporter, stop, failures)
                work = time.monotonic() - clock[-1] - start
                commits |= {commit.item: commit for commit in read_commits(store, plan.product, known=commits)}
                regions_todo = remaining_regions(regions_due, list(commits.values()), given_up)
            if regions_todo and not tally.stopped:
                what = "megapixels of regions"
                regions_tally = drive_items(
                    plan.job, tries, regions_todo, what, executor, store, reporter, stop, failures
                )
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


def _record(standing: Standing, store: Store) -> bool:
    """Write views, manifest and catalogue of a job whose inputs are all accounted for; returns whether anything changed."""
    if standing.counts["left"] or not standing.rows:
        return False
    plan = standing.plan
    cut_up = standing.cut_up()
    changed = write_vrts(store, plan.product, cut_up, standing.commits, plan.segmentor.classes) if cut_up else 0
    wrote = write_account(store, plan.job, plan.product, standing.rows)
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


def dry_run_report(request: RunRequest, reporter: Reporter | None = None) -> dict[str, Any]:
    """What `run_job` would do: images, items, bytes, and an estimate of hours from a few windows predicted now.

    Writes nothing. Raises what `run_job` raises before it starts.
    """
    check_executor(request)
    config = load_job(request.job, request.overrides)
    if isinstance(config, PagesJob):
        return dry_run_documents(request, config, reporter or Quiet())
    plan = _plan(request, config, reporter or Quiet())
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
