"""Torch: the float32 reference on CPU, bfloat16 on CUDA."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gridscribe.errors import EngineError
from gridscribe.models.document.encoder import Bools, Float32, checked_crop
from gridscribe.models.document.neighbours import laid, neighbours
from gridscribe.models.document.network import PageEncoder
from gridscribe.models.document.package import DocumentPackage, build_classifier, build_page_encoder
from gridscribe.models.document.patch_classifier import torch_logits
from gridscribe.models.document.signals import cell_sensitivity, patch_signals, skipping
from gridscribe.models.engines.base import EngineSpec
from gridscribe.models.engines.torch_engine import prepare
from gridscribe.models.pruning import Candidates
from gridscribe.models.pruning.skip import SkipTokens
from gridscribe.tokens import TokenFrame


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
        network, held = self._opened(), checked_crop(crop, kept, self._package)
        arch = self._package.architecture
        at = torch.from_numpy(np.flatnonzero(held)).to(self._device)
        if not len(at):
            return laid(np.zeros((0, arch.embed_dim), np.float32), held, arch.doublings)
        near = [torch.from_numpy(one).to(self._device) for one in neighbours(held, arch.doublings)]
        with torch.inference_mode(), self._autocast():
            tokens = network.tokens(*self._some(crop, at, len(held)))
            found = network.head.kept(tokens[0], near)
        return laid(found.float().cpu().numpy(), held, arch.doublings)

    def look(
        self, crop: NDArray[np.uint8], kept: Bools | None, wanted: Collection[str], digest: str
    ) -> tuple[Float32, dict[str, Float32]]:
        """See `LookingEncoder.look`."""
        network, held = self._opened(), checked_crop(crop, kept, self._package)
        grid, fine = len(held), 2**self._package.architecture.doublings
        if not held.any():
            return self.encode(crop, held), {name: self._nothing(name, grid * fine) for name in wanted}
        at = torch.from_numpy(np.flatnonzero(held)).to(self._device)
        with torch.inference_mode(), self._autocast():
            tokens, signals = patch_signals(network, *self._some(crop, at, grid))
            dense, there = self._dense(tokens, at, held)
            vectors = network.head(dense, there)[0].float().cpu().numpy()
        found: dict[str, Float32] = {}
        for name in wanted:
            if name == "sensitivity":
                cells = cell_sensitivity(network.head, dense.float(), there, digest).reshape(grid * fine, grid * fine)
                found[name] = cells * held.repeat(fine, axis=0).repeat(fine, axis=1)
            else:
                values = getattr(signals, name).float().cpu().numpy()
                patches = np.zeros((grid * grid, *values.shape[1:]), np.float32)
                patches[np.flatnonzero(held)] = values
                patches = patches.reshape(grid, grid, *values.shape[1:])
                found[name] = patches.repeat(fine, axis=0).repeat(fine, axis=1)
        return vectors, found

    def skip(self, crop: NDArray[np.uint8], kept: Bools | None, pruner: SkipTokens) -> Float32:
        """See `LookingEncoder.skip`."""
        network, held = self._opened(), checked_crop(crop, kept, self._package)
        if not held.any():
            return self.encode(crop, held)
        grid = len(held)
        at = torch.from_numpy(np.flatnonzero(held)).to(self._device)
        frame = TokenFrame(grid, grid, self._package.patch)

        def choose(attention: Float32) -> NDArray[np.int64]:
            significance = np.zeros(grid * grid, np.float32)
            significance[held.ravel()] = attention
            chosen = pruner.select(Candidates(frame, valid=held.ravel(), significance=significance)).grid.index
            return np.searchsorted(np.flatnonzero(held), chosen)

        with torch.inference_mode(), self._autocast():
            tokens = skipping(network, *self._some(crop, at, grid), pruner.first, pruner.last, choose)
            found: Float32 = network.head(*self._dense(tokens, at, held))[0].float().cpu().numpy()
        return found

    def text_logits(self, blocks: NDArray[np.uint8]) -> Float32:
        """See `CropEncoder.text_logits`."""
        self._opened()
        if self._classifier is None:
            raise ValueError(f"model {self._package.name} has no patch classifier")
        return torch_logits(self._classifier, blocks, self._device)

    def close(self) -> None:
        """See `CropEncoder.close`."""
        self._network = self._classifier = None
        if self.spec.device == "cuda":
            torch.cuda.empty_cache()

    def _opened(self) -> PageEncoder:
        if self._network is None:
            raise EngineError("this encoder is closed")
        return self._network

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.spec.device, torch.bfloat16, enabled=self.spec.precision == "bfloat16")

    def _pixels(self, crop: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))[None]).to(self._device)
        return (pixels.float() - self._shift) / self._spread

    def _some(self, crop: NDArray[np.uint8], at: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        """The patches of a crop at row-major places `at`, [1, n, 3 p p], and their positions, [1, n, 2]."""
        position = torch.stack([at // grid, at % grid], dim=1)
        return self._opened().patches(self._pixels(crop))[:, at], position[None]

    def _dense(self, tokens: Tensor, at: Tensor, held: Bools) -> tuple[Tensor, Tensor]:
        """What the head takes: tokens [1, n, width] put back at their places, [1, width, g, g], and which those are."""
        dense = tokens.new_zeros(1, tokens.shape[2], held.size)
        dense[0, :, at] = tokens[0].T
        return dense.reshape(1, -1, *held.shape), torch.from_numpy(held[None]).to(self._device)

    def _nothing(self, name: str, cells: int) -> Float32:
        last = (self._package.architecture.width,) if name == "keys" else ()
        return np.zeros((cells, cells, *last), np.float32)
