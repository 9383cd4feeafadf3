"""What a job tells Ray's metrics: items, images, windows and seconds by stage, for Prometheus on every Ray node's own port.

The driver counts, not the workers: it hears of every attempt, also of one whose worker died, and it outlives them, while a
worker is ended before what it counted last has been sent. Nothing here is read back, and no result depends on it.
"""

from __future__ import annotations

from ray.util.metrics import Counter

from gridscribe.layout import is_regions_item
from gridscribe.pipelines.documents.items import PAGES_ITEM
from gridscribe.workers.executor import Outcome


class JobMetrics:
    """The metrics of one product's jobs in this driver. Ray puts `ray_` before their names; of each, labels and meaning:

    - `gridscribe_items_total` {product, work, state}: attempts that ended. `work` is "masks", "regions" or "pages"; `state` is
      "done" (something was committed, or nothing failed), "failed", or "lost" (the worker died with it; it may be tried again);
    - `gridscribe_images_total` {product, work, state}: images (or boxes of them) and pages, "done" or "failed";
    - `gridscribe_windows_total` {product, work}: windows, or crops of pages, that a network has predicted;
    - `gridscribe_stage_seconds_total` {product, work, stage}: seconds that items spent in a stage ("predict", "embed", "commit",
      "regions", "read", "encode"). A counter, since the sum of a histogram of Ray's is made up from the middles of its buckets.

    Ray sends them every 10 s (`metrics_report_interval_ms`); counting costs some microseconds an item.
    """

    def __init__(self, product: str) -> None:
        labels = ("product", "work")
        self._items = Counter("gridscribe_items", "Attempts at items that ended, by state.", (*labels, "state"))
        self._images = Counter("gridscribe_images", "Images and pages, by state.", (*labels, "state"))
        self._windows = Counter("gridscribe_windows", "Windows and crops that were predicted.", labels)
        self._seconds = Counter("gridscribe_stage_seconds", "Seconds of items by stage.", (*labels, "stage"))
        for metric in (self._items, self._images, self._windows, self._seconds):
            metric.set_default_tags({"product": product})

    def count(self, outcome: Outcome) -> None:
        """Count one attempt that ended."""
        work = {"work": _work(outcome.item.id)}
        receipt = outcome.receipt
        if receipt is None:
            self._items.inc(1, {**work, "state": "lost" if outcome.lost else "failed"})
            return
        state = "done" if receipt.commits or not receipt.failed else "failed"
        self._items.inc(1, {**work, "state": state})
        for state, images in (("done", receipt.images), ("failed", len(receipt.failed))):
            if images:
                self._images.inc(images, {**work, "state": state})
        if receipt.windows:
            self._windows.inc(receipt.windows, work)
        for stage, seconds in receipt.seconds.items():
            if seconds > 0:
                self._seconds.inc(seconds, {**work, "stage": stage})


def _work(item: str) -> str:
    if is_regions_item(item):
        return "regions"
    return "pages" if item.startswith(PAGES_ITEM) else "masks"
