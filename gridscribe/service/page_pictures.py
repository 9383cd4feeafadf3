"""Pictures of pages: rendered from their documents, their tokens, their text."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
from PIL import Image

from gridscribe.errors import QueryError
from gridscribe.service.kept import Kept
from gridscribe.service.state import State
from gridscribe.token_reader import open_tokens

HELD = 64 << 20
TINT = (230, 60, 190, 110)
"""Of a token that is kept, RGBA."""


def page_png(state: State, document: str, number: int, size: int, product: str | None) -> bytes:
    """PNG bytes of a page as the job saw it, its longer side `size` pixels at most.

    Raises `QueryError` where no plan tells where the document lay or the service shows no inputs, `InputError` where it cannot be
    read any more.
    """
    if not state.settings.pictures:
        raise QueryError("this service does not show the jobs' own inputs (--no-pictures)")
    index = state.backend.documents.index(product)
    row = index.page(document, number).row
    kept: Kept[bytes] = state.kept.setdefault("pages", Kept(HELD, len))
    key = index.product.id, row.image, row.page, size
    return kept.get(key, lambda: _rendered(state, index.product.id, row.image, row.page, size))


def tokens_png(state: State, document: str, number: int, product: str | None) -> bytes:
    """PNG bytes, a pixel for each token: tinted where a vector stands for it, transparent where it was dropped."""
    stored = state.backend.documents.index(product).page(document, number)
    table, read = open_tokens(state.store, stored.tokens.key, stored.tokens.size)
    grid = table.grid(read, stored.row)
    pixels = np.zeros((stored.row.grid_h, stored.row.grid_w, 4), np.uint8)
    pixels.reshape(-1, 4)[grid.source_map >= 0] = TINT
    return _png(pixels)


def text_png(state: State, document: str, number: int, product: str | None) -> bytes:
    """PNG bytes of the page's text mask; `QueryError` where the product has none."""
    stored = state.backend.documents.index(product).page(document, number)
    if stored.text is None:
        raise QueryError(f"page {number} of {document} has no text mask")
    return state.store.get(stored.text)


def _rendered(state: State, product: str, document: str, page: int, size: int) -> bytes:
    from gridscribe.ingest.pages.reader import PageReader, local_copy
    from gridscribe.workers.look_pages import planned_page

    planned, options = planned_page(state.store, product, document, page)
    lock: Any = state.kept.setdefault("renderer lock", threading.Lock())
    with lock:  # one process at a time opens documents
        reader: PageReader = state.kept.setdefault(f"renderer {options}", PageReader(options))
        with local_copy(planned.file, options) as path:
            pixels = reader.render(path, planned.page)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return _png(np.asarray(picture))


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=3)
    return out.getvalue()
