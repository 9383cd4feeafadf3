"""Answers from a gridscribe service over HTTP: the same questions, the same answers, the same errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client import wire
from gridscribe.client.backend import Like, Select
from gridscribe.client.found import Heatmap, Label, Match, Region, TextMask
from gridscribe.client.page import Page, PageToken
from gridscribe.client.page_search import PageMatch
from gridscribe.client.phrases import Phrase
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.searching import Search
from gridscribe.client.segmenting import Segmenting
from gridscribe.client.transport import TIMEOUT, Transport
from gridscribe.errors import LayoutError
from gridscribe.latent_tables import CropLatents
from gridscribe.regions import regions_schema
from gridscribe.tokens import TokenGrid

if TYPE_CHECKING:
    import pyarrow as pa

    from gridscribe.models.clip.concepts import ConceptBank

Params = Mapping[str, Any]


class HttpBackend:
    """Answers from the service at a URL. Safe to use from many threads, which share its connections.

    A question that was not answered is put again, for some time (`transport.PATIENT`): where the service is too busy, and where
    it has answered before and is away (it may be starting anew). Questions change nothing, so that putting one twice does no
    harm. Raises what the service's own client raised there, and `StoreError` where there is no service, it wants a token, or
    what it says is no answer.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = TIMEOUT) -> None:
        """`token`: what the service asks for; None: `$GRIDSCRIBE_TOKEN`, where that is set. `timeout`: seconds of one answer."""
        self._service = Transport(url, token, timeout=timeout)
        self._ask, self._read = self._service.ask, self._service.read

    def __repr__(self) -> str:
        return f"HttpBackend({self._service.url!r})"

    def refresh(self) -> None:
        """See `Backend`."""
        self._ask("POST", "refresh", {})

    def at(
        self, x: float, y: float, crs: str, select: Select, *, embedding: bool = False, every: bool = True
    ) -> tuple[Pixel, ...]:
        """See `Backend`."""
        params = {"lon": x, "lat": y, "crs": crs, "embedding": embedding, "all": every}
        return self._read(_pixels, self._get("at", params, select))

    def at_many(
        self, points: NDArray[np.float64], crs: str, fields: Sequence[str] | None, select: Select, *, every: bool
    ) -> pa.Table:
        """See `Backend`."""
        params = {"crs": crs, "fields": None if fields is None else ",".join(fields), "all": every}
        return self._read(wire.table_of, self._points("at", points, params, select))

    def height_order(self, points: NDArray[np.float64], crs: str, select: Select) -> pa.Table:
        """See `Backend`."""
        return self._read(wire.table_of, self._points("height-order", points, {"crs": crs}, select))

    def at_pixel(self, image: str, row: int, col: int, select: Select, *, embedding: bool = False) -> Pixel:
        """See `Backend`."""
        params = {"image": image, "row": row, "col": col, "embedding": embedding}
        return self._read(_pixels, self._get("at-pixel", params, select))[0]

    def mask(
        self, bbox: tuple[float, float, float, float], crs: str, select: Select, *, every: bool
    ) -> tuple[Mask, ...]:
        """See `Backend`."""
        params = {"bbox": bbox, "crs": crs, "all": every, "format": "arrow"}
        return self._read(wire.masks_of, self._get("mask", params, select))

    def regions(
        self, bbox: tuple[float, float, float, float] | None, class_name: str | None, select: Select
    ) -> pa.Table:
        """See `Backend`."""
        params = {"bbox": bbox, "class_name": class_name, "format": "arrow"}
        return self._read(_regions, self._get("regions", params, select))

    def region(self, region_id: str, select: Select) -> Region:
        """See `Backend`."""
        return self._read(lambda data: wire.region_of(json.loads(data)), self._get("region", {"id": region_id}, select))

    def match(self, phrase: Phrase, how: Search, select: Select) -> Iterator[Match]:
        """See `Backend`; the service finds all `top_k` before the first is given."""
        params = {"text": phrase.text, "templates": phrase.templates, **_search(how)}
        return iter(self._read(_matches, self._get("match", params, select)))

    def similar(self, like: Like, how: Search, select: Select) -> Iterator[Match]:
        """See `Backend`; as `match`."""
        params: dict[str, Any] = {"region": like.region, "region_product": like.product, **_search(how)}
        if like.point is not None:
            params |= dict(zip(("lon", "lat", "crs"), like.point, strict=True))
        return iter(self._read(_matches, self._get("similar", params, select)))

    def describe(self, region_id: str, bank: ConceptBank, top_k: int, select: Select) -> tuple[Label, ...]:
        """See `Backend`."""
        words = bank.to_text().splitlines()
        body = {"region": region_id, "words": words, "top_k": top_k, "product": select.product}
        return self._read(_labels, self._ask("POST", "describe", {}, json.dumps(body).encode(), "application/json"))

    def heatmap(
        self, phrase: Phrase, image: str, bbox: tuple[float, float, float, float] | None, bias: float, select: Select
    ) -> Heatmap:
        """See `Backend`."""
        params = {"text": phrase.text, "templates": phrase.templates, "image": image, "bbox": bbox, "bias": bias}
        return self._read(wire.heatmap_of, self._get("heatmap", {**params, "format": "arrow"}, select))

    def segment(
        self,
        phrase: Phrase,
        image: str,
        bbox: tuple[float, float, float, float] | None,
        how: Segmenting,
        select: Select,
    ) -> TextMask:
        """See `Backend`. A memory travels to the service and back."""
        body = {
            "text": phrase.text, "templates": phrase.templates, "image": image, "bbox": bbox, "method": how.method,
            "threshold": how.threshold, "bias": how.bias, "product": select.product,
            "memory": None if how.memory is None else how.memory.state(),
        }  # fmt: skip
        answer = self._ask("POST", "segment", {}, json.dumps(body).encode(), "application/json")
        mask, memory = self._read(wire.text_mask_of, answer)
        if how.memory is not None and memory is not None:
            self._read(how.memory.restore, memory)
        return mask

    def page(self, document: str, number: int, select: Select) -> Page:
        """See `Backend`."""
        return self._read(self._page, self._get("page", {"document": document, "number": number}, select))

    def match_pages(self, text: str, top_k: int, threshold: float | None, select: Select) -> Iterator[PageMatch]:
        """See `Backend`; as `match`."""
        params = {"text": text, "top_k": top_k, "threshold": threshold}
        return iter(self._read(_page_matches, self._get("match-pages", params, select)))

    def documents_alone(self, select: Select) -> bool:
        """See `Backend`."""
        return self._read(_documents_alone, self._get("kind", {}, select))

    def _page(self, data: bytes) -> Page:
        value = json.loads(data)
        asked = {"document": value["document"], "number": value["page"], "product": value["product"]}
        return Page(
            **{**value, "flags": tuple(value["flags"])},
            _at=partial(self._token, asked),
            _match=partial(self._places, asked),
            _thumbnail=partial(self._thumbnail, asked),
            _latents=partial(self._latents, asked),
        )

    def _token(self, page: Params, x: float, y: float) -> PageToken:
        data = self._ask("GET", "page/at", {**page, "x": x, "y": y})
        return self._read(lambda answer: wire.token_of(json.loads(answer)), data)

    def _places(self, page: Params, text: str, top_k: int) -> list[PageMatch]:
        return self._read(_page_matches, self._ask("GET", "page/match", {**page, "text": text, "top_k": top_k}))

    def _thumbnail(self, page: Params) -> TokenGrid:
        return self._read(wire.grid_of, self._ask("GET", "page/thumbnail", page))

    def _latents(self, page: Params) -> list[CropLatents]:
        data = self._ask("GET", "page/latents", page)
        return self._read(lambda answer: wire.latents_of(json.loads(answer)["latents"]), data)

    def _get(self, path: str, params: Params, select: Select) -> bytes:
        return self._ask("GET", path, self._chosen(params, select))

    def _points(self, path: str, points: NDArray[np.float64], params: Params, select: Select) -> bytes:
        import pyarrow as pa

        x, y = np.ascontiguousarray(points.T)
        body = wire.table_bytes(pa.table({"x": x, "y": y}), compressed=False)
        return self._ask("POST", path, self._chosen(params, select), body, wire.ARROW)

    @staticmethod
    def _chosen(params: Params, select: Select) -> dict[str, Any]:
        when = None if select.datetime is None else select.datetime.text
        return {**params, "product": select.product, "datetime": when}


def _pixels(data: bytes) -> tuple[Pixel, ...]:
    return tuple(wire.pixel_of(value) for value in json.loads(data)["pixels"])


def _matches(data: bytes) -> list[Match]:
    return [wire.match_of(value) for value in json.loads(data)["matches"]]


def _page_matches(data: bytes) -> list[PageMatch]:
    return [wire.page_match_of(value) for value in json.loads(data)["matches"]]


def _labels(data: bytes) -> tuple[Label, ...]:
    return tuple(Label(label["text"], label["score"]) for label in json.loads(data)["labels"])


def _documents_alone(data: bytes) -> bool:
    value = json.loads(data)["documents_alone"]
    if not isinstance(value, bool):
        raise TypeError(f"documents_alone is {type(value).__name__}")
    return value


def _regions(data: bytes) -> pa.Table:
    table = wire.table_of(data)
    if not table.schema.equals(regions_schema()):
        raise LayoutError(f"a table of {', '.join(table.column_names[:8])} is none of regions")
    return table


def _search(how: Search) -> dict[str, Any]:
    names = ("top_k", "threshold", "bbox", "class_name", "image", "exact")
    return {name: getattr(how, name) for name in names}
