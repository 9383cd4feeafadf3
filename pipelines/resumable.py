"""Series of trainings that can be stopped: a process and a JSON per run; a run whose JSON is there is not run again.

A process of its own for each, so that several can go side by side with their own threads and that nothing of one is left over
in the next.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gridscribe.errors import GridscribeError
from gridscribe.models.engines import malloc_environment

LAST_LINES = 12


class Named(Protocol):
    """A run."""

    @property
    def name(self) -> str:
        """Names its result: readable, and different where anything is."""
        ...


RunT = TypeVar("RunT", bound=Named)


def in_order(
    runs: Sequence[RunT], do: Callable[[RunT], dict[str, Any]], jobs: int
) -> Iterator[tuple[RunT, dict[str, Any] | GridscribeError]]:
    """Every run with its result, in order, `jobs` at a time. One that fails comes with its error, and the others go on."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [(run, pool.submit(do, run)) for run in runs]
        try:
            for run, future in futures:
                error = future.exception()
                if error is not None and not isinstance(error, GridscribeError):
                    raise error
                yield run, error if error is not None else future.result()
        finally:
            for _, future in futures:
                future.cancel()


def result_of(
    name: str, request: dict[str, Any], module: str, folder: Path, table: str, threads: int
) -> dict[str, Any]:
    """The result of a run: what `folder` knows of it (`results`), or else what `python -m module REQUEST` makes of it.

    The program is given a file that holds `request` and, under `result`, where to write its JSON (`write_whole`); it trains below
    the file's folder. Its `package/` is moved to `folder/packages/NAME`. Raises GridscribeError with the end of its log where it
    fails.
    """
    place = folder / "runs" / f"{name}.json"
    known = results(folder, table).get(name)
    if known is None:
        place.parent.mkdir(parents=True, exist_ok=True)
        work_dir = folder / "work" / name
        work_dir.mkdir(parents=True, exist_ok=True)
        file = work_dir / "run.json"
        file.write_text(json.dumps({**request, "result": str(place)}))
        environment = {**os.environ, **malloc_environment(), "OMP_NUM_THREADS": str(threads)}
        with (work_dir / "log.txt").open("w") as log:
            command = [sys.executable, "-m", module, str(file)]
            status = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode
        if status or not place.exists():
            tail = "\n".join((work_dir / "log.txt").read_text(errors="replace").splitlines()[-LAST_LINES:])
            raise GridscribeError(f"run {name} failed (exit status {status}); its log {work_dir}/log.txt ends:\n{tail}")
        packages = folder / "packages"
        packages.mkdir(exist_ok=True)
        shutil.rmtree(packages / name, ignore_errors=True)
        (work_dir / "package").rename(packages / name)
        shutil.rmtree(work_dir)
        known = {"name": name, **json.loads(place.read_text())}
    return known


def results(folder: Path, table: str) -> dict[str, dict[str, Any]]:
    """All results in `folder` by the name of their run: those under `runs` of the JSON `table`, and of `runs/` where it lags.

    So a series goes on from its table alone, and several calls with one folder make one table.
    """
    place = folder / table
    found = {one["name"]: one for one in json.loads(place.read_text())["runs"]} if place.exists() else {}
    for own in sorted((folder / "runs").glob("*.json")):
        found[own.stem] = {"name": own.stem, **json.loads(own.read_text())}
    return found


def write_whole(place: Path, found: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all: other threads read the results while the table is written."""
    part = place.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n")
    part.replace(place)
