"""Alignment packages: `model.json` and a safetensors file for each tower, from which images and text meet in one space.

`model.json` carries STAC MLM fields and, under `gridscribe`, the architecture as open_clip's `model_cfg` (see
`architecture.check_config`), preprocessing, and the size and sha256 of each tower's weights. So the digest of a package is
that of `model.json` alone, and a client that embeds phrases reads the text tower without the larger image tower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gridscribe.errors import ModelError
from gridscribe.models.clip.architecture import check_config
from gridscribe.models.package_files import (
    JSON_LIMIT,
    MODEL_FILE,
    RGB,
    check_bytes,
    decoded,
    digest,
    encode,
    place_of,
    read_files,
    rgb_input,
    stated_bytes,
    three,
    vector_output,
    write_files,
)
from gridscribe.models.weights import State, write_weights

FORMAT = "gridscribe-alignment/1"
TASK = "similarity-search"
FILES = {"image": "image.safetensors", "text": "text.safetensors"}
TOWER_LIMIT = 4 << 30
VARIANT = "segearth"
"""Of the last block, where nothing else is known: the best for CLIPs that were not trained for dense tokens."""
Tower = Literal["image", "text"]
BOTH: tuple[Tower, ...] = ("image", "text")


@dataclass(frozen=True, slots=True)
class AlignmentPackage:
    """A checked package. Nothing in it has been executed, and torch was not needed to read it."""

    name: str
    digest: str
    """sha256, hex, over `model.json` in canonical form, which holds the sha256 of each tower."""
    uri: str
    description: str
    architecture: dict[str, Any]
    """open_clip's `model_cfg`, every number written out; `quick_gelu` is true or false."""
    mean: tuple[float, float, float]
    """Of R, G, B in 0..1."""
    std: tuple[float, float, float]
    logit_scale: float
    """What cosines are multiplied by before a softmax."""
    gsd: tuple[float, float] | None
    """Smallest and largest ground sampling distance that it is meant for, metres per pixel; None where not stated."""
    source: dict[str, Any]
    """Where the weights come from, and how heads and activation were settled."""
    image: bytes | None = field(repr=False, compare=False)
    """The image tower's safetensors file; None where it was not asked for."""
    text: bytes | None = field(repr=False, compare=False)
    """The text tower's safetensors file; None where it was not asked for."""

    @property
    def patch(self) -> int:
        """Pixels a side of one token."""
        return int(self.architecture["vision_cfg"]["patch_size"])

    @property
    def window(self) -> int:
        """Pixels a side of the images it was trained on; other multiples of the patch are allowed (see `dense`)."""
        return int(self.architecture["vision_cfg"]["image_size"])

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return int(self.architecture["embed_dim"])

    @property
    def context_length(self) -> int:
        """Most tokens of a phrase, its start and end among them."""
        return int(self.architecture["text_cfg"]["context_length"])

    @property
    def variant(self) -> str:
        """What the image tower's last block does for dense tokens (see `dense`): as in training, where that was ours."""
        return str(self.source.get("training", {}).get("variant", VARIANT))

    @property
    def quick_gelu(self) -> bool:
        """Whether the towers use `x * sigmoid(1.702 x)` where others use GELU."""
        return bool(self.architecture["quick_gelu"])


def load_alignment(uri: str | Path, *, towers: tuple[Tower, ...] = BOTH) -> AlignmentPackage:
    """Read and check a package (a shipped one's name, a folder, an object-store URI), with the weights of these towers alone.

    Raises ModelError, saying which field, its value and what is allowed, where anything is missing, damaged, of another
    version, or outside what is allowed, and where a tower's bytes are not those that `model.json` names.
    """
    asked = str(uri)
    place = place_of(asked, FILES["image"])
    described = read_files(place, asked, {MODEL_FILE: JSON_LIMIT})[MODEL_FILE]
    document = decoded(described, asked, FORMAT, "a model that aligns images with text")
    weights = read_files(place, asked, {FILES[tower]: TOWER_LIMIT for tower in towers})
    return _parse(document, {tower: weights[FILES[tower]] for tower in towers}, asked)


def assemble(
    image: State,
    text: State,
    *,
    name: str,
    description: str,
    architecture: Mapping[str, Any],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    logit_scale: float,
    gsd: tuple[float, float] | None,
    source: Mapping[str, Any],
    uri: str = "memory",
) -> tuple[AlignmentPackage, bytes]:
    """A package of these weights and its `model.json`, as `write` puts them down and `load_alignment` reads them.

    Matrices and kernels are stored in float16, vectors in float32. Raises ModelError as `load_alignment` does.
    """
    weights: dict[Tower, bytes] = {"image": write_weights(image), "text": write_weights(text)}
    parameters = sum(int(array.size) for state in (image, text) for array in state.values())
    document = _describe(name, dict(architecture), tuple(mean), tuple(std), parameters)
    document["gridscribe"] = {
        "description": description,
        "architecture": dict(architecture),
        "mean": list(mean),
        "std": list(std),
        "logit_scale": logit_scale,
        **({"gsd": list(gsd)} if gsd is not None else {}),
        "source": dict(source),
        "weights": {tower: stated_bytes(FILES[tower], data) for tower, data in weights.items()},
    }
    return _parse(document, weights, uri), encode(document)


def write(folder: Path, package: AlignmentPackage, described: bytes) -> None:
    """Put down what `assemble` gave, `model.json` last. Raises UsageError where `folder` holds a model already."""
    write_files(folder, {FILES["image"]: package.image, FILES["text"]: package.text}, described)


def _describe(
    name: str, architecture: dict[str, Any], mean: tuple[float, ...], std: tuple[float, ...], parameters: int
) -> dict[str, Any]:
    vision = architecture["vision_cfg"]
    return {
        "format": FORMAT,
        "mlm:name": name,
        "mlm:architecture": f"CLIP, ViT of {vision['layers']} layers of {vision['width']}, patch {vision['patch_size']}",
        "mlm:tasks": [TASK],
        "mlm:framework": "pytorch",
        "mlm:pretrained": True,
        "mlm:total_parameters": parameters,
        "mlm:input": [rgb_input(vision["image_size"], mean, std)],
        "mlm:output": [vector_output(TASK, {"batch": -1, "embedding": architecture["embed_dim"]})],
    }


def _parse(document: dict[str, Any], weights: Mapping[Tower, bytes], uri: str) -> AlignmentPackage:
    where = f"model {uri}"
    try:
        own = document["gridscribe"]
        bands, tasks = tuple(document["mlm:input"][0]["bands"]), document["mlm:tasks"]
        architecture = check_config(own["architecture"], where)
        package = AlignmentPackage(
            name=str(document["mlm:name"]),
            digest=digest(document),
            uri=uri,
            description=str(own["description"]),
            architecture=architecture,
            mean=three(own["mean"], f"{where}: mean", 0, 1),
            std=three(own["std"], f"{where}: std", 1e-3, 2),
            logit_scale=float(own["logit_scale"]),
            gsd=None if "gsd" not in own else (float(own["gsd"][0]), float(own["gsd"][1])),
            source=dict(own["source"]),
            image=weights.get("image"),
            text=weights.get("text"),
        )
        for tower, data in weights.items():
            check_bytes(own["weights"][tower], data, f"{where}: {FILES[tower]}")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: {MODEL_FILE} is not a {FORMAT} description: {error!r}") from error
    if architecture != own["architecture"] or architecture["quick_gelu"] is None:
        raise ModelError(f"{where}: architecture must state quick_gelu and every number, as {architecture}")
    if bands != RGB or tasks != [TASK]:
        raise ModelError(f"{where}: bands are {bands}, tasks {tasks}; this version runs {RGB} and {[TASK]}")
    if package.gsd is not None and not 0 < package.gsd[0] <= package.gsd[1]:
        raise ModelError(f"{where}: gsd is {package.gsd}; it must be (smallest, largest), both above 0")
    if not math.exp(-10) <= package.logit_scale <= math.exp(10):
        raise ModelError(f"{where}: logit_scale is {package.logit_scale}; it must lie in exp(-10)..exp(10)")
    return package
