"""Questions that compare vectors: regions that match a phrase or resemble a region, and where on an image a phrase is near."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.alignment import HOW
from gridscribe.client.blocks import MAX_PIXELS
from gridscribe.client.found import Heatmap, Label, Match, Region, TextMask
from gridscribe.client.heat import heatmap
from gridscribe.client.index import UNKNOWN_TIME, ImageIndex
from gridscribe.client.naming import named
from gridscribe.client.phrases import Phrase, Phrases, QueryVector, alignment_of
from gridscribe.client.pixel import Pixel
from gridscribe.client.region_search import find, search, vectors_of, winners
from gridscribe.client.region_tables import Bounds, Wanted
from gridscribe.client.search import Best
from gridscribe.client.segmenting import Segmenting, segment
from gridscribe.client.tiles import TileReader
from gridscribe.client.token_vectors import token_parts, vector_at
from gridscribe.client.vector_index import VectorIndex, build_index, open_index
from gridscribe.client.when import EPOCH, Interval
from gridscribe.errors import QueryError
from gridscribe.quantise import Quantised
from gridscribe.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from gridscribe.models.clip.concepts import ConceptBank


@dataclass(frozen=True, slots=True)
class Search:
    """Which regions may be found, and how many."""

    top_k: int = 20
    threshold: float | None = None
    """Least score; None: no region is too far away."""
    bbox: Bounds | None = None
    """West, south, east, north, which a region must meet; west > east crosses the antimeridian."""
    class_name: str | None = None
    image: str | None = None
    """An image's id, the beginning of one, or its source."""
    exact: bool = True
    """Whether every vector is compared; else those of the cells of an index, which is made where there is none."""


class Searcher:
    """Answers for one store, whatever the product. Safe to use from many threads."""

    def __init__(self, store: Store, tiles: TileReader, package: str | None = None, most: int = MAX_PIXELS) -> None:
        """`package`: see `Phrases`. `most`: pixels of the largest answer."""
        self._store, self._tiles, self._phrases, self._most = store, tiles, Phrases(store, package), most
        self._local: WeakKeyDictionary[ImageIndex, VectorIndex] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def match(self, index: ImageIndex, phrase: Phrase, how: Search, interval: Interval | None) -> Iterator[Match]:
        """The regions that match a phrase, best first. What is wrong with the question is raised by this call."""
        wanted = _wanted(index, how, interval)
        return self._matches(index, self._phrases.vector(index.product, phrase), wanted, how, None)

    def similar(
        self, index: ImageIndex, region: Region, of: ImageIndex, how: Search, interval: Interval | None
    ) -> Iterator[Match]:
        """The regions that resemble `region`, which is one of `of` and left out where that is `index`."""
        mine, theirs = alignment_of(of.product), alignment_of(index.product)
        if mine.digest != theirs.digest:
            raise QueryError(
                f"region {region.region_id} of product {of.product.id} was embedded with {mine.name} of digest {mine.digest}, "
                f"the regions of product {index.product.id} with {theirs.name} of digest {theirs.digest}: vectors of "
                "different models are not compared"
            )
        wanted = _wanted(index, how, interval)
        if region.embedding is None:
            raise QueryError(f"region {region.region_id} of product {of.product.id} has no embedding: {HOW}")
        wide = region.embedding.astype(np.float64)
        length = float(np.linalg.norm(wide))
        if not length > 0:
            raise QueryError(f"region {region.region_id} has an embedding of length 0, which resembles nothing")
        query = QueryVector((wide / length).astype(np.float32), "region")
        left_out = region.region_id if of.product.id == index.product.id else None
        return self._matches(index, query, wanted, how, left_out)

    def heatmap(self, index: ImageIndex, phrase: Phrase, image: int, bbox: Bounds | None, bias: float) -> Heatmap:
        """The similarity of an image's tokens with a phrase; see `heat.heatmap`."""
        alignment = alignment_of(index.product)
        if not alignment.tokens:
            raise QueryError(f"product {index.product.id} stores no tokens: {HOW} and without tokens=None")
        if not math.isfinite(bias):
            raise QueryError(f"bias={bias}: must be a finite number, such as 0.3, or 0 for none")
        query = self._phrases.vector(index.product, phrase)
        return heatmap(self._store, index, self._tiles, image, query, bbox, bias)

    def segment(self, index: ImageIndex, phrase: Phrase, image: int, bbox: Bounds | None, how: Segmenting) -> TextMask:
        """The pixels of an image that a phrase means; see `segmenting.segment`."""
        heat = self.heatmap(index, phrase, image, bbox, how.bias)
        query = self._phrases.vector(index.product, phrase)
        return segment(self._store, index, self._tiles, image, query, heat, how, self._most)

    def region(self, index: ImageIndex, region_id: str) -> Region:
        """The region with an id, from the table that its raster belongs to; `QueryError` where there is none."""
        image, _, first = region_id.rpartition("-")
        which = index.place_of(image)
        if which is None or not (first.isascii() and first.isdigit()):
            raise QueryError(
                f"product {index.product.id} has no region {region_id!r}: an id is an image's id, '-', and the row-major "
                "index of its first pixel"
            )
        row, col = divmod(int(first), int(index.shapes[which, 1]))
        regions = index.regions
        for box in range(int(regions.starts[which]), int(regions.starts[which + 1])):
            top, left, height, width = regions.boxes[box].tolist()
            if top <= row < top + height and left <= col < left + width:
                number = regions.owners[box]
                rows = find(self._store, index, number, int(first) + 1, image)
                if len(rows):
                    return _region(index, rows, regions.tables[number].record.key)
        raise QueryError(f"product {index.product.id} has no region {region_id!r}: none begins at that pixel")

    def describe(self, index: ImageIndex, region_id: str, bank: ConceptBank, top_k: int) -> tuple[Label, ...]:
        """The concepts of a bank that are nearest to a region; see `naming`."""
        if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
            raise QueryError(f"top_k={top_k!r}: must be a whole number of at least 1")
        region = self.region(index, region_id)
        if region.embedding is None:
            raise QueryError(f"region {region_id} of product {index.product.id} has no embedding: {HOW}")
        vectors = self._phrases.bank_vectors(index.product, bank)
        return tuple(Label(bank.names[k], score) for k, score in named(region.embedding, vectors, top_k))

    def with_vectors(self, index: ImageIndex, pixels: tuple[Pixel, ...]) -> tuple[Pixel, ...]:
        """The pixels with the labels and embedding of their region, or, where they have none, their token's vector."""
        return tuple(self._with_vector(index, pixel) for pixel in pixels)

    def _with_vector(self, index: ImageIndex, pixel: Pixel) -> Pixel:
        if pixel.image is None or pixel.row is None or pixel.col is None:
            return pixel
        if pixel.region is not None:
            region = self.region(index, pixel.region)
            if region.embedding is not None:
                return replace(pixel, labels=region.labels, embedding=region.embedding, embedding_of="region")
        alignment = index.product.alignment
        image = index.place_of(pixel.image)
        if alignment is None or not alignment.tokens or image is None:
            return pixel
        vector = vector_at(self._store, token_parts(self._store, index, image), pixel.row, pixel.col)
        return pixel if vector is None else replace(pixel, embedding=one_vector(vector), embedding_of="token")

    def _matches(
        self, index: ImageIndex, query: QueryVector, wanted: Wanted, how: Search, left_out: str | None
    ) -> Iterator[Match]:
        best = Best(how.top_k, how.threshold, without=left_out)
        local = self._vectors(index, len(query.values), exact=how.exact)
        if local is None:
            search(self._store, index, wanted, query.values, best)
        else:
            local.search(self._store, index, wanted, query.values, best, exact=how.exact)
        for hit, fact in winners(self._store, index, best.hits()):
            yield Match(**_facts(index, fact), score=hit.score, query=query.origin)

    def _vectors(self, index: ImageIndex, dim: int, *, exact: bool) -> VectorIndex | None:
        """The local index of the product's vectors; None where an exact search has to do without."""
        with self._lock:
            local = self._local.get(index)
            if local is None:
                local = open_index(index, dim) if exact else build_index(self._store, index, dim)
            if local is not None:
                self._local[index] = local
            return local


def _wanted(index: ImageIndex, how: Search, interval: Interval | None) -> Wanted:
    """What a search is among; `QueryError` where that cannot be."""
    product = index.product
    if not alignment_of(product).regions:
        raise QueryError(f"regions of product {product.id} are not embedded: {HOW} and without alignment.regions=None")
    if isinstance(how.top_k, bool) or not isinstance(how.top_k, int) or how.top_k < 1:
        raise QueryError(f"top_k={how.top_k!r}: must be a whole number of at least 1")
    if how.threshold is not None and not math.isfinite(how.threshold):
        raise QueryError(f"threshold={how.threshold}: must be a finite number; scores lie in -1..1")
    names = sorted(product.classes.values())
    if how.class_name is not None and how.class_name not in names:
        raise QueryError(f"class {how.class_name!r} is none of product {product.id}: it has {', '.join(names)}")
    if not index.regions.tables:
        raise QueryError(
            f"no regions of product {product.id} are committed: they come after the masks; run the job again"
        )
    return Wanted.of(index.chosen_ids(interval, how.bbox, how.image), how.bbox, how.class_name)


def _region(index: ImageIndex, rows: pa.Table, key: str) -> Region:
    (fact,) = rows.to_pylist()
    embedding, _ = fact.pop("embedding"), fact.pop("scale")
    vector = None
    if embedding is not None:
        vector = one_vector(vectors_of(rows, len(embedding), key)[1])
    return Region(**_facts(index, fact), embedding=vector)


def one_vector(vectors: Quantised) -> NDArray[np.float32]:
    """The only one of them, float32 [D], read only."""
    (vector,) = vectors.dequantised()
    vector.flags.writeable = False
    return vector


def _facts(index: ImageIndex, row: dict[str, Any]) -> dict[str, Any]:
    """The fields of `RegionFacts` from a row of a regions table."""
    import shapely

    image = index.place_of(row["image"])
    assert image is not None  # tables are searched for images of the index alone
    time, product = int(index.times[image]), index.product
    same = (
        "region_id", "image", "class_id", "class_name", "confidence", "area_px", "area_m2", "height_mean", "height_p95",
    )  # fmt: skip
    return {
        **{name: row[name] for name in same},
        "geometry": shapely.from_wkb(row["geometry"]),
        "geometry_px": shapely.from_wkb(row["geometry_px"]),
        "labels": tuple(Label(label["text"], label["score"]) for label in row["labels"] or ()),
        "product": product.id,
        "model": product.model,
        "alignment": None if product.alignment is None else product.alignment.label,
        "source": index.sources[image],
        "datetime": None if time == UNKNOWN_TIME else EPOCH + timedelta(microseconds=time),
    }
