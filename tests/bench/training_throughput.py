"""What training costs beside the network: `gridscribe train`'s loop against a bare loop over the same network.

    python tests/bench/training_throughput.py [--config scenes] [--steps 12] [--rounds 3] [--crop 256] [--batch 8]

Both are in one process, in turn. The bare loop has its crops in memory and does preprocessing, forward, backward, clipping and
the optimizer's step, and nothing else; the Runner reads, crops and augments scenes, logs and schedules as in any training. The
time of a step is the median over a round; the ratio is taken within a round, and the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.engines import restart_with_malloc_environment
from gridscribe.pipelines.training import CheckedRunner, load_config

WARM_UP = 3  # steps of a round that are not counted


@HOOKS.register_module()
class Clock(Hook):
    """When each step ended."""

    times: list[float] = []  # noqa: RUF012 - read by the program below

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def step_time(times: list[float]) -> float:
    """Median seconds from one step's end to the next."""
    return statistics.median(b - a for a, b in zip(times[WARM_UP:], times[WARM_UP + 1 :], strict=False))


def main() -> None:
    """Measure and print."""
    restart_with_malloc_environment()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="scenes")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as place:
        write_scenes(Path(place) / "scenes", 8, 5, 768, 0.2)
        ratios, times = [], []
        for number in range(options.rounds):
            runner = runner_of(Path(place), number, options)
            Clock.times.clear()
            runner.train()
            trained = step_time(Clock.times)
            bare = step_time(bare_loop(runner, options.steps + WARM_UP))
            ratios.append(bare / trained)
            times.append(trained)
            print(f"round {number + 1}: train {trained:.3f} s a step, bare loop {bare:.3f} s", flush=True)
    print(f"bare loop / train: {statistics.median(ratios):.3f}  ({statistics.median(times):.3f} s a step)")


def runner_of(place: Path, number: int, options: argparse.Namespace) -> CheckedRunner:
    """A Runner as training has it, with a clock."""
    changes = {
        "train_dataloader.batch_size": options.batch,
        "train_dataloader.dataset.crop": options.crop,
        "custom_hooks": [{"type": "Clock"}],
    }
    config = load_config(
        options.config,
        data=place / "scenes",
        work_dir=place / f"work{number}",
        cache=place / "cache",
        steps=options.steps + WARM_UP,
        cfg_options=changes,
    )
    return CheckedRunner.from_cfg(config)


def bare_loop(runner: CheckedRunner, steps: int) -> list[float]:
    """The same network and optimizer on one batch that is in memory; when each step ended."""
    data = runner.train_dataloader.dataset
    crops = [data[k] for k in range(runner.train_dataloader.batch_size)]
    batch = {key: [crop[key] for crop in crops] for key in crops[0]}
    model, wrapper = runner.model.train(), runner.optim_wrapper
    times = []
    for _ in range(steps):
        given = model.data_preprocessor(batch, True)
        with wrapper.optim_context(model):
            losses = model.loss(given["inputs"], given["data_samples"])
        total = sum(value for key, value in losses.items() if "loss" in key)
        wrapper.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        wrapper.optimizer.step()
        times.append(time.perf_counter())
    return times


if __name__ == "__main__":
    main()
