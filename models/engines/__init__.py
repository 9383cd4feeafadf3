"""Engines: how a network is run. One Protocol (`base.Engine`), a class per way.

`resolve_engine` turns a wish into an exact spec once, when a job is planned; `open_engine` gives exactly that spec or
refuses. Measured choices are beside the constants below.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Protocol, cast, get_args

from gridscribe.errors import EngineError, UsageError
from gridscribe.models.engines.base import Engine, EngineSpec, Name, Precision
from gridscribe.models.engines.shared import SharedEngine
from gridscribe.models.package import ModelPackage

__all__ = [
    "Engine",
    "EngineSpec",
    "SharedEngine",
    "engine_environment",
    "malloc_environment",
    "open_engine",
    "resolve_engine",
    "restart_with_malloc_environment",
]

NAMES = ("auto", *get_args(Name))
PRECISIONS = get_args(Precision)
OPENVINO_BATCH = 1
"""Float32, AVX2: one window costs 257 ms of processor time alone, 263 in a graph for two, 268 in one for four: there is
nothing to gain from larger tensors."""
TORCH_BATCH = 1
CUDA_BATCH = 16
TORCH_THREADS = 2
LARGEST_BATCH = 256


class Sized(Protocol):
    """A package of any kind, as far as windows go."""

    @property
    def window(self) -> int:
        """Pixels a side of the windows that it is run on unless asked otherwise."""
        ...

    @property
    def patch(self) -> int:
        """What a window must be a multiple of."""
        ...


def resolve_engine(
    name: str,
    package: Sized,
    *,
    precision: str | None = None,
    batch: int | None = None,
    threads: int | None = None,
    window: int | None = None,
) -> EngineSpec:
    """The exact engine that `name` means on this machine; what is not given is chosen. The network is not built.

    "auto": CUDA -> torch in bfloat16; else OpenVINO, in bfloat16 where the processor has it. "torch": CUDA in bfloat16
    where there is a device, else CPU in float32. `window` defaults to the package's. Raises UsageError for a wish that
    is not understood, EngineError for one that this machine cannot meet.
    """
    if name not in NAMES:
        raise UsageError(f"engine {name!r}: must be one of {', '.join(NAMES)}")
    if precision is not None and precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r}: must be one of {', '.join(PRECISIONS)}")
    for option, value, most in (("batch", batch, LARGEST_BATCH), ("threads", threads, 1024)):
        if value is not None and not 1 <= value <= most:
            raise UsageError(f"{option}={value}: must lie in 1..{most}")
    window = package.window if window is None else window
    if window < 1 or window % package.patch:
        raise UsageError(f"window={window}: must be a positive multiple of the model's patch ({package.patch})")
    device = "cpu" if name == "openvino" else _torch_device()
    if device == "cuda":
        return EngineSpec("torch", "cuda", cast(Precision, precision or "bfloat16"), batch or CUDA_BATCH, window, None)
    if name == "torch":
        wanted = cast(Precision, precision or "float32")
        return EngineSpec("torch", "cpu", wanted, batch or TORCH_BATCH, window, threads or TORCH_THREADS)
    from gridscribe.models.engines.openvino_engine import has_bfloat16

    able = has_bfloat16()
    if precision == "bfloat16" and not able:
        raise EngineError("precision 'bfloat16': this processor has none; use float32, or leave it out")
    wanted = cast(Precision, precision or ("bfloat16" if able else "float32"))
    return EngineSpec("openvino", "cpu", wanted, batch or OPENVINO_BATCH, window, threads)


def open_engine(spec: EngineSpec, package: ModelPackage, *, cores: int | None = None) -> Engine:
    """Loads `package` into exactly the engine that `spec` names; raises EngineError where this process cannot give it.

    `cores` is how many this process may use where the spec leaves it open, because it cannot change the answers (all, if
    not given).
    """
    if spec.name == "torch":
        from gridscribe.models.engines.torch_engine import TorchEngine

        return TorchEngine(spec, package)
    if spec.name == "openvino":
        from gridscribe.models.engines.openvino_engine import OpenVINOEngine, usable_cores

        return OpenVINOEngine(spec, package, spec.threads or cores or usable_cores())
    raise EngineError(f"engine {spec.name!r} is not known to this version")


def malloc_environment() -> dict[str, str]:
    """Variables for the start of a process that runs torch on CPU; they have no effect once it runs.

    With glibc, freed memory stays with the process: without that each large tensor is faulted in page by page and given
    back again, and a batch took twice as long. And OpenMP's threads wait asleep: beside other work on the same cores,
    a training step of 2.5 s took 11 to 18 s while they spun.
    """
    return {
        "MALLOC_MMAP_THRESHOLD_": "1073741824",
        "MALLOC_TRIM_THRESHOLD_": "8589934592",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def restart_with_malloc_environment() -> None:
    """Start this program again with `malloc_environment`, unless it has it: the allocator reads it when a process starts."""
    environment = malloc_environment()
    if not all(os.environ.get(name) == value for name, value in environment.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **environment})


def engine_environment(spec: EngineSpec) -> dict[str, str]:
    """Variables that a process must start with to run this engine well; OpenVINO keeps its buffers by itself."""
    return malloc_environment() if (spec.name, spec.device) == ("torch", "cpu") else {}


def _torch_device() -> str:
    """ "cuda" where torch can use one; without a CUDA driver the answer needs no import of torch."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
