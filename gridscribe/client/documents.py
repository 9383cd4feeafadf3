"""The pages of a documents product: which there are, and where their tokens lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gridscribe.canonical import sha256
from gridscribe.commits import Commit, ObjectRecord, committed_items, read_commit
from gridscribe.errors import LayoutError, QueryError
from gridscribe.layout import parse_product_key
from gridscribe.products import list_products, read_product
from gridscribe.store import Store, concurrently
from gridscribe.tables import ImageRow, read_images
from gridscribe.token_tables import frame_of, token_columns
from gridscribe.tokens import TokenFrame, TokenGrid

ROLE = "document"
POINTS = 72.0
NAMED = 5  # documents that an error lists


@dataclass(frozen=True, slots=True)
class DocumentProduct:
    """What a documents product says of itself."""

    id: str
    model: str
    """Name of the document package."""
    uri: str
    """Where the package was when the job was planned."""
    digest: str
    dpi: float
    """Of its pages' rasters."""
    dim: int
    scale: float
    """What cosines are multiplied by before a sigmoid,"""
    bias: float
    """and what is added to them."""

    @property
    def label(self) -> str:
        """Name and the first 12 hex of the digest."""
        return f"{self.model}@{self.digest[:12]}"


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A committed page."""

    row: ImageRow
    frame: TokenFrame
    tokens: ObjectRecord
    """The token table that its tokens stand in."""
    text: str | None
    """Key of its text mask."""
    item: str
    latents: str | None = None
    """Key of the table of its adaptive latents."""
    thumbnail: tuple[ObjectRecord, ImageRow] | None = None
    """The table that the tokens of its thumbnail stand in, and a row as the images table would have of them."""


@dataclass(frozen=True, eq=False)
class DocumentIndex:
    """The committed pages of one product, in order of document and page."""

    product: DocumentProduct
    pages: tuple[StoredPage, ...]
    items: frozenset[str] = frozenset()
    """What they are committed as."""

    @cached_property
    def documents(self) -> dict[str, tuple[StoredPage, ...]]:
        """By document id."""
        found: dict[str, list[StoredPage]] = {}
        for page in self.pages:
            found.setdefault(page.row.image, []).append(page)
        return {name: tuple(pages) for name, pages in found.items()}

    def resolve(self, document: str) -> str:
        """The id of a document given by its id, the beginning of one that no other has, or its source.

        `QueryError` names near ones where there is none, or several.
        """
        if document in self.documents:
            return document
        by_source = sorted({page.row.image for page in self.pages if page.row.source == document})
        found = by_source or [name for name in self.documents if document and name.startswith(document)]
        if len(found) == 1:
            return found[0]
        names = found or list(self.documents)
        some = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        if found:
            raise QueryError(f"document {document!r} may be any of {some}: write more of the id")
        raise QueryError(f"product {self.product.id} has no document {document!r}: it has {some or 'none'}")

    def page(self, document: str, number: int) -> StoredPage:
        """One page, counted from 0; `QueryError` where it is not committed."""
        name = self.resolve(document)
        pages = self.documents[name]
        for page in pages:
            if page.row.page == number:
                return page
        there = f"{pages[0].row.page} to {pages[-1].row.page}" if len(pages) > 1 else str(pages[0].row.page)
        raise QueryError(
            f"page {number} of document {name} is not there: committed are {len(pages)}, {there} (counted from 0)"
        )


def document_products(store: Store) -> dict[str, DocumentProduct]:
    """All documents products under a store's URI, by id."""
    found = concurrently(lambda name: read_product(store, name), list_products(store), workers=8)
    return {value["product"]: _product(value) for value in found if value.get("job") == "documents"}


def load_documents(store: Store, product: DocumentProduct) -> DocumentIndex:
    """The committed pages of a product; a commit and a table are read for each item."""
    items = committed_items(store, product.id)
    commits = list(concurrently(lambda item: read_commit(store, product.id, item), sorted(items)))
    seen: dict[tuple[str, int], StoredPage] = {}
    for pages in concurrently(lambda commit: list(_pages(store, commit)), commits, workers=16):
        for page in pages:
            seen.setdefault((page.row.image, page.row.page), page)
    return DocumentIndex(product, tuple(seen[key] for key in sorted(seen)), frozenset(items))


def _pages(store: Store, commit: Commit) -> Iterator[StoredPage]:
    records = {record.key: record for record in commit.objects}
    tables = [record for record in commit.objects if parse_product_key(record.key).room == "images"]
    if len(tables) != 1:
        raise LayoutError(f"the commit of item {commit.item} names {len(tables)} images tables, 1 expected")
    data = store.get(tables[0].key)
    if sha256(data) != tables[0].sha256:
        raise LayoutError(f"{store.uri_of(tables[0].key)} is not what item {commit.item} committed")
    rows = {(row.image, row.page): row for row in read_images(data, tables[0].key)}
    for entry in commit.images:
        row = rows.get((entry["image"], int(entry["page"])))
        frame = None if row is None else frame_of(row)
        if row is None or frame is None or entry["tokens"] not in records:
            raise LayoutError(f"item {commit.item}: page {entry['page']} of {entry['image']} is not in its tables")
        small = entry.get("thumbnail")
        thumbnail = None if small is None else (records[small["tokens"]], _thumbnail_row(row, small))
        yield StoredPage(
            row, frame, records[entry["tokens"]], entry.get("text"), commit.item, entry.get("latents"), thumbnail
        )


def _thumbnail_row(row: ImageRow, small: dict[str, Any]) -> ImageRow:
    a, b, c, d, e, f = (float(value) for value in small["transform"])
    height, width = (int(value) for value in small["grid"])
    frame = TokenFrame(height, width, int(small["patch"]), transform=(a, b, c, d, e, f))
    none = TokenGrid(frame, np.empty(0, np.int32))
    return replace(row, **{**token_columns(none), "n_kept": int(small["kept"])})


def _product(value: dict[str, Any]) -> DocumentProduct:
    try:
        (model,) = [one for one in value["models"] if one["role"] == ROLE]
        settings = value["settings"]
        return DocumentProduct(
            id=value["product"],
            model=str(model["name"]),
            uri=str(model["uri"]),
            digest=str(model["digest"]),
            dpi=float(settings["inputs"]["dpi"]),
            dim=int(settings["embed_dim"]),
            scale=float(settings["scale"]),
            bias=float(settings["bias"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LayoutError(
            f"product {value.get('product')}: its document model is not understood ({error!r})"
        ) from error
