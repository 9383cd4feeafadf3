"""The document encoder as an engine: crops of pages with the patches that are kept, vectors of the finer grid out.

A crop is encoded on its own, without a batch: its tokens are as many as it has kept patches, and padding to another crop's would
make the last bits of one page depend on another.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import EngineError, UsageError
from gridscribe.models.document.package import DocumentPackage
from gridscribe.models.engines import resolve_engine
from gridscribe.models.engines.base import EngineSpec
from gridscribe.models.pruning import Pruner
from gridscribe.models.pruning.skip import SkipTokens

Float32 = NDArray[np.float32]
Bools = NDArray[np.bool_]


class CropEncoder(Protocol):
    """An opened encoder. `encode` may be called from as many threads at once as `parallel` says."""

    spec: EngineSpec
    parallel: int

    def encode(self, crop: NDArray[np.uint8], kept: Bools | None = None) -> Float32:
        """Vectors float32 [s g, s g, D] of a crop uint8 [S, S, 3] of g x g patches, s cells to a patch's side.

        `kept`, bool [g, g]: the other patches are never computed, and their cells are zero.
        """
        ...

    def text_logits(self, blocks: NDArray[np.uint8]) -> Float32:
        """The patch classifier's logits float32 [n] of blocks uint8 [n, 3, 2 p, 2 p]; ValueError where the package has none."""
        ...

    def close(self) -> None:
        """Free the network; no call may be in progress."""
        ...


class LookingEncoder(CropEncoder, Protocol):
    """An encoder that shows what happens between its layers: torch's."""

    def look(
        self, crop: NDArray[np.uint8], kept: Bools | None, wanted: Collection[str], digest: str
    ) -> tuple[Float32, dict[str, Float32]]:
        """As `encode`, and of each cell the `wanted` of attention, shallow, transition, sensitivity (float32 [s g, s g]) and keys
        (float32 [s g, s g, width]); 0 where nothing is computed. A patch's are those of all its cells. `digest` decides the
        directions of sensitivity."""
        ...

    def skip(self, crop: NDArray[np.uint8], kept: Bools | None, pruner: SkipTokens) -> Float32:
        """As `encode`, but the patches that `pruner` leaves out pass its layers by."""
        ...


def looks_inside(pruner: Pruner) -> frozenset[str]:
    """What a method asks for that a `LookingEncoder` alone gives."""
    inside = {"keys", "shallow"} & pruner.needs
    if "significance" in pruner.needs and pruner.signal != "text":
        inside.add(pruner.signal)
    return frozenset(inside)


def resolve_page_engine(
    name: str,
    package: DocumentPackage,
    *,
    precision: str | None = None,
    threads: int | None = None,
    inside: bool = False,
) -> EngineSpec:
    """The exact engine that `name` means on this machine, one crop at a time; `inside`: one that looks between layers.

    Raises as `resolve_engine` does, and UsageError where the named one does not look inside.
    """
    if inside:
        if package.architecture.trunk:
            raise UsageError(
                f"model {package.name}: the blocks of its trunk {package.architecture.trunk!r} are another library's and "
                "cannot be looked into, which the pruner needs"
            )
        if name not in ("auto", "torch"):
            raise UsageError(
                f"engine {name!r} does not show what happens between the encoder's layers, which the pruner works on: use torch"
            )
        name = "torch"
    return replace(resolve_engine(name, package, precision=precision, threads=threads), batch=1)


def open_page_encoder(spec: EngineSpec, package: DocumentPackage, *, cores: int | None = None) -> CropEncoder:
    """Exactly the engine that `spec` names; EngineError where this process cannot give it."""
    if spec.name == "torch":
        from gridscribe.models.document.torch_encoder import TorchCropEncoder

        return TorchCropEncoder(spec, package)
    if spec.name == "openvino":
        from gridscribe.models.document.openvino_encoder import OpenVINOCropEncoder
        from gridscribe.models.engines.openvino_engine import usable_cores

        return OpenVINOCropEncoder(spec, package, spec.threads or cores or usable_cores())
    raise EngineError(f"engine {spec.name!r} is not known to this version")


def checked_crop(crop: NDArray[np.uint8], kept: Bools | None, package: DocumentPackage) -> Bools:
    """Which patches of a crop to compute, bool [g, g]; ValueError for other shapes or types than the package's."""
    side, grid = package.crop, package.crop // package.patch
    if crop.shape != (side, side, 3) or crop.dtype != np.uint8:
        raise ValueError(f"a crop needs uint8 [{side}, {side}, 3], got {crop.dtype} {list(crop.shape)}")
    if kept is None:
        return np.ones((grid, grid), np.bool_)
    if kept.shape != (grid, grid) or kept.dtype != np.bool_:
        raise ValueError(f"kept patches need bool [{grid}, {grid}], got {kept.dtype} {list(kept.shape)}")
    return kept


def patches_of(crop: NDArray[np.uint8], patch: int) -> NDArray[np.uint8]:
    """[g * g, 3 * patch * patch]: row-major patches of channel-major pixels, as `PageEncoder.patches` has them."""
    grid = crop.shape[0] // patch
    cut = crop.reshape(grid, patch, grid, patch, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut).reshape(grid * grid, 3 * patch * patch)


def normalised_patches(patches: NDArray[np.uint8], package: DocumentPackage) -> Float32:
    """Patches as the network takes them, float32."""
    area = package.patch**2
    mean, std = (np.repeat(np.array(values, np.float32) * 255, area) for values in (package.mean, package.std))
    result: Float32 = (patches - mean) / std
    return result
