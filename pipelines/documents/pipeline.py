"""The documents pipeline: one item of pages in, committed objects out."""

from __future__ import annotations

import io
import queue
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe import layout
from gridscribe.commits import Commit, commit_item, put_objects
from gridscribe.errors import ChangedError, InputError, ModelError
from gridscribe.ingest.pages.reader import PageReader, local_copy
from gridscribe.ingest.pages.values import PageImage, PageOptions
from gridscribe.latent_tables import CropLatents, write_latents
from gridscribe.models.document.encoder import open_page_encoder
from gridscribe.models.document.package import load_document_model
from gridscribe.models.engines.base import EngineSpec
from gridscribe.pipelines.documents.items import PageItem, PagePart
from gridscribe.pipelines.documents.options import PageTokenOptions
from gridscribe.pipelines.receipts import Receipt
from gridscribe.pipelines.stages import CancelledError, Deadline
from gridscribe.store import open_store
from gridscribe.tables import ImageRow, write_images
from gridscribe.token_tables import TokenEntry, token_columns, write_tokens

if TYPE_CHECKING:  # it loads torch, which planning a job has no need of
    from gridscribe.pipelines.documents.encoding import PageTokens


@dataclass(frozen=True, slots=True)
class PagesSpec:
    """Everything a worker needs to build the pipeline; plain data, safe to send to another process."""

    output: str
    product: str
    model: str
    digest: str
    engine: EngineSpec
    inputs: PageOptions
    tokens: PageTokenOptions
    masks: bool
    thumbnails: bool
    latents: float | None
    max_crops: int
    time_limit: float
    environment: dict[str, str] = field(default_factory=dict)

    def open(self, cores: int | None = None) -> PagePipeline:
        """See `JobSpec`; raises what `PagePipeline` does."""
        return PagePipeline(self, cores)


class PagePipeline:
    """Holds the encoder, processes that open documents, and the output store; `process` may be called from several threads."""

    def __init__(self, spec: PagesSpec, cores: int | None = None) -> None:
        """Raises `ModelError` if the model found is not the product's, `EngineError` if this process cannot give its engine."""
        package = load_document_model(spec.model)
        if package.digest != spec.digest:
            raise ModelError(
                f"model {spec.model} has the digest {package.digest}, the product was planned with {spec.digest}: it was "
                "changed; plan the job again"
            )
        from gridscribe.pipelines.documents.encoding import PageEmbedder

        self.spec, self._package = spec, package
        self._encoder = open_page_encoder(spec.engine, package, cores=cores)
        tokens = spec.tokens
        self._embedder = PageEmbedder(
            package,
            self._encoder,
            tokens.made,
            tokens.kind,
            spec.max_crops,
            before=tokens.first,
            within=tokens.skip,
            thumbnails=spec.thumbnails,
            latents=spec.latents,
        )
        self._store = open_store(spec.output)
        self._readers: queue.SimpleQueue[PageReader] = queue.SimpleQueue()
        write_images(())  # pyarrow imports what it needs at its first table: at start, not in an item

    def process(self, item: PageItem, deadline: Deadline) -> Receipt:
        """Read, encode and commit the pages of `item`; returns a receipt.

        If all succeed they are committed as one item. If one fails, the others are committed as items of their own and the
        failure is named in the receipt. Raises `ItemTimeoutError`, `CancelledError` or `StoreError`; then nothing is committed.
        """
        seconds = {"read": 0.0, "encode": 0.0}
        done: list[tuple[PagePart, PageTokens]] = []
        failed: list[tuple[PagePart, InputError]] = []
        with self._reader() as reader:
            for _, parts in groupby(item.parts, key=lambda part: part.image.document):
                for part, page in self._pages(list(parts), reader, failed, seconds):
                    deadline.check()
                    started = time.perf_counter()
                    done.append((part, self._embedder.embed(page, part.image.image_id, deadline)))
                    seconds["encode"] += time.perf_counter() - started
        started = time.perf_counter()
        if failed:
            commits = [self._commit(PageItem((part,)), [(part, tokens)], deadline) for part, tokens in done]
        else:
            commits = [self._commit(item, done, deadline)]
        return Receipt(
            item=item.id,
            commits=tuple(commits),
            images=len(done),
            windows=sum(tokens.crops for _, tokens in done),
            failed=tuple(_failure(part, error) for part, error in failed),
            seconds={**seconds, "commit": time.perf_counter() - started},
        )

    def close(self) -> None:
        """Release the encoder and end the processes that open documents."""
        while not self._readers.empty():
            self._readers.get().close()
        self._encoder.close()

    @contextmanager
    def _reader(self) -> Iterator[PageReader]:
        reader = PageReader(self.spec.inputs) if self._readers.empty() else self._readers.get()
        try:
            yield reader
        finally:
            self._readers.put(reader)

    def _pages(
        self,
        parts: list[PagePart],
        reader: PageReader,
        failed: list[tuple[PagePart, InputError]],
        seconds: dict[str, float],
    ) -> Iterator[tuple[PagePart, NDArray[np.uint8]]]:
        """The pages of one document that can be read; those that cannot go into `failed`."""
        with ExitStack() as stack:
            started = time.perf_counter()
            try:
                path = stack.enter_context(local_copy(parts[0].image.file, self.spec.inputs))
            except CancelledError:
                raise
            except InputError as error:
                failed += [(part, error) for part in parts]
                return
            for part in parts:
                image = part.image
                try:
                    page = _as_planned(reader.render(path, image.page), image)
                except InputError as error:
                    failed.append((part, error))
                    continue
                seconds["read"] += time.perf_counter() - started
                yield part, page
                started = time.perf_counter()

    def _commit(self, item: PageItem, pages: list[tuple[PagePart, PageTokens]], deadline: Deadline) -> str:
        from gridscribe.pipelines.documents.encoding import text_mask

        deadline.check()
        product, tokens_key = self.spec.product, layout.tokens_key(self.spec.product, item.id)
        entries = [TokenEntry(part.image.document, part.image.page, tokens.grid) for part, tokens in pages]
        dim = self._package.architecture.embed_dim
        objects: dict[str, bytes] = {tokens_key: write_tokens(entries, dim, self.spec.tokens.kind)}
        small = [
            TokenEntry(part.image.document, part.image.page, tokens.thumbnail)
            for part, tokens in pages
            if tokens.thumbnail is not None
        ]
        thumbnails_key = layout.thumbnails_key(product, item.id)
        if self.spec.thumbnails:
            objects[thumbnails_key] = write_tokens(small, dim, self.spec.tokens.kind)
        latents_key = layout.latents_key(product, item.id)
        if self.spec.latents is not None:
            objects[latents_key] = write_latents(
                CropLatents(part.image.document, part.image.page, *coded)
                for part, tokens in pages
                for coded in tokens.latents
            )
        masks: dict[str, str] = {}
        if self.spec.masks:
            for part, tokens in pages:
                key = layout.page_key(product, f"{part.image.image_id}.text.png")
                masks[part.image.image_id] = key
                objects[key] = _png(text_mask(tokens.text, *part.box.shape), self.spec.inputs.dpi)
        records = put_objects(self._store, objects)
        named = dict(zip(objects, (record.key for record in records), strict=True))
        rows, images = [], []
        for part, tokens in pages:
            image = part.image
            mask = named[masks[image.image_id]] if self.spec.masks else None
            rows.append(_row(image, tokens, mask))
            entry = {
                "image": image.document,
                "page": image.page,
                "window": part.box.to_list(),
                "tokens": named[tokens_key],
            }
            entry |= {} if mask is None else {"text": mask}
            if tokens.thumbnail is not None:
                frame = tokens.thumbnail.frame
                entry["thumbnail"] = {
                    "tokens": named[thumbnails_key],
                    "kept": len(tokens.thumbnail),
                    "patch": frame.patch,
                    "grid": [frame.grid_h, frame.grid_w],
                    "transform": list(frame.transform or ()),
                }
            if self.spec.latents is not None:
                entry["latents"] = named[latents_key]
            images.append(entry)
        table = put_objects(self._store, {layout.images_key(product, item.id): write_images(rows)})
        statistics: dict[str, Any] = {
            "crops": sum(tokens.crops for _, tokens in pages),
            "pixels": sum(part.box.area for part, _ in pages),
            "tokens": sum(len(tokens.grid) for _, tokens in pages),
        }
        commit_item(self._store, Commit(product, item.id, (*records, *table), tuple(images), statistics))
        return item.id


def _as_planned(page: NDArray[np.uint8], image: PageImage) -> NDArray[np.uint8]:
    """The page; ChangedError where it has another size than the plan says."""
    if page.shape[:2] != (image.height, image.width):
        raise ChangedError(
            f"the page is {page.shape[1]} x {page.shape[0]} px, {image.width} x {image.height} were planned: plan the job again"
        )
    return page


def _row(image: PageImage, tokens: PageTokens, mask: str | None) -> ImageRow:
    flags = (*image.flags, *(() if len(tokens.grid) else ("blank",)))
    return ImageRow(
        image=image.document,
        source=image.source,
        page=image.page,
        height=image.height,
        width=image.width,
        box_row=0,
        box_col=0,
        box_height=image.height,
        box_width=image.width,
        mask=mask,
        flags=tuple(sorted(flags)),
        **token_columns(tokens.grid),
    )


def _png(mask: NDArray[np.uint8], dpi: float) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(mask).save(data, "PNG", dpi=(dpi, dpi), compress_level=6)
    return data.getvalue()


def _failure(part: PagePart, error: InputError) -> dict[str, Any]:
    return {
        "item": PageItem((part,)).id,
        "image": part.image.image_id,
        "source": part.image.name,
        "box": part.box.to_list(),
        "error": type(error).__name__,
        "message": str(error),
    }
