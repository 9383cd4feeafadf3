"""A user's CLIP file as data: which of the known layouts it has, its weights by tower, and what it states about itself.

Known are open_clip's training files (`state_dict`, `module.`), bare state dicts (RemoteCLIP, GeoRSCLIP), text towers under
`text.` (`CustomTextCLIP`), the two-part position table of LongCLIP (Zhang et al., ECCV 2024; FarSLIP2), safetensors, and
folders with an `open_clip_config.json`. Nothing else is loaded, and pickled code never runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import ModelError, StoreError
from gridscribe.models.weights import State, read_checkpoint

FILE_LIMIT = 16 << 30
CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = tuple(
    f"{stem}{end}"
    for stem in ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")
    for end in (".safetensors", ".bin", ".pt", ".pth")
)
"""What a folder's weights may be called, first come first taken."""

LONG_CLIP_KEPT = 20  # rows of the original position table that LongCLIP keeps as they were
_TEXT_PARTS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
_COUNTS = {"input_resolution", "context_length", "vocab_size", "attn_mask", "text.attn_mask"}
"""In OpenAI's files: numbers and a mask that follow from the other weights."""

_SAVE = "torch.save({'state_dict': model.state_dict()}, FILE), or safetensors"


@dataclass(frozen=True, slots=True)
class ClipCheckpoint:
    """What a file holds. Tower weights are float32, named as in open_clip's `VisionTransformer` and `TextTransformer`."""

    name: str
    """The file's own name, without its folder."""
    sha256: str
    form: str
    """Which layout it has, in words."""
    image: State
    text: State
    logit_scale: float
    """What cosines are multiplied by before a softmax: exp of the learnt parameter."""
    model_cfg: dict[str, Any] | None
    """As stated in `open_clip_config.json`; None where there is none."""
    preprocess_cfg: dict[str, Any]


def read_clip(source: str | Path) -> ClipCheckpoint:
    """Read a CLIP file: a local path, a folder with `open_clip_config.json`, or either under an object-store URI.

    Raises ModelError, saying what the file is and how to get one that loads, for TorchScript archives, the layout of HF
    transformers, pickles of more than weights, other networks, and damage.
    """
    scheme, found, rest = str(source).partition("://")
    if found and scheme != "file":
        with tempfile.TemporaryDirectory() as folder:
            return _read(_fetch(scheme, rest, Path(folder)), str(source))
    source = rest if found else source
    path = Path(source)
    if not path.exists():
        raise ModelError(f"checkpoint {source}: there is no such file or folder")
    return _read(path, str(source))


def _fetch(scheme: str, rest: str, folder: Path) -> Path:
    """The object `scheme://rest`, or the config and weights under it, as local files."""
    from gridscribe.store import open_store

    uri = f"{scheme}://{rest}"
    bucket, _, key = rest.partition("/")
    key = key.rstrip("/")
    inside = f"{key}/" if key else ""
    try:
        store = open_store(f"{scheme}://{bucket}")
        names = [CONFIG_FILE] if store.exists(inside + CONFIG_FILE) else []
        names += [n for n in WEIGHT_FILES if names and store.exists(inside + n)][:1]
        for one in [inside + n for n in names] or [key]:
            size = store.head(one).size
            if size > FILE_LIMIT:
                raise ModelError(f"checkpoint {uri}: {one} has {size} bytes, the limit is {FILE_LIMIT}")
            with (folder / Path(one).name).open("wb") as file:
                for piece in store.get_pieces(one):
                    file.write(piece)
    except StoreError as error:
        raise ModelError(f"checkpoint {uri}: cannot be read: {error}") from error
    return folder if names else folder / Path(key).name


def _read(path: Path, where: str) -> ClipCheckpoint:
    stated: dict[str, Any] = {}
    form = ""
    if path.is_dir():
        stated = _stated(path / CONFIG_FILE, where)
        present = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        if not present:
            raise ModelError(f"checkpoint {where}: holds none of {', '.join(WEIGHT_FILES)}")
        path, form = present[0], f"a folder with {CONFIG_FILE}, "
    if (size := path.stat().st_size) > FILE_LIMIT:
        raise ModelError(f"checkpoint {where}: {path.name} has {size} bytes, the limit is {FILE_LIMIT}")
    kind, tensors = _tensors(path, where)
    layout, image, text, logit_scale = _split(tensors, where)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    preprocess = stated.get("preprocess_cfg") or {}
    return ClipCheckpoint(
        path.name, sha256, f"{form}{kind}{layout}", image, text, logit_scale, stated.get("model_cfg"), preprocess
    )


def _stated(path: Path, where: str) -> dict[str, Any]:
    try:
        stated = json.loads(path.read_bytes()[: 1 << 20])
    except OSError as error:
        raise ModelError(f"checkpoint {where}: a folder needs {CONFIG_FILE}; give the file itself otherwise") from error
    except ValueError as error:
        raise ModelError(f"checkpoint {where}: {CONFIG_FILE} is not JSON: {error}") from error
    if not isinstance(stated, dict) or not isinstance(stated.get("model_cfg"), dict):
        raise ModelError(f"checkpoint {where}: {CONFIG_FILE} has no object under 'model_cfg'")
    return stated


def _tensors(path: Path, where: str) -> tuple[str, dict[str, NDArray[np.float32]]]:
    """The file's tensors as float32, and what kind of file it is. Nothing in it is executed."""
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise ModelError(f"checkpoint {where}: is a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        import torch  # reads bfloat16, which numpy lacks
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return "safetensors", _arrays({k: v.to(torch.float32) for k, v in load_file(path).items()}, where)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise ModelError(f"checkpoint {where}: is not a whole safetensors file: {error}") from error
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist()):
                raise ModelError(
                    f"checkpoint {where}: is a TorchScript archive (as OpenAI publishes), a program that would have to be "
                    "run. Where you trust it, convert it once: "
                    "torch.save({'state_dict': torch.jit.load(FILE, 'cpu').state_dict()}, OTHER), and give OTHER"
                )
    try:
        checkpoint = read_checkpoint(path)
    except ModelError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"names {named[1]}, which is code" if named else "is damaged, or not a checkpoint"
        raise ModelError(
            f"checkpoint {where}: not loaded: it {what}, and weights alone are read. Where you trust it, save them: {_SAVE}"
        ) from error
    inner = checkpoint.get("state_dict")
    kind = "an open_clip training file" if isinstance(inner, dict) else "a bare state dict"
    return kind, _arrays(inner if isinstance(inner, dict) else checkpoint, where)


def _arrays(tensors: Mapping[str, Any], where: str) -> dict[str, NDArray[np.float32]]:
    found = {}
    for name, tensor in tensors.items():
        if not hasattr(tensor, "detach"):
            raise ModelError(
                f"checkpoint {where}: {name!r} is a {type(tensor).__name__}, a tensor is needed; save the weights alone: {_SAVE}"
            )
        found[str(name)] = tensor.detach().float().numpy()
    for prefix in ("_orig_mod.", "module.", "_orig_mod."):  # torch.compile, DistributedDataParallel, in either order
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): array for name, array in found.items()}
    for name, array in found.items():
        if not np.isfinite(array).all() and name not in _COUNTS:
            raise ModelError(f"checkpoint {where}: weight {name} holds NaN or infinity")
    return found


def _split(tensors: dict[str, NDArray[np.float32]], where: str) -> tuple[str, State, State, float]:
    """The layout's name, image tower, text tower and scale of the logits."""
    _refuse_others(tensors, where)
    image, text, others = {}, {}, {}
    for name, array in tensors.items():
        if name in _COUNTS:
            continue
        if name.startswith("visual."):
            image[name.removeprefix("visual.")] = array
        elif name.startswith("text."):
            text[name.removeprefix("text.")] = array
        elif name.startswith(_TEXT_PARTS) or name in {"mask1", "mask2"}:
            text[name] = array
        else:
            others[name] = array
    layout = " with its text tower under `text.`" if "text.token_embedding.weight" in tensors else ""
    if "positional_embedding_res" in text:
        _fold_positions(text, where)
        layout += ", its two position tables (LongCLIP) folded into one"
    scale = others.pop("logit_scale", None)
    if others or scale is None or scale.size != 1:
        problem = f"has unexpected {min(others)!r}" if others else "lacks 'logit_scale', one number"
        raise ModelError(f"checkpoint {where}: {problem}; the weights of one of open_clip's CLIP models are needed")
    exponent = float(scale.reshape(()))
    if not -10 <= exponent <= 10:
        raise ModelError(
            f"checkpoint {where}: logit_scale={exponent}: must lie in -10..10 (its exp is what multiplies)"
        )
    return layout, image, text, math.exp(exponent)


def _refuse_others(tensors: Mapping[str, Any], where: str) -> None:
    def some(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in tensors)

    if some("vision_model.") or some("text_model."):
        problem = "has the layout of HF transformers (`vision_model.`, `text_model.`); take the model's open_clip file"
    elif some("visual.trunk.") or some("visual.blocks."):
        problem = (
            "has an image tower of timm or EVA, which open_clip's own ViT cannot hold; take a model with a native ViT"
        )
    elif some("visual.layer1."):
        problem = "has a ResNet image tower, which has no patch tokens; take the ViT of the same family"
    elif "visual.conv1.weight" not in tensors:
        names = ", ".join(sorted(tensors)[:3]) or "nothing"
        problem = f"lacks 'visual.conv1.weight' and holds {names} ...; open_clip's names are needed"
    else:
        return
    raise ModelError(f"checkpoint {where}: {problem}")


def _fold_positions(text: dict[str, NDArray[np.float32]], where: str) -> None:
    """LongCLIP adds `positional_embedding` on its first rows and `positional_embedding_res` on the others: one table."""
    kept, other = text["positional_embedding"], text.pop("positional_embedding_res")
    masks = text.pop("mask1", None), text.pop("mask2", None)
    if kept.shape != other.shape or len(kept) <= LONG_CLIP_KEPT:
        raise ModelError(
            f"checkpoint {where}: positional_embedding {kept.shape} and positional_embedding_res {other.shape} "
            f"must have one shape and more than {LONG_CLIP_KEPT} rows"
        )
    first = (np.arange(len(kept)) < LONG_CLIP_KEPT)[:, None].astype(np.float32)
    for mask, wanted in zip(masks, (first, 1 - first), strict=True):
        if mask is not None and not np.array_equal(mask.reshape(-1), wanted.reshape(-1)):
            raise ModelError(f"checkpoint {where}: mask1 and mask2 do not part the positions at row {LONG_CLIP_KEPT}")
    text["positional_embedding"] = np.where(first > 0, kept, other)
