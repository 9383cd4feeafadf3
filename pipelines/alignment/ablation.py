"""Does distillation from patches help, as FarSLIP says? Its target is changed and nothing else, over several seeds, in one table.

    python -m gridscribe.pipelines.alignment.ablation --data TRAIN --held-out HELD --output DIR [--seeds 3] [--steps 3000] \
        [--pretrained PACKAGE]

Arms: `patches` (the mean token of a crop, FarSLIP), `cls` (its class vector, CLIPSelf), `none` (no distillation), and on request
`shuffled`: as `patches`, with the captions of other views, from which nothing can be learnt. Every run is a process of its own
(the same command with one request file) and leaves a JSON in DIR/runs and its package in DIR/packages; stopped and called again,
or called with other arms or seeds, it does what is missing. The table is DIR/ablation.md, all of it DIR/ablation.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from gridscribe.canonical import canonical_json, sha256
from gridscribe.errors import GridscribeError, UsageError
from gridscribe.models.clip.concepts import concepts_path
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.package_files import MODEL_FILE
from gridscribe.pipelines.resumable import in_order, result_of, results, write_whole
from gridscribe.progress import Reporter, reporter

MODULE = "gridscribe.pipelines.alignment.ablation"
TABLE = "ablation.json"
CONFIG = "stage1"  # the stage that distils
ARMS: dict[str, dict[str, Any]] = {
    "patches": {"model.target": "patches"},
    "cls": {"model.target": "cls"},
    "none": {"model.weights.distil": 0.0},
    "shuffled": {"model.target": "patches", "train_dataloader.dataset.shuffled": True},
}
USUAL = ("patches", "cls", "none")
MEASURES = {
    "top-1": ("classification", "model", "top1"),
    "top-1, mean of categories": ("classification", "model", "balanced_top1"),
    "mAP seen": ("retrieval", "seen", "model", "map"),
    "mAP synonyms": ("retrieval", "synonym", "model", "map"),
    "mAP combinations": ("retrieval", "combination", "model", "map"),
    "R@1 caption to view": ("views", "caption to view", "model", "recall@1"),
    "mIoU": ("segmentation", "scores", "calibrated", "miou_without_other"),
    "mIoU uncalibrated": ("segmentation", "scores", "uncalibrated", "miou_without_other"),
}
"""Columns of the table, by where they stand in the JSON of an examination."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What all runs of a series share."""

    data: str
    held_out: str
    steps: int
    threads: int
    pretrained: str | None = None
    """Package that every run begins with; None: random weights, other ones for each seed."""
    options: dict[str, Any] = field(default_factory=dict)
    """Changes to the training config."""
    engine: str = "auto"
    """That examines the packages."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training and its examination."""

    arm: str
    seed: int
    budget: Budget

    @property
    def name(self) -> str:
        """See `resumable.Named`."""
        return f"{self.arm}_seed{self.seed}-{sha256(canonical_json(asdict(self)))[:8]}"


def plan(arms: Sequence[str], seeds: Sequence[int], budget: Budget) -> list[Run]:
    """All combinations, seeds outermost, so that what is cut short has whole rounds. Raises UsageError for unknown arms."""
    for arm in arms:
        if arm not in ARMS:
            raise UsageError(f"arm {arm!r}: must be one of {', '.join(ARMS)}")
    return [Run(arm, seed, budget) for seed, arm in product(seeds, arms)]


def ablate(runs: Sequence[Run], folder: Path, jobs: int = 1) -> Iterator[tuple[Run, dict[str, Any] | GridscribeError]]:
    """Do what has no result in `folder` yet; yields every run with its result, in order: see `resumable`."""

    def result(run: Run) -> dict[str, Any]:
        return result_of(run.name, {"run": asdict(run)}, MODULE, folder, TABLE, run.budget.threads)

    yield from in_order(runs, result, jobs)


def run_one(run: Run, work_dir: Path) -> dict[str, Any]:
    """Train and examine: what the JSON of a run holds."""
    from gridscribe.pipelines.alignment.evaluation import Examination, evaluate_alignment
    from gridscribe.pipelines.alignment.training import train_alignment

    budget = run.budget
    started = time.perf_counter()
    if (work_dir / "package" / MODEL_FILE).exists():  # stopped while it was examined
        package = load_alignment(work_dir / "package")
    else:
        package = train_alignment(
            CONFIG,
            work_dir,
            data=Path(budget.data),
            pretrained=budget.pretrained,
            threads=budget.threads,
            steps=budget.steps,
            seed=run.seed,
            cfg_options={**budget.options, **ARMS[run.arm]},
        )
    seconds = time.perf_counter() - started
    how = Examination(
        Path(budget.held_out), Path(budget.data), concepts_path("gamus"), engine=budget.engine, baselines=False
    )
    shared = {name: value for name, value in asdict(budget).items() if name not in ("data", "held_out")}
    return {
        "arm": run.arm,
        "seed": run.seed,
        "budget": {**shared, "pretrained": package.source["training"].get("initial_weights")},
        "seconds": round(seconds, 1),
        "training": package.source["training"],
        "scores": evaluate_alignment(package, how).to_json(),
    }


def summarise(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per arm and budget: the mean over seeds of each of `MEASURES`, and the sample standard deviation (None for one)."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in found:
        groups.setdefault((one["arm"], json.dumps(one["budget"], sort_keys=True)), []).append(one)
    rows = []
    for (arm, budget), group in sorted(groups.items(), key=lambda item: (item[0][1], list(ARMS).index(item[0][0]))):
        row: dict[str, Any] = {"arm": arm, "budget": json.loads(budget), "seeds": sorted(one["seed"] for one in group)}
        for name, path in MEASURES.items():
            values = [value for one in group if (value := _at(one["scores"], path)) is not None]
            spread = round(statistics.stdev(values), 4) if len(values) > 1 else None
            row[name] = {"mean": round(statistics.fmean(values), 4) if values else None, "spread": spread}
        rows.append(row)
    return rows


def _at(scores: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """None where the examination has no such phrases, or nothing to divide by."""
    found: Any = scores
    for key in path:
        found = found.get(key, {})
    return found if isinstance(found, int | float) else None


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table, ± the standard deviation over seeds."""
    head = ["distillation", "steps", *MEASURES, "seeds"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["arm"], str(row["budget"]["steps"])]
        for name in MEASURES:
            mean, spread = row[name]["mean"], row[name]["spread"]
            cells.append("" if mean is None else f"{mean:.3f}" + ("" if spread is None else f" ± {spread:.3f}"))
        lines.append("| " + " | ".join([*cells, str(len(row["seeds"]))]) + " |")
    return "\n".join(lines) + "\n"


def write_table(folder: Path) -> str:
    """Of everything in `folder`; returns the table."""
    found = list(results(folder, TABLE).values())
    rows = summarise(found)
    text = markdown(rows)
    write_whole(folder / TABLE, {"rows": rows, "runs": found})
    (folder / "ablation.md").write_text(text)
    return text


def series(arms: Sequence[str], seeds: int, budget: Budget, folder: Path, jobs: int, report: Reporter) -> str:
    """Run what is missing, writing the table after each; returns it. Raises GridscribeError in the end where a run failed."""
    runs = plan(arms, range(seeds), budget)
    failed, text = [], ""
    for number, (run, found) in enumerate(ablate(runs, folder, jobs), 1):
        if isinstance(found, GridscribeError):
            failed.append(run.name)
            report.say(f"{number}/{len(runs)} {found}")
            continue
        report.say(f"{number}/{len(runs)} {run.name}: {found['seconds']:.0f} s")
        text = write_table(folder)
    if failed:
        raise GridscribeError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; the same command tries them again"
        )
    return text


def main() -> None:
    """The command line of this module (see above), and one run of it where the only argument is its request file."""
    if len(sys.argv) == 2 and sys.argv[1].endswith("run.json"):
        request = Path(sys.argv[1])
        asked = json.loads(request.read_text())
        fields = asked["run"]
        write_whole(
            Path(asked["result"]),
            run_one(Run(fields["arm"], fields["seed"], Budget(**fields["budget"])), request.parent),
        )
        return
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="generated scenes to train on")
    parser.add_argument("--held-out", type=Path, required=True, help="generated scenes to examine on")
    parser.add_argument("--output", type=Path, required=True, help="results and table go here")
    parser.add_argument("--arms", nargs="+", default=list(USUAL), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0..N-1 of each arm")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pretrained", help="alignment package that every run begins with (default: random weights)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each run")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        default={},
        metavar="K=V",
        help="changes to configs/alignment/stage1",
    )
    given = parser.parse_args()
    budget = Budget(
        str(given.data), str(given.held_out), given.steps, given.threads, given.pretrained, dict(given.cfg_options)
    )
    try:
        text = series(given.arms, given.seeds, budget, given.output, given.jobs, reporter())
    except GridscribeError as error:
        sys.exit(f"gridscribe: {error}")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
