"""Torch: the float32 reference on CPU, bfloat16 on CUDA."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gridscribe.errors import EngineError
from gridscribe.models.document.encoder import Bools, Float32, checked_crop
from gridscribe.models.document.network import PageEncoder
from gridscribe.models.document.package import DocumentPackage, build_classifier, build_page_encoder
from gridscribe.models.document.patch_classifier import torch_logits
from gridscribe.models.engines.base import EngineSpec
from gridscribe.models.engines.torch_engine import prepare


class TorchCropEncoder:
    """See `CropEncoder`. On CPU the number of threads is set for the whole process: the last bits of a sum depend on it."""

    def __init__(self, spec: EngineSpec, package: DocumentPackage) -> None:
        """Builds and loads the network. Raises EngineError for CUDA without a usable device."""
        self._device = prepare(spec)
        self.spec, self.parallel, self._package = spec, 1, package
        self._network: PageEncoder | None = build_page_encoder(package).to(self._device)
        self._classifier = build_classifier(package).to(self._device) if package.classifies else None
        self._shift, self._spread = (
            torch.tensor(values, device=self._device).reshape(1, 3, 1, 1) * 255
            for values in (package.mean, package.std)
        )

    def encode(self, crop: NDArray[np.uint8], kept: Bools | None = None) -> Float32:
        """See `CropEncoder.encode`."""
        if self._network is None:
            raise EngineError("this encoder is closed")
        checked_crop(crop, kept, self._package)
        autocast = torch.autocast(self.spec.device, torch.bfloat16, enabled=self.spec.precision == "bfloat16")
        with torch.inference_mode(), autocast:
            pixels = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))[None]).to(self._device)
            held = None if kept is None else torch.from_numpy(kept[None]).to(self._device)
            found = self._network((pixels.float() - self._shift) / self._spread, held)
        result: Float32 = found[0].float().cpu().numpy()
        return result

    def text_logits(self, blocks: NDArray[np.uint8]) -> Float32:
        """See `CropEncoder.text_logits`."""
        if self._network is None:
            raise EngineError("this encoder is closed")
        if self._classifier is None:
            raise ValueError(f"model {self._package.name} has no patch classifier")
        return torch_logits(self._classifier, blocks, self._device)

    def close(self) -> None:
        """See `CropEncoder.close`."""
        self._network = self._classifier = None
        if self.spec.device == "cuda":
            torch.cuda.empty_cache()
