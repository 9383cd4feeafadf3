"""What an evaluation leaves to read and to look at: a table by class as Markdown, the same as JSON, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gridscribe.pipelines.metrics import BINS, Calibration, f1
from gridscribe.pipelines.scores import Scores

MOST_NAMED = 30  # cells of a larger confusion matrix are not labelled with their numbers


def write_report(scores: Scores, folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write `evaluation.json`, `evaluation.md` and `evaluation.png` into `folder`; returns the JSON.

    `facts` (model, data, engine, temperature, ...) stand in the JSON before the measures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {**facts, **scores.to_json(), "classes": list(scores.legend.classes)}
    document["confusion"] = scores.confusion.tolist()
    if scores.calibration is not None:
        document["calibration"] = {
            "pixels": scores.calibration.pixels.tolist(),
            "right": scores.calibration.right.tolist(),
            "confidence": [round(float(value), 1) for value in scores.calibration.confidence],
        }
    (folder / "evaluation.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "evaluation.md").write_text(markdown(scores))
    (folder / "evaluation.png").write_bytes(draw_report(scores))
    return document


def markdown(scores: Scores) -> str:
    """A row per class, and the means below."""
    found = scores.to_json()
    share = scores.confusion.sum(axis=1) / max(1, scores.confusion.sum())
    head = ["class", "share of pixels", "IoU", "F1", "boundary IoU"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for k, name in enumerate(scores.legend.classes):
        mark = " (outside the mean)" if k in scores.legend.ignored_in_mean else ""
        values = (scores.iou[k], f1(scores.confusion)[k], scores.boundary_iou[k])
        lines.append(f"| {name}{mark} | {share[k]:.1%} | " + " | ".join(map(_number, values)) + " |")
    means = (found["miou_without_other"], found["f1"], found.get("boundary_miou"))
    lines.append("| **mean** | | " + " | ".join(map(_number, means)) + " |")
    lines += [
        "",
        f"{scores.images} images; overall accuracy {_number(found['accuracy'])}; ECE {_number(found.get('ece'))}.",
    ]
    if scores.boundary_pixels:
        lines.append(f"Boundary IoU looks at {scores.boundary_pixels} pixels inside each contour.")
    if scores.unpredicted:
        lines.append(f"{scores.unpredicted:,} labelled pixels have no RGB: they are in no measure.")
    return "\n".join(lines) + "\n"


def draw_report(scores: Scores) -> bytes:
    """PNG bytes: the confusion matrix by row, and confidence against accuracy."""
    count = len(scores.legend.classes)
    figure = Figure(figsize=(6.5 + 0.35 * count + 5, 3.2 + 0.35 * count), layout="constrained")
    matrix, reliability = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_confusion(matrix, scores)
    if scores.calibration is not None:
        _draw_reliability(reliability, scores.calibration)
    else:
        reliability.set_axis_off()
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _draw_confusion(axes: Axes, scores: Scores) -> None:
    names, count = scores.legend.classes, len(scores.legend.classes)
    total = scores.confusion.sum(axis=1, keepdims=True)
    share = np.divide(scores.confusion, total, out=np.zeros((count, count)), where=total > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(count), names, rotation=45, ha="right")
    axes.set_yticks(range(count), names)
    axes.set(xlabel="mask", ylabel="label", title=f"share of each label's pixels; mIoU {scores.miou_without_other:.3f}")
    if count <= MOST_NAMED:
        for (row, col), value in np.ndenumerate(share):
            color = "white" if value > 0.5 else "black"
            axes.text(col, row, f"{100 * value:.0f}", ha="center", va="center", color=color, fontsize=8)


def _draw_reliability(axes: Axes, calibration: Calibration) -> None:
    used = calibration.pixels > 0
    confidence = calibration.confidence[used] / calibration.pixels[used]
    accuracy = calibration.right[used] / calibration.pixels[used]
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot(confidence, accuracy, marker="o", label="share of right pixels")
    axes.bar(
        (np.arange(BINS) + 0.5) / BINS, calibration.pixels / calibration.pixels.sum(), width=0.9 / BINS, alpha=0.25,
        label="share of all pixels",
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", title=f"calibration; ECE {calibration.error:.3f}")
    axes.legend(loc="upper left")


def _number(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.3f}"
