"""Planning a documents job: inputs and a product in, items of pages out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from gridscribe import __version__
from gridscribe.canonical import canonical_json, sha256
from gridscribe.errors import UsageError
from gridscribe.ingest.images import Account
from gridscribe.ingest.pages.discover import discover_pages
from gridscribe.ingest.pages.values import PageImage
from gridscribe.models.document.encoder import resolve_page_engine
from gridscribe.models.document.package import DocumentPackage, load_document_model
from gridscribe.models.engines import engine_environment
from gridscribe.models.engines.base import EngineSpec
from gridscribe.pipelines.documents.items import PageItem, page_items
from gridscribe.pipelines.documents.options import PagesJob
from gridscribe.pipelines.documents.pipeline import PagesSpec
from gridscribe.products import product_id

OUTPUT_SCHEMA = 1  # raised when the same settings would write other bytes
ROLE = "document"
DPI_RANGE = 1.5
"""How far, as a factor, pages may be rendered from the resolution that the model was trained for."""


@dataclass(frozen=True, slots=True)
class DocumentsPlan:
    """One documents job: what to compute, under which product."""

    job: str
    product: str
    product_json: dict[str, Any]
    inputs: tuple[str, ...]
    config: PagesJob
    digest: str
    """Of the model."""
    engine: EngineSpec
    pages: tuple[PageImage, ...]
    accounts: tuple[Account, ...]
    """Files and pages that will not be processed, and why."""
    items: tuple[PageItem, ...]

    def spec(self, output: str) -> PagesSpec:
        """What a worker needs."""
        config = self.config
        return PagesSpec(
            output, self.product, config.model, self.digest, self.engine, config.inputs, config.tokens, config.masks,
            config.thumbnails, config.latents, config.max_crops, config.time_limit, engine_environment(self.engine),
        )  # fmt: skip


def plan_documents(
    inputs: Sequence[str], config: PagesJob, *, progress: Callable[[str, int], None] | None = None
) -> DocumentsPlan:
    """Find the pages, resolve model and engine, cut items. Writes nothing.

    Raises `UsageError`, `ModelError` or `StoreError`; a bad input is no error but an account of the plan.
    """
    package = load_document_model(config.model, parts=("page",))
    if not 1 / DPI_RANGE <= config.inputs.dpi / package.dpi <= DPI_RANGE:
        raise UsageError(
            f"inputs.dpi={config.inputs.dpi:g}: model {package.name} reads pages of {package.dpi:g} dots per inch, at most a "
            f"factor of {DPI_RANGE} from it"
        )
    if config.latents is not None and package.latent_settings is None:
        raise UsageError(f"latents={config.latents:g}: model {package.name} has no adaptive latents")
    skip, layers = config.tokens.skip, package.architecture.layers
    if skip is not None and skip.last > layers:
        raise UsageError(f"tokens.within: layers {skip.first} to {skip.last}, and model {package.name} has {layers}")
    wish = config.engine
    inside = config.tokens.inside
    engine = resolve_page_engine(wish.name, package, precision=wish.precision, threads=wish.threads, inside=inside)
    found = discover_pages(inputs, config.inputs, progress=progress)
    items = tuple(page_items(found.pages, config.bundle_pages))
    product_json = _product(package, engine, config)
    product = product_id(product_json)
    facts = {
        "product": product,
        "items": [item.id for item in items],
        "accounts": [[account.source, account.state] for account in found.accounts],
    }
    job = sha256(canonical_json(facts))[:16]
    return DocumentsPlan(
        job, product, product_json, tuple(inputs), config, package.digest, engine, found.pages, found.accounts, items,
    )  # fmt: skip


def _product(package: DocumentPackage, engine: EngineSpec, config: PagesJob) -> dict[str, Any]:
    arch = package.architecture
    return {
        "schema": OUTPUT_SCHEMA,
        "job": "documents",
        "models": [{"role": ROLE, "name": package.name, "uri": config.model, "digest": package.digest}],
        "settings": {
            **config.settings(),
            "crop": package.crop,
            "cell": arch.cell,
            "embed_dim": arch.embed_dim,
            "scale": package.scale,
            "bias": package.bias,
        },
        "engine": engine.to_json(),
        "versions": {"gridscribe": __version__, engine.name: version(engine.name), "pypdfium2": version("pypdfium2")},
    }
