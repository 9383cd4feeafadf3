"""Training configs by strategy and encoder: `configs/segmentation/<strategy>.py` with other encoders in its place."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from gridscribe.errors import UsageError

_MIT = {"type": "MiTEncoder", "num_heads": (1, 2, 5, 8), "sr_ratios": (8, 4, 2, 1)}
_SWIN = {"type": "SwinEncoder", "embed_dims": 96, "num_heads": (3, 6, 12, 24)}
ENCODERS: dict[str, dict[str, Any]] = {
    "mit-b0": {**_MIT, "embed_dims": 32, "num_layers": (2, 2, 2, 2)},
    "mit-b1": {**_MIT, "embed_dims": 64, "num_layers": (2, 2, 2, 2)},
    "mit-b2": {**_MIT, "embed_dims": 64, "num_layers": (3, 4, 6, 3)},
    "mit-b3": {**_MIT, "embed_dims": 64, "num_layers": (3, 4, 18, 3)},
    "resnet18": {"type": "ResNetEncoder", "depth": 18},
    "resnet34": {"type": "ResNetEncoder", "depth": 34},
    "resnet50": {"type": "ResNetEncoder", "depth": 50},
    "swin-t": {**_SWIN, "depths": (2, 2, 6, 2)},
    "swin-s": {**_SWIN, "depths": (2, 2, 18, 2)},
}
"""Encoders by the names that `--encoder` takes; settings: SegFormer's table 6, ResNet's table 1, Swin's section 3.3."""

_FULL = ("MiTEncoder", "ResNetEncoder", "SwinEncoder")
"""Encoders that may be exchanged; the light ones belong to their strategy."""


def config_path(name: str | Path, room: str = "segmentation") -> Path:
    """The config file that `name` means: a path, or the name of one in `configs/<room>/` without `.py`."""
    import gridscribe.configs

    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    folder = Path(gridscribe.configs.__path__[0]) / room
    shipped = folder / f"{path.name.removesuffix('.py')}.py"
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__"))
    raise UsageError(f"training config {str(name)!r}: neither a .py file nor one of {names}")


def widths_of(encoder: dict[str, Any]) -> tuple[int, ...]:
    """Channels of the four stages of one of `ENCODERS`."""
    if encoder["type"] == "ResNetEncoder":
        first = 64 if encoder["depth"] < 50 else 256
        return tuple(first * 2**k for k in range(4))
    if encoder["type"] == "SwinEncoder":
        return tuple(encoder["embed_dims"] * 2**k for k in range(4))
    return tuple(encoder["embed_dims"] * heads for heads in encoder["num_heads"])


def with_encoders(config: Config, rgb: str, height: str | None = None) -> None:
    """Put the encoders of these names into a training config, in place; `height` is `rgb`'s unless given.

    A strategy's own light height branch stays, widened to match. Raises UsageError for names that are not known, and for
    two encoders where there is one.
    """
    height = height or rgb
    for name in (rgb, height):
        if name not in ENCODERS:
            raise UsageError(f"encoder {name!r}: must be one of {', '.join(ENCODERS)}")
    backbone, head = config.model.backbone, config.model.decode_head
    widths = {"rgb": widths_of(ENCODERS[rgb]), "height": widths_of(ENCODERS[height])}
    if "encoder" in backbone:
        if height != rgb:
            raise UsageError(f"encoders {rgb!r} and {height!r}: this strategy has one encoder; name one")
        backbone.encoder = deepcopy(ENCODERS[rgb])
    else:
        backbone.rgb = deepcopy(ENCODERS[rgb])
        if backbone.height.type in _FULL:
            backbone.height = deepcopy(ENCODERS[height])
        elif "widths" in backbone.height:
            backbone.height.widths = widths["rgb"]
    if "heads" in head:
        head.heads = [{**part, "in_channels": widths[key]} for part, key in zip(head.heads, widths, strict=True)]
    else:
        head.in_channels = widths["rgb"]
