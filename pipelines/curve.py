"""The course of a training run, from MMEngine's log of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

Point = tuple[int, float, float]
"""Step, loss (the mean since the point before), learning rate."""


def read_curve(work_dir: Path) -> list[Point]:
    """All logged points, in the order of steps; where a run was stopped and went on, the later log holds."""
    points: dict[int, Point] = {}
    for file in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            if "loss" in row:
                points[row["step"]] = (int(row["step"]), float(row["loss"]), float(row["lr"]))
    return [points[step] for step in sorted(points)]


def draw_curve(points: Sequence[Point], title: str) -> bytes:
    """PNG bytes: the loss and its running mean over a tenth of the run, and the learning rate."""
    steps, losses, rates = np.array(points, np.float64).reshape(-1, 3).T
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, color="tab:blue", alpha=0.35, linewidth=1, label="loss")
    width = max(1, len(losses) // 10)
    if len(losses) >= width > 1:
        smooth = np.convolve(losses, np.full(width, 1 / width), mode="valid")
        axes.plot(steps[width - 1 :], smooth, color="tab:blue", label=f"mean of {width} points")
    axes.set(xlabel="step", ylabel="loss", title=title, ylim=(0, None))
    axes.legend(loc="upper right")
    right = axes.twinx()
    right.plot(steps, rates, color="tab:grey", linestyle=":", linewidth=1)
    right.set(ylabel="learning rate (dotted)", ylim=(0, None))
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
