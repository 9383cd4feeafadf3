"""The fusion benchmark: strategies x encoders x seeds on one data set with one budget, a JSON per run, one table.

Every run is a process of its own (`python -m gridscribe.pipelines.compare RUN.json`), and one whose result is there is not run
again: see `resumable`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from gridscribe.canonical import canonical_json, sha256
from gridscribe.errors import GridscribeError, UsageError
from gridscribe.pipelines.resumable import in_order, result_of, write_whole
from gridscribe.pipelines.resumable import results as known_results

CURVE_POINTS = 20
TABLE = "benchmark.json"


@dataclass(frozen=True, slots=True)
class Budget:
    """What all runs of a comparison share."""

    data: str
    held_out: str
    kind: str
    steps: int
    crop: int
    batch: int
    precision: str
    threads: int

    def options(self) -> dict[str, Any]:
        """As changes to a training config."""
        return {
            "train_dataloader.dataset.crop": self.crop,
            "train_dataloader.batch_size": self.batch,
            "optim_wrapper.precision": self.precision,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One row's worth of training."""

    strategy: str
    encoders: tuple[str, ...]
    seed: int
    budget: Budget

    @property
    def name(self) -> str:
        """Names the result: readable, and different where anything is."""
        settings = sha256(canonical_json(asdict(self)))[:8]
        return f"{self.strategy}_{'+'.join(self.encoders)}_seed{self.seed}-{settings}"


def plan_runs(
    strategies: Sequence[str], encoders: Sequence[Sequence[str]], seeds: Sequence[int], budget: Budget
) -> list[Run]:
    """All combinations, seeds outermost, so that what is cut short has whole rounds. Raises UsageError for unknown names."""
    from mmengine.config import Config

    from gridscribe.pipelines.recipes import config_path, with_encoders

    for strategy, chosen in product(strategies, encoders):
        with_encoders(Config.fromfile(str(config_path(strategy))), *chosen)
    return [
        Run(strategy, tuple(chosen), seed, budget) for seed, chosen, strategy in product(seeds, encoders, strategies)
    ]


def compare(runs: Sequence[Run], folder: Path, jobs: int = 1) -> Iterator[tuple[Run, dict[str, Any] | GridscribeError]]:
    """Run what has no result in `folder` yet (see `results`), `jobs` at a time; yields every run with its result, in order.

    The model package of each is left in `folder/packages/`. A run that fails comes with its error, which has the end of its
    log, and the others go on.
    """

    def result(run: Run) -> dict[str, Any]:
        request = {"run": asdict(run), "cache": str(folder / "cache")}
        return result_of(run.name, request, "gridscribe.pipelines.compare", folder, TABLE, run.budget.threads)

    yield from in_order(runs, result, jobs)


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """All results in `folder` by the name of their run; see `resumable.results`."""
    return known_results(folder, TABLE)


def costs(found: Iterable[dict[str, Any]], folder: Path, *, measured_only: bool = False) -> list[dict[str, Any]]:
    """What the network of each (strategy, encoders) in results costs (`costs.measure`), one by one; kept in `folder/costs/`.

    To be measured on an idle machine, so after all runs of `compare`; with `measured_only`, those that were measured before.
    """
    from gridscribe.pipelines.costs import measure

    (folder / "costs").mkdir(parents=True, exist_ok=True)
    measured = []
    for strategy, encoders in dict.fromkeys((one["strategy"], tuple(one["encoders"])) for one in found):
        place = folder / "costs" / f"{strategy}_{'+'.join(encoders)}.json"
        if not place.exists() and not measured_only:
            write_whole(place, measure(strategy, encoders))
        if place.exists():
            measured.append(json.loads(place.read_text()))
    return measured


def run_one(run: Run, work_dir: Path, cache: Path) -> dict[str, Any]:
    """Train, score and measure one run: what its JSON holds."""
    from gridscribe.pipelines.costs import machine
    from gridscribe.pipelines.training import train

    budget = run.budget
    started = time.perf_counter()
    package = train(
        run.strategy,
        work_dir,
        data=Path(budget.data),
        held_out=Path(budget.held_out),
        calibrate=False,
        threads=budget.threads,
        kind=budget.kind,
        encoders=run.encoders,
        cache=cache,
        steps=budget.steps,
        seed=run.seed,
        cfg_options=budget.options(),
    )
    seconds = time.perf_counter() - started
    return {
        "strategy": run.strategy,
        "encoders": list(run.encoders),
        "seed": run.seed,
        "budget": {k: v for k, v in asdict(budget).items() if k not in ("data", "held_out")},
        "images": {"train": package.training["data"]["images"], "held_out": package.metrics["images"]},
        "metrics": package.metrics,
        "seconds": round(seconds, 1),
        "curve": _curve(work_dir),
        "machine": machine(),
    }


def _curve(work_dir: Path) -> list[list[float]]:
    """[[step, loss], ...]: the training loss as logged, thinned to at most `CURVE_POINTS`."""
    from gridscribe.pipelines.curve import read_curve

    logged = [[step, round(loss, 4)] for step, loss, _ in read_curve(work_dir)]
    step = max(1, len(logged) // CURVE_POINTS)
    return logged[step - 1 :: step]


def main() -> None:
    """Run one request file, as `compare` writes it."""
    if len(sys.argv) != 2:
        raise UsageError("python -m gridscribe.pipelines.compare takes one file that `gridscribe compare` wrote")
    request = Path(sys.argv[1])
    asked = json.loads(request.read_text())
    fields = asked["run"]
    run = Run(fields["strategy"], tuple(fields["encoders"]), fields["seed"], Budget(**fields["budget"]))
    found = run_one(run, request.parent, Path(asked["cache"]))
    write_whole(Path(asked["result"]), found)


if __name__ == "__main__":
    main()
