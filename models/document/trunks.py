"""Vision transformers of timm and open_clip as the blocks of a page encoder, with patches that can be left out.

Their positions are rows of a table, which is looked up by a patch's place on the crop's full grid: what is dropped leaves the
others where they are. Class and register tokens go along and are left out of the answer. Nothing is fetched: weights come from a
package, or from a file (`load_trunk`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.checkpoint_file import read_checkpoint_file
from gridscribe.models.document.architecture import PageArchitecture


class Trunk(nn.Module, ABC):
    """Patches to tokens; the subclasses say where a library keeps what."""

    model: Any
    """The library's own module."""

    def __init__(self, table: int) -> None:
        super().__init__()
        self.table = table

    def forward(self, patches: Tensor, position: Tensor, keys: Tensor | None = None) -> Tensor:
        """As `PageEncoder.tokens`: patches [B, N, 3 p p] at `position` [B, N, 2] -> [B, N, width]; `keys` bool [B, N]."""
        place = (position[..., 0] * self.table + position[..., 1]).long()
        prefix, rows = self.positions()
        x = self.embed(patches) + rows[place]
        first = len(prefix)
        x = torch.cat([prefix.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
        mask = None
        if keys is not None:
            seen = F.pad(keys, (first, 0), value=True)
            mask = torch.zeros(seen.shape, dtype=x.dtype, device=x.device).masked_fill(~seen, float("-inf"))
        return self.run(x, mask)[:, first:]

    @abstractmethod
    def embed(self, patches: Tensor) -> Tensor:
        """[B, N, 3 p p] -> [B, N, width], each patch by itself."""

    @abstractmethod
    def positions(self) -> tuple[Tensor, Tensor]:
        """Class and register tokens with their positions [k, width], and the positions of patches [table ** 2, width]."""

    @abstractmethod
    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The blocks and what stands about them; `mask` [B, k + N] is added to the logits of keys."""


class TimmTrunk(Trunk):
    """timm's `VisionTransformer` with a learnt table of positions (ViT, DeiT, AugReg, DINO, SigLIP's)."""

    def __init__(self, name: str, table: int, patch: int) -> None:
        """Raises UsageError for a name that is none of timm's, or no such transformer."""
        import timm
        from timm.models.vision_transformer import VisionTransformer

        super().__init__(table)
        if name not in timm.list_models():
            raise UsageError(
                f"trunk 'timm/{name}': timm {timm.__version__} has no model of that name (timm.list_models())"
            )
        try:
            model = timm.create_model(name, pretrained=False, num_classes=0, img_size=table * patch)
        except TypeError:  # a model that takes no size of images
            model = None
        if not isinstance(model, VisionTransformer) or model.pos_embed is None:
            raise UsageError(
                f"trunk 'timm/{name}' is no VisionTransformer with a table of positions, which a page encoder needs"
            )
        if isinstance(model.fc_norm, nn.Module) and not isinstance(model.norm, nn.LayerNorm):
            model.norm, model.fc_norm = model.fc_norm, nn.Identity()  # models that pool keep their last norm there
        self.model = model
        self.model.attn_pool = None
        self.width, self.patch = int(model.embed_dim), int(model.patch_embed.patch_size[0])

    def embed(self, patches: Tensor) -> Tensor:
        """See `Trunk.embed`."""
        proj = self.model.patch_embed.proj
        made: Tensor = self.model.patch_embed.norm(F.linear(patches, proj.weight.flatten(1), proj.bias))
        return made

    def positions(self) -> tuple[Tensor, Tensor]:
        """See `Trunk.positions`."""
        parts = [part[0] for part in (self.model.cls_token, self.model.reg_token) if part is not None]
        table = self.model.pos_embed[0]
        prefix = torch.cat(parts) if parts else table[:0]
        if self.model.no_embed_class:
            return prefix, table
        return prefix + table[: len(prefix)], table[len(prefix) :]

    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `Trunk.run`."""
        x = self.model.norm_pre(x)
        for block in self.model.blocks:
            x = block(x) if mask is None else block(x, attn_mask=mask[:, None, None])
        found: Tensor = self.model.norm(x)
        return found


class OpenCLIPTrunk(Trunk):
    """The image tower of an open_clip model, its last norm included, without pooling and projection."""

    def __init__(self, name: str, table: int, patch: int) -> None:
        """Raises UsageError for a name that open_clip has no configuration of, or whose tower is no transformer of its own."""
        import open_clip

        from gridscribe.models.clip.architecture import check_config
        from gridscribe.models.clip.towers import new_image_tower

        super().__init__(table)
        config = open_clip.get_model_config(name)
        if config is None:
            raise UsageError(
                f"trunk 'open_clip/{name}': open_clip has no configuration of that name (open_clip.list_models())"
            )
        try:
            checked = check_config(config, f"trunk 'open_clip/{name}'")
        except ModelError as error:
            raise UsageError(str(error)) from error
        checked["vision_cfg"]["image_size"] = table * patch
        checked["quick_gelu"] = bool(checked["quick_gelu"])
        tower = new_image_tower(checked)
        tower.proj = None
        self.model = tower
        self.width, self.patch = int(checked["vision_cfg"]["width"]), int(checked["vision_cfg"]["patch_size"])
        self.heads = self.width // int(checked["vision_cfg"]["head_width"])

    def embed(self, patches: Tensor) -> Tensor:
        """See `Trunk.embed`."""
        return F.linear(patches, self.model.conv1.weight.flatten(1))

    def positions(self) -> tuple[Tensor, Tensor]:
        """See `Trunk.positions`."""
        table = self.model.positional_embedding
        return self.model.class_embedding[None] + table[:1], table[1:]

    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `Trunk.run`."""
        if mask is not None:  # torch's own attention takes a mask for each head
            mask = mask[:, None, None].expand(-1, self.heads, x.shape[1], -1).flatten(0, 1)
        found: Tensor = self.model.ln_post(self.model.transformer(self.model.ln_pre(x), attn_mask=mask))
        return found


def open_trunk(arch: PageArchitecture) -> Trunk:
    """The trunk that an architecture names, with random weights. UsageError for one that there is not, or of other sizes."""
    library, _, name = arch.trunk.partition("/")
    kinds: dict[str, type[TimmTrunk | OpenCLIPTrunk]] = {"timm": TimmTrunk, "open_clip": OpenCLIPTrunk}
    if library not in kinds or not name:
        raise UsageError(f"trunk {arch.trunk!r}: allowed are timm/NAME and open_clip/NAME")
    trunk = kinds[library](name, arch.table, arch.patch)
    if (trunk.width, trunk.patch) != (arch.width, arch.patch):
        raise UsageError(
            f"trunk {arch.trunk!r} has width {trunk.width} and patches of {trunk.patch} px, the page architecture says "
            f"{arch.width} and {arch.patch}: state its own"
        )
    return trunk


def load_trunk(trunk: Trunk, path: str) -> int:
    """Weights from a checkpoint of timm or open_clip (`read_checkpoint_file`) into a trunk; returns how many.

    An image tower's `visual.` may stand before names; heads, projections and text towers are left out; a table of positions of
    another size is resampled as timm does. Raises ModelError where a weight of the trunk is missing or of another shape.
    """
    from timm.layers import resample_abs_pos_embed

    file = read_checkpoint_file(path)
    tensors = dict(file.tensors)
    if any(name.startswith("visual.") for name in tensors):
        tensors = {name.removeprefix("visual."): t for name, t in tensors.items() if name.startswith("visual.")}
    wanted = trunk.model.state_dict()
    for name in ("pos_embed", "positional_embedding"):
        if name in wanted and name in tensors and tensors[name].shape != wanted[name].shape:
            table = tensors[name].reshape(1, -1, tensors[name].shape[-1])
            prefix = wanted[name].reshape(1, -1, trunk.width).shape[1] - trunk.table**2
            resized = resample_abs_pos_embed(table, [trunk.table, trunk.table], num_prefix_tokens=prefix)
            tensors[name] = resized.reshape(wanted[name].shape)
    if "norm.weight" in wanted and "norm.weight" not in tensors and "fc_norm.weight" in tensors:
        tensors.update({f"norm.{part}": tensors[f"fc_norm.{part}"] for part in ("weight", "bias")})
    for name, value in wanted.items():
        if name not in tensors:
            raise ModelError(f"checkpoint {path}: lacks {name!r}, which the trunk needs; is it of another model?")
        if tensors[name].shape != value.shape:
            raise ModelError(
                f"checkpoint {path}: {name} has shape {list(tensors[name].shape)}, the trunk needs {list(value.shape)}"
            )
    trunk.model.load_state_dict({name: tensors[name] for name in wanted})
    return len(wanted)
