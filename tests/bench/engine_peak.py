"""The engine beside the machine's own peak: operations of the network over time, and a large matrix product's.

    python tests/bench/engine_peak.py [--model scenes]

Operations are those that the exported network really does (multiplies and adds of convolutions, linear layers and attention,
counted by torch's own counter). The peak is the best of several 4096 x 4096 x 4096 products in the engine's precision with
all cores; where the processor has no bfloat16, the product in float32 is the one to compare with, and this says so.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from gridscribe.models.engines import SharedEngine, open_engine, resolve_engine
from gridscribe.models.engines.openvino_engine import has_bfloat16
from gridscribe.models.inference import Predictor
from gridscribe.models.package import build_network, load_package

REPEATS = 5
WINDOWS = 12


def gemm_peak(dtype: torch.dtype) -> float:
    """Operations a second of the best matrix product."""
    size = 4096
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="scenes")
    package = load_package(parser.parse_args().model)
    spec = resolve_engine("auto", package)
    with torch.inference_mode(), FlopCounterMode(mods=None, display=False) as counter:
        Predictor(build_network(package))(torch.zeros(1, 4, spec.window, spec.window))
    operations = counter.get_total_flops()
    window_pixels = np.random.default_rng(0).uniform(0, 200, (4, spec.window, spec.window)).astype(np.float32)
    times = []
    with SharedEngine(open_engine(spec, package)) as engine:
        for _ in range(1 + REPEATS):
            started = time.perf_counter()
            for _ in engine.stream([window_pixels] * WINDOWS):
                pass
            times.append((time.perf_counter() - started) / WINDOWS)
    window = statistics.median(times[1:])  # the first is warm-up
    precision = torch.bfloat16 if spec.precision == "bfloat16" else torch.float32
    peak = gemm_peak(precision)
    print(f"network: {operations / 1e9:.2f} GFLOP a {spec.window} px window")
    print(
        f"engine: {spec.name} {spec.precision}, {window * 1e3:.1f} ms a window, {operations / window / 1e9:.0f} GFLOP/s"
    )
    print(
        f"{spec.precision} matrix product: {peak / 1e9:.0f} GFLOP/s; engine / product {operations / window / peak:.2f}"
    )
    if not has_bfloat16():
        print("this processor has no bfloat16: the comparison is in float32")


if __name__ == "__main__":
    main()
