"""Answers about pages from the objects under a URI."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import numpy as np

from gridscribe.client.documents import (
    POINTS,
    DocumentIndex,
    DocumentProduct,
    StoredPage,
    document_products,
    load_documents,
)
from gridscribe.client.page import Page, PageToken
from gridscribe.client.page_search import PageMatch, archive_matches, page_matches
from gridscribe.client.page_words import PageWords
from gridscribe.commits import committed_items
from gridscribe.errors import QueryError
from gridscribe.latent_tables import CropLatents, read_latents
from gridscribe.store import Store
from gridscribe.token_reader import open_tokens
from gridscribe.tokens import TokenGrid

MOST = 10_000  # matches of one question


class PageAnswers:
    """Pages, tokens and matches. What is there is read when it is first needed and kept. Safe to use from many threads."""

    def __init__(self, store: Store, package: str | None = None) -> None:
        """`package`: see `PageWords`."""
        self._store, self._words = store, PageWords(package)
        self._lock = threading.Lock()
        self._products: dict[str, DocumentProduct] | None = None
        self._indexes: dict[str, DocumentIndex] = {}

    def refresh(self) -> None:
        """Forget which pages there are."""
        with self._lock:
            self._products, self._indexes = None, {}

    def reload(self) -> None:
        """Look anew, and answer from what was known until that is read; a product with the same commits is kept as it is."""
        products = document_products(self._store)
        with self._lock:
            indexes = {name: index for name, index in self._indexes.items() if name in products}
        for name, index in indexes.items():
            if committed_items(self._store, name) != index.items:
                indexes[name] = load_documents(self._store, products[name])
        with self._lock:
            self._products, self._indexes = products, indexes

    def products(self) -> dict[str, DocumentProduct]:
        """All documents products, by id."""
        with self._lock:
            if self._products is None:
                self._products = document_products(self._store)
            return self._products

    def index(self, product: str | None) -> DocumentIndex:
        """The pages of a product; `QueryError` where it is not there, or none is named and there are several."""
        products = self.products()
        found = [name for name in products if product is None or name.startswith(product)]
        if len(found) != 1:
            named = ", ".join(sorted(products)) or "none"
            what = f"product {product!r} is not among them" if product is not None else "choose one with product="
            raise QueryError(f"{self._store.uri} has {len(products)} products of documents ({named}): {what}")
        with self._lock:
            if found[0] not in self._indexes:
                self._indexes[found[0]] = load_documents(self._store, products[found[0]])
            return self._indexes[found[0]]

    def page(self, document: str, number: int, product: str | None) -> Page:
        """See `Client.page`."""
        index = self.index(product)
        stored = index.page(document, number)
        row, told = stored.row, index.product
        return Page(
            document=row.image,
            page=row.page,
            source=row.source,
            width=row.width * POINTS / told.dpi,
            height=row.height * POINTS / told.dpi,
            dpi=told.dpi,
            grid_h=row.grid_h,
            grid_w=row.grid_w,
            kept=row.n_kept,
            flags=row.flags,
            text_mask=None if stored.text is None else self._store.uri_of(stored.text),
            product=told.id,
            model=told.label,
            _at=partial(self._at, index, stored),
            _match=partial(self._page_match, index, stored),
            _thumbnail=partial(self._thumbnail, index, stored),
            _latents=partial(self._latents, index, stored),
        )

    def match(self, text: str, top_k: int, threshold: float | None, product: str | None) -> Iterator[PageMatch]:
        """See `Client.match_pages`."""
        index = self.index(product)
        return archive_matches(self._store, index, self._words.query(index.product, text), _count(top_k), threshold)

    def _page_match(self, index: DocumentIndex, stored: StoredPage, text: str, top_k: int) -> list[PageMatch]:
        return page_matches(self._store, index, stored, self._words.query(index.product, text), _count(top_k))

    def _thumbnail(self, index: DocumentIndex, stored: StoredPage) -> TokenGrid:
        if stored.thumbnail is None:
            raise QueryError(
                f"product {index.product.id} stores no thumbnails: run the job with --cfg-options thumbnails=True"
            )
        record, row = stored.thumbnail
        table, read = open_tokens(self._store, record.key, record.size)
        return table.grid(read, row)

    def _latents(self, index: DocumentIndex, stored: StoredPage) -> list[CropLatents]:
        if stored.latents is None:
            raise QueryError(
                f"product {index.product.id} stores no latents: run the job with --cfg-options latents=0.03"
            )
        return read_latents(self._store.get(stored.latents), stored.latents, stored.row.image, stored.row.page)

    def _at(self, index: DocumentIndex, stored: StoredPage, x: float, y: float) -> PageToken:
        row, per_point = stored.row, index.product.dpi / POINTS
        if not (0 <= y * per_point < row.height and 0 <= x * per_point < row.width):
            width, height = row.width / per_point, row.height / per_point
            raise QueryError(
                f"x={x:g}, y={y:g} is outside page {row.page} of {row.image}, which is {width:.1f} x {height:.1f} points"
            )
        down, across = int(y * per_point), int(x * per_point)
        table, read = open_tokens(self._store, stored.tokens.key, stored.tokens.size)
        token, vector = table.at_pixel(read, row, down, across)
        corners = np.array(stored.frame.corners(token.index)) / per_point
        return PageToken(
            state=token.status,
            index=token.index,
            row=token.row,
            col=token.col,
            box=(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()),
            embedding=None if vector is None else vector.dequantised()[0].astype(np.float32),
            product=index.product.id,
            model=index.product.label,
        )


def _count(top_k: int) -> int:
    if isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k <= MOST:
        raise QueryError(f"top_k={top_k!r}: must be a whole number from 1 to {MOST}")
    return top_k
