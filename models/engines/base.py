"""What an engine is: one network, compiled for one batch shape, precision and device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import EngineError

BANDS = 4
Name = Literal["torch", "openvino"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything about an engine that can change a bit of its answers; part of the product."""

    name: Name
    device: Literal["cpu", "cuda"]
    precision: Precision
    batch: int
    """Most windows per call."""
    window: int
    """Pixels a side of a window."""
    threads: int | None
    """CPU threads, where their number can change a bit of the answers (torch); None where it cannot."""

    def to_json(self) -> dict[str, Any]:
        """Plain data; `EngineSpec(**data)` reads it back."""
        return asdict(self)


class Engine(Protocol):
    """A loaded network. For one spec and one kind of processor, equal input gives equal bits."""

    spec: EngineSpec
    num_classes: int
    parallel: int
    """Calls of `predict` that may be in progress at once, and that it takes to keep the engine busy."""

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Softmax probabilities, float32 [B, classes, H, W], of 1 to `spec.batch` windows.

        Where the size of a batch could change a bit, a short one is padded here and computed in full. `batch` is float32
        [B, 4, H, W]: R, G, B in 0..255, then height in metres with NaN where missing; H = W = `spec.window`. Raises
        EngineError for any other shape or dtype.
        """
        ...

    def close(self) -> None:
        """Frees the network; the engine cannot be used afterwards. May be called twice."""
        ...


def check_batch(batch: NDArray[np.float32], spec: EngineSpec) -> None:
    """Raises EngineError, with both shapes, unless `batch` is what `Engine.predict` takes."""
    wanted = (BANDS, spec.window, spec.window)
    if batch.ndim != 4 or batch.shape[1:] != wanted or not 1 <= len(batch) <= spec.batch or batch.dtype != np.float32:
        raise EngineError(
            f"engine takes float32 of 1 to {spec.batch} windows {wanted}, got {batch.dtype} {batch.shape}"
        )
