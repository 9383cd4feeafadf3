"""Document packages: `model.json` and safetensors files, from which pages and text tokens meet in one space.

`model.json` carries STAC MLM fields and, under `gridscribe`, the sizes of the encoder, preprocessing, and the size and sha256 of
each file of weights. A client that asks for words reads the small file of tokens without the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.document.architecture import PageArchitecture
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
from gridscribe.models.weights import State, fill, read_weights, write_weights

if TYPE_CHECKING:
    from gridscribe.models.document.latents import AdaptiveLatents
    from gridscribe.models.document.network import PageEncoder
    from gridscribe.models.document.patch_classifier import PatchClassifier

FORMAT = "gridscribe-document/1"
TASK = "similarity-search"
FILES = {
    "page": "page.safetensors",
    "tokens": "tokens.safetensors",
    "classifier": "classifier.safetensors",
    "latents": "latents.safetensors",
}
LIMIT = 4 << 30
GRAMS = "grams.weight"
Part = Literal["page", "tokens", "classifier", "latents"]
ALL: tuple[Part, ...] = ("page", "tokens", "classifier", "latents")
OPTIONAL = "classifier", "latents"


@dataclass(frozen=True, slots=True)
class DocumentPackage:
    """A checked package. Nothing in it has been executed, and torch was not needed to read it."""

    name: str
    digest: str
    """sha256, hex, over `model.json` in canonical form, which holds the sha256 of each file."""
    uri: str
    description: str
    architecture: PageArchitecture
    crop: int
    """Pixels a side of the crops that it was trained on, whole patches."""
    dpi: float
    """Dots per inch that pages are rendered at for it."""
    mean: tuple[float, float, float]
    """Of R, G, B in 0..1."""
    std: tuple[float, float, float]
    buckets: int
    """Vectors of n-grams in its space of tokens."""
    scale: float
    """What cosines are multiplied by before a sigmoid,"""
    bias: float
    """and what is added to them."""
    source: dict[str, Any]
    """What it was trained on, and how."""
    page: bytes | None = field(repr=False, compare=False)
    """The encoder's safetensors file; None where it was not asked for."""
    tokens: bytes | None = field(repr=False, compare=False)
    """The safetensors file of the n-grams' vectors; None where it was not asked for."""
    classifier: bytes | None = field(default=None, repr=False, compare=False)
    """The safetensors file of the patch classifier (`patch_classifier`); None where it was not asked for, or there is none."""
    classifies: bool = False
    """Whether the package has a patch classifier."""
    latents: bytes | None = field(default=None, repr=False, compare=False)
    """The safetensors file of adaptive latents (`latents`); None where it was not asked for, or there is none."""
    latent_settings: dict[str, Any] | None = None
    """Their sizes (`LatentSettings.to_json`); None where the package has none."""

    @property
    def window(self) -> int:
        """Pixels a side that the encoder sees at once."""
        return self.crop

    @property
    def patch(self) -> int:
        """Pixels of a patch's side."""
        return self.architecture.patch


def load_document_model(uri: str | Path, *, parts: tuple[Part, ...] = ALL) -> DocumentPackage:
    """Read and check a package (a shipped one's name, a folder, an object-store URI), with these weights alone.

    Raises ModelError, saying which field, its value and what is allowed, where anything is missing, damaged, of another
    version, or outside what is allowed, and where a file's bytes are not those that `model.json` names.
    """
    asked = str(uri)
    place = place_of(asked, FILES["page"])
    described = read_files(place, asked, {MODEL_FILE: JSON_LIMIT})[MODEL_FILE]
    document = decoded(described, asked, FORMAT, "a model that reads pages")
    there = [part for part in parts if part not in OPTIONAL or _has(document, part)]
    weights = read_files(place, asked, {FILES[part]: LIMIT for part in there})
    return _parse(document, {part: weights[FILES[part]] for part in there}, asked)


def assemble(
    page: State,
    grams: NDArray[np.float32],
    *,
    name: str,
    description: str,
    architecture: PageArchitecture,
    crop: int,
    dpi: float,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    scale: float,
    bias: float,
    source: Mapping[str, Any],
    classifier: State | None = None,
    latents: tuple[Mapping[str, Any], State] | None = None,
    uri: str = "memory",
) -> tuple[DocumentPackage, bytes]:
    """A package of these weights and its `model.json`, as `write` puts them down and `load_document_model` reads them.

    `grams`: a vector for each bucket of the space of tokens; `classifier`: a `PatchClassifier`'s; `latents`: `LatentSettings` as
    data, and weights.

    Matrices and kernels are stored in float16, vectors in float32. Raises ModelError as `load_document_model` does.
    """
    weights: dict[Part, bytes] = {"page": write_weights(page), "tokens": write_weights({GRAMS: grams})}
    if classifier is not None:
        weights["classifier"] = write_weights(classifier)
    if latents is not None:
        weights["latents"] = write_weights(latents[1])
    document = _describe(name, architecture, crop, tuple(mean), tuple(std))
    document["mlm:total_parameters"] = sum(int(array.size) for array in page.values()) + int(grams.size)
    document["gridscribe"] = {
        "description": description,
        "architecture": architecture.to_json(),
        "crop": crop,
        "dpi": dpi,
        "mean": list(mean),
        "std": list(std),
        "buckets": len(grams),
        "scale": scale,
        "bias": bias,
        "source": dict(source),
        **({} if latents is None else {"latents": dict(latents[0])}),
        "weights": {part: stated_bytes(FILES[part], data) for part, data in weights.items()},
    }
    return _parse(document, weights, uri), encode(document)


def extended(
    package: DocumentPackage,
    source: Mapping[str, Any],
    *,
    classifier: State | None = None,
    latents: tuple[Mapping[str, Any], State] | None = None,
) -> tuple[DocumentPackage, bytes]:
    """`package` with a classifier or latents of its own, or without, and further facts in its `source`; as `assemble`."""
    from gridscribe.models.weights import network_state

    return assemble(
        network_state(build_page_encoder(package)),
        gram_vectors(package),
        name=package.name,
        description=package.description,
        architecture=package.architecture,
        crop=package.crop,
        dpi=package.dpi,
        mean=package.mean,
        std=package.std,
        scale=package.scale,
        bias=package.bias,
        source={**package.source, **source},
        classifier=classifier,
        latents=latents,
    )


def write(folder: Path, package: DocumentPackage, described: bytes) -> None:
    """Put down what `assemble` gave, `model.json` last. Raises UsageError where `folder` holds a model already."""
    files = {FILES["page"]: package.page, FILES["tokens"]: package.tokens}
    if package.classifies:
        files[FILES["classifier"]] = package.classifier
    if package.latent_settings is not None:
        files[FILES["latents"]] = package.latents
    write_files(folder, files, described)


def build_page_encoder(package: DocumentPackage) -> PageEncoder:
    """The encoder with the package's weights, in evaluation mode on the CPU. Raises ModelError where they do not fit."""
    from gridscribe.models.document.network import PageEncoder

    if package.page is None:
        raise ValueError("the package was read without its encoder")
    network = PageEncoder(package.architecture)
    fill(network, read_weights(package.page, f"{package.uri}: {FILES['page']}"), package.uri)
    return network.eval()


def build_classifier(package: DocumentPackage) -> PatchClassifier:
    """The patch classifier with the package's weights, in evaluation mode on the CPU. Raises ModelError where they do not fit."""
    from gridscribe.models.document.patch_classifier import PatchClassifier

    if package.classifier is None:
        raise ValueError("the package has no patch classifier, or was read without it")
    network = PatchClassifier(2 * package.patch)
    fill(network, read_weights(package.classifier, f"{package.uri}: {FILES['classifier']}"), package.uri)
    return network.eval()


def build_latents(package: DocumentPackage) -> AdaptiveLatents:
    """The adaptive latents with the package's weights, in evaluation mode on the CPU. Raises ModelError where they do not fit."""
    from gridscribe.models.document.latents import AdaptiveLatents, LatentSettings

    if package.latents is None or package.latent_settings is None:
        raise ValueError("the package has no adaptive latents, or was read without them")
    network = AdaptiveLatents(LatentSettings.from_json(package.latent_settings))
    fill(network, read_weights(package.latents, f"{package.uri}: {FILES['latents']}"), package.uri)
    return network.eval()


def gram_vectors(package: DocumentPackage) -> NDArray[np.float32]:
    """float32 [buckets, embed_dim]: the vectors of n-grams. Raises ModelError where they are not what is stated."""
    if package.tokens is None:
        raise ValueError("the package was read without its tokens")
    state = read_weights(package.tokens, f"{package.uri}: {FILES['tokens']}")
    wanted = (package.buckets, package.architecture.embed_dim)
    if list(state) != [GRAMS] or state[GRAMS].shape != wanted:
        found = {name: array.shape for name, array in state.items()}
        raise ModelError(
            f"model {package.uri}: {FILES['tokens']} holds {found}, {MODEL_FILE} states {GRAMS} of {wanted}"
        )
    return state[GRAMS]


def _describe(
    name: str, arch: PageArchitecture, crop: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> dict[str, Any]:
    cells = crop // arch.cell
    return {
        "format": FORMAT,
        "mlm:name": name,
        "mlm:architecture": f"ViT of {arch.layers} layers of {arch.width}, patch {arch.patch}, cells of {arch.cell} px",
        "mlm:tasks": [TASK],
        "mlm:framework": "pytorch",
        "mlm:pretrained": True,
        "mlm:input": [rgb_input(crop, mean, std)],
        "mlm:output": [vector_output(TASK, {"batch": -1, "row": cells, "column": cells, "embedding": arch.embed_dim})],
    }


def _has(document: Mapping[str, Any], part: str) -> bool:
    own = document.get("gridscribe")
    return isinstance(own, dict) and isinstance(own.get("weights"), dict) and part in own["weights"]


def _parse(document: dict[str, Any], weights: Mapping[Part, bytes], uri: str) -> DocumentPackage:
    where = f"model {uri}"
    try:
        own = document["gridscribe"]
        bands, tasks = tuple(document["mlm:input"][0]["bands"]), document["mlm:tasks"]
        package = DocumentPackage(
            name=str(document["mlm:name"]),
            digest=digest(document),
            uri=uri,
            description=str(own["description"]),
            architecture=PageArchitecture.from_json(own["architecture"]),
            crop=int(own["crop"]),
            dpi=float(own["dpi"]),
            mean=three(own["mean"], f"{where}: mean", 0, 1),
            std=three(own["std"], f"{where}: std", 1e-3, 2),
            buckets=int(own["buckets"]),
            scale=float(own["scale"]),
            bias=float(own["bias"]),
            source=dict(own["source"]),
            page=weights.get("page"),
            tokens=weights.get("tokens"),
            classifier=weights.get("classifier"),
            classifies=_has(document, "classifier"),
            latents=weights.get("latents"),
            latent_settings=dict(own["latents"]) if _has(document, "latents") else None,
        )
        for part, data in weights.items():
            check_bytes(own["weights"][part], data, f"{where}: {FILES[part]}")
    except UsageError as error:
        raise ModelError(f"{where}: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: {MODEL_FILE} is not a {FORMAT} description: {error!r}") from error
    if bands != RGB or tasks != [TASK]:
        raise ModelError(f"{where}: bands are {bands}, tasks {tasks}; this version runs {RGB} and {[TASK]}")
    if package.crop < 1 or package.crop % package.architecture.patch:
        raise ModelError(
            f"{where}: crop is {package.crop}; it must be whole patches of {package.architecture.patch} px"
        )
    arch = package.architecture
    if arch.trunk and arch.table * arch.patch != package.crop:
        raise ModelError(
            f"{where}: crop is {package.crop}, its trunk {arch.trunk} has a table of {arch.table} positions a side of "
            f"{arch.patch} px"
        )
    if package.classifies and package.crop // package.patch % 2:
        raise ModelError(
            f"{where}: crop is {package.crop}; its classifier judges squares of 2 x 2 patches, which must fit into it"
        )
    if not 36 <= package.dpi <= 1200:
        raise ModelError(f"{where}: dpi is {package.dpi:g}; it must lie in 36..1200")
    if package.buckets < 1 or not 0 < package.scale <= 1000 or not -100 <= package.bias <= 100:
        raise ModelError(
            f"{where}: buckets {package.buckets}, scale {package.scale:g}, bias {package.bias:g}; they must be at least 1, "
            "in 0..1000, and in -100..100"
        )
    return package
