"""Torch: the float32 reference on CPU, bfloat16 on CUDA."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gridscribe.errors import EngineError
from gridscribe.models.engines.base import EngineSpec, check_batch
from gridscribe.models.inference import Predictor
from gridscribe.models.package import ModelPackage, build_network


def prepare(spec: EngineSpec) -> torch.device:
    """The device of `spec`, with its threads set for the whole process. Raises EngineError where it cannot be had."""
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise EngineError("the product's engine is torch on CUDA, and this process sees no CUDA device")
    if spec.device == "cpu":
        if spec.threads is None:
            raise EngineError("torch on CPU needs a fixed number of threads; the spec has none")
        torch.set_num_threads(spec.threads)
    return torch.device(spec.device)


class TorchEngine:
    """See `Engine`. On CPU the number of threads is set for the whole process: the last bits of a sum depend on it.

    bfloat16 runs the network under autocast, with weights, normalisation statistics and softmax in float32.
    """

    def __init__(self, spec: EngineSpec, package: ModelPackage) -> None:
        """Builds and loads the network. Raises EngineError for CUDA without a usable device."""
        self._device = prepare(spec)
        self.spec = spec
        self.num_classes = len(package.classes)
        self.parallel = 1
        predictor = Predictor(build_network(package), package.temperature)
        self._predictor: torch.nn.Module | None = predictor.eval().to(self._device)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine.predict`."""
        if self._predictor is None:
            raise EngineError("this engine is closed")
        check_batch(batch, self.spec)
        given = np.ascontiguousarray(batch)
        if len(batch) < self.spec.batch:  # sums are ordered by the shape of the whole batch
            given = np.zeros((self.spec.batch, *batch.shape[1:]), np.float32)
            given[: len(batch)] = batch
        raw = torch.from_numpy(given).to(self._device)
        autocast = torch.autocast(self.spec.device, torch.bfloat16, enabled=self.spec.precision == "bfloat16")
        with torch.inference_mode(), autocast:
            found = self._predictor(raw)
        return found[: len(batch)].float().cpu().numpy()

    def close(self) -> None:
        """See `Engine.close`."""
        self._predictor = None
        if self.spec.device == "cuda":
            torch.cuda.empty_cache()
