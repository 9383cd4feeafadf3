"""From a trained network to a model package that says what it was trained on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from gridscribe.canonical import canonical_json, sha256
from gridscribe.models.architecture import inference_architecture, plain_data
from gridscribe.models.package import ClassInfo, ModelPackage, save_package
from gridscribe.models.weights import network_state
from gridscribe.pipelines.datasets import LabelledImage
from gridscribe.pipelines.dropout import optional_bands

_PLACES = ("work_dir", "filename")
_PLACES_OF_DATA = ("data_root", "cache")


def package_network(config: Config, network: nn.Module, folder: Path, training: Mapping[str, Any]) -> ModelPackage:
    """Write `network`, built from `config.model`, as a package into `folder`, with what the config says of it."""
    facts, architecture = config.package, inference_architecture(config.model.to_dict())
    return save_package(
        folder,
        network_state(network),
        name=facts.name,
        description=facts.description,
        architecture=architecture,
        optional_bands=optional_bands(architecture, training.get("drop_height", 0.0)),
        classes=tuple(
            ClassInfo(k, name, tuple(color))
            for k, (name, color) in enumerate(zip(config.classes, config.palette, strict=True))
        ),
        gsd=tuple(facts.gsd),
        window=facts.window,
        stride=facts.stride,
        patch=facts.patch,
        metrics={},
        training=training,
    )


def config_digest(config: Config) -> str:
    """sha256 of everything that the config settles, without the places of files: equal on every machine."""
    values = {key: value for key, value in config.to_dict().items() if key not in _PLACES}
    crops = values["train_dataloader"]["dataset"]
    values["train_dataloader"]["dataset"] = {k: v for k, v in crops.items() if k not in _PLACES_OF_DATA}
    return sha256(canonical_json(plain_data(values)))


def data_facts(kind: str, split: str | None, images: Sequence[LabelledImage]) -> dict[str, Any]:
    """Which images they are: kind, split, how many, and a digest of their names and the sizes of their files."""
    names = [[image.id, [source.size for source in (*image.image.sources, image.labels.source)]] for image in images]
    return {"kind": kind, "split": split, "images": len(images), "digest": sha256(canonical_json(names))[:16]}
