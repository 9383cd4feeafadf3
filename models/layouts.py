"""The names under which others publish the weights of MiT, Swin and ResNet, brought to MMSegmentation's.

Besides names, layouts differ in the order of some weights; every function here turns one layout into the other exactly, so
that the network computes what the publisher's computes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to name an encoder's weights."""

    title: str
    """For people."""
    encoder: str
    """The encoder's type here; empty: any."""
    mark: str
    """A name that this layout has and those after it in `LAYOUTS` have not."""
    convert: Callable[[Mapping[str, Tensor]], Tensors]
    """To MMSegmentation's names; names that are not known stay as they are."""
    unused: str
    """A regular expression for the start of names that belong to the layout and have no place in a segmentation encoder."""
    stem: str
    """MMSegmentation's name of the first convolution's kernel."""
    optional: str = r"(?!)"
    """A regular expression for the names here that published files never have, and which start as the identity."""


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """The first of `LAYOUTS` whose mark is among the names; `OWN` for none."""
    return next((layout for layout in LAYOUTS if layout.mark in tensors), OWN)


def _renamed(tensors: Mapping[str, Tensor], rules: Mapping[str, str]) -> Tensors:
    """Every rule (a regular expression and its replacement) applied to every name, in their order."""
    found = {}
    for name, tensor in tensors.items():
        new = name
        for pattern, replacement in rules.items():
            new = re.sub(pattern, replacement, new)
        found[new] = tensor
    return found


_NVIDIA = {
    **{rf"^(patch_embed|block|norm){stage + 1}\.": rf"\1.{stage}." for stage in range(4)},
    r"^patch_embed\.(\d)\.proj\.": r"layers.\1.0.projection.",
    r"^patch_embed\.(\d)\.norm\.": r"layers.\1.0.norm.",
    r"^block\.(\d)\.(\d+)\.attn\.proj\.": r"layers.\1.1.\2.attn.attn.out_proj.",
    r"^block\.(\d)\.(\d+)\.attn\.qkv\.": r"layers.\1.1.\2.attn.attn.in_proj_",
    r"^block\.(\d)\.(\d+)\.mlp\.fc1\.": r"layers.\1.1.\2.ffn.layers.0.",
    r"^block\.(\d)\.(\d+)\.mlp\.dwconv\.dwconv\.": r"layers.\1.1.\2.ffn.layers.1.",
    r"^block\.(\d)\.(\d+)\.mlp\.fc2\.": r"layers.\1.1.\2.ffn.layers.4.",
    r"^block\.(\d)\.(\d+)\.": r"layers.\1.1.\2.",
    r"^norm\.(\d)\.": r"layers.\1.2.",
}


def _joined(tensors: Mapping[str, Tensor], pieces: tuple[str, ...], whole: str) -> Tensors:
    """Weights and biases of layers that read the same input (`.q.`, `.kv.`) stacked into one (`.qkv.`), in this order."""
    found = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(rf"(.+)\.({'|'.join(pieces)})\.(weight|bias)", name)
        parts = [tensors.get(f"{match[1]}.{piece}.{match[3]}") for piece in pieces] if match else []
        if match is None or any(part is None for part in parts):
            found[name] = tensor
        elif match[2] == pieces[0]:
            found[f"{match[1]}.{whole}.{match[3]}"] = torch.cat([part for part in parts if part is not None])
    return found


def _from_nvidia(tensors: Mapping[str, Tensor]) -> Tensors:
    """Queries, keys and values are one matrix in MMSegmentation, and the feed-forward layers 1 x 1 convolutions."""
    found = _renamed(_joined(tensors, ("q", "kv"), "qkv"), _NVIDIA)
    return {
        name: tensor[..., None, None] if re.search(r"ffn\.layers\.[04]\.weight$", name) else tensor
        for name, tensor in found.items()
    }


_HUGGING_FACE = {
    r"^encoder\.patch_embeddings\.(\d)\.layer_norm\.": r"patch_embed.\1.norm.",
    r"^encoder\.patch_embeddings\.": r"patch_embed.",
    r"^encoder\.block\.": r"block.",
    r"^encoder\.layer_norm\.": r"norm.",
    r"\.attention\.self\.(qkv|sr)\.": r".attn.\1.",
    r"\.attention\.self\.layer_norm\.": r".attn.norm.",
    r"\.attention\.output\.dense\.": r".attn.proj.",
    r"\.layer_norm_([12])\.": r".norm\1.",
    r"\.mlp\.dense([12])\.": r".mlp.fc\1.",
}


def _from_hugging_face(tensors: Mapping[str, Tensor]) -> Tensors:
    return _from_nvidia(_renamed(_joined(tensors, ("query", "key", "value"), "qkv"), _HUGGING_FACE))


_MICROSOFT = {
    r"^patch_embed\.proj\.": r"patch_embed.projection.",
    r"^layers\.(\d)\.": r"stages.\1.",
    r"\.attn\.": r".attn.w_msa.",
    r"\.mlp\.fc1\.": r".ffn.layers.0.0.",
    r"\.mlp\.fc2\.": r".ffn.layers.1.",
}


def _from_microsoft(tensors: Mapping[str, Tensor]) -> Tensors:
    """Where four pixels are merged, Microsoft has channels within pixels, MMSegmentation pixels within channels.

    Microsoft's pixels run down first, then right: (0, 0), (1, 0), (0, 1), (1, 1); MMSegmentation's (`nn.Unfold`) right first.
    """
    found = _renamed(tensors, _MICROSOFT)
    for name, tensor in found.items():
        if ".downsample." in name and tensor.shape[-1] % 4 == 0:
            pixels = tensor.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
            found[name] = pixels.transpose(-1, -2).flatten(-2).contiguous()
    return found


def _from_timm_swin(tensors: Mapping[str, Tensor]) -> Tensors:
    """As Microsoft's, but a stage begins with the merging that leads to it, instead of ending with the next one's."""
    return _from_microsoft(
        {re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", k): v for k, v in tensors.items()}
    )  # fmt: skip


_SWIN_NORMS = r"norm[0-3]\."  # classifiers have none between stages and head
_SWIN_UNUSED = r"head\.|norm\.|.*\.attn_mask$"  # masks follow from the input's size
_CLASSIFIER = r"head\.|fc\.|classifier\."
LAYOUTS = (
    Layout("NVIDIA's MiT", "MiTEncoder", "patch_embed1.proj.weight", _from_nvidia, r"head\.",
           "layers.0.0.projection.weight"),
    Layout("Hugging Face's SegFormer", "MiTEncoder", "encoder.patch_embeddings.0.proj.weight", _from_hugging_face,
           r"classifier\.|decode_head\.", "layers.0.0.projection.weight"),
    Layout("MMSegmentation's MiT", "MiTEncoder", "layers.0.0.projection.weight", dict, r"head\.",
           "layers.0.0.projection.weight"),
    Layout("Microsoft's Swin", "SwinEncoder", "layers.0.downsample.reduction.weight", _from_microsoft,
           _SWIN_UNUSED, "patch_embed.projection.weight", _SWIN_NORMS),
    Layout("timm's Swin", "SwinEncoder", "layers.0.blocks.0.attn.qkv.weight", _from_timm_swin,
           _SWIN_UNUSED, "patch_embed.projection.weight", _SWIN_NORMS),
    Layout("MMSegmentation's Swin", "SwinEncoder", "stages.0.blocks.0.attn.w_msa.qkv.weight", dict, _SWIN_UNUSED,
           "patch_embed.projection.weight", _SWIN_NORMS),
    Layout("torchvision's and OpenMMLab's ResNet", "ResNetEncoder", "layer1.0.conv1.weight", dict, r"head\.|fc\.",
           "conv1.weight"),
)  # fmt: skip
"""Told apart by their marks, in this order."""
OWN = Layout("the encoder's own names", "", "", dict, _CLASSIFIER, "")
"""What is left: encoders that nobody else publishes, or a file that fits nothing."""
