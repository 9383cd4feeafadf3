"""What a network costs: parameters, operations and speed, measured on random weights, which change none of them."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from gridscribe.models.engines import SharedEngine, open_engine, resolve_engine
from gridscribe.models.inference import Predictor
from gridscribe.models.package import ModelPackage, build_network
from gridscribe.models.segmentor import build_segmentor
from gridscribe.pipelines.packaging import package_network
from gridscribe.pipelines.recipes import config_path, with_encoders

WINDOWS = 8
ROUNDS = 3


def measure(strategy: str, encoders: Sequence[str]) -> dict[str, Any]:
    """Parameters, 1e9 operations a window, and windows a second of the engine that a job would use here, warm.

    An operation is a multiplication or an addition, so a multiply-add counts as two. The rate is the median of three rounds;
    nothing else should run meanwhile.
    """
    config = Config.fromfile(str(config_path(strategy)))
    with_encoders(config, *encoders)
    with tempfile.TemporaryDirectory() as folder:
        package = package_network(config, build_segmentor(config.model.to_dict()), Path(folder), {})
    parameters, gigaflops = _size(package)
    return {
        "strategy": strategy,
        "encoders": list(encoders),
        "parameters": parameters,
        "gigaflops": gigaflops,
        "windows_per_second": _speed(package),
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """The processor or GPU that torch computes on, the number of cores, and torch's version."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {"device": device, "torch": torch.__version__, "cores": os.cpu_count()}


def _size(package: ModelPackage) -> tuple[int, float]:
    network = build_network(package).requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(mods=None, display=False) as counter:
        Predictor(network)(torch.zeros(1, 4, package.window, package.window))
    return sum(p.numel() for p in network.parameters()), round(counter.get_total_flops() / 1e9, 2)


def _speed(package: ModelPackage) -> float:
    window = np.random.default_rng(0).uniform(0, 200, (4, package.window, package.window)).astype(np.float32)
    rates = []
    with SharedEngine(open_engine(resolve_engine("auto", package), package)) as engine:
        engine.warm_up()
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in engine.stream([window] * WINDOWS):
                pass
            rates.append(WINDOWS / (time.perf_counter() - started))
    return round(statistics.median(rates), 2)


def _processor() -> str:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
