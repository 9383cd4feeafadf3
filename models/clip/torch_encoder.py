"""Torch: the float32 reference on CPU, bfloat16 on CUDA."""

from __future__ import annotations

import numpy as np
import torch

from gridscribe.errors import EngineError
from gridscribe.models.clip.dense import DenseTower
from gridscribe.models.clip.encoder import DenseSpec, Float32, check_windows
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.clip.towers import build_image_tower
from gridscribe.models.engines.torch_engine import prepare


class TorchEncoder:
    """See `DenseEncoder`. On CPU the number of threads is set for the whole process: the last bits of a sum depend on it."""

    def __init__(self, spec: DenseSpec, package: AlignmentPackage) -> None:
        """Builds and loads the tower. Raises EngineError for CUDA without a usable device."""
        self._device = prepare(spec)
        self.spec, self.embed_dim, self.grid, self.parallel = spec, package.embed_dim, spec.window // package.patch, 1
        tower = DenseTower(build_image_tower(package), spec.variant, package.mean, package.std)
        self._tower: torch.nn.Module | None = tower.eval().to(self._device)

    def encode(self, batch: Float32) -> tuple[Float32, Float32]:
        """See `DenseEncoder.encode`."""
        if self._tower is None:
            raise EngineError("this encoder is closed")
        check_windows(batch, self.spec)
        given = np.zeros((self.spec.batch, *batch.shape[1:]), np.float32)  # sums are ordered by the shape of the batch
        given[: len(batch)] = batch
        autocast = torch.autocast(self.spec.device, torch.bfloat16, enabled=self.spec.precision == "bfloat16")
        with torch.inference_mode(), autocast:
            cls, tokens = self._tower(torch.from_numpy(given).to(self._device))
        return cls[: len(batch)].float().cpu().numpy(), tokens[: len(batch)].float().cpu().numpy()

    def close(self) -> None:
        """See `DenseEncoder.close`."""
        self._tower = None
        if self.spec.device == "cuda":
            torch.cuda.empty_cache()
