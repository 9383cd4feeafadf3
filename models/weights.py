"""Weights as safetensors, and the only two ways into a network: exact safetensors, or a torch file read as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

State = dict[str, NDArray[np.float32]]
UNUSED = "num_batches_tracked"
"""End of the names of a counter of batch norm that evaluation never reads."""


def read_weights(data: bytes, where: str) -> State:
    """All tensors of a safetensors file as float32. Raises ModelError for damage, other dtypes, NaN and infinity."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"model {where}: the weights are not a safetensors file of plain floats: {error}") from error
    state = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in (np.float16, np.float32):
            raise ModelError(f"model {where}: weight {name} is {tensor.dtype}; float16 or float32 is allowed")
        if not np.isfinite(tensor).all():
            raise ModelError(f"model {where}: weight {name} holds NaN or infinity")
        state[name] = tensor.astype(np.float32)
    return state


def write_weights(state: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Safetensors bytes: float16 for tensors of two and more dimensions, float32 for vectors and scalars."""
    from safetensors.numpy import save

    stored = {}
    for name, array in sorted(state.items()):
        with np.errstate(over="ignore"):
            stored[name] = np.ascontiguousarray(array, dtype=np.float16 if array.ndim > 1 else np.float32)
        if not np.isfinite(stored[name]).all():
            raise ModelError(f"weight {name} cannot be stored: it holds NaN, infinity or a value beyond float16")
    return save(stored)


def network_state(network: nn.Module) -> State:
    """A network's parameters and statistics as float32 arrays, ready for `write_weights`."""
    return {
        name: tensor.detach().cpu().float().numpy()
        for name, tensor in network.state_dict().items()
        if not name.endswith(UNUSED)
    }


def fill(network: nn.Module, state: Mapping[str, NDArray[np.float32]], where: str) -> None:
    """Load `state` into `network`. Raises ModelError unless names and shapes agree exactly."""
    import torch

    check_fit(network, state, where)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=False)


def check_fit(network: nn.Module, state: Mapping[str, NDArray[np.float32]], where: str) -> None:
    """Raises ModelError unless names and shapes of `state` are those of `network`, which may be without values (meta)."""
    wanted = {name: tuple(t.shape) for name, t in network.state_dict().items() if not name.endswith(UNUSED)}
    for kind, names in (("lacks", set(wanted) - set(state)), ("has unexpected", set(state) - set(wanted))):
        if names:
            raise ModelError(f"model {where}: {kind} {len(names)} weights, such as {min(names)!r}")
    for name, shape in wanted.items():
        if state[name].shape != shape:
            raise ModelError(
                f"model {where}: weight {name} has shape {state[name].shape}, the architecture needs {shape}"
            )


def _statistic(owner: type, name: str) -> Any:
    """Stands in for `getattr`, which MMEngine's files ask for to name the methods of a log buffer, and gives nothing else."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in ("min", "max", "current", "mean"):
        raise UnpicklingError(f"asks for attribute {name!r} of {owner!r}")
    return getattr(HistoryBuffer, name)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A torch checkpoint (plain, or as MMEngine's Runner writes it) as data. Pickled code is never run.

    Uses `torch.load(weights_only=True)`, with MMEngine's log buffers and the plain numpy arrays in them allowed. Raises
    ModelError where the file holds anything else, is damaged or absent; there is no fallback.
    """
    import torch
    from mmengine.logging import HistoryBuffer
    from numpy._core.multiarray import _reconstruct, scalar

    numeric = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.uint8)]
    allowed = [HistoryBuffer, np.ndarray, np.dtype, _reconstruct, scalar, *numeric, (_statistic, "builtins.getattr")]
    try:
        with torch.serialization.safe_globals(allowed):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ModelError(
            f"checkpoint {path}: not loaded, since it holds more than weights or is damaged: {error}"
        ) from error
    if not isinstance(checkpoint, dict):
        raise ModelError(f"checkpoint {path}: holds a {type(checkpoint).__name__}, a dict is needed")
    return checkpoint


def load_checkpoint(network: nn.Module, path: Path) -> None:
    """Load the weights of a torch checkpoint into `network`, names and shapes agreeing exactly."""
    checkpoint = read_checkpoint(path)
    tensors = checkpoint.get("state_dict", checkpoint)
    state = {}
    for name, tensor in tensors.items():
        if name.endswith(UNUSED):
            continue
        if not hasattr(tensor, "detach"):
            raise ModelError(f"checkpoint {path}: {name!r} is a {type(tensor).__name__}, a tensor is needed")
        state[name] = tensor.detach().float().numpy()
        if not np.isfinite(state[name]).all():
            raise ModelError(f"checkpoint {path}: weight {name} holds NaN or infinity")
    fill(network, state, str(path))
