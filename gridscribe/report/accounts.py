"""What became of the inputs of a job: counts that add up, and the name and reason of what failed and what was skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gridscribe import layout
from gridscribe.commits import read_commits
from gridscribe.coverage import RegionCoverage, coverage_of, image_of
from gridscribe.manifest import Manifest, Plan, read_failures, read_manifest, read_manifest_inputs
from gridscribe.status import job_statuses
from gridscribe.store import Store
from gridscribe.values import Window

LISTED = 500
"""Rows of a list of failures, or of skipped inputs; what is more is counted."""


@dataclass(frozen=True, slots=True)
class Reason:
    """An input that is not done, and why."""

    source: str
    kind: str
    """Class of the error, or kind of the skipped file."""
    reason: str


@dataclass(frozen=True, slots=True)
class Reasons:
    """The inputs in one state."""

    count: int
    kinds: tuple[tuple[str, int], ...]
    """How many of each kind, most first."""
    listed: tuple[Reason, ...]
    """The first `LISTED` by source."""
    rest: str
    """The key where all of them stand."""


@dataclass(frozen=True, slots=True)
class JobAccount:
    """One job."""

    job: str
    planned: str
    open: bool
    """Whether it has no manifest yet: it is running, or was stopped or killed."""
    finished: str | None
    inputs: tuple[str, ...]
    """As they were asked for."""
    sources: int
    """Inputs found: images or pages, and other files."""
    done: int
    left: int
    failed: Reasons
    skipped: Reasons

    @property
    def sum(self) -> int:
        """Inputs accounted for, and those that are left."""
        return self.done + self.skipped.count + self.failed.count + self.left


def accounts_of(store: Store, plans: Sequence[Plan]) -> tuple[JobAccount, ...]:
    """The account of each planned job: as its latest manifest states it, or while there is none as its commits do."""
    manifests = [read_manifest(store, plan.job) for plan in plans]
    done = {} if all(manifests) else {status.job: status.done for status in job_statuses(store)}
    return tuple(
        _open(store, plan, done[plan.job]) if manifest is None else _closed(store, plan, manifest)
        for plan, manifest in zip(plans, manifests, strict=True)
    )


def _closed(store: Store, plan: Plan, manifest: Manifest) -> JobAccount:
    import pyarrow.compute as pc

    table = read_manifest_inputs(store, manifest)
    reasons = {}
    for state in ("failed", "skipped"):
        rows = table.filter(pc.equal(table.column("state"), state)).select(["source", "error", "reason"])
        kinds = {one["values"] or "": one["counts"] for one in pc.value_counts(rows.column("error")).to_pylist()}
        listed = tuple(_reason(row) for row in rows.slice(0, LISTED).to_pylist())
        reasons[state] = Reasons(len(rows), _most_first(kinds), listed, manifest.tables[0].key)
    return JobAccount(
        job=plan.job,
        planned=plan.details["planned"],
        open=False,
        finished=manifest.details.get("finished"),
        inputs=tuple(plan.details["inputs"]),
        sources=plan.details["images"] + len(plan.details["accounts"]),
        done=manifest.counts["done"],
        left=0,
        failed=reasons["failed"],
        skipped=reasons["skipped"],
    )


def _open(store: Store, plan: Plan, done: int) -> JobAccount:
    details = plan.details
    records = {told[-1]["image"]: told[-1] for told in read_failures(store, plan.job).values()}
    done_after_all = _finished(store, plan, set(records))
    rows = [
        {"source": told["source"], "error": told["error"], "reason": told["message"]}
        for image, told in records.items()
        if image not in done_after_all
    ]
    by_state: dict[str, list[dict[str, Any]]] = {"failed": [*rows], "skipped": []}
    for one in details["accounts"]:
        by_state[one["state"]].append(one)
    places = {"failed": f"{layout.failed_prefix(plan.job)}/", "skipped": layout.plan_key(plan.job)}
    reasons = {}
    for state, found in by_state.items():
        listed = tuple(_reason(row) for row in sorted(found, key=lambda row: str(row["source"]))[:LISTED])
        kinds = Counter(str(row["error"]) for row in found)
        reasons[state] = Reasons(len(found), _most_first(kinds), listed, places[state])
    return JobAccount(
        job=plan.job,
        planned=details["planned"],
        open=True,
        finished=None,
        inputs=tuple(details["inputs"]),
        sources=details["images"] + len(details["accounts"]),
        done=done,
        left=details["images"] - done - len(rows),
        failed=reasons["failed"],
        skipped=reasons["skipped"],
    )


def _finished(store: Store, plan: Plan, images: set[str]) -> set[str]:
    """Which of `images` are committed with all that the job makes of them."""
    if not images:
        return set()
    held = [
        commit
        for commit in read_commits(store, plan.details["product"])
        if any(image_of(entry) in images for entry in (*commit.images, *commit.regions))
    ]
    coverage, regions = coverage_of(held), RegionCoverage(held) if plan.details.get("regions") else None
    boxes = {image: Window(*plan.details["boxes"][image]) for image in images}
    return {
        image
        for image, box in boxes.items()
        if coverage.covers(image, box) and (regions is None or regions.covers(image, box))
    }


def _reason(row: dict[str, Any]) -> Reason:
    return Reason(str(row["source"]), row["error"] or "", row["reason"] or "")


def _most_first(kinds: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])))
