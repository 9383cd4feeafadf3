"""A trained checkpoint, as MMEngine's Runner writes it, as a model package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.backbones import SingleStream
from gridscribe.models.checkpoint_file import CheckpointFile, read_checkpoint_file
from gridscribe.models.package import MODEL_FILE, ModelPackage
from gridscribe.models.pretrained import is_own
from gridscribe.models.segmentor import build_segmentor
from gridscribe.models.weights import fill
from gridscribe.pipelines.initial_weights import rgb_normalisation
from gridscribe.pipelines.packaging import package_network
from gridscribe.pipelines.recipes import config_path
from gridscribe.pipelines.training import load_config


def package_checkpoint(config_name: str | Path, checkpoint: Path, folder: Path, **options: Any) -> ModelPackage:
    """Write the network of a training config with the weights of `checkpoint` into `folder`, as a package.

    A checkpoint of MMSegmentation's own segmentor fits a config with one encoder (`rgb`) of the same kind and the same head.
    `options` are those of `load_config` that decide the network: `kind`, `encoders`, `cfg_options`. Names and shapes of the
    weights must agree with the config's network exactly, and so must the preprocessor that the checkpoint names (that of
    ImageNet, where it is of others and names none): weights behind another normalisation would run and be wrong. Raises
    ModelError, naming them, where they do not; UsageError where `folder` holds a package already.
    """
    if (folder / MODEL_FILE).exists():
        raise UsageError(f"{folder}: holds a model package already; take another folder")
    config = load_config(config_name, data=Path(), work_dir=folder, **options)
    file = read_checkpoint_file(checkpoint)
    network = build_segmentor(config.model.to_dict())
    state = {name: tensor.numpy() for name, tensor in file.tensors.items()}
    if isinstance(network.backbone, SingleStream) and not is_own(file):
        # A segmentor of MMSegmentation's: its backbone is the one encoder.
        state = {re.sub(r"^backbone\.", "backbone.encoder.", name): array for name, array in state.items()}
    fill(network, state, str(checkpoint))
    _check_preprocessor(file, config.model.data_preprocessor)
    training = {"config": config_path(config_name).stem, "checkpoint": {"file": file.name, "sha256": file.sha256}}
    return package_network(config, network, folder, training)


def _check_preprocessor(file: CheckpointFile, own: Mapping[str, Any]) -> None:
    told = {**(rgb_normalisation(file) or {}), **(file.preprocessor or {})}
    recorded = {key: value for key, value in told.items() if key in own and key != "type"}
    other = {key: value for key, value in recorded.items() if _plain(value) != _plain(own[key])}
    if other:
        raise ModelError(
            f"checkpoint {file.path}: was trained behind another preprocessor than the config's: "
            + "; ".join(f"{key}={value}, here {own[key]}" for key, value in other.items())
            + "; say "
            + " ".join(f"--cfg-options 'model.data_preprocessor.{key}={value}'" for key, value in other.items())
        )


def _plain(value: Any) -> Any:
    """Tuples and lists alike."""
    return list(value) if isinstance(value, (list, tuple)) else value
