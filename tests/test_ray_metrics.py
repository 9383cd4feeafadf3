"""What Prometheus reads of a job from a Ray node's own port: every attempt counted once, also one whose worker died."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, re, time, urllib.request
from dataclasses import dataclass, field
import ray
from gridscribe.errors import UnreadableError
from gridscribe.pipelines.receipts import Receipt
from gridscribe.workers.ray import RayExecutor

@dataclass(frozen=True)
class Item:
    id: str
    receipt: Receipt | None = None
    pixels: int = 1
    parts: tuple = (None,)

class Pipeline:
    def process(self, item, deadline):
        if item.id == "dies":
            os._exit(1)
        if item.receipt is None:
            raise UnreadableError("damaged")
        return item.receipt
    def close(self): ...

@dataclass(frozen=True)
class Spec:
    product: str = "p1"
    time_limit: float = 60
    environment: dict = field(default_factory=dict)
    def open(self, cores=None):
        return Pipeline()

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error", object_store_memory=100_000_000,
         _system_config={"metrics_report_interval_ms": 300})
executor = RayExecutor(Spec())
executor.ready()
broken = {"item": "x", "image": "i", "source": "s", "box": [0, 0, 1, 1], "error": "E", "message": "m"}
items = [
    Item("aa", Receipt("aa", ("aa",), 3, 40, (), {"predict": 1.25, "commit": 0.5})),
    Item("ab", Receipt("ab", ("x",), 1, 2, (broken,), {"predict": 0.75, "commit": 0.0})),
    Item("ac", Receipt("ac", (), 0, 0, (broken,), {})),
    Item("ad"),
    Item("regions-aa", Receipt("regions-aa", ("regions-aa",), 3, 0, (), {"regions": 2.0})),
    Item("pages-aa", Receipt("pages-aa", ("pages-aa",), 5, 9, (), {"read": 0.25})),
    Item("dies"),
]
for item in items:
    while not executor.takes(alone=True):
        time.sleep(0.01)
    executor.submit(item, alone=True)
    while not executor.wait(1.0):
        pass
(node,) = ray.nodes()
end, found = time.monotonic() + 15, {}
while not any("state=lost" in name for name in found) and time.monotonic() < end:
    time.sleep(0.3)
    with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    for line in text.splitlines():
        named = re.fullmatch(r"ray_gridscribe_(\\w+){(.*)} (\\S+)", line)
        if named:
            labels = dict(re.findall(r'(\\w+)="([^"]*)"', named[2]))
            kept = [f"{key}={labels[key]}" for key in ("product", "work", "state", "stage") if key in labels]
            found[named[1] + " " + " ".join(kept)] = float(named[3])
print(json.dumps(found))
executor.close()
ray.shutdown()
"""


@pytest.mark.timeout(120)
def test_a_node_exports_items_images_windows_and_seconds() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=110,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "items_total product=p1 work=masks state=done": 2,
        "items_total product=p1 work=masks state=failed": 2,
        "items_total product=p1 work=masks state=lost": 1,
        "items_total product=p1 work=regions state=done": 1,
        "items_total product=p1 work=pages state=done": 1,
        "images_total product=p1 work=masks state=done": 4,
        "images_total product=p1 work=masks state=failed": 2,
        "images_total product=p1 work=regions state=done": 3,
        "images_total product=p1 work=pages state=done": 5,
        "windows_total product=p1 work=masks": 42,
        "windows_total product=p1 work=pages": 9,
        "stage_seconds_total product=p1 work=masks stage=predict": 2.0,
        "stage_seconds_total product=p1 work=masks stage=commit": 0.5,
        "stage_seconds_total product=p1 work=regions stage=regions": 2.0,
        "stage_seconds_total product=p1 work=pages stage=read": 0.25,
    }
