"""OpenVINO on CPU: float32, or bfloat16 where the processor has it."""

from __future__ import annotations

import os
import queue
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import EngineError
from gridscribe.models.engines.base import BANDS, EngineSpec, check_batch
from gridscribe.models.engines.graph_cache import cached_graph, forget
from gridscribe.models.engines.quiet_openvino import ov
from gridscribe.models.package import ModelPackage

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_options(precision: str, threads: int) -> dict[str, Any]:
    """As many streams as there are threads, one thread each, computing in exactly this precision."""
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
    }


def check_able(spec: EngineSpec) -> None:
    """Raises EngineError where this machine cannot run OpenVINO as `spec` says."""
    if spec.device != "cpu":
        raise EngineError(f"OpenVINO runs on the CPU here, the spec asks for {spec.device!r}")
    if spec.precision == "bfloat16" and not has_bfloat16():
        raise EngineError("the product's engine is OpenVINO in bfloat16, and this processor has no bfloat16")


def requests(core: Any, graph: Any, spec: EngineSpec, threads: int, count: int) -> queue.SimpleQueue[Any]:
    """`graph` compiled for `threads` cores: `count` requests to take from the queue and put back after use."""
    compiled = core.compile_model(graph, "CPU", compile_options(spec.precision, threads))
    idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(count):
        idle.put(compiled.create_infer_request())
    return idle


class OpenVINOEngine:
    """See `Engine`. The answer for a window is the same bits at any place in a batch and with any number of threads.

    Every call runs its windows one by one, in a stream of one thread: cores need not wait for each other within a layer.
    Measured for the shipped model on two cores shared with other work: 262 ms of processor time a window in two streams of
    one thread, 327 in one stream of two. One call more than there are streams stands ready, so that a stream goes on at
    once. The network is converted once per package and kept on disk; when it is there, torch is not imported.
    """

    def __init__(self, spec: EngineSpec, package: ModelPackage, threads: int) -> None:
        """Compiles the network for `threads` cores. Raises EngineError for bfloat16 on a processor without it."""
        check_able(spec)
        self.spec = spec
        self.num_classes = len(package.classes)
        self.parallel = threads + 1
        core = ov.Core()
        self._idle = requests(core, _graph(core, spec, package), spec, threads, self.parallel)
        self._closed = False

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine.predict`."""
        if self._closed:
            raise EngineError("this engine is closed")
        check_batch(batch, self.spec)
        given = np.ascontiguousarray(batch)
        found = np.empty((len(given), self.num_classes, self.spec.window, self.spec.window), np.float32)
        request = self._idle.get()
        try:
            for k in range(len(given)):
                request.set_input_tensor(ov.Tensor(given[k : k + 1], shared_memory=True))
                request.set_output_tensor(ov.Tensor(found[k : k + 1], shared_memory=True))
                request.infer()
        finally:
            self._idle.put(request)
        return found

    def close(self) -> None:
        """See `Engine.close`; no call may be in progress."""
        self._closed = True
        self._idle = queue.SimpleQueue()


def _graph(core: ov.Core, spec: EngineSpec, package: ModelPackage) -> Any:
    """The converted network, always as read back from disk, so that the first use and later ones compile the same."""

    def convert(path: Path) -> None:
        from gridscribe.models.inference import traced
        from gridscribe.models.package import build_network

        shape = [1, BANDS, spec.window, spec.window]
        module = traced(build_network(package), 1, spec.window, package.temperature)
        graph = ov.convert_model(module, example_input=np.zeros(shape, np.float32), input=shape)
        ov.save_model(graph, path, compress_to_fp16=False)

    path = cached_graph(package, spec.window, ov.__version__, convert)
    try:
        return core.read_model(path)
    except RuntimeError:
        forget(path)
        return core.read_model(cached_graph(package, spec.window, ov.__version__, convert))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
