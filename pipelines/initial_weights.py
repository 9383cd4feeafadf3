"""Where a training run's weights begin: at random, or with checkpoints of others (`gridscribe train --pretrained`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.checkpoint_file import CheckpointFile, read_checkpoint_file
from gridscribe.models.pretrained import TARGETS, is_own, load_pretrained

RANDOM = "random"
RECORD = "initial_weights.json"
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
"""Of R, G, B in 0..255: what torchvision, timm, NVIDIA, Microsoft and OpenMMLab train their encoders with."""
_KEYS = ("mean", "std")


def parse_pretrained(pairs: Iterable[str]) -> dict[str, Path]:
    """`INTO=FILE` pairs. Raises UsageError for other forms, unknown or repeated targets."""
    found: dict[str, Path] = {}
    for pair in pairs:
        into, equals, path = pair.partition("=")
        if not equals or not path or into not in TARGETS:
            raise UsageError(f"--pretrained {pair!r}: expected INTO=FILE, where INTO is one of {', '.join(TARGETS)}")
        if into in found:
            raise UsageError(f"--pretrained {into}: given twice, {found[into]} and {path}")
        found[into] = Path(path)
    return found


class InitialWeights(Hook):
    """Fills a run's network with checkpoints, once, after it was built and before its first step.

    RGB is then normalised as for the checkpoint: its own mean and std where it tells them, ImageNet's where it comes from
    elsewhere. Weights and normalisation belong together, and the package states the one that was used; the scenes' own
    mean and std would only move inputs away from what the weights expect. Those of a config's author, given as overrides, stay.

    A run that goes on is left alone: what it began with stands in `initial_weights.json` in its folder, and other checkpoints
    than those are refused, since they would not be used.
    """

    def __init__(self, given: Mapping[str, Path], config: Config, overrides: Mapping[str, Any] | None = None) -> None:
        """Reads the files and sets the normalisation in `config`, in place. Raises ModelError for files that cannot be used."""
        self._record = Path(config.work_dir) / RECORD
        self._goes_on = (Path(config.work_dir) / "last_checkpoint").exists()
        self._files = {into: read_checkpoint_file(path) for into, path in given.items()}
        self._notes: dict[str, str] = {}
        self._found: dict[str, Any] = {"normalisation": None, "checkpoints": RANDOM}
        if self._goes_on:
            if self._record.is_file():
                self._found = json.loads(self._record.read_text())
            self._check_the_same()
            if self._found["normalisation"]:
                _normalise(config, self._found["normalisation"], overrides or {})
            return
        for into, file in self._files.items():
            if into != "height" or "rgb" in config.model.backbone.get("use", ()):
                wanted = rgb_normalisation(file)
                self._notes[into], kept = _normalise(config, wanted, overrides or {})
                self._found["normalisation"] = None if kept else wanted

    @property
    def description(self) -> Any:
        """For the package: `random`, or a list with a summary of each checkpoint's report."""
        return self._found["checkpoints"]

    def before_train(self, runner: Any) -> None:
        """MMEngine's hook: between the random weights (which come after `before_run`) and the first step."""
        if self._goes_on:
            return
        if not self._files:
            self._record.unlink(missing_ok=True)  # of a run that never reached its first checkpoint
            return
        reports = [
            replace(report, notes=(*report.notes, *filter(None, [self._notes.get(report.into)])))
            for report in load_pretrained(runner.model, self._files)
        ]
        for report in reports:
            runner.logger.info(report.text())
        self._found["checkpoints"] = [report.summary() for report in reports]
        self._record.write_text(json.dumps(self._found, indent=1) + "\n")

    def _check_the_same(self) -> None:
        if not self._files:
            return
        begun = self.description
        known = {} if begun == RANDOM else {one["into"]: one["sha256"] for one in begun}
        if known != {into: file.sha256 for into, file in self._files.items()}:
            names = RANDOM if begun == RANDOM else ", ".join(f"{one['into']}={one['file']}" for one in begun)
            raise UsageError(
                f"--pretrained: the run in {self._record.parent} began with {names} weights and goes on from its last "
                "checkpoint; leave --pretrained out, or take another folder"
            )


def rgb_normalisation(file: CheckpointFile) -> dict[str, list[float]] | None:
    """Mean and std of R, G, B that a checkpoint's encoder expects; None where nobody can tell.

    Raises ModelError for a checkpoint that says it was trained on B, G, R.
    """
    recorded = file.preprocessor
    if recorded is None:
        return None if is_own(file) else IMAGENET
    if False in (recorded.get("bgr_to_rgb"), recorded.get("to_rgb")):
        raise ModelError(f"checkpoint {file.path}: trained on channels in the order B, G, R; here they are R, G, B")
    return {key: [float(value) for value in recorded[key]] for key in _KEYS}


def _normalise(config: Config, wanted: dict[str, list[float]] | None, overrides: Mapping[str, Any]) -> tuple[str, bool]:
    """Set mean and std in `config`, unless `overrides` did; says what was done, and whether the config's were kept."""
    preprocessor = config.model.data_preprocessor
    own = {key: [float(value) for value in preprocessor[key]] for key in _KEYS}
    told = f"mean {own['mean']}, std {own['std']}"
    if wanted is None:
        return (
            f"RGB is normalised as the config says, {told}; the checkpoint does not tell what it was trained with",
            True,
        )
    if own == wanted:
        return f"RGB is normalised as for the checkpoint: {told}", False
    asked = f"mean {wanted['mean']}, std {wanted['std']}"
    if any(f"model.data_preprocessor.{key}" in overrides for key in _KEYS):
        return f"RGB is normalised as asked for, {told}; the checkpoint was trained with {asked}", True
    preprocessor.update({key: tuple(wanted[key]) for key in _KEYS})
    return f"RGB is normalised as for the checkpoint, {asked}, instead of the config's {told}", False
