"""`gridscribe status --watch`: what has changed and no more, a table on a terminal, an end when all is done or on Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from gridscribe.cli import cli
from gridscribe.commits import Commit, commit_item
from gridscribe.errors import UsageError
from gridscribe.layout import commit_prefix
from gridscribe.manifest import write_manifest, write_plan
from gridscribe.products import write_product
from gridscribe.remembering import RememberingStore
from gridscribe.status import job_statuses
from gridscribe.store import Store, open_store
from tests.outputs import product_json

LIMIT = 40.0  # seconds that a process may take before a test gives up


class Job:
    """A planned job of four images; `commit` does one, `finish` accounts for all."""

    def __init__(self, out: Path, name: str = "j1") -> None:
        self.out, self.name, self._store = out, name, open_store(out)
        self.product = write_product(self._store, product_json())
        details = {
            "kind": "raster", "product": self.product, "inputs": ["in"], "options": {}, "images": 4, "pixels": 4_000_000,
            "boxes": {f"a{k}": [0, 0, 1000, 1000] for k in range(4)}, "regions": False, "accounts": [],
            "planned": "2026-05-01T12:00:00+00:00",
        }  # fmt: skip
        write_plan(self._store, name, details, pa.table({"item": ["x"], "parts": ["[]"]}))

    def commit(self, k: int) -> None:
        commit_item(self._store, Commit(self.product, f"i{k}", (), ({"image": f"a{k}", "window": [0, 0, 1000, 1000]},)))

    def finish(self) -> None:
        row = {"state": "done", "image": "a", "item": "i", "reason": None, "error": None}
        table = pa.Table.from_pylist([{**row, "source": f"a{k}"} for k in range(4)])
        write_manifest(self._store, self.name, table, {})


def watching(out: Path, *argv: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gridscribe", "status", str(out), "--watch", "--interval", "0.1", *argv]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **options)


def test_a_line_where_something_changed_and_an_end_when_all_is_done(tmp_path: Path) -> None:
    job = Job(tmp_path)
    process = watching(tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline()  # flushed, though it is a pipe
    assert re.match(r"j1  open  0/4 images done, 0 failed, 0 skipped, 4 left; rate unknown", first)
    time.sleep(0.5)  # five looks at nothing new
    for k in range(4):
        job.commit(k)
    job.finish()
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines[-1].startswith("j1  done  4/4 images done")
    assert len(set(lines)) == len(lines) <= 6  # never the same twice
    assert first.strip() not in lines


def test_ctrl_c_is_no_error(tmp_path: Path) -> None:
    Job(tmp_path).commit(0)
    process = watching(tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=LIMIT) == ("", "")
    assert process.returncode == 0


def test_a_table_on_a_terminal(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.commit(0)
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24"}
    process = watching(tmp_path, stdout=theirs, env=env)
    os.close(theirs)
    seen = ""

    def until(words: str) -> None:
        nonlocal seen
        end = time.monotonic() + LIMIT
        while words not in seen and time.monotonic() < end:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(ours, 65536).decode())
                except OSError:  # the other end is closed
                    break
        assert words in seen

    until("1/4")
    until("Ctrl-C ends")
    for k in range(1, 4):
        job.commit(k)
    until("4/4")
    job.finish()
    until("all are done")
    assert process.wait(timeout=LIMIT) == 0  # its terminal stays until it has ended
    os.close(ours)
    assert "open" in seen
    assert "j1" in seen


def test_what_cannot_be_watched(tmp_path: Path) -> None:
    runner = CliRunner()
    told = runner.invoke(cli, ["status", str(tmp_path), "--watch"])
    assert (told.exit_code, told.output) == (0, f"{tmp_path}: no job was planned here\n")
    for argv, words in (
        (["--watch", "--json"], "--json promises one document"),
        (["--interval", "3"], "--interval 3 says how often --watch looks"),
    ):
        told = runner.invoke(cli, ["status", str(tmp_path), *argv])
        assert isinstance(told.exception, UsageError)
        assert words in str(told.exception)


def test_a_finished_job_is_shown_once(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.finish()
    begun = time.monotonic()
    told = CliRunner().invoke(cli, ["status", str(tmp_path), "--watch", "--interval", "600"])
    assert told.exit_code == 0
    assert told.output.count("\n") == 1
    assert time.monotonic() - begun < 60


def test_a_second_look_gets_what_is_new_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path)
    for k in range(3):
        job.commit(k)
    got: list[str] = []
    lock, real = threading.Lock(), Store.get

    def get(self: Store, key: str) -> bytes:
        with lock:
            got.append(key)
        return real(self, key)

    monkeypatch.setattr(Store, "get", get)
    store = RememberingStore(tmp_path)
    assert [status.done for status in job_statuses(store)] == [3]
    assert len(got) == 4  # three commits and a plan
    job.commit(3)
    got.clear()
    assert [status.done for status in job_statuses(store)] == [4]
    assert got == [f"{commit_prefix(job.product)}/i3.json"]
