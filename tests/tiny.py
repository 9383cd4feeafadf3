"""A tiny untrained model and tiny rasters: enough for every path of a job, in seconds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from gridscribe.models.package import ClassInfo, ModelPackage, save_package

MASKS_JOB = str(Path(__file__).parent / "jobs" / "masks.py")
"""A job of masks and regions alone."""

CLASSES = tuple(
    ClassInfo(k, name, (40 * k, 255 - 40 * k, 90)) for k, name in enumerate(("other", "ground", "roof", "tree"))
)

ENCODER = {
    "type": "MiTEncoder",
    "embed_dims": 8,
    "num_layers": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "sr_ratios": [8, 4, 2, 1],
}

ARCHITECTURE = {
    "type": "EncoderDecoder",
    "data_preprocessor": {
        "type": "RGBHPreprocessor",
        "mean": [112.0, 112.0, 104.0],
        "std": [52.0, 50.0, 49.0],
        "height_mean": 4.0,
        "height_std": 5.0,
        "height_range": [-2.0, 60.0],
    },
    "backbone": {
        "type": "TwoStreams",
        "rgb": ENCODER,
        "height": ENCODER,
        "fusion": {"type": "BottleneckFusion", "tokens": 2, "width": 8},
    },
    "decode_head": {
        "type": "LateralSegformerHead",
        "in_channels": [8, 8, 16, 16],
        "in_index": [0, 1, 2, 3],
        "channels": 16,
        "dropout_ratio": 0.0,
        "num_classes": len(CLASSES),
        "norm_cfg": {"type": "BN"},
        "align_corners": False,
    },
}


def tiny_package(
    folder: Path, seed: int = 0, window: int = 64, stride: int = 48, optional_bands: tuple[str, ...] = ()
) -> ModelPackage:
    """Random weights, made lively enough that masks have structure."""
    import torch

    from gridscribe.models.segmentor import build_segmentor
    from gridscribe.models.weights import network_state

    torch.manual_seed(seed)
    network = build_segmentor(ARCHITECTURE)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return save_package(
        folder,
        network_state(network),
        name=f"tiny-{seed}",
        description="random weights, for tests",
        architecture=ARCHITECTURE,
        classes=CLASSES,
        gsd=(0.1, 0.5),
        window=window,
        stride=stride,
        patch=4,
        metrics={},
        training={},
        optional_bands=optional_bands,
    )


def write_pair(
    folder: Path,
    name: str,
    height: int,
    width: int,
    *,
    seed: int = 0,
    gsd: float = 0.2,
    origin: tuple[float, float] = (500_000.0, 5_000_000.0),
    nodata_corner: int = 0,
) -> None:
    """`<name>_rgb.tif` and `<name>_ndsm.tif` with smooth random content; `nodata_corner` pixels of black nodata at the start."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    coarse = rng.uniform(1, 255, (3, height // 16 + 2, width // 16 + 2))
    rgb = coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width].astype(np.uint8)
    ndsm = (rng.uniform(0, 12, (height // 16 + 2, width // 16 + 2)).repeat(16, 0).repeat(16, 1))[:height, :width]
    if nodata_corner:
        rgb[:, :nodata_corner, :nodata_corner] = 0
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "crs": "EPSG:32631",
        "transform": Affine(gsd, 0, origin[0], 0, -gsd, origin[1]),
    }
    with rasterio.open(folder / f"{name}_rgb.tif", "w", count=3, dtype="uint8", nodata=0, **profile) as file:
        file.write(rgb)
    with rasterio.open(folder / f"{name}_ndsm.tif", "w", count=1, dtype="float32", **profile) as file:
        file.write(ndsm.astype(np.float32), 1)


class FileBytes(bytes):
    """A file's bytes that a failed comparison prints by length and digest, so that it shows which file differs."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {hashlib.sha256(self).hexdigest()[:12]}>"


def tree_bytes(root: Path, below: str = "products") -> dict[str, bytes]:
    """Every file below `root/below`, by relative path."""
    return {
        str(p.relative_to(root)): FileBytes(p.read_bytes()) for p in sorted((root / below).rglob("*")) if p.is_file()
    }
