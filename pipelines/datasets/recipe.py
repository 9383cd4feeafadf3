"""Which data a training config trains on: any of `configs/segmentation/_base_/` in the place of generated scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from gridscribe.errors import UsageError
from gridscribe.pipelines.datasets.finding import KINDS


def with_data(config: Config, data: str | Path) -> None:
    """Put a data set into a training config, in place: its crops, its classes and colours, and as many outputs of the head.

    `data`: a kind of data set, or a .py file that starts from the config of one (a folder of one's own names its patterns and
    classes in such a file). Raises UsageError where it is neither, or where the file is no config of data.
    """
    import gridscribe.configs

    path = Path(data)
    if path.suffix != ".py":
        if str(data) not in KINDS:
            raise UsageError(f"data {str(data)!r}: neither a .py file nor one of {', '.join(KINDS)}")
        path = Path(gridscribe.configs.__path__[0]) / "segmentation" / "_base_" / f"{data}.py"
    elif not path.is_file():
        raise UsageError(f"data config {path}: no such file")
    chosen = Config.fromfile(str(path)).to_dict()
    missing = [key for key in ("classes", "palette", "train_dataloader") if key not in chosen]
    if missing:
        raise UsageError(
            f"data config {path}: no {', '.join(missing)} in it: start from one in configs/segmentation/_base_/"
        )
    # options belong to a kind: those of another must not be left over
    config.train_dataloader.pop("dataset")
    config.merge_from_dict(chosen)
    config.num_classes = len(config.classes)
    _set_outputs(config.model, config.num_classes)


def _set_outputs(part: Any, count: int) -> None:
    """Every head below `part`, as strategies may have several."""
    if isinstance(part, dict):
        if "num_classes" in part:
            part["num_classes"] = count
        for value in part.values():
            _set_outputs(value, count)
    elif isinstance(part, (list, tuple)):
        for value in part:
            _set_outputs(value, count)
