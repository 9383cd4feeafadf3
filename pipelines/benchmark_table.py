"""The table of a comparison: a row per strategy and encoders, the mean over seeds and its spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

FLAT = 0.02
"""Relative fall of the loss over the last fifth of a curve below which it counts as flat."""


COSTS = "parameters", "gigaflops", "windows_per_second"


def summarise(results: Sequence[dict[str, Any]], costs: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """A row per (strategy, encoders) in order of the mean mIoU without class 0: means, spreads (sample standard deviation,
    None for one seed), costs (None where `costs` has none yet), and whether the training curves had flattened."""
    costly = {(one["strategy"], " + ".join(one["encoders"])): one for one in costs}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["strategy"], " + ".join(result["encoders"])), []).append(result)
    rows = []
    for (strategy, encoders), group in groups.items():
        scores = [one["metrics"]["miou_without_other"] for one in group]
        names = group[0]["metrics"]["iou"]
        rows.append(
            {
                "strategy": strategy,
                "encoders": encoders,
                "seeds": sorted(one["seed"] for one in group),
                "miou": round(statistics.fmean(one["metrics"]["miou"] for one in group), 4),
                "miou_without_other": round(statistics.fmean(scores), 4),
                "spread": round(statistics.stdev(scores), 4) if len(scores) > 1 else None,
                "iou": {name: _mean([one["metrics"]["iou"][name] for one in group]) for name in names},
                **{name: costly.get((strategy, encoders), {}).get(name) for name in COSTS},
                "flat": all(is_flat(one["curve"]) for one in group),
            }
        )
    return sorted(rows, key=lambda row: -row["miou_without_other"])


def _mean(values: Sequence[float | None]) -> float | None:
    """None for a class that no held-out image shows."""
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 3) if known else None


def is_flat(curve: Sequence[Sequence[float]]) -> bool:
    """Whether the loss fell by less than `FLAT` of itself from the fourth to the last fifth of training."""
    fifth = len(curve) // 5
    if fifth == 0:
        return False
    before = statistics.fmean(loss for _, loss in curve[-2 * fifth : -fifth])
    after = statistics.fmean(loss for _, loss in curve[-fifth:])
    return after > before * (1 - FLAT)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    names = list(rows[0]["iou"]) if rows else []
    head = ["strategy", "encoders", "mIoU 1..", "mIoU", *names, "M params", "GFLOP / window", "windows / s", "seeds"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        spread = "" if row["spread"] is None else f" ± {row['spread']:.3f}"
        cells = [
            row["strategy"],
            row["encoders"],
            f"{row['miou_without_other']:.3f}{spread}",
            f"{row['miou']:.3f}",
            *("" if row["iou"][name] is None else f"{row['iou'][name]:.2f}" for name in names),
            "" if row["parameters"] is None else f"{row['parameters'] / 1e6:.1f}",
            "" if row["gigaflops"] is None else f"{row['gigaflops']:.1f}",
            "" if row["windows_per_second"] is None else f"{row['windows_per_second']:.1f}",
            str(len(row["seeds"])),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [
        "",
        "mIoU 1.. leaves class 0 out, as GAMUS's tables do; ± is the standard deviation over seeds. GFLOP and windows: one window"
        " of the package's size, two operations per multiply-add, by the engine that a job would use.",
    ]
    if rows and not all(row["flat"] for row in rows):
        notes.append("At equal small budget: the training loss of some rows was still falling when training ended.")
    return "\n".join(lines + notes) + "\n"


def draw_curves(results: Sequence[dict[str, Any]]) -> bytes:
    """PNG bytes: the training loss of each strategy, the mean over its seeds, a panel for each choice of encoders."""
    from io import BytesIO

    import numpy as np
    from matplotlib.figure import Figure

    panels: dict[str, dict[str, list[Any]]] = {}
    for one in results:
        strategies = panels.setdefault(" + ".join(one["encoders"]), {})
        if one["curve"]:  # a run that is shorter than the logging interval has none
            strategies.setdefault(one["strategy"], []).append(one["curve"])
    figure = Figure(figsize=(1 + 6 * len(panels), 4.5), layout="constrained")
    for axes, (encoders, strategies) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for k, (strategy, curves) in enumerate(strategies.items()):
            shared = min(map(len, curves))
            steps, losses = np.array([curve[:shared] for curve in curves]).mean(axis=0).T
            axes.plot(steps, losses, label=strategy, color=f"C{k % 10}", linestyle="-" if k < 10 else "--")
        axes.set(xlabel="step", ylabel="training loss", title=encoders)
        if strategies:
            axes.legend(fontsize=8, ncols=2)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
