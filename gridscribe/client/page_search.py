"""Words on pages: of one page, and of all pages of a product."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gridscribe.client.documents import POINTS, DocumentIndex, StoredPage
from gridscribe.client.page_words import Float32, TokenQuery
from gridscribe.client.search import dots
from gridscribe.errors import LayoutError
from gridscribe.page_scores import NONE, Place, best_places, place_scores
from gridscribe.store import Store
from gridscribe.token_reader import TokenBatch, open_tokens

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMatch:
    """A place on a page that a phrase may stand at."""

    score: float
    """The mean over the phrase's tokens of their best cosine about the place, -1 to 1."""
    document: str
    page: int
    """Counted from 0."""
    source: str
    box: Box
    """x0, y0, x1, y1 in points (1/72 inch) from the page's upper left corner."""
    box_px: Box
    """The same in pixels of the raster that the job saw."""
    product: str
    model: str

    def _repr_html_(self) -> str:
        """What is known, as a table."""
        from gridscribe.client.shown import page_match_html

        return page_match_html(self)


def similarities(store: Store, page: StoredPage, query: TokenQuery) -> Float32:
    """Cosines float32 [n, grid_h, grid_w] of the phrase's tokens with the page's cells; a cell that another absorbed has that
    one's, and a cell that was dropped `NONE`."""
    table, read = open_tokens(store, page.tokens.key, page.tokens.size)
    batches = list(table.stream(read, table.groups_of(page.row.image, page.row.page), at_once=table.footer.size))
    return _laid(page, query, batches)


def page_matches(
    store: Store, index: DocumentIndex, page: StoredPage, query: TokenQuery, top_k: int
) -> list[PageMatch]:
    """The `top_k` best places of one page, best first; none on a blank page."""
    places = best_places(similarities(store, page, query), query.lengths, top_k)
    return [_match(index, page, place) for place in places]


def archive_matches(
    store: Store, index: DocumentIndex, query: TokenQuery, top_k: int, threshold: float | None
) -> Iterator[PageMatch]:
    """The best place of each of the `top_k` best pages, best first; equal scores by document and page.

    Every page is first bounded from above, by the mean over the phrase's tokens of the best cosine anywhere on it; pages are then
    scored in the order of their bounds until none that is left can be better. Memory: the tokens of one item's table, and a
    number for each page.
    """
    bounds = sorted(
        ((-bound, number) for number, bound in enumerate(_bounds(store, index, query)) if bound > float(NONE))
    )
    best: list[tuple[float, int]] = []  # a heap: the worst of the best first
    for negative, number in bounds:
        if len(best) == top_k and -negative < best[0][0]:
            break
        score = float(place_scores(similarities(store, index.pages[number], query), query.lengths).max())
        entry = score, -number
        if len(best) < top_k:
            heapq.heappush(best, entry)
        else:
            heapq.heappushpop(best, entry)
    for score, number in sorted(best, reverse=True):
        if threshold is None or score >= threshold:
            yield from page_matches(store, index, index.pages[-number], query, 1)


def _bounds(store: Store, index: DocumentIndex, query: TokenQuery) -> Float32:
    """float32 [pages]: no place of a page has a greater score."""
    numbers = {(page.row.image, page.row.page): number for number, page in enumerate(index.pages)}
    best = np.full((len(index.pages), len(query.lengths)), NONE, np.float32)
    for record in {page.tokens.key: page.tokens for page in index.pages}.values():
        table, read = open_tokens(store, record.key, record.size)
        for batch in table.stream(read):
            number = numbers.get((batch.image, batch.page))
            if number is not None:
                np.maximum(best[number], _cosines(batch, query, record.key).max(axis=1, initial=NONE), out=best[number])
    result: Float32 = best.mean(axis=1)
    return result


def _laid(page: StoredPage, query: TokenQuery, batches: list[TokenBatch]) -> Float32:
    size = len(query.lengths)
    out = np.full((size, page.frame.grid_h * page.frame.grid_w), NONE, np.float32)
    found = [_cosines(batch, query, page.tokens.key) for batch in batches]
    if page.row.parent is None:
        for batch, cosines in zip(batches, found, strict=True):
            out[:, batch.index] = cosines
    else:
        slots = np.concatenate([np.empty((size, 0), np.float32), *found, np.full((size, 1), NONE)], axis=1)
        out[:] = slots[:, np.frombuffer(page.row.parent, "<i4")]  # -1, of dropped cells, is the last
    return out.reshape(size, page.frame.grid_h, page.frame.grid_w)


def _cosines(batch: TokenBatch, query: TokenQuery, key: str) -> Float32:
    """[n, tokens]; stored vectors have almost unit length, and a cosine is no more than 1."""
    if batch.vectors.dim != query.vectors.shape[1]:
        raise LayoutError(f"{key}: vectors of {batch.vectors.dim} components, {query.vectors.shape[1]} are expected")
    scale = batch.vectors.scale.astype(np.float32)
    return np.stack([np.clip(dots(batch.vectors.values, one) * scale, -1, 1) for one in query.vectors])


def _match(index: DocumentIndex, page: StoredPage, place: Place) -> PageMatch:
    a, _, c, _, e, f = page.frame.transform or (page.frame.patch, 0.0, 0.0, 0.0, page.frame.patch, 0.0)
    row = page.row
    pixels = (
        max(0.0, a * place.col0 + c),
        max(0.0, e * place.row0 + f),
        min(float(row.width), a * place.col1 + c),
        min(float(row.height), e * place.row1 + f),
    )
    x0, y0, x1, y1 = (value * POINTS / index.product.dpi for value in pixels)
    return PageMatch(
        score=place.score, document=row.image, page=row.page, source=row.source, box=(x0, y0, x1, y1), box_px=pixels,
        product=index.product.id, model=index.product.label,
    )  # fmt: skip
