"""Answers from the objects under a URI."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.answers import Answerer
from gridscribe.client.backend import Like, Select
from gridscribe.client.blocks import MAX_PIXELS
from gridscribe.client.found import Heatmap, Label, Match, Region, TextMask
from gridscribe.client.height_order import height_order
from gridscribe.client.index import ImageIndex, ProductInfo
from gridscribe.client.load import load_index, load_product
from gridscribe.client.mosaic import Mosaicker
from gridscribe.client.page import Page
from gridscribe.client.page_answers import PageAnswers
from gridscribe.client.page_search import PageMatch
from gridscribe.client.phrases import Phrase
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.region_tables import region_rows
from gridscribe.client.searching import Search, Searcher
from gridscribe.client.segmenting import Segmenting
from gridscribe.client.tiles import CACHE_BYTES, NotHeldError, TileReader
from gridscribe.commits import committed_items
from gridscribe.errors import QueryError
from gridscribe.layout import product_prefix
from gridscribe.products import list_products
from gridscribe.regions import regions_schema
from gridscribe.store import Store, concurrently

if TYPE_CHECKING:
    import pyarrow as pa

    from gridscribe.models.clip.concepts import ConceptBank

AT_ONCE = 1 << 19
"""Points worked on at once, so that memory does not grow with their number."""


class ObjectsBackend:
    """Answers from what is committed under a store's URI. Safe to use from many threads.

    What is there is read when it is first needed and kept: `refresh` looks again. Blocks of rasters stay in memory up to
    `cache_bytes`.
    """

    def __init__(
        self,
        store: Store,
        cache_bytes: int = CACHE_BYTES,
        *,
        alignment: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """`alignment`: where alignment packages are read from, instead of the place that the product names. `max_pixels`: of the
        largest answer."""
        self.store = store
        self.tiles = TileReader(store, cache_bytes)
        self._most = max_pixels
        self._searcher = Searcher(store, self.tiles, alignment, max_pixels)
        self._documents = PageAnswers(store, alignment)
        self._lock = threading.Lock()
        self._products: dict[str, ProductInfo] | None = None
        self._indexes: dict[str, ImageIndex] = {}
        self._items: dict[str, set[str]] = {}

    def refresh(self) -> None:
        """Forget which images there are; blocks stay, for what is committed never changes."""
        with self._lock:
            self._products, self._indexes, self._items = None, {}, {}
        self._documents.refresh()

    def reload(self) -> None:
        """Look anew at what is there, as `refresh` does, but answer from what was known until that is read.

        Of a product that has the same commits as before everything is kept.
        """
        products = self._find_products()
        with self._lock:
            indexes, items = dict(self._indexes), dict(self._items)
        for name in [name for name in indexes if name not in products]:
            del indexes[name], items[name]
        for name in indexes:
            found = committed_items(self.store, name)
            if found != items[name]:
                indexes[name], items[name] = load_index(self.store, products[name], found), found
        with self._lock:
            self._products, self._indexes, self._items = products, indexes, items
        self._documents.reload()

    def products(self) -> dict[str, ProductInfo]:
        """All products that have masks, by id."""
        with self._lock:
            if self._products is None:
                self._products = self._find_products()
            return self._products

    @property
    def documents(self) -> PageAnswers:
        """Answers about pages."""
        return self._documents

    def at(
        self, x: float, y: float, crs: str, select: Select, *, embedding: bool = False, every: bool = True
    ) -> tuple[Pixel, ...]:
        """See `Backend`."""
        answerer = self._answerer(select)
        pixels = answerer.pixels(x, y, crs, select.datetime)
        pixels = pixels if every else pixels[:1]
        return self._searcher.with_vectors(answerer.index, pixels) if embedding else pixels

    def at_held(self, x: float, y: float, crs: str, select: Select, *, every: bool = True) -> tuple[Pixel, ...] | None:
        """As `at`, where all that is needed is in memory, in a quarter of a millisecond; else None. Nothing is waited for."""
        if not self._lock.acquire(blocking=False):
            return None  # something is being read
        try:
            chosen = None if self._products is None else self._choose(select.product, self._products)
            index = None if chosen is None else self._indexes.get(chosen.id)
        finally:
            self._lock.release()
        if index is None or not index.regions_known:
            return None
        try:
            pixels = Answerer(index, self.tiles.held()).pixels(x, y, crs, select.datetime)
        except NotHeldError:
            return None
        return pixels if every else pixels[:1]

    def at_many(
        self, points: NDArray[np.float64], crs: str, fields: Sequence[str] | None, select: Select, *, every: bool
    ) -> pa.Table:
        """See `Backend`."""
        import pyarrow as pa

        answerer = self._answerer(select)
        tables = []
        for start in range(0, max(len(points), 1), AT_ONCE):
            x, y = np.ascontiguousarray(points[start : start + AT_ONCE].T)
            table = answerer.table(x, y, crs, fields, select.datetime, every=every)
            if every and start:
                table = table.set_column(0, "point", pa.array(table["point"].to_numpy() + start))
            tables.append(table)
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries()

    def height_order(self, points: NDArray[np.float64], crs: str, select: Select) -> pa.Table:
        """See `Backend`."""
        return height_order(self.index(select.product), points, crs, select.datetime)

    def at_pixel(self, image: str, row: int, col: int, select: Select, *, embedding: bool = False) -> Pixel:
        """See `Backend`."""
        answerer = self._answerer(select)
        pixel = answerer.pixel_of(answerer.index.resolve(image), row, col)
        return self._searcher.with_vectors(answerer.index, (pixel,))[0] if embedding else pixel

    def mask(
        self, bbox: tuple[float, float, float, float], crs: str, select: Select, *, every: bool
    ) -> tuple[Mask, ...]:
        """See `Backend`."""
        return Mosaicker(self.index(select.product), self.tiles, self._most).masks(
            bbox, crs, select.datetime, every=every
        )

    def regions(
        self, bbox: tuple[float, float, float, float] | None, class_name: str | None, select: Select
    ) -> pa.Table:
        """See `Backend`."""
        import pyarrow as pa

        index = self.index(select.product)
        names = sorted(index.product.classes.values())
        if class_name is not None and class_name not in names:
            raise QueryError(f"class {class_name!r} is none of product {index.product.id}: it has {', '.join(names)}")
        images = index.chosen_ids(select.datetime, bbox)
        return pa.concat_tables(
            [regions_schema().empty_table(), *region_rows(self.store, index, images, bbox, class_name)]
        )

    def region(self, region_id: str, select: Select) -> Region:
        """See `Backend`."""
        return self._searcher.region(self.index(select.product), region_id)

    def match(self, phrase: Phrase, how: Search, select: Select) -> Iterator[Match]:
        """See `Backend`."""
        return self._searcher.match(self.index(select.product), phrase, how, select.datetime)

    def similar(self, like: Like, how: Search, select: Select) -> Iterator[Match]:
        """See `Backend`."""
        index = self.index(select.product)
        of = index if like.product is None else self.index(like.product)
        name = like.region
        if name is None:
            assert like.point is not None
            pixel = Answerer(of, self.tiles).pixels(*like.point, select.datetime)[0]
            name = pixel.region
            if name is None:
                raise QueryError(
                    f"no region of product {of.product.id} is at {like.point[0]:g}, {like.point[1]:g}: "
                    f"{pixel.reason or f'the area at row {pixel.row}, col {pixel.col} of {pixel.image} is none'}"
                )
        return self._searcher.similar(index, self._searcher.region(of, name), of, how, select.datetime)

    def describe(self, region_id: str, bank: ConceptBank, top_k: int, select: Select) -> tuple[Label, ...]:
        """See `Backend`."""
        return self._searcher.describe(self.index(select.product), region_id, bank, top_k)

    def heatmap(
        self, phrase: Phrase, image: str, bbox: tuple[float, float, float, float] | None, bias: float, select: Select
    ) -> Heatmap:
        """See `Backend`."""
        index = self.index(select.product)
        return self._searcher.heatmap(index, phrase, index.resolve(image), bbox, bias)

    def segment(
        self,
        phrase: Phrase,
        image: str,
        bbox: tuple[float, float, float, float] | None,
        how: Segmenting,
        select: Select,
    ) -> TextMask:
        """See `Backend`."""
        index = self.index(select.product)
        return self._searcher.segment(index, phrase, index.resolve(image), bbox, how)

    def page(self, document: str, number: int, select: Select) -> Page:
        """See `Backend`."""
        return self._documents.page(document, number, select.product)

    def match_pages(self, text: str, top_k: int, threshold: float | None, select: Select) -> Iterator[PageMatch]:
        """See `Backend`."""
        return self._documents.match(text, top_k, threshold, select.product)

    def documents_alone(self, select: Select) -> bool:
        """See `Backend`."""
        documents = self._documents.products()
        if select.product is not None:
            return any(name.startswith(select.product) for name in documents)
        return bool(documents) and not self.products()

    def index(self, product: str | None = None) -> ImageIndex:
        """The images of a product; `QueryError` where it is not there, or none is named and there are several."""
        with self._lock:
            if self._products is None:
                self._products = self._find_products()
            chosen = self._choose(product, self._products)
            if chosen.id not in self._indexes:
                items = committed_items(self.store, chosen.id)
                self._indexes[chosen.id], self._items[chosen.id] = load_index(self.store, chosen, items), items
            return self._indexes[chosen.id]

    def _answerer(self, select: Select) -> Answerer:
        return Answerer(self.index(select.product), self.tiles)

    def _find_products(self) -> dict[str, ProductInfo]:
        """All products that have masks. One that has committed nothing counts only where it is the only one."""
        ids = list_products(self.store)
        load: Callable[[str], ProductInfo | None] = lambda name: load_product(self.store, name)  # noqa: E731
        found = {info.id: info for info in concurrently(load, ids) if info is not None}
        if len(found) > 1:
            begun = concurrently(lambda name: "commits" in self.store.folders(product_prefix(name)), found)
            found = {name: info for (name, info), any_ in zip(found.items(), list(begun), strict=True) if any_}
        return found

    def _choose(self, product: str | None, products: dict[str, ProductInfo]) -> ProductInfo:
        if not products:
            raise QueryError(f"{self.store.uri} holds no product with masks: run a job with this output first")
        told = ", ".join(f"{info.id} ({info.model})" for info in products.values())
        if product is None:
            if len(products) > 1:
                raise QueryError(f"{self.store.uri} holds {len(products)} products, choose one with product=: {told}")
            return next(iter(products.values()))
        matching = [info for info in products.values() if info.id.startswith(product)]
        exact = [info for info in matching if info.id == product]
        if len(exact or matching) != 1 or not product:
            raise QueryError(
                f"product {product!r} is {'no' if not matching else 'more than one'} product of {self.store.uri}: {told}"
            )
        return (exact or matching)[0]
