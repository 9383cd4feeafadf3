"""A thousand generated pages with the shipped model: memory flat, killed at random moments and resumed, byte-equal in the end."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gridscribe.ingest.paperwork import write_pages
from tests.kills import commits, finish, kill_all, start, wait_for_commits
from tests.tiny import tree_bytes

DOCUMENTS = 940  # about 1,250 pages
MIB = 1 << 20
MEASURE = """
import json, sys, threading, time
from gridscribe.workers.run import RunRequest, run_job
peaks = []
def watch():
    while True:
        (line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
        peaks.append((time.monotonic(), int(line.split()[1]) * 1024))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
result = run_job(RunRequest("documents", (sys.argv[1],), sys.argv[2], executor="local"))
first, last = peaks[0][0], peaks[-1][0]
def most(a, b):
    return max(size for at, size in peaks if first + a * (last - first) <= at <= first + b * (last - first))
print(json.dumps({"early": most(0.1, 0.3), "late": most(0.7, 1.0), "counts": result.counts}))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thousand") / "pages"
    write_pages(folder, DOCUMENTS, 77, workers=2)
    for path in [*folder.glob("*_text.png"), *folder.glob("*_tokens.json")]:
        path.unlink()  # truth, not pages
    return folder


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_pages(pages: Path) -> None:
    whole = pages.parent / "whole"
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, str(pages), str(whole)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout.strip().splitlines()[-1])
    counts = found["counts"]
    assert counts["done"] == counts["images"] >= 1000
    assert (counts["failed"], counts["left"]) == (0, 0)
    assert found["late"] - found["early"] < 100 * MIB, found
    print(f"\n{counts['done']} pages; peak {found['early'] / MIB:.0f} MiB early, {found['late'] / MIB:.0f} MiB late")

    out, rng = pages.parent / "killed", random.Random(1)
    items = len(commits(whole))
    command = [
        sys.executable,
        "-m",
        "gridscribe",
        "run",
        "documents",
        "--json",
        "--input",
        str(pages),
        "--output",
        str(out),
    ]
    for number, executor in enumerate(("local", "ray", "local")):
        process = start([*command, "--executor", executor])
        wait_for_commits(out, (number + 1) * items // 4, process, limit=3600)
        time.sleep(rng.uniform(0, 1))
        assert process.poll() is None, process.communicate()
        kill_all(process)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("products/*/commits/*.json")}
    assert len(stamps) < items
    result = finish([*command, "--executor", "local"], timeout=3600)
    again = counts["done"] - sum(len(json.loads(path.read_text())["images"]) for path in stamps)
    assert result["computed"] == again  # pages
    assert tree_bytes(out) == tree_bytes(whole)
    for path, stamp in stamps.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.name} was written again"
