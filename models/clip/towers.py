"""The two towers as open_clip's own modules, holding exactly a package's weights and nothing random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gridscribe.errors import ModelError
from gridscribe.models.clip.package import FILES, AlignmentPackage, Tower
from gridscribe.models.weights import check_fit, fill, read_weights

if TYPE_CHECKING:
    from open_clip.transformer import TextTransformer, VisionTransformer
    from torch import Tensor, nn


def build_image_tower(package: AlignmentPackage, *, quick_gelu: bool | None = None) -> VisionTransformer:
    """open_clip's `VisionTransformer` in float32, weights loaded, in eval mode.

    Takes normalised float32 [B, 3, S, S], S the package's window; gives [B, D], not normalised. `quick_gelu` overrides the
    package's activation, for comparison. Raises ModelError where the tower was not loaded or its weights do not fit.
    """
    import torch

    with torch.device("meta"):  # no values at all, until the package's are there
        tower = new_image_tower(_architecture(package, quick_gelu))
    return _filled(tower, package, "image")


def build_text_tower(package: AlignmentPackage, *, quick_gelu: bool | None = None) -> TextTransformer:
    """open_clip's `TextTransformer` in float32, weights loaded, in eval mode.

    Takes int64 [B, context_length] of `SimpleTokenizer`; gives [B, D], not normalised. See `build_image_tower`.
    """
    import torch

    with torch.device("meta"):
        tower = new_text_tower(_architecture(package, quick_gelu))
    tower = _filled(tower, package, "text")
    tower.register_buffer(
        "attn_mask", tower.build_causal_mask(), persistent=False
    )  # computed, so not among the weights
    return tower


def encode_tokens(tower: TextTransformer, tokens: Tensor) -> Tensor:
    """Text vectors [B, D], not normalised, of int64 [B, T] with T up to the context, as the stock forward has them of all of it.

    Attention is causal and a text's vector is that of its end, so what follows the end (padding) changes nothing and can be left
    out; the stock forward would not have it, for its mask is always that of the whole context.
    """
    from torch.func import functional_call

    length = tokens.shape[1]
    found: Tensor = functional_call(tower, {"attn_mask": tower.attn_mask[:length, :length]}, (tokens,))
    return found


def new_image_tower(architecture: Mapping[str, Any]) -> VisionTransformer:
    """The image tower of a checked architecture (`check_config`), as open_clip makes it: with random weights."""
    from open_clip.transformer import VisionTransformer

    cfg = architecture["vision_cfg"]
    return VisionTransformer(
        image_size=cfg["image_size"],
        patch_size=cfg["patch_size"],
        width=cfg["width"],
        layers=cfg["layers"],
        heads=cfg["width"] // cfg["head_width"],
        mlp_ratio=cfg["mlp_ratio"],
        no_ln_pre=cfg["no_ln_pre"],
        output_dim=architecture["embed_dim"],
        act_layer=_activation(architecture),
    )


def new_text_tower(architecture: Mapping[str, Any]) -> TextTransformer:
    """The text tower of a checked architecture; see `new_image_tower`."""
    from open_clip.transformer import TextTransformer

    cfg = architecture["text_cfg"]
    return TextTransformer(
        context_length=cfg["context_length"],
        vocab_size=cfg["vocab_size"],
        width=cfg["width"],
        heads=cfg["heads"],
        layers=cfg["layers"],
        mlp_ratio=cfg["mlp_ratio"],
        output_dim=architecture["embed_dim"],
        act_layer=_activation(architecture),
    )


def _architecture(package: AlignmentPackage, quick_gelu: bool | None) -> Mapping[str, Any]:
    return package.architecture if quick_gelu is None else {**package.architecture, "quick_gelu": quick_gelu}


def _activation(architecture: Mapping[str, Any]) -> type[nn.Module]:
    from open_clip.transformer import QuickGELU
    from torch import nn

    chosen: type[nn.Module] = QuickGELU if architecture["quick_gelu"] else nn.GELU
    return chosen


def _filled(tower: Any, package: AlignmentPackage, which: Tower) -> Any:
    weights = package.image if which == "image" else package.text
    if weights is None:
        raise ModelError(f"model {package.uri}: its {which} tower was not loaded; ask load_alignment for it")
    where = f"{package.uri}/{FILES[which]}"
    state = read_weights(weights, where)
    check_fit(tower, state, where)  # before memory for the tower is taken
    tower.to_empty(device="cpu")
    fill(tower, state, where)
    return tower.eval().requires_grad_(False)
