"""What can be read off the shapes of a CLIP's weights, and how the rest is settled.

Width, layers, patch, grid, embedding, context and vocabulary are shapes. The number of heads is not: it comes from
open_clip's own table of models where one has exactly these shapes (ViT-H/14 has heads of 80), else heads are 64 wide, as in
every CLIP of the paper (Radford et al. 2021). QuickGELU or GELU is not in the weights either and stays open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gridscribe.errors import ModelError

Shapes = Mapping[str, tuple[int, ...]]
HEAD_WIDTH = 64
SAY_HOW = (
    "put an open_clip_config.json with its model_cfg and the weights as open_clip_model.safetensors into a folder, "
    "and give the folder"
)


def infer_config(image: Shapes, text: Shapes, where: str) -> tuple[dict[str, Any], str]:
    """open_clip's `model_cfg` for weights of these shapes, and a line that says how the number of heads was found.

    `image` and `text` are named as in open_clip's `VisionTransformer` and `TextTransformer`. Raises ModelError where a
    weight that tells something is missing, or heads cannot be told.
    """
    width, channels, patch, patch_width = _shape(image, "conv1.weight", 4, where)
    rows, _ = _shape(image, "positional_embedding", 2, where)
    _, embed_dim = _shape(image, "proj", 2, where)
    grid = math.isqrt(max(rows - 1, 0))
    if grid < 1 or grid * grid != rows - 1 or patch != patch_width or channels != 3:
        raise ModelError(
            f"{where}: visual.positional_embedding has {rows} rows and visual.conv1.weight the shape "
            f"{image['conv1.weight']}; a square grid and a class token, square patches and 3 bands are needed"
        )
    vocabulary, text_width = _shape(text, "token_embedding.weight", 2, where)
    context, _ = _shape(text, "positional_embedding", 2, where)
    vision_cfg = {
        "image_size": grid * patch,
        "layers": _layers(image, "visual.", where),
        "width": width,
        "patch_size": patch,
        "mlp_ratio": _mlp_ratio(image, width, where),
        "no_ln_pre": "ln_pre.weight" not in image,
    }
    text_cfg = {
        "context_length": context,
        "vocab_size": vocabulary,
        "width": text_width,
        "layers": _layers(text, "", where),
        "mlp_ratio": _mlp_ratio(text, text_width, where),
    }
    config: dict[str, Any] = {"embed_dim": embed_dim, "vision_cfg": vision_cfg, "text_cfg": text_cfg}
    vision_cfg["head_width"], text_cfg["heads"], how = _heads(config, where)
    return config, how


def _shape(shapes: Shapes, name: str, dimensions: int, where: str) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or len(shape) != dimensions:
        raise ModelError(f"{where}: weight {name} has shape {shape}; {dimensions} dimensions are needed")
    return shape


def _layers(shapes: Shapes, prefix: str, where: str) -> int:
    found = {int(part[2]) for part in (n.split(".") for n in shapes) if part[:2] == ["transformer", "resblocks"]}
    if not found or found != set(range(len(found))):
        raise ModelError(
            f"{where}: {prefix}transformer.resblocks are numbered {sorted(found)}; 0, 1, 2, ... are needed"
        )
    return len(found)


def _mlp_ratio(shapes: Shapes, width: int, where: str) -> float:
    """A ratio that gives the very width: open_clip computes `int(width * ratio)`."""
    wide, _ = _shape(shapes, "transformer.resblocks.0.mlp.c_fc.weight", 2, where)
    ratio = wide / width
    return ratio if int(width * ratio) == wide else (wide + 0.5) / width


def _heads(config: dict[str, Any], where: str) -> tuple[int, int, str]:
    vision, text = config["vision_cfg"], config["text_cfg"]
    known = _known_models(config)
    settled = {heads for _, heads in known}
    if len(settled) > 1:
        names = ", ".join(name for name, _ in known)
        raise ModelError(f"{where}: open_clip's models of these shapes ({names}) differ in their heads; {SAY_HOW}")
    if settled:
        return *settled.pop(), f"open_clip's {known[0][0]}, which has these shapes"
    for name, width in (("vision_cfg.width", vision["width"]), ("text_cfg.width", text["width"])):
        if width % HEAD_WIDTH:
            raise ModelError(
                f"{where}: the number of heads cannot be told from weights, and {name}={width} is no multiple of "
                f"{HEAD_WIDTH}, the usual width of one; {SAY_HOW} (vision_cfg.head_width, text_cfg.heads)"
            )
    return HEAD_WIDTH, text["width"] // HEAD_WIDTH, f"assumed {HEAD_WIDTH} wide: no model of open_clip has these shapes"


def _known_models(config: dict[str, Any]) -> list[tuple[str, tuple[int, int]]]:
    """Names of open_clip's models with these shapes, whatever their image size and context, with their heads."""
    import open_clip
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    found = []
    for name in open_clip.list_models():
        one = open_clip.get_model_config(name)
        if one is None or "multimodal_cfg" in one:
            continue
        vision, text = CLIPVisionCfg(**one["vision_cfg"]), CLIPTextCfg(**one["text_cfg"])
        if vision.timm_model_name or text.hf_model_name or not isinstance(vision.layers, int):
            continue
        if _outline(one["embed_dim"], vars(vision), vars(text)) == _outline(
            config["embed_dim"], config["vision_cfg"], config["text_cfg"]
        ):
            found.append((name, (vision.head_width, text.heads)))
    return found


def _outline(embed_dim: int, vision: Mapping[str, Any], text: Mapping[str, Any]) -> tuple[Any, ...]:
    towers = [(part["width"], part["layers"], int(part["width"] * part["mlp_ratio"])) for part in (vision, text)]
    return embed_dim, vision["patch_size"], vision["no_ln_pre"], *towers
