"""Model packages: a folder with `model.json` and `model.safetensors`, from which a network runs without executing its files.

`model.json` carries the fields of the STAC Machine Learning Model extension (MLM 1.4: name, tasks, input bands and scaling,
output classes with colours) and, under `gridscribe`, what running needs beyond it: the architecture as MMSegmentation
config data, the range of ground sampling distance, window and stride, metrics and how the weights came about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import ModelError
from gridscribe.models.architecture import check_architecture, modalities
from gridscribe.models.package_files import JSON_LIMIT, MODEL_FILE, digest, encode, place_of, read_files, shipped
from gridscribe.models.weights import read_weights

if TYPE_CHECKING:
    from torch import nn

FORMAT = "gridscribe-model/1"
BANDS = ("red", "green", "blue", "height")
MAY_BE_OPTIONAL = ("height",)
"""Bands that a model may state it can do without; without RGB there is no image."""
TASK = "semantic-segmentation"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_LIMIT = 1 << 30
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One class of the masks."""

    id: int
    name: str
    color: tuple[int, int, int]
    """R, G, B in 0..255."""


class MaskClasses(Protocol):
    """What masks say of where they come from: all that writing them needs to know of a model."""

    @property
    def name(self) -> str:
        """Of the model."""
        ...

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """By id: 0, 1, ..."""
        ...


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A checked package. Nothing in it has been executed, and `import torch` was not needed to read it."""

    name: str
    digest: str
    """sha256, hex, over `model.json` in canonical form and the bytes of the weights."""
    uri: str
    description: str
    task: str
    architecture: dict[str, Any]
    """An MMSegmentation model config as plain data; only known types (see `check_architecture`)."""
    bands: tuple[str, ...]
    optional_bands: tuple[str, ...]
    """Those of `bands` that an image may lack altogether: `("height",)` or `()`."""
    classes: tuple[ClassInfo, ...]
    gsd: tuple[float, float]
    """Smallest and largest ground sampling distance trained for, metres per pixel."""
    window: int
    """Pixels a side that the network sees at once."""
    stride: int
    """Pixels from one window to the next."""
    patch: int
    """Pixels a side of the encoder's finest cell."""
    temperature: float
    """What logits are divided by before the softmax, so that confidences are shares of right answers; 1 where not fitted."""
    metrics: dict[str, Any]
    training: dict[str, Any]
    weights: bytes = field(repr=False, compare=False)
    """The safetensors file."""


def shipped_packages() -> list[str]:
    """Names of the packages that come with gridscribe."""
    return shipped(WEIGHTS_FILE)


def load_package(uri: str | Path) -> ModelPackage:
    """Read and check a package: the name of a shipped one, a folder (`./scenes` where a shipped one has that name), or an
    object-store URI.

    Raises ModelError, saying which field, its value and what is allowed, where anything is missing, damaged, of another
    version, or outside what is allowed. Weights are checked against the architecture by `build_network`.
    """
    described, weights = _read(place_of(uri, WEIGHTS_FILE), str(uri))
    return _parse(described, weights, str(uri))


def build_network(package: ModelPackage, *, plain: bool = False) -> nn.Module:
    """The package's network in float32, weights loaded, in eval mode: an MMSegmentation segmentor.

    `plain` builds it from MMSegmentation's own modules (the reference) instead of their faster equal forms. Raises
    ModelError where the weights do not fit the architecture exactly: missing or unexpected names, other shapes.
    """
    from gridscribe.models.architecture import plain_architecture
    from gridscribe.models.segmentor import build_segmentor
    from gridscribe.models.weights import fill

    architecture = plain_architecture(package.architecture) if plain else package.architecture
    network = build_segmentor(architecture)
    fill(network, read_weights(package.weights, package.uri), package.uri)
    return network.eval()


def save_package(
    folder: Path,
    state: Mapping[str, NDArray[np.generic]],
    *,
    name: str,
    description: str,
    architecture: Mapping[str, Any],
    classes: tuple[ClassInfo, ...],
    gsd: tuple[float, float],
    window: int,
    stride: int,
    patch: int,
    metrics: Mapping[str, Any],
    training: Mapping[str, Any],
    optional_bands: tuple[str, ...] = (),
) -> ModelPackage:
    """Write a package and read it back. `state` maps parameter names to float arrays (see `weights.network_state`).

    Matrices and kernels are stored in float16, vectors (biases, norms, running statistics) in float32.
    """
    from gridscribe.models.weights import write_weights

    weights = write_weights(state)
    document = _describe(
        name=name,
        description=description,
        architecture=dict(architecture),
        classes=classes,
        gsd=gsd,
        window=window,
        stride=stride,
        patch=patch,
        metrics=dict(metrics),
        training=dict(training),
        parameters=sum(int(a.size) for a in state.values()),
        optional_bands=optional_bands,
    )
    described = encode(document)
    package = _parse(described, weights, str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    (folder / MODEL_FILE).write_bytes(described)
    return package


def updated_package(
    package: ModelPackage,
    folder: Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    temperature: float | None = None,
) -> ModelPackage:
    """Rewrite the `model.json` in `folder` with these metrics or this temperature. The digest changes with it."""
    path = folder / MODEL_FILE
    document = json.loads(path.read_bytes())
    if metrics is not None:
        document["gridscribe"]["metrics"] = dict(metrics)
    if temperature is not None:
        document["gridscribe"]["temperature"] = temperature
    described = encode(document)
    updated = _parse(described, package.weights, package.uri)
    path.write_bytes(described)
    return updated


def _read(place: str, asked: str) -> tuple[bytes, bytes]:
    found = read_files(place, asked, {MODEL_FILE: JSON_LIMIT, WEIGHTS_FILE: WEIGHTS_LIMIT})
    return found[MODEL_FILE], found[WEIGHTS_FILE]


def _summary(architecture: Mapping[str, Any]) -> str:
    """What the network is, in a few words."""
    backbone = architecture["backbone"]
    encoders = [backbone[key]["type"] for key in ("encoder", "rgb", "height") if key in backbone]
    joined = backbone.get("fusion", {}).get("type", architecture["decode_head"]["type"])
    return f"{backbone['type']} of {' and '.join(encoders)}, {joined}, SegFormer head"


def _describe(
    *,
    name: str,
    description: str,
    architecture: dict[str, Any],
    classes: tuple[ClassInfo, ...],
    gsd: tuple[float, float],
    window: int,
    stride: int,
    patch: int,
    metrics: dict[str, Any],
    training: dict[str, Any],
    parameters: int,
    optional_bands: tuple[str, ...],
) -> dict[str, Any]:
    norm = architecture.get("data_preprocessor", {})
    scaling = [
        {"type": "z-score", "mean": mean, "stddev": std}
        for mean, std in zip(
            [*norm.get("mean", ()), norm.get("height_mean")],
            [*norm.get("std", ()), norm.get("height_std")],
            strict=True,
        )
    ]
    low, high = norm.get("height_range", (None, None))
    return {
        "format": FORMAT,
        "mlm:name": name,
        "mlm:architecture": _summary(architecture),
        "mlm:tasks": [TASK],
        "mlm:framework": "pytorch",
        "mlm:pretrained": False,
        "mlm:total_parameters": parameters,
        "mlm:input": [
            {
                "name": "RGB and height above ground",
                "description": f"red, green, blue in 0..255; height in metres, clamped to {low}..{high}, NaN where missing",
                "bands": list(BANDS),
                "input": {
                    "shape": [-1, len(BANDS), window, window],
                    "dim_order": ["batch", "bands", "height", "width"],
                    "data_type": "float32",
                },
                "value_scaling": scaling,
            }
        ],
        "mlm:output": [
            {
                "name": "class probabilities",
                "tasks": [TASK],
                "result": {
                    "shape": [-1, len(classes), window, window],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": [
                    {"value": c.id, "name": c.name, "color_hint": "{:02X}{:02X}{:02X}".format(*c.color)}
                    for c in classes
                ],
            }
        ],
        "gridscribe": {
            "description": description,
            "architecture": architecture,
            "gsd": list(gsd),
            "window": window,
            "stride": stride,
            "patch": patch,
            "metrics": metrics,
            "training": training,
            # left out where there are none: packages from before this field keep their digest, and their products
            **({"optional_bands": list(optional_bands)} if optional_bands else {}),
        },
    }


def _parse(described: bytes, weights: bytes, uri: str) -> ModelPackage:
    try:
        document = json.loads(described)
        if document["format"] != FORMAT:
            raise ModelError(f"model {uri}: format is {document['format']!r}, this version reads {FORMAT!r}")
        own = document["gridscribe"]
        bands = tuple(document["mlm:input"][0]["bands"])
        tasks = document["mlm:tasks"]
        classes = tuple(
            ClassInfo(int(c["value"]), str(c["name"]), _color(c["color_hint"]))
            for c in document["mlm:output"][0]["classification:classes"]
        )
        gsd = float(own["gsd"][0]), float(own["gsd"][1])
        window, stride, patch = int(own["window"]), int(own["stride"]), int(own["patch"])
        architecture = own["architecture"]
        package = ModelPackage(
            name=str(document["mlm:name"]),
            digest=digest(document, weights),
            uri=uri,
            description=str(own["description"]),
            task=str(tasks[0]),
            architecture=architecture,
            bands=bands,
            optional_bands=_optional_bands(own.get("optional_bands", []), f"model {uri}"),
            classes=classes,
            gsd=gsd,
            window=window,
            stride=stride,
            patch=patch,
            temperature=float(own.get("temperature", 1.0)),
            metrics=dict(own["metrics"]),
            training=dict(own["training"]),
            weights=weights,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"model {uri}: {MODEL_FILE} is not a {FORMAT} description: {error!r}") from error
    _check(package)
    read_weights(weights, uri)
    return package


def _check(package: ModelPackage) -> None:
    where = f"model {package.uri}"
    if package.bands != BANDS:
        raise ModelError(f"{where}: bands are {package.bands}; this version runs models of {len(BANDS)} bands, {BANDS}")
    if package.task != TASK:
        raise ModelError(f"{where}: task is {package.task!r}; this version runs {TASK!r}")
    if [c.id for c in package.classes] != list(range(len(package.classes))) or not 2 <= len(package.classes) <= 255:
        raise ModelError(
            f"{where}: class values are {[c.id for c in package.classes]}; they must be 0, 1, 2, ... (2 to 255)"
        )
    if not 0 < package.gsd[0] <= package.gsd[1]:
        raise ModelError(f"{where}: gsd is {package.gsd}; it must be (smallest, largest), both above 0")
    if not 0 < package.patch <= package.stride <= package.window <= 8192 or package.stride % package.patch:
        raise ModelError(
            f"{where}: window {package.window}, stride {package.stride}, patch {package.patch}; "
            "needs patch <= stride <= window <= 8192 and a stride that is a multiple of the patch"
        )
    if not TEMPERATURES[0] <= package.temperature <= TEMPERATURES[1]:
        raise ModelError(
            f"{where}: temperature is {package.temperature}; it must lie in {TEMPERATURES[0]:g}..{TEMPERATURES[1]:g}"
        )
    check_architecture(package.architecture, where)
    if "height" in package.optional_bands and modalities(package.architecture) == {"height"}:
        raise ModelError(f"{where}: optional_bands names 'height', and the network looks at nothing else; leave it out")
    outputs = package.architecture["decode_head"]["num_classes"]
    if outputs != len(package.classes):
        raise ModelError(
            f"{where}: the network has {outputs} outputs, the package names {len(package.classes)} classes"
        )


def _optional_bands(stated: Any, where: str) -> tuple[str, ...]:
    allowed = ", ".join(map(repr, MAY_BE_OPTIONAL))
    if not isinstance(stated, list) or len(stated) > len(MAY_BE_OPTIONAL):
        raise ModelError(f"{where}: optional_bands is {stated!r}; it must be a list with, at most, {allowed}")
    for band in stated:
        if band not in MAY_BE_OPTIONAL:
            raise ModelError(f"{where}: optional_bands names {band!r}; a model can do without {allowed} alone")
    return tuple(stated)


def _color(hint: str) -> tuple[int, int, int]:
    if len(hint) != 6:
        raise ValueError(f"color_hint {hint!r} is not RRGGBB")
    red, green, blue = bytes.fromhex(hint)
    return red, green, blue
