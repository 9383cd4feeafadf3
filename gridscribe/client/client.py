"""The client: questions about pixels, answered from an output URI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from numpy.typing import ArrayLike

from gridscribe.client.asked import bank_of, box_of, crs_of, lonlat_box, phrase_of, points_array, search_of, select_of
from gridscribe.client.backend import Backend, Like
from gridscribe.client.found import Heatmap, Label, Region, TextMask
from gridscribe.client.http import HttpBackend
from gridscribe.client.matches import Matches, PageMatches
from gridscribe.client.objects import ObjectsBackend
from gridscribe.client.page import Page
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.places import parse_crs
from gridscribe.client.prototypes import Prototypes
from gridscribe.client.segmenting import Segmenting
from gridscribe.client.when import When
from gridscribe.errors import QueryError
from gridscribe.store import Store, open_store

if TYPE_CHECKING:
    import pyarrow as pa


class Client:
    """Answers about the pixels under an output URI. Safe to use from many threads.

    Every method takes `product=` (an id, or the beginning of one; needed where there are several) and, where places are
    asked about, `datetime=`. Where images overlap the answer is that of the newest, then of the highest confidence,
    then of the lowest image id, those with a class at the place first; `all=True` gives every one in that order.
    Nothing comes back silently empty: an answer without a class says why. Only what is committed is believed; which
    images there are is read once, when first needed (`refresh()` looks again).

    Raises `QueryError` for a question that cannot be answered as put, `StoreError` where the store fails, and
    `LayoutError` where what lies there is not what gridscribe writes.
    """

    def __init__(
        self, where: str | Path | Store | Backend, *, alignment: str | Path | None = None, token: str | None = None
    ) -> None:
        """`where`: a path, `file://`, `s3://bucket/prefix`, `gs://`, `az://`, an opened store, the `http(s)://` address of a
        service (`gridscribe serve`), or another backend.

        `alignment`: the folder or URI of the package that phrases are embedded with; None: where the product says it was.
        `token`: what a service asks for; None: `$GRIDSCRIBE_TOKEN`, where that is set.
        """
        if isinstance(where, str) and where.startswith(("http://", "https://")):
            where = HttpBackend(where, token)
        elif token is not None:
            raise QueryError(f"token=...: only a service takes one, and {str(where)[:200]!r} is none")
        if isinstance(where, str | Path):
            where = open_store(where)
        if isinstance(where, Store):
            where = ObjectsBackend(where, alignment=None if alignment is None else str(alignment))
        elif alignment is not None:
            raise QueryError(f"alignment={str(alignment)!r}: a backend reads its own package")
        self._backend: Backend = where

    @overload
    def at(
        self, lon: float, lat: float, *, crs: Any = ..., datetime: When = ..., product: str | None = ...,
        embedding: bool = ..., all: Literal[False] = ...,
    ) -> Pixel: ...  # fmt: skip
    @overload
    def at(
        self, lon: float, lat: float, *, crs: Any = ..., datetime: When = ..., product: str | None = ...,
        embedding: bool = ..., all: Literal[True],
    ) -> tuple[Pixel, ...]: ...  # fmt: skip
    def at(
        self,
        lon: float,
        lat: float,
        *,
        crs: Any = "EPSG:4326",
        datetime: When = None,
        product: str | None = None,
        embedding: bool = False,
        all: bool = False,  # noqa: A002 - the name that the interface has
    ) -> Pixel | tuple[Pixel, ...]:
        """The pixel that holds a place, given as longitude and latitude, or as x and y of another `crs`.

        With `embedding=True` also the labels and the embedding of its region (else of its token), at the cost of reading them.
        """
        select = select_of(product, datetime)
        pixels = self._backend.at(float(lon), float(lat), crs_of(crs), select, embedding=embedding, every=all)
        return pixels if all else pixels[0]

    def at_many(
        self,
        points: ArrayLike,
        crs: Any = "EPSG:4326",
        fields: Sequence[str] | None = None,
        *,
        datetime: When = None,
        product: str | None = None,
        all: bool = False,  # noqa: A002
    ) -> pa.Table:
        """One row per point, in order: `points` is anything like an array [n, 2] of (lon, lat), or (x, y) of `crs`.

        Columns are `fields`, by default class_id, class_name, confidence, height, image, item, product, model, coverage
        and status; region, row, col, x, y, crs, lon, lat (of the pixel's centre), gsd, datetime and source may be
        asked for too. `status` is always there: `ok`, or why there is no class. Names and ids are dictionary columns.
        `("class_name", "confidence")` is the fast path. With `all=True` a row per point and image, best first, after a
        column `point` that counts from 0.
        """
        return self._backend.at_many(points_array(points), crs_of(crs), fields, select_of(product, datetime), every=all)

    def height_order(
        self, points: ArrayLike, crs: Any = "EPSG:4326", *, datetime: When = None, product: str | None = None
    ) -> pa.Table:
        """Which of several places is higher, by the coded heights that the index holds: no raster is read.

        One row per point, in order: `rank` (1: highest; equal where the codes are, null where there is none), `low` and `high`
        (metres above ground, between which the mean height of the point's cell lies: a tenth of its item's box each way),
        `image` and `status`. For the height of a pixel ask `at` or `at_many`.
        """
        return self._backend.height_order(points_array(points), crs_of(crs), select_of(product, datetime))

    def at_pixel(self, image: str, row: int, col: int, *, product: str | None = None, embedding: bool = False) -> Pixel:
        """The pixel at `row`, `col` of an image, georeferenced or not; `embedding` as in `at`.

        `image` is an id, the beginning of one that no other has, or the exact source. `QueryError` names near ids where
        there is no such image, and the image's size where the pixel is outside it.
        """
        return self._backend.at_pixel(image, int(row), int(col), select_of(product, None), embedding=embedding)

    @overload
    def mask(
        self, bbox: Sequence[float], crs: Any = ..., *, datetime: When = ..., product: str | None = ...,
        all: Literal[False] = ...,
    ) -> Mask: ...  # fmt: skip
    @overload
    def mask(
        self, bbox: Sequence[float], crs: Any = ..., *, datetime: When = ..., product: str | None = ...,
        all: Literal[True],
    ) -> tuple[Mask, ...]: ...  # fmt: skip
    def mask(
        self,
        bbox: Sequence[float],
        crs: Any = "EPSG:4326",
        *,
        datetime: When = None,
        product: str | None = None,
        all: bool = False,  # noqa: A002
    ) -> Mask | tuple[Mask, ...]:
        """The classes in a box (west, south, east, north): `array, transform, crs = client.mask(bbox)`.

        The grid is that of the newest image that meets the box, and the array what of the box any image holds; images
        on another grid are sampled at the centres of its pixels. In longitudes, west > east crosses the antimeridian.
        With `all=True` a mask per image, each on its own grid. `QueryError` where no image meets the box.
        """
        west, south, east, north = values = box_of(bbox)
        name = crs_of(crs)
        if south >= north or (west >= east and not (parse_crs(name).is_geographic and west > east)):
            raise QueryError(f"bbox={list(values)} holds no area: expected west < east and south < north")
        masks = self._backend.mask((west, south, east, north), name, select_of(product, datetime), every=all)
        return masks if all else masks[0]

    def regions(
        self,
        bbox: Sequence[float] | None = None,
        class_name: str | None = None,
        *,
        datetime: When = None,
        product: str | None = None,
    ) -> pa.Table:
        """The regions that meet a box of longitudes and latitudes (west, south, east, north), as rows of the regions table.

        The columns are those of `gridscribe.regions.regions_schema`, the order that of items and of their tables. West > east
        crosses the antimeridian; with a box, regions of images that are not georeferenced are left out. Where images
        overlap, the regions of all are there. Of tables only those are read that may hold an answer, and of large ones only
        the row groups; what is returned must fit into memory. `QueryError` for a box that is none or a class that is none.
        """
        return self._backend.regions(lonlat_box(bbox), class_name, select_of(product, datetime))

    def region(self, region_id: str, *, product: str | None = None) -> Region:
        """One region, with its labels and its embedding.

        `QueryError` where there is none with this id. The region under a place: `client.region(client.at(lon, lat).region)`.
        """
        return self._backend.region(region_id, select_of(product, None))

    def match(
        self,
        text: str,
        bbox: Sequence[float] | None = None,
        top_k: int = 20,
        threshold: float | None = None,
        class_name: str | None = None,
        *,
        image: str | None = None,
        datetime: When = None,
        product: str | None = None,
        templates: Sequence[str] | None = None,
        exact: bool = True,
    ) -> Matches:
        """The `top_k` regions whose embeddings are nearest to a phrase, best first, equal scores by id: an iterator of `Match`.

        The score is the cosine of the phrase's embedding and the stored one of the region; what it is for a match depends on
        the model and the phrase, so a `threshold` must be found by looking. Searched are the regions of one class or all, of
        one image (an id, the beginning of one, or its source) or all, that meet a box of longitudes and latitudes; west > east
        crosses the antimeridian, and with a box, regions that have no place on Earth are left out.

        The phrase is put into `templates` (by default those of `gridscribe.models.clip.text.SATELLITE`) and embedded by the
        text tower of the product's alignment package, which is read when it is first needed, and needs torch and open_clip.
        Where these cannot be imported, words of the product's concept bank (and their synonyms) are answered with the bank's
        own vectors, `templates` aside; `Match.query` tells which it was.

        Every table that may hold an answer is read once, a row group at a time, when the first match is asked for; the rows of
        matches as they are asked for. Memory holds few row groups, `top_k` hits, and the matches that were asked
        for, which `Matches` keeps. Above some 100,000 regions, or where much is asked, `exact=False` pays: it makes a local
        index of the vectors (under `$GRIDSCRIBE_CACHE`, anew when regions were added) and compares only those near the phrase,
        which misses a few of the best. Where there is an index, exact searches use its copy of the vectors too, and answer the
        same as without. `QueryError`, from this call, where the product has no alignment model, its regions no embeddings, or
        the package found is not the product's.
        """
        how = search_of(top_k, threshold, bbox, class_name, image, exact)
        found = self._backend.match(phrase_of(text, templates), how, select_of(product, datetime))
        return Matches(found, text)

    def similar(
        self,
        lon: float | None = None,
        lat: float | None = None,
        *,
        region: str | None = None,
        crs: Any = "EPSG:4326",
        bbox: Sequence[float] | None = None,
        top_k: int = 20,
        threshold: float | None = None,
        class_name: str | None = None,
        image: str | None = None,
        datetime: When = None,
        product: str | None = None,
        region_product: str | None = None,
        exact: bool = True,
    ) -> Matches:
        """The regions whose embeddings are nearest to that of a region: the one at a place, or with the id `region`.

        That one is left out; all else is as `match` does it, but that nothing needs a text tower. `datetime` chooses the image
        at the place too. `region_product`: where the region is of another product than is searched; both must have been
        embedded with the same alignment model, else `QueryError` names both digests.
        """
        if (region is None) == (lon is None or lat is None) or (lon is None) != (lat is None):
            raise QueryError("what to resemble is needed: either a place, lon and lat, or region=ID")
        point = None if lon is None or lat is None else (float(lon), float(lat), crs_of(crs))
        how = search_of(top_k, threshold, bbox, class_name, image, exact)
        found = self._backend.similar(Like(region, point, region_product), how, select_of(product, datetime))
        return Matches(found, f"like {region or f'the region at {lon:g}, {lat:g}'}")

    def describe(
        self,
        region_id: str,
        words: str | Path | Sequence[str] = "things",
        *,
        top_k: int = 5,
        product: str | None = None,
    ) -> tuple[Label, ...]:
        """What a region may be called, without a list of classes: `client.describe(client.at(lon, lat).region)`.

        `words` is a concept file, a shipped one's name (`things` has some 330 concepts), or any words. The best are given, no two
        of which say nearly the same, with cosines about the mean of all words: see `gridscribe.client.naming`. A model can
        choose well among words that it knows alone. `QueryError` where regions are not embedded or there is no text tower.
        """
        return self._backend.describe(region_id, bank_of(words), top_k, select_of(product, None))

    def heatmap(
        self,
        text: str,
        *,
        image: str,
        bbox: Sequence[float] | None = None,
        bias: float = 0.3,
        product: str | None = None,
        templates: Sequence[str] | None = None,
    ) -> Heatmap:
        """How near each token of an image is to a phrase: `array, transform, crs = client.heatmap("water", image="tile_12")`.

        A value is the cosine of the phrase and the stored vector that stands for the token (tokens that were merged have that
        of their slot), less `bias` times the blended cosine of the phrase and the class vectors of the windows over it: the
        share that every token of a window has in common (SegEarth-OV, CVPR 2025). 0 takes nothing off. NaN where a token was
        dropped or is not committed. At the edge of what is committed, windows that are not do not count.

        With `bbox` (longitudes and latitudes) only the cells that it meets. `image` as in `at_pixel`, the phrase as in `match`.
        """
        box = lonlat_box(bbox)
        return self._backend.heatmap(phrase_of(text, templates), image, box, float(bias), select_of(product, None))

    def segment(
        self,
        text: str,
        *,
        image: str,
        bbox: Sequence[float] | None = None,
        method: str = "heatmap",
        threshold: float | None = None,
        memory: Prototypes | None = None,
        bias: float = 0.3,
        product: str | None = None,
        templates: Sequence[str] | None = None,
    ) -> TextMask:
        """Which pixels of an image a phrase means: `array, transform, crs = client.segment("car", image="tile_12")`.

        By `method` "heatmap", those where the heat map is at least `threshold`, a similarity; without one, a fixed share of the
        way from its least value to its greatest, so that the answer always names something: whether there is any such thing
        on the image is told by `match` and its scores. "regions" answers with whole regions: the heat map's surest points
        name some, and those, with the phrase, choose among all regions of the image (`gridscribe.client.text_mask`); a
        `memory` that is passed from call to call learns what the phrase looks like, image by image. With the shipped model
        it finds less than the threshold does (README), so it has to be asked for.

        `image`, `bbox` and `bias` as in `heatmap`. `QueryError` where tokens, or for "regions" regions' vectors, are not stored.
        """
        how = Segmenting(method, threshold, float(bias), memory)
        where = image, lonlat_box(bbox)
        return self._backend.segment(phrase_of(text, templates), *where, how, select_of(product, None))

    def page(self, document: str, number: int, *, product: str | None = None) -> Page:
        """A page, counted from 0, of a document that a documents job read: `client.page("invoice-7", 0).match("total amount")`.

        `document` is an id, the beginning of one that no other has, or its source. `QueryError` names near ones where there is
        none, and the pages that there are.
        """
        return self._backend.page(document, int(number), select_of(product, None))

    def match_pages(
        self, text: str, top_k: int = 20, threshold: float | None = None, *, product: str | None = None
    ) -> PageMatches:
        """The `top_k` pages on which `text` most surely stands, best first, each with its best place.

        The score of a place is the mean over the phrase's tokens of the best cosine about it, and a page's that of its best place
        (late interaction). The tokens of all pages are read once. The phrase's vectors come from the product's document package,
        of which a small file is read. `QueryError`, from this call, where that is not the product's.
        """
        return PageMatches(self._backend.match_pages(text, top_k, threshold, select_of(product, None)), text)

    def asks_pages(self, *, product: str | None = None) -> bool:
        """Whether there are pages alone under the output URI, or in the product."""
        return self._backend.documents_alone(select_of(product, None))

    def refresh(self) -> None:
        """Look anew at which products and images there are."""
        self._backend.refresh()
