"""Tiny untrained CLIPs, as open_clip builds them, and the files that people have of such models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP, CustomTextCLIP

from gridscribe.models.clip.converting import package_clip
from gridscribe.models.clip.package import AlignmentPackage

VISION = {"image_size": 32, "layers": 2, "width": 128, "head_width": 64, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}


def tiny_clip(
    seed: int = 0,
    *,
    quick_gelu: bool = True,
    custom: bool = False,
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    embed_dim: int = 24,
) -> Any:
    """Lively random weights that float16 holds exactly, so that a package's answers equal the file's."""
    torch.manual_seed(seed)
    kind = CustomTextCLIP if custom else CLIP
    model = kind(embed_dim, {**VISION, **(vision or {})}, {**TEXT, **(text or {})}, quick_gelu=quick_gelu)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                fan = parameter[0].numel() if "weight" in name else parameter.shape[-1]
                parameter.normal_(std=1.5 * fan**-0.5)
            elif name != "logit_scale":
                parameter.add_(0.2 * torch.randn_like(parameter))
            parameter.copy_(parameter.half().float())
    return model.eval()


def write_config(folder: Path, *, quick_gelu: bool | None, **vision: Any) -> None:
    """An `open_clip_config.json` for `tiny_clip`."""
    stated = {} if quick_gelu is None else {"quick_gelu": quick_gelu}
    config = {"embed_dim": 24, **stated, "vision_cfg": {**VISION, **vision}, "text_cfg": TEXT}
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))


def pictures(count: int, side: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """Blocky random images, uint8 [count, 3, side, side]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (count, 3, -(-side // 8), -(-side // 8))).repeat(8, 2).repeat(8, 3)
    noisy = coarse[:, :, :side, :side] + rng.normal(0, 6, (count, 3, side, side))
    return noisy.clip(0, 255).astype(np.uint8)


def tiny_alignment(folder: Path, seed: int = 0, **options: Any) -> AlignmentPackage:
    """A package of `tiny_clip` in `folder`: windows of 32 pixels, patches of 8, 24 components."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder.with_name(f"{folder.name}-{seed}.pt")
    torch.save(tiny_clip(seed).state_dict(), checkpoint)
    return package_clip(checkpoint, folder, quick_gelu=True, **options)
