"""A checkpoint file of others as plain data: its weights, and what it says of how its inputs were normalised."""

from __future__ import annotations

import ast
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gridscribe.errors import ModelError
from gridscribe.models.weights import UNUSED, read_checkpoint

_WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict")
_TRAINER = "module."  # before every name, from DataParallel and its kin
_RECORDED = ("data_preprocessor", "img_norm_cfg")  # MMSegmentation 1.x (and gridscribe), 0.x


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """What a file holds. Nothing in it has been executed."""

    path: Path
    sha256: str
    """Hex, over the file's bytes."""
    tensors: Mapping[str, Tensor] = field(repr=False)
    """Floating-point weights by the file's names (less a `module.` before all), float32, finite."""
    others: tuple[str, ...]
    """Names of entries beside them that are no weights: counters, indices, numbers."""
    preprocessor: Mapping[str, Any] | None
    """Arguments of the preprocessor that the weights were trained behind, where the file tells: `mean`, `std`, ..."""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name


def read_checkpoint_file(path: str | Path) -> CheckpointFile:
    """Read a `.safetensors` file, or a torch checkpoint as data alone (`torch.load(weights_only=True)`, no fallback).

    Weights may stand bare, or under `state_dict`, `model`, `model_state` or `model_state_dict`, as trainers wrap them (MMEngine's
    Runner with its logs and optimizer, too). Raises ModelError for a file that is absent, damaged, holds pickled objects or
    programs (TorchScript), no weights at all, or NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"checkpoint {path}: no such file")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if path.suffix == ".safetensors":
        content: Any = _safetensors(path)
    else:
        _refuse_programs(path)
        content = read_checkpoint(path)
    entries = _unwrapped(content)
    tensors, others = {}, []
    for name, value in entries.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or str(name).endswith(UNUSED):
            others.append(str(name))
            continue
        if value.device.type != "cpu" or value.layout != torch.strided:
            raise ModelError(f"checkpoint {path}: weight {name} is no plain array: {value.device}, {value.layout}")
        tensors[str(name)] = value.detach().float()
        if not tensors[str(name)].isfinite().all():
            raise ModelError(f"checkpoint {path}: weight {name} holds NaN or infinity")
    if not tensors:
        raise ModelError(
            f"checkpoint {path}: holds no weights, neither bare nor under {', '.join(_WRAPPERS)}; "
            f"it holds {', '.join(sorted(map(str, content))[:5]) or 'nothing'}"
        )
    if all(name.startswith(_TRAINER) for name in tensors):
        tensors = {name.removeprefix(_TRAINER): tensor for name, tensor in tensors.items()}
    return CheckpointFile(path, sha256, tensors, tuple(others), _recorded_preprocessor(content))


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"checkpoint {path}: not a safetensors file: {error}") from error


def _refuse_programs(path: Path) -> None:
    """torch's own message for these asks to load them with code allowed, which is never the way here."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise ModelError(f"checkpoint {path}: a damaged zip archive: {error}") from error
    if any("code" in name.split("/")[:-1] or name.endswith("constants.pkl") for name in names):
        raise ModelError(
            f"checkpoint {path}: a TorchScript archive, a program; save the network's weights alone, its state_dict()"
        )
    if not any(name.split("/")[-1] == "data.pkl" for name in names):
        raise ModelError(
            f"checkpoint {path}: a zip archive, but not one that torch.save wrote; it holds {', '.join(names[:3])}"
        )


def _unwrapped(content: Any) -> Mapping[Any, Any]:
    """The innermost dict of tensors."""
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inside = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inside:
            return {}
        content = inside[0]
    return content if isinstance(content, Mapping) else {}


def _recorded_preprocessor(content: Any) -> dict[str, Any] | None:
    """From the config that MMEngine's Runner (`meta.cfg`) and MMCV's before it (`meta.config`) keep as text.

    The text is Python. It is parsed and never run: only literals are taken.
    """
    meta = content.get("meta") if isinstance(content, Mapping) else None
    text = (meta.get("cfg") or meta.get("config")) if isinstance(meta, Mapping) else None
    if not isinstance(text, str):
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        given: list[tuple[str, ast.expr]] = []
        if isinstance(node, ast.keyword) and node.arg:
            given = [(node.arg, node.value)]
        elif isinstance(node, ast.Assign):
            given = [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
        for name, value in given:
            found = _literals(value) if name in _RECORDED else {}
            if {"mean", "std"} <= set(found):
                return found
    return None


def _literals(value: ast.expr) -> dict[str, Any]:
    """The literal arguments of a `dict(...)` call."""
    found = {}
    for keyword in value.keywords if isinstance(value, ast.Call) else ():
        try:
            found[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    return found
