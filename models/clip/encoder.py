"""Dense encoders: engines that turn windows into text-aligned tokens. One Protocol, a class per way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import EngineError, UsageError
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.engines import resolve_engine
from gridscribe.models.engines.base import EngineSpec

Float32 = NDArray[np.float32]
Variant = Literal["vanilla", "maskclip", "sclip", "clearclip", "segearth"]
VARIANTS: tuple[str, ...] = get_args(Variant)
LARGEST_GRID = 256
"""Patches a side of a window; attention costs the fourth power of it."""


@dataclass(frozen=True, slots=True)
class DenseSpec(EngineSpec):
    """Everything about a dense encoder that can change a bit of its answers; part of the product."""

    variant: str
    """What the last block does: see `dense`."""


class DenseEncoder(Protocol):
    """A loaded image tower. For one spec and one kind of processor, equal input gives equal bits."""

    spec: DenseSpec
    embed_dim: int
    grid: int
    """Tokens a side of a window."""
    parallel: int
    """Calls of `encode` that may be in progress at once."""

    def encode(self, batch: Float32) -> tuple[Float32, Float32]:
        """Class vectors float32 [B, D] and tokens float32 [B, grid, grid, D] of 1 to `spec.batch` windows.

        Both are projected into the space of the text tower and not normalised. `batch` is float32 [B, 3, H, W], R, G, B in
        0..255, H = W = `spec.window`. Raises EngineError for any other shape or dtype.
        """
        ...

    def close(self) -> None:
        """Frees the network; the encoder cannot be used afterwards. May be called twice."""
        ...


def resolve_encoder(
    name: str,
    package: AlignmentPackage,
    *,
    variant: str | None = None,
    precision: str | None = None,
    batch: int | None = None,
    threads: int | None = None,
    window: int | None = None,
) -> DenseSpec:
    """The exact encoder that `name` means on this machine; as `resolve_engine`, which see, with a `variant` (None: the
    package's own).
    """
    variant = package.variant if variant is None else variant
    if variant not in VARIANTS:
        raise UsageError(f"variant={variant!r}: must be one of {', '.join(VARIANTS)}")
    spec = resolve_engine(name, package, precision=precision, batch=batch, threads=threads, window=window)
    if spec.window > LARGEST_GRID * package.patch:
        raise UsageError(f"window={spec.window}: at most {LARGEST_GRID} patches of {package.patch} a side")
    return DenseSpec(**spec.to_json(), variant=variant)


def open_encoder(spec: DenseSpec, package: AlignmentPackage, *, cores: int | None = None) -> DenseEncoder:
    """Loads the image tower of `package` into exactly what `spec` names; raises EngineError where that cannot be had.

    `cores` is how many this process may use where the spec leaves it open (all, if not given).
    """
    if spec.variant not in VARIANTS or spec.window % package.patch or spec.window < package.patch:
        raise EngineError(f"{spec}: unknown variant, or a window that is no multiple of the patch ({package.patch})")
    if spec.name == "torch":
        from gridscribe.models.clip.torch_encoder import TorchEncoder

        return TorchEncoder(spec, package)
    if spec.name == "openvino":
        from gridscribe.models.clip.openvino_encoder import OpenVINOEncoder
        from gridscribe.models.engines.openvino_engine import usable_cores

        return OpenVINOEncoder(spec, package, spec.threads or cores or usable_cores())
    raise EngineError(f"engine {spec.name!r} is not known to this version")


def check_windows(batch: Float32, spec: DenseSpec) -> None:
    """Raises EngineError, with both shapes, unless `batch` is what `DenseEncoder.encode` takes."""
    wanted = (3, spec.window, spec.window)
    if batch.ndim != 4 or batch.shape[1:] != wanted or not 1 <= len(batch) <= spec.batch or batch.dtype != np.float32:
        raise EngineError(
            f"encoder takes float32 of 1 to {spec.batch} windows {wanted}, got {batch.dtype} {batch.shape}"
        )
