"""Commands that are started to be killed, and finding what of them to kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path


def start(args: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ}
    )


def finish(args: list[str], timeout: float = 240) -> dict[str, object]:
    done = subprocess.run(args, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def commits(out: Path) -> set[str]:
    return {path.name for path in out.glob("products/*/commits/*.json")}


def wait_for_commits(out: Path, count: int, process: subprocess.Popen[str], limit: float = 120) -> None:
    end = time.monotonic() + limit
    while len(commits(out)) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, from /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def workers_of(pid: int) -> list[int]:
    """Ray workers below `pid`: they name themselves after their actor."""
    found = []
    for child in descendants(pid):
        try:
            title = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"PipelineWorker" in title:
            found.append(child)
    return found


def kill_all(process: subprocess.Popen[str]) -> None:
    """-9 for the driver and everything that it started, as when the machine is lost."""
    for pid in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()
