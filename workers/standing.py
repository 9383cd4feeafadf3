"""Where a job stands: every input exactly once, by what is committed and what has failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridscribe.commits import Commit
from gridscribe.coverage import RegionCoverage, coverage_of
from gridscribe.pipelines.plan import RasterPlan
from gridscribe.values import Grid


class Standing:
    """The account of a job at one moment.

    An image is done when its masks are committed, and its regions too where the job makes them.
    """

    def __init__(self, plan: RasterPlan, commits: Sequence[Commit], failures: dict[str, list[dict[str, Any]]]) -> None:
        """`failures` holds, by item, the records of its attempts; an image that was committed after all is done."""
        self.plan = plan
        self.commits = commits
        self.rows: list[dict[str, Any]] = []
        """A row per input: source, state ("done", "skipped", "failed"), image, item, reason, error. None for what is left."""
        self.counts = {"images": len(plan.images), "done": 0, "skipped": 0, "failed": 0, "left": 0}
        self.without_height = 0
        """How many of the finished images have no height."""
        self._coverage = coverage_of(commits)
        self._regions = None if plan.config.regions is None else RegionCoverage(commits)
        ordered = sorted(commits, key=lambda commit: commit.item)  # however they were found: an account says the same
        items = {image["image"]: commit.item for commit in ordered for image in commit.images}
        reasons = {records[-1]["image"]: records[-1] for records in failures.values()}
        for account in plan.accounts:
            self._add(account.source, account.state, reason=account.reason, error=account.error)
        for image in plan.images:
            name, key = image.rgb.name, image.image_id
            if self._done(key):
                self._add(name, "done", image=key, item=items[key])
                self.without_height += not image.has_height
            elif key in reasons:
                self._add(name, "failed", image=key, reason=reasons[key]["message"], error=reasons[key]["error"])
            else:
                self.counts["left"] += 1

    @property
    def failed(self) -> list[dict[str, Any]]:
        """`{"source", "reason", "error"}` of every failed input, by source."""
        found = [
            {key: row[key] for key in ("source", "reason", "error")} for row in self.rows if row["state"] == "failed"
        ]
        return sorted(found, key=lambda row: row["source"])

    def cut_up(self) -> dict[str, Grid]:
        """Grids of the finished images that several items share, or of which only a box was asked for."""
        return {
            image.image_id: image.grid
            for image in self.plan.images
            if self._done(image.image_id) and image.grid.window not in self._coverage.boxes(image.image_id)
        }

    def _done(self, image: str) -> bool:
        box = self.plan.boxes[image]
        return self._coverage.covers(image, box) and (self._regions is None or self._regions.covers(image, box))

    def _add(self, source: str, state: str, **columns: str | None) -> None:
        self.counts[state] += 1
        blank = {"image": None, "item": None, "reason": None, "error": None}
        self.rows.append({"source": source, "state": state, **blank, **columns})
