"""The alignment model of a job: resolved when it is planned, opened by each worker, used for tokens and for regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.raster import open_raster
from gridscribe.models.clip.concepts import ConceptBank, concepts_path, read_concepts
from gridscribe.models.clip.encoder import DenseSpec, open_encoder, resolve_encoder
from gridscribe.models.clip.package import AlignmentPackage, load_alignment
from gridscribe.models.clip.shared_encoder import SharedEncoder
from gridscribe.models.package_files import check_unchanged
from gridscribe.pipelines.alignment_options import AlignmentOptions, Look, TokenOptions
from gridscribe.pipelines.items import Part
from gridscribe.pipelines.job_parts import EngineOptions
from gridscribe.pipelines.scale import ANY_GSD
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.tokens.embedding import PartEmbedder, PartTokens, TokenPlan

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AlignmentSpec:
    """Everything that a worker needs to embed images and regions; plain data, safe to send to another process."""

    name: str
    model: str
    digest: str
    encoder: DenseSpec
    stride: int
    patch: int
    dim: int
    logit_scale: float
    gsd: tuple[float, float]
    strict_gsd: bool
    tokens: TokenOptions | None
    regions: Look | None
    labels: int
    concepts: dict[str, Any] | None
    """`digest` and `count` of the concept bank; None where regions are not labelled."""

    def model_json(self) -> dict[str, Any]:
        """How the product names the model."""
        return {"role": "alignment", "name": self.name, "uri": self.model, "digest": self.digest}

    def settings(self) -> dict[str, Any]:
        """The part that decides what is stored, for the product."""
        return {
            "variant": self.encoder.variant,
            "window": self.encoder.window,
            "stride": self.stride,
            "patch": self.patch,
            "gsd": list(self.gsd),
            "embed_dim": self.dim,
            "logit_scale": self.logit_scale,
            "engine": self.encoder.to_json(),
            "tokens": None if self.tokens is None else self.tokens.to_json(),
            "regions": self.regions,
            "labels": self.labels if self.concepts else 0,
            "concepts": self.concepts,
        }

    @property
    def token_plan(self) -> TokenPlan:
        """How tokens are made."""
        if self.tokens is None:
            raise AssertionError("tokens were asked of a job that stores none")
        return TokenPlan(
            self.encoder.window, self.stride, self.patch, self.dim, self.gsd, self.strict_gsd, self.tokens.made, self.tokens.kind
        )  # fmt: skip


def resolve_alignment(
    options: AlignmentOptions, engine: EngineOptions, tokens: TokenOptions | None, *, strict_gsd: bool
) -> tuple[AlignmentSpec, ConceptBank | None]:
    """Load the package (not its text tower) and the concept bank, resolve the encoder.

    Raises `UsageError`, `ModelError`, or `EngineError`.
    """
    package = load_alignment(options.model, towers=("image",))
    encoder = resolve_encoder(
        engine.name,
        package,
        variant=options.variant,
        precision=engine.precision,
        threads=engine.threads,
        window=options.window,
    )
    patches = encoder.window // package.patch
    stride = options.stride or max(1, patches * 3 // 4) * package.patch
    if stride % package.patch or stride > encoder.window:
        raise UsageError(
            f"alignment.stride={stride}: must be a multiple of the patch ({package.patch}) and at most the window "
            f"({encoder.window})"
        )
    if options.regions in ("tokens", "both") and tokens is None:
        raise UsageError(
            f"alignment.regions={options.regions!r} needs tokens, and tokens are off: turn them on, or choose 'crop'"
        )
    bank = None if options.concepts is None else read_concepts(concepts_path(options.concepts))
    spec = AlignmentSpec(
        name=package.name,
        model=options.model,
        digest=package.digest,
        encoder=encoder,
        stride=stride,
        patch=package.patch,
        dim=package.embed_dim,
        logit_scale=package.logit_scale,
        gsd=package.gsd or ANY_GSD,
        strict_gsd=strict_gsd,
        tokens=tokens,
        regions=options.regions,
        labels=options.labels,
        concepts=None if bank is None else {"digest": bank.digest, "count": len(bank.concepts)},
    )
    return spec, bank


class Alignment:
    """The encoder, open; may be used from several threads at once."""

    def __init__(self, spec: AlignmentSpec, cores: int | None = None) -> None:
        """Raises `ModelError` where the package found is not the product's, `EngineError` where its encoder cannot be had."""
        package = checked_package(spec, ("image",))
        self.spec = spec
        self.encoder = SharedEncoder(open_encoder(spec.encoder, package, cores=cores))
        self.encoder.warm_up()

    def tokens(
        self, parts: Sequence[Part], deadline: Deadline
    ) -> tuple[dict[str, PartTokens], list[tuple[Part, InputError]]]:
        """(by image, the tokens of the parts that can be read; those that cannot and why); raises as the deadline says."""
        done: dict[str, PartTokens] = {}
        failed: list[tuple[Part, InputError]] = []
        for part in parts:
            try:
                with open_raster(part.image) as reader:
                    embedder = PartEmbedder(reader, part.box, part.image.gsd, self.spec.token_plan)
                    done[part.image.image_id] = embedder.embed(self.encoder, deadline, part.image.image_id)
            except InputError as error:
                deadline.check()
                failed.append((part, error))
        return done, failed

    def close(self) -> None:
        """Release the encoder."""
        self.encoder.close()


def checked_package(spec: AlignmentSpec, towers: tuple[Any, ...]) -> AlignmentPackage:
    """The package of `spec`; raises `ModelError` where what lies there now is another."""
    package = load_alignment(spec.model, towers=towers)
    check_unchanged(spec.model, package.digest, spec.digest)
    return package
