"""Which architectures a model package may describe.

A registry turns a type's name into a call with arguments of the file's choosing, some of which open files or fetch URLs
(`init_cfg`, `pretrained`). So a package's architecture is held against a list: these types, with these arguments, as bounded
numbers, flags and words.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from gridscribe.errors import ModelError

_HEAD = {"in_channels", "in_index", "channels", "dropout_ratio", "num_classes", "norm_cfg", "align_corners"}

_ROLES: dict[str, dict[str, set[str]]] = {
    "model": {"EncoderDecoder": {"data_preprocessor", "backbone", "decode_head"}},
    "data_preprocessor": {
        "RGBHPreprocessor": {"mean", "std", "height_mean", "height_std", "height_range", "height_missing", "use"}
    },
    "backbone": {"TwoStreams": {"rgb", "height", "fusion", "share"}, "SingleStream": {"encoder", "use"}},
    "encoder": {
        "MiTEncoder": {
            "embed_dims",
            "num_layers",
            "num_heads",
            "patch_sizes",
            "strides",
            "sr_ratios",
            "drop_path_rate",
        },
        "ResNetEncoder": {"depth"},
        "SwinEncoder": {"embed_dims", "depths", "num_heads", "drop_path_rate"},
        "PatchPyramid": {"widths"},
        "LightEncoder": {"widths", "depths"},
        "HeightPyramid": set(),
    },
    "fusion": {
        "BottleneckFusion": {"tokens", "width", "adaptive"},
        "CMXFusion": set(),
        "CrossFusion": set(),
        "DepthAwareAttention": set(),
        "FeatureFusion": {"mode"},
        "GeometryAttention": set(),
        "TokenExchange": set(),
    },
    "decode_head": {
        "LateralSegformerHead": _HEAD,
        "SegformerHead": _HEAD,
        "LateFusionHead": {"heads", "num_classes", "align_corners"},
    },
    "heads": {"LateralSegformerHead": _HEAD, "SegformerHead": _HEAD},
    "norm_cfg": {"BN": set()},
}
_ROLE_OF = {"rgb": "encoder", "height": "encoder"}
"""Roles of the keys that are not named for one."""
_REQUIRED = {
    "EncoderDecoder": {"data_preprocessor", "backbone", "decode_head"},
    "TwoStreams": {"rgb", "height"},
    "SingleStream": {"encoder"},
    "LateFusionHead": {"heads"},
}
_WORDS = {"rgb", "height", "sum", "concat"}
_DEPTHS = {18, 34, 50, 101, 152}  # of ResNet
_LARGEST = 4096
_LONGEST = 16
_MOST_LAYERS = 128


def check_architecture(architecture: Any, where: str) -> None:
    """Raises ModelError, naming the key, the value and what is allowed, unless `architecture` keeps to the list above."""
    _check_part("model", architecture, where, "architecture")
    if not isinstance(architecture["decode_head"].get("num_classes"), int):
        raise ModelError(f"{where}: architecture.decode_head.num_classes must be a whole number")


def modalities(architecture: dict[str, Any]) -> frozenset[str]:
    """What of its input the network looks at: "rgb", "height", or both. `architecture` has passed `check_architecture`."""
    seen = {"rgb", "height"}
    for part in (architecture["data_preprocessor"], architecture["backbone"]):
        use = part.get("use")
        if isinstance(use, (list, tuple)):
            seen = {name for name in seen if name in use}
    return frozenset(seen)


def _check_part(role: str, part: Any, where: str, path: str) -> None:
    kinds = _ROLES[role]
    if not isinstance(part, dict) or part.get("type") not in kinds:
        kind = part.get("type") if isinstance(part, dict) else part
        raise ModelError(
            f"{where}: {path}.type={kind!r}: not a type that a package may name; allowed: {', '.join(kinds)}"
        )
    allowed = kinds[part["type"]] | {"type"}
    for key in _REQUIRED.get(part["type"], set()) - set(part):
        raise ModelError(f"{where}: {path} lacks {key!r}")
    for key, value in part.items():
        here = f"{path}.{key}"
        if key not in allowed:
            raise ModelError(f"{where}: {here}={value!r}: not allowed; allowed: {', '.join(sorted(allowed))}")
        inner = _ROLE_OF.get(key, key)
        if inner in _ROLES and isinstance(value, (list, tuple)) and 0 < len(value) <= _LONGEST:
            for k, entry in enumerate(value):
                _check_part(inner, entry, where, f"{here}[{k}]")
        elif inner in _ROLES:
            _check_part(inner, value, where, here)
        elif key != "type":
            _check_value(value, where, here)
        if key in ("num_layers", "depths") and sum(value) > _MOST_LAYERS:
            raise ModelError(f"{where}: {here}={value}: more than {_MOST_LAYERS} layers in all")
        if key == "depth" and value not in _DEPTHS:
            raise ModelError(f"{where}: {here}={value}: must be one of {', '.join(map(str, sorted(_DEPTHS)))}")


def _check_value(value: Any, where: str, path: str) -> None:
    if isinstance(value, (list, tuple)):
        if len(value) > _LONGEST:
            raise ModelError(f"{where}: {path} has {len(value)} entries, at most {_LONGEST} are allowed")
        for k, entry in enumerate(value):
            _check_value(entry, where, f"{path}[{k}]")
    elif isinstance(value, str):
        if value not in _WORDS:
            raise ModelError(f"{where}: {path}={value!r}: only the words {', '.join(sorted(_WORDS))} are allowed")
    elif not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise ModelError(
            f"{where}: {path}={value!r}: must be a number of at most {_LARGEST}, a flag, a word, or a list of them"
        )


def inference_architecture(model: dict[str, Any]) -> dict[str, Any]:
    """A training config's model without what only training needs: what a package stores."""
    kept = {key: deepcopy(value) for key, value in model.items() if key not in {"train_cfg", "test_cfg"}}
    for head in (kept["decode_head"], *kept["decode_head"].get("heads", ())):
        head.pop("loss_decode", None)
    return plain_data(kept)


def plain_architecture(architecture: dict[str, Any]) -> dict[str, Any]:
    """The same network from MMSegmentation's own modules, in their own order of computation."""
    plain = deepcopy(architecture)
    backbone, head = plain["backbone"], plain["decode_head"]
    for encoder in (backbone.get(key) for key in ("rgb", "height", "encoder")):
        if encoder is not None and encoder["type"] == "MiTEncoder":
            encoder["plain"] = True
    for one in head.get("heads", [head]):
        one["type"] = "SegformerHead"
    return plain


def plain_data(value: Any) -> Any:
    """`value` with dicts and lists alone in it, as JSON has them."""
    if isinstance(value, dict):
        return {str(k): plain_data(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(v) for v in value]
    return value
