"""What a job segments with: a network trained on classes, or words held against the tokens of an alignment model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridscribe.errors import UsageError
from gridscribe.models.clip.concepts import concepts_path, read_concepts
from gridscribe.models.clip.encoder import DenseSpec, open_encoder, resolve_encoder
from gridscribe.models.clip.open_vocabulary import BIAS, OpenVocabulary, OpenVocabularyEngine, open_vocabulary
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.engines import EngineSpec, open_engine, resolve_engine
from gridscribe.models.engines.base import Engine
from gridscribe.models.package import ClassInfo, ModelPackage, load_package
from gridscribe.models.package_files import check_unchanged
from gridscribe.pipelines.alignment.calibration import fitted_for, read_offsets
from gridscribe.pipelines.alignment.segmenting import word_windows
from gridscribe.pipelines.alignment_options import VocabularyOptions
from gridscribe.pipelines.job_parts import EngineOptions
from gridscribe.pipelines.reading import WindowPlan


@dataclass(frozen=True, slots=True)
class Segmentor:
    """A segmentor resolved: plain data, safe to send to another process, where `open` makes its engine."""

    name: str
    """Of the model; with words also of the class file."""
    uri: str
    digest: str
    """Of the package."""
    classes: tuple[ClassInfo, ...]
    engine: EngineSpec
    windows: WindowPlan
    needs_height: bool
    """Whether it was trained with height alone."""
    words: OpenVocabulary | None = None
    """The classes as vectors; None for a network."""
    settings: dict[str, Any] | None = None
    """What of the words decides pixels, for the product; None for a network."""

    def model_json(self) -> dict[str, Any]:
        """How the product names the model."""
        return {"role": "segmentor", "name": self.name, "uri": self.uri, "digest": self.digest}

    def open(self, cores: int | None = None) -> Engine:
        """The engine, loaded; `cores` is how many this process may use (default: all).

        Raises `ModelError` if the model found is another, `EngineError` if this process cannot give the engine.
        """
        if self.words is None:
            package: ModelPackage = load_package(self.uri)
            check_unchanged(self.uri, package.digest, self.digest)
            return open_engine(self.engine, package, cores=cores)
        assert isinstance(self.engine, DenseSpec)
        towers = load_alignment(self.uri, towers=("image",))
        check_unchanged(self.uri, towers.digest, self.digest)
        return OpenVocabularyEngine(open_encoder(self.engine, towers, cores=cores), self.words)


def network_segmentor(
    model: str, engine: EngineOptions, *, window: int | None, stride: int | None, strict_gsd: bool
) -> Segmentor:
    """The model package at `model`. Raises `UsageError`, `ModelError` or `EngineError`."""
    package = load_package(model)
    resolved = resolve_engine(
        engine.name, package, precision=engine.precision, batch=engine.batch, threads=engine.threads, window=window
    )
    stride = stride or (package.stride if window is None else window * 3 // 4)
    if stride > resolved.window:
        raise UsageError(
            f"stride={stride}: must not be larger than the window ({resolved.window}): pixels would be left out"
        )
    return Segmentor(
        package.name, package.uri, package.digest, package.classes, resolved,
        WindowPlan(resolved.window, stride, package.gsd, strict_gsd), "height" not in package.optional_bands,
    )  # fmt: skip


def word_segmentor(
    options: VocabularyOptions, engine: EngineOptions, *, window: int | None, stride: int | None, strict_gsd: bool
) -> Segmentor:
    """The words of a class file, and an alignment model. Raises `UsageError`, `ModelError` or `EngineError`.

    The text tower is needed here and nowhere later.
    """
    from gridscribe.models.clip.text import TextEncoder

    package = load_alignment(options.model)
    resolved = resolve_encoder(
        engine.name, package, variant=options.variant, precision=engine.precision, batch=engine.batch,
        threads=engine.threads, window=window,
    )  # fmt: skip
    windows = word_windows(package, resolved, stride, strict_gsd=strict_gsd)
    place = concepts_path(options.classes)
    bank = read_concepts(place)
    name = f"{package.name}, {place.stem}"
    bias = BIAS if options.bias is None else options.bias
    words = open_vocabulary(bank, TextEncoder(package), name=name, scale=package.logit_scale, bias=bias)
    if options.offsets is not None:
        fitted = read_offsets(Path(options.offsets), **fitted_for(package, bank, resolved, bias))
        words = words.calibrated(fitted.scale, fitted.offsets)
    settings = {
        "classes": bank.digest, "variant": resolved.variant, "bias": words.bias, "scale": words.scale,
        "offsets": list(words.offsets),
    }  # fmt: skip
    return Segmentor(
        name, options.model, package.digest, words.classes, resolved, windows, needs_height=False, words=words,
        settings=settings,
    )  # fmt: skip
