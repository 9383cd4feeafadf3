"""An examination of an alignment as a table to read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gridscribe.pipelines.alignment.evaluation import AlignmentScores
from gridscribe.pipelines.alignment.phrases import GROUPS
from gridscribe.pipelines.alignment.ranking import CUTS, Retrieval


def markdown(scores: AlignmentScores) -> str:
    """Four tables: naming regions, finding them, views and captions, masks."""
    data = scores.facts["data"]
    parts = [
        f"Regions named: {data['held_out']['objects']} objects of {data['held_out']['scenes']} held-out scenes, "
        f"{len(data['categories'])} categories",
        *_table(
            ["", "top-1", "top-5", "top-1, mean of categories", "top-5, mean of categories"],
            [
                [name, *map(_number, (one.top1, one.top5, one.balanced_top1, one.balanced_top5))]
                for name, one in scores.classification.items()
            ],
        ),
    ]
    for group, ways in scores.retrieval.items():
        queries = next(iter(ways.values())).queries
        meaning = next(text for name, text in GROUPS.items() if name == group)
        parts += [f"Regions found by {queries} phrases: {meaning}", *_retrieval(ways)]
    for direction, ways in scores.views.items():
        parts += [f"{direction}, {data['views']} views", *_retrieval(ways)]
    segmented = scores.segmentation
    names = next(iter(segmented.scores.values())).legend.classes
    rows = [
        [name, _number(one.miou_without_other), _number(one.miou), *map(_number, one.iou.tolist())]
        for name, one in segmented.scores.items()
    ]
    rows.append(["names moved on", _number(segmented.shuffled), *[""] * (1 + len(names))])
    sample = segmented.offsets.sample
    parts += [
        f"Masks by words; offsets fitted on {len(sample['images'])} training scenes "
        f"(mean IoU there {sample['miou_before']:.3f} before, {sample['miou_after']:.3f} after)",
        *_table(["", "mIoU 1..", "mIoU", *names], rows),
    ]
    return "\n".join(parts) + "\n"


def _retrieval(ways: Mapping[str, Retrieval]) -> list[str]:
    head = ["", *(f"R@{k}" for k in CUTS), "mAP"]
    return _table(
        head,
        [
            [name, *(_number(one.recall[k]) for k in CUTS), _number(one.mean_average_precision)]
            for name, one in ways.items()
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return ["", *lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
