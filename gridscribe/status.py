"""Where the jobs of an output stand, from what lies in object storage alone: no job has to run, or be reachable."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gridscribe.commits import read_commits
from gridscribe.coverage import RegionCoverage, coverage_of, image_of
from gridscribe.errors import MissingObjectError
from gridscribe.layout import commit_prefix, parse_commit_key
from gridscribe.manifest import list_jobs, read_failures, read_manifest, read_plan
from gridscribe.store import Store
from gridscribe.values import Window


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job."""

    job: str
    product: str
    state: str
    """"done" (every input accounted for), or "open" (running, stopped or killed: the store cannot tell which)."""
    images: int
    done: int
    """Images with all that the job makes of them: masks, and regions unless it leaves them out."""
    failed: int
    left: int
    skipped: int
    pixels: int
    """Pixels planned."""
    pixels_done: int
    rate: float | None
    """Megapixels a second between the first and the last commit of the product; None before the second commit."""
    seconds_left: float | None
    """At that rate; None where nothing is left or no rate is known."""
    planned: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def job_statuses(store: Store) -> list[JobStatus]:
    """The status of every planned job, oldest plan first. Costs a listing and the product's commits."""
    found = []
    for job in list_jobs(store):
        try:
            found.append(_status(store, job))
        except MissingObjectError:
            continue  # planning was cut short: nothing of this job has been promised
    return sorted(found, key=lambda status: (status.planned, status.job))


def _status(store: Store, job: str) -> JobStatus:
    details = read_plan(store, job).details
    product = details["product"]
    boxes = {image: Window(*box) for image, box in details["boxes"].items()}
    manifest = read_manifest(store, job)  # before the commits: a job that is done has all of them
    times = {parse_commit_key(info.key)[1]: info.last_modified for info in store.list(commit_prefix(product))}
    commits = list(read_commits(store, product))
    stamps = []
    for commit in commits:
        areas = [Window(*image["window"]).area for image in commit.images if image_of(image) in boxes]
        if areas and commit.item in times:
            stamps.append((times[commit.item], sum(areas)))
    coverage, regions = coverage_of(commits), RegionCoverage(commits) if details.get("regions") else None
    finished = {
        image
        for image, box in boxes.items()
        if coverage.covers(image, box) and (regions is None or regions.covers(image, box))
    }
    failures = {records[-1]["image"] for records in read_failures(store, job).values()}
    done, failed = len(finished), len(failures - finished)
    pixels_done = sum(coverage.pixels(image, box) for image, box in boxes.items())
    rate = _rate(stamps)
    left = details["images"] - done - failed
    pixels = details["pixels"]
    return JobStatus(
        job=job,
        product=product,
        state="open" if manifest is None else "done",
        images=details["images"],
        done=done,
        failed=failed + sum(account["state"] == "failed" for account in details["accounts"]),
        left=left,
        skipped=sum(account["state"] == "skipped" for account in details["accounts"]),
        pixels=pixels,
        pixels_done=pixels_done,
        rate=rate,
        seconds_left=(pixels - pixels_done) / 1e6 / rate if rate and left else None,
        planned=details["planned"],
    )


def _rate(stamps: list[tuple[Any, int]]) -> float | None:
    """Megapixels a second: what was committed after the first commit, over the time that took."""
    stamps = sorted(stamps)
    if len(stamps) < 2 or stamps[-1][0] <= stamps[0][0]:
        return None
    seconds = (stamps[-1][0] - stamps[0][0]).total_seconds()
    return float(sum(pixels for _, pixels in stamps[1:]) / 1e6 / seconds)
