"""A documents job from beginning to end: plan, drive, account, catalogue."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gridscribe.catalog import build_catalog
from gridscribe.commits import Commit, read_commits
from gridscribe.errors import UsageError
from gridscribe.manifest import read_failures, write_plan
from gridscribe.models.document.encoder import open_page_encoder
from gridscribe.models.document.package import load_document_model
from gridscribe.pipelines.documents.cropping import page_crops
from gridscribe.pipelines.documents.items import committed_pages, remaining_pages
from gridscribe.pipelines.documents.options import PagesJob
from gridscribe.pipelines.documents.plan import DocumentsPlan, plan_documents
from gridscribe.products import write_product
from gridscribe.progress import Reporter
from gridscribe.store import Store, open_store
from gridscribe.workers.drive import Tally
from gridscribe.workers.running import (
    MEGA,
    RunRequest,
    RunResult,
    drive_items,
    items_table,
    open_executor,
    planning_progress,
    unsigned,
    write_account,
)

Accounts = list[dict[str, Any]]


def run_documents(request: RunRequest, config: PagesJob, reporter: Reporter, stop: threading.Event) -> RunResult:
    """See `run_job`."""
    clock = [time.monotonic()]
    plan = _plan(request, config, reporter)
    store = open_store(request.output)
    commits = {commit.item: commit for commit in read_commits(store, plan.product)}
    failures = read_failures(store, plan.job)
    given_up = frozenset() if request.retry_failed else frozenset(failures)
    todo = remaining_pages(plan.items, committed_pages(commits.values()), given_up)
    clock.append(time.monotonic())
    tally, start, work = Tally(), 0.0, 0.0
    if todo:
        write_product(store, plan.product_json)
        write_plan(
            store, plan.job, unsigned(_details(plan)), items_table(plan.items, [item.to_json() for item in plan.items])
        )
        executor = open_executor(request, plan.spec(request.output), plan.engine.device)
        try:
            executor.ready()
            start = time.monotonic() - clock[-1]
            unit = "megapixels of pages"
            tally = drive_items(plan.job, config.attempts, todo, unit, executor, store, reporter, stop, failures)
            work = time.monotonic() - clock[-1] - start
        finally:
            executor.close()
        commits |= {commit.item: commit for commit in read_commits(store, plan.product, known=commits)}
        failures = read_failures(store, plan.job)
    counts, rows = account(plan, list(commits.values()), failures)
    driven = time.monotonic()
    wrote = False if tally.stopped else _record(plan, store, counts, rows)
    seconds = {"plan": clock[1] - clock[0], "start": start, "work": work, "regions": 0.0}
    seconds["record"], seconds["total"] = time.monotonic() - driven, time.monotonic() - clock[0]
    failed = [{key: row[key] for key in ("source", "reason", "error")} for row in rows if row["state"] == "failed"]
    return RunResult(
        job=plan.job,
        product=plan.product,
        output=store.uri,
        counts=counts,
        without_height=0,
        computed=tally.images,
        regions=0,
        windows=tally.windows,
        nothing_to_do=not todo and not wrote,
        stopped=tally.stopped,
        failures=tuple(sorted(failed, key=lambda row: row["source"])),
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def account(
    plan: DocumentsPlan, commits: list[Commit], failures: dict[str, list[dict[str, Any]]]
) -> tuple[dict[str, int], Accounts]:
    """(counts by state, a row for every page and for every file without pages): see `manifest.inputs_schema`."""
    blank: dict[str, Any] = {"image": None, "item": None, "reason": None, "error": None}
    counts = {"images": len(plan.pages), "done": 0, "skipped": 0, "failed": 0, "left": 0}
    rows: Accounts = []
    done = committed_pages(commits)
    reasons = {records[-1]["image"]: records[-1] for records in failures.values()}
    for one in plan.accounts:
        counts[one.state] += 1
        rows.append({**blank, "source": one.source, "state": one.state, "reason": one.reason, "error": one.error})
    for page in plan.pages:
        row = {**blank, "source": page.name, "image": page.image_id}
        item = done.get((page.document, page.page))
        if item is not None:
            counts["done"] += 1
            rows.append({**row, "state": "done", "item": item})
        elif page.image_id in reasons:
            counts["failed"] += 1
            told = reasons[page.image_id]
            rows.append({**row, "state": "failed", "reason": told["message"], "error": told["error"]})
        else:
            counts["left"] += 1
    return counts, rows


def dry_run_documents(request: RunRequest, config: PagesJob, reporter: Reporter) -> dict[str, Any]:
    """See `dry_run_report`."""
    plan = _plan(request, config, reporter)
    store = open_store(request.output)
    failed = frozenset() if request.retry_failed else frozenset(read_failures(store, plan.job))
    left = remaining_pages(plan.items, committed_pages(read_commits(store, plan.product)), failed)
    package = load_document_model(config.model)
    crops = 0
    for part in (part for item in left for part in item.parts):
        cut = page_crops(part.image.height, part.image.width, package.crop, config.max_crops)
        crops += cut.rows * cut.cols
    seconds = _seconds_per_crop(plan) if left else 0.0
    files = {page.file for page in plan.pages}
    return {
        "job": plan.job,
        "product": plan.product,
        "output": store.uri,
        "images": len(plan.pages),
        "without_height": 0,
        "items": len(plan.items),
        "items_left": len(left),
        "windows_left": crops,
        "megapixels": sum(item.pixels for item in plan.items) / MEGA,
        "bytes": sum(file.size or 0 for file in files),
        "engine": plan.engine.to_json(),
        "seconds_per_window": seconds,
        "hours": crops * seconds / 3600,
        "accounts": [one.to_json() for one in plan.accounts],
    }


def _plan(request: RunRequest, config: PagesJob, reporter: Reporter) -> DocumentsPlan:
    if request.aoi is not None:
        raise UsageError(f"--aoi {request.aoi}: pages lie nowhere on Earth; leave it out for a documents job")
    return plan_documents(request.inputs, config, progress=planning_progress(reporter))


def _seconds_per_crop(plan: DocumentsPlan) -> float:
    """Measured on this machine, warm, one crop at a time."""
    package = load_document_model(plan.config.model)
    encoder = open_page_encoder(plan.engine, package)
    crop = np.random.default_rng(0).integers(0, 256, (package.crop, package.crop, 3), np.uint8)
    try:
        encoder.encode(crop)
        started = time.perf_counter()
        for _ in range(4):
            encoder.encode(crop)
        return (time.perf_counter() - started) / 4 / max(1, encoder.parallel - 1)
    finally:
        encoder.close()


def _record(plan: DocumentsPlan, store: Store, counts: dict[str, int], rows: Accounts) -> bool:
    """Write manifest and catalogue of a job whose inputs are all accounted for; returns whether anything changed."""
    if counts["left"] or not rows:
        return False
    wrote = write_account(store, plan.job, plan.product, rows)
    if wrote:
        build_catalog(store)
    return wrote


def _details(plan: DocumentsPlan) -> dict[str, Any]:
    return {
        "kind": "documents",
        "product": plan.product,
        "inputs": list(plan.inputs),
        "options": plan.config.inputs.to_json(),
        "images": len(plan.pages),
        "boxes": {page.image_id: page.window.to_list() for page in plan.pages},
        "pixels": sum(item.pixels for item in plan.items),
        "accounts": [one.to_json() for one in plan.accounts],
        "planned": datetime.now(UTC).isoformat(timespec="seconds"),
    }
