"""Which CLIP architectures run here: open_clip's `model_cfg` as data, held against an allow-list with bounds.

Only open_clip's own ViT with a class token, and its own causal text tower, have the tokens that dense alignment needs. A
setting beyond those is allowed where it says what these towers do anyway, and refused by name elsewhere.
"""

from __future__ import annotations

from typing import Any

from gridscribe.errors import ModelError

VOCABULARY = 49408
"""Entries of open_clip's `SimpleTokenizer`, the one tokenizer that comes with it and needs no download."""

_VISION: dict[str, tuple[Any, float, float]] = {  # open_clip's default, least, most
    "image_size": (224, 8, 2048),
    "layers": (12, 1, 64),
    "width": (768, 16, 2048),
    "head_width": (64, 8, 256),
    "patch_size": (16, 2, 64),
    "mlp_ratio": (4.0, 0.25, 16),
}
_TEXT: dict[str, tuple[Any, float, float]] = {
    "context_length": (77, 4, 1024),
    "vocab_size": (VOCABULARY, VOCABULARY, VOCABULARY),
    "width": (512, 16, 2048),
    "heads": (8, 1, 64),
    "layers": (12, 1, 64),
    "mlp_ratio": (4.0, 0.25, 16),
}
_FRACTIONS = {"mlp_ratio"}

# What these towers do anyway; `None` stands for "not there".
_VISION_FIXED: dict[str, tuple[Any, ...]] = {
    "ls_init_value": (None,),
    "patch_dropout": (0, 0.0),
    "attentional_pool": (False,),
    "attn_pooler_queries": (256,),
    "attn_pooler_heads": (8,),
    "pos_embed_type": ("learnable",),
    "final_ln_after_pool": (False,),
    "pool_type": ("tok",),
    "output_tokens": (False,),
    "act_kwargs": (None,),
    "norm_kwargs": (None,),
    "timm_model_name": (None,),
}
_TEXT_FIXED: dict[str, tuple[Any, ...]] = {
    "hf_tokenizer_name": (None,),
    "tokenizer_mode": (None,),
    "tokenizer_kwargs": (None,),
    "ls_init_value": (None,),
    "embed_cls": (False,),
    "pad_id": (0,),
    "no_causal_mask": (False,),
    "final_ln_after_pool": (False,),
    "pool_type": ("argmax",),
    "proj_bias": (False,),
    "proj_type": ("linear",),
    "output_tokens": (False,),
    "act_kwargs": (None,),
    "norm_kwargs": (None,),
    "hf_model_name": (None,),
}
_BLOCKS_FIXED: dict[str, tuple[Any, ...]] = {
    "block_type": (None, "default"),
    "qk_norm": (False,),
    "scaled_cosine_attn": (False,),
    "scale_heads": (False,),
    "scale_attn_inner": (False,),
    "scale_attn": (False,),
    "scale_fc": (False,),
}
_TOP_FIXED: dict[str, tuple[Any, ...]] = {
    "custom_text": (True, False),  # where the text tower's weights are named, not what it computes
    "init_logit_bias": (None,),
    "nonscalar_logit_scale": (False,),
}


def check_config(config: Any, where: str) -> dict[str, Any]:
    """`config`, an open_clip `model_cfg`, with every number that matters written out and nothing else in it.

    `quick_gelu` is None in the result where `config` does not state it. Raises ModelError, naming the key, its value and
    what is allowed, for anything that these towers do not compute or that lies out of bounds.
    """
    if not isinstance(config, dict):
        raise ModelError(f"{where}: architecture is {config!r}; an open_clip model_cfg, a JSON object, is needed")
    for key, value in config.items():
        if key not in {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}:
            _check_fixed(value, _TOP_FIXED.get(key), f"{where}: architecture.{key}")
    quick_gelu = config.get("quick_gelu")
    if quick_gelu is not None and not isinstance(quick_gelu, bool):
        raise ModelError(f"{where}: architecture.quick_gelu={quick_gelu!r}: must be true or false")
    vision = _tower(config, "vision_cfg", _VISION, _VISION_FIXED, where)
    text = _tower(config, "text_cfg", _TEXT, _TEXT_FIXED, where)
    _divides(vision, "head_width", "width", f"{where}: architecture.vision_cfg")
    _divides(vision, "patch_size", "image_size", f"{where}: architecture.vision_cfg")
    _divides(text, "heads", "width", f"{where}: architecture.text_cfg")
    return {
        "embed_dim": _number(config.get("embed_dim"), 8, 4096, f"{where}: architecture.embed_dim"),
        "quick_gelu": quick_gelu,
        "vision_cfg": vision,
        "text_cfg": text,
    }


def _tower(
    config: dict[str, Any], key: str, numbers: dict[str, Any], fixed: dict[str, tuple[Any, ...]], where: str
) -> dict[str, Any]:
    given = config.get(key)
    path = f"{where}: architecture.{key}"
    if not isinstance(given, dict):
        raise ModelError(f"{path}={given!r}: must be an object, as in open_clip's model configs")
    found: dict[str, Any] = {}
    for name, (default, least, most) in numbers.items():
        value = given.get(name, default)
        if name == "image_size" and isinstance(value, (list, tuple)) and len(value) == 2 and value[0] == value[1]:
            value = value[0]
        found[name] = _number(value, least, most, f"{path}.{name}", whole=name not in _FRACTIONS)
    if key == "vision_cfg":
        found["no_ln_pre"] = given.get("no_ln_pre", False)
        if not isinstance(found["no_ln_pre"], bool):
            raise ModelError(f"{path}.no_ln_pre={found['no_ln_pre']!r}: must be true or false")
    for name, value in given.items():
        if name not in found and not (key == "text_cfg" and name == "eos_id"):  # used by `pool_type: eos` alone
            _check_fixed(value, {**fixed, **_BLOCKS_FIXED}.get(name), f"{path}.{name}")
    return found


def _number(value: Any, least: float, most: float, path: str, *, whole: bool = True) -> Any:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        kind = "whole number" if whole else "number"
        allowed = f"{least:g}" if least == most else f"a {kind} in {least:g}..{most:g}"
        raise ModelError(f"{path}={value!r}: must be {allowed}")
    return value


def _check_fixed(value: Any, allowed: tuple[Any, ...] | None, path: str) -> None:
    if allowed is None:
        raise ModelError(
            f"{path}={value!r}: not a setting that is known here; leave it out if the weights do without it"
        )
    if not any(type(value) is type(one) and value == one for one in allowed):
        raise ModelError(
            f"{path}={value!r}: this version runs open_clip's own ViT and text tower alone, "
            f"with {' or '.join(map(repr, allowed))} here"
        )


def _divides(part: dict[str, Any], divisor: str, dividend: str, path: str) -> None:
    if part[dividend] % part[divisor]:
        raise ModelError(f"{path}: {dividend}={part[dividend]} is no multiple of {divisor}={part[divisor]}")
