"""Answers from a gridscribe service over HTTP: the same questions, the same answers, the same errors."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from gridscribe import errors
from gridscribe.client import wire
from gridscribe.client.backend import Like, Select
from gridscribe.client.found import Heatmap, Label, Match, Region, TextMask
from gridscribe.client.page import Page, PageToken
from gridscribe.client.page_search import PageMatch
from gridscribe.client.phrases import Phrase
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.searching import Search
from gridscribe.client.segmenting import Segmenting
from gridscribe.errors import GridscribeError, QueryError, StoreError, UsageError
from gridscribe.latent_tables import CropLatents
from gridscribe.tokens import TokenGrid

if TYPE_CHECKING:
    import pyarrow as pa

    from gridscribe.models.clip.concepts import ConceptBank

TOKEN = "GRIDSCRIBE_TOKEN"
"""The variable that holds the service's bearer token."""
TIMEOUT = 120.0
"""Seconds that an answer may take."""
PATIENT = 90.0
"""Seconds that a service which has answered before is waited for when it cannot be reached, as a store is."""
BUSY = (429, 503)
Params = Mapping[str, Any]


class HttpBackend:
    """Answers from the service at a URL. Safe to use from many threads, which share its connections.

    A question that was not answered is put again, for `PATIENT` seconds: where the service is too busy, and where it has answered
    before and is away (it may be starting anew). Questions change nothing, so that putting one twice does no harm. Raises what
    the service's own client raised there, and `StoreError` where there is no service, or it wants a token.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = TIMEOUT) -> None:
        """`token`: what the service asks for; None: `$GRIDSCRIBE_TOKEN`, where that is set."""
        import urllib3

        try:
            parsed = urllib3.util.parse_url(url)
        except urllib3.exceptions.LocationParseError as error:
            raise UsageError(f"{url!r} is no address of a service: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
            raise UsageError(f"{url!r} is no address of a service: expected http://host:port or https://host/path")
        if parsed.auth:
            raise UsageError(f"the address of {parsed.host} holds a password: give a token with token= or ${TOKEN}")
        self.url = url.rstrip("/")
        token = token if token is not None else os.environ.get(TOKEN) or None
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._pool = urllib3.PoolManager(
            maxsize=16, timeout=urllib3.Timeout(connect=10.0, read=timeout), retries=False, headers=headers
        )
        self._answered = threading.Event()

    def __repr__(self) -> str:
        return f"HttpBackend({self.url!r})"

    def refresh(self) -> None:
        """See `Backend`."""
        self._ask("POST", "refresh", {})

    def at(
        self, x: float, y: float, crs: str, select: Select, *, embedding: bool = False, every: bool = True
    ) -> tuple[Pixel, ...]:
        """See `Backend`."""
        params = {"lon": x, "lat": y, "crs": crs, "embedding": embedding, "all": every}
        return tuple(wire.pixel_of(value) for value in self._json("at", params, select)["pixels"])

    def at_many(
        self, points: NDArray[np.float64], crs: str, fields: Sequence[str] | None, select: Select, *, every: bool
    ) -> pa.Table:
        """See `Backend`."""
        params = {"crs": crs, "fields": None if fields is None else ",".join(fields), "all": every}
        return wire.table_of(self._points("at", points, params, select))

    def height_order(self, points: NDArray[np.float64], crs: str, select: Select) -> pa.Table:
        """See `Backend`."""
        return wire.table_of(self._points("height-order", points, {"crs": crs}, select))

    def at_pixel(self, image: str, row: int, col: int, select: Select, *, embedding: bool = False) -> Pixel:
        """See `Backend`."""
        params = {"image": image, "row": row, "col": col, "embedding": embedding}
        return wire.pixel_of(self._json("at-pixel", params, select)["pixels"][0])

    def mask(
        self, bbox: tuple[float, float, float, float], crs: str, select: Select, *, every: bool
    ) -> tuple[Mask, ...]:
        """See `Backend`."""
        params = {"bbox": bbox, "crs": crs, "all": every, "format": "arrow"}
        return wire.masks_of(self._ask("GET", "mask", self._chosen(params, select)))

    def regions(
        self, bbox: tuple[float, float, float, float] | None, class_name: str | None, select: Select
    ) -> pa.Table:
        """See `Backend`."""
        params = {"bbox": bbox, "class_name": class_name, "format": "arrow"}
        return wire.table_of(self._ask("GET", "regions", self._chosen(params, select)))

    def region(self, region_id: str, select: Select) -> Region:
        """See `Backend`."""
        return wire.region_of(self._json("region", {"id": region_id}, select))

    def match(self, phrase: Phrase, how: Search, select: Select) -> Iterator[Match]:
        """See `Backend`; the service finds all `top_k` before the first is given."""
        params = {"text": phrase.text, "templates": phrase.templates, **_search(how)}
        found = self._json("match", params, select)["matches"]
        return (wire.match_of(value) for value in found)

    def similar(self, like: Like, how: Search, select: Select) -> Iterator[Match]:
        """See `Backend`; as `match`."""
        params: dict[str, Any] = {"region": like.region, "region_product": like.product, **_search(how)}
        if like.point is not None:
            params |= dict(zip(("lon", "lat", "crs"), like.point, strict=True))
        found = self._json("similar", params, select)["matches"]
        return (wire.match_of(value) for value in found)

    def describe(self, region_id: str, bank: ConceptBank, top_k: int, select: Select) -> tuple[Label, ...]:
        """See `Backend`."""
        words = bank.to_text().splitlines()
        body = {"region": region_id, "words": words, "top_k": top_k, "product": select.product}
        found = json.loads(self._ask("POST", "describe", {}, json.dumps(body).encode(), "application/json"))
        return tuple(Label(label["text"], label["score"]) for label in found["labels"])

    def heatmap(
        self, phrase: Phrase, image: str, bbox: tuple[float, float, float, float] | None, bias: float, select: Select
    ) -> Heatmap:
        """See `Backend`."""
        params = {"text": phrase.text, "templates": phrase.templates, "image": image, "bbox": bbox, "bias": bias}
        return wire.heatmap_of(self._ask("GET", "heatmap", self._chosen({**params, "format": "arrow"}, select)))

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
        mask, memory = wire.text_mask_of(
            self._ask("POST", "segment", {}, json.dumps(body).encode(), "application/json")
        )
        if how.memory is not None and memory is not None:
            how.memory.restore(memory)
        return mask

    def page(self, document: str, number: int, select: Select) -> Page:
        """See `Backend`."""
        value = self._json("page", {"document": document, "number": number}, select)
        asked = {"document": value["document"], "number": value["page"], "product": value["product"]}
        return Page(
            **{**value, "flags": tuple(value["flags"])},
            _at=partial(self._token, asked),
            _match=partial(self._places, asked),
            _thumbnail=partial(self._thumbnail, asked),
            _latents=partial(self._latents, asked),
        )

    def match_pages(self, text: str, top_k: int, threshold: float | None, select: Select) -> Iterator[PageMatch]:
        """See `Backend`; as `match`."""
        found = self._json("match-pages", {"text": text, "top_k": top_k, "threshold": threshold}, select)["matches"]
        return (wire.page_match_of(value) for value in found)

    def documents_alone(self, select: Select) -> bool:
        """See `Backend`."""
        return bool(self._json("kind", {}, select)["documents_alone"])

    def _token(self, page: Params, x: float, y: float) -> PageToken:
        return wire.token_of(json.loads(self._ask("GET", "page/at", {**page, "x": x, "y": y})))

    def _places(self, page: Params, text: str, top_k: int) -> list[PageMatch]:
        value = json.loads(self._ask("GET", "page/match", {**page, "text": text, "top_k": top_k}))
        return [wire.page_match_of(one) for one in value["matches"]]

    def _thumbnail(self, page: Params) -> TokenGrid:
        return wire.grid_of(self._ask("GET", "page/thumbnail", page))

    def _latents(self, page: Params) -> list[CropLatents]:
        return wire.latents_of(json.loads(self._ask("GET", "page/latents", page))["latents"])

    def _json(self, path: str, params: Params, select: Select) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self._ask("GET", path, self._chosen(params, select)))
        return value

    def _points(self, path: str, points: NDArray[np.float64], params: Params, select: Select) -> bytes:
        import pyarrow as pa

        x, y = np.ascontiguousarray(points.T)
        body = wire.table_bytes(pa.table({"x": x, "y": y}))
        return self._ask("POST", path, self._chosen(params, select), body, wire.ARROW)

    @staticmethod
    def _chosen(params: Params, select: Select) -> dict[str, Any]:
        when = None if select.datetime is None else select.datetime.text
        return {**params, "product": select.product, "datetime": when}

    def _ask(self, method: str, path: str, params: Params, body: bytes = b"", kind: str | None = None) -> bytes:
        """The body of the answer; what the service refused is raised as it raised it."""
        import urllib3

        headers = {**self._pool.headers, "Accept": f"{wire.ARROW}, application/json"}
        if kind is not None:
            headers["Content-Type"] = kind
        query = urlencode(_fields(params))
        target = f"{self.url}/v1/{path}" + (f"?{query}" if query else "")
        since, pause = time.monotonic(), 0.25
        while True:
            wait: str | None = None
            try:
                answer = self._pool.request(method, target, body=body or None, headers=headers, redirect=False)
            except urllib3.exceptions.ReadTimeoutError as error:
                raise StoreError(
                    f"{self.url} did not answer in time: ask for less, or with a longer timeout"
                ) from error
            except urllib3.exceptions.HTTPError as error:
                if not self._answered.is_set() or time.monotonic() - since > PATIENT:
                    raise StoreError(
                        f"no service answers at {self.url} ({type(error).__name__}): is `gridscribe serve` running there?"
                    ) from error
            else:
                self._answered.set()
                if answer.status == 200:
                    data: bytes = answer.data
                    return data
                if answer.status not in BUSY or time.monotonic() - since > PATIENT:
                    raise _error(self.url, path, answer.status, answer.data)
                wait = answer.headers.get("Retry-After")
            time.sleep(float(wait) if wait is not None and wait.isdigit() else pause)
            pause = min(4.0, 2 * pause)


def _search(how: Search) -> dict[str, Any]:
    names = ("top_k", "threshold", "bbox", "class_name", "image", "exact")
    return {name: getattr(how, name) for name in names}


def _fields(params: Params) -> list[tuple[str, str]]:
    """Parameters of a URL: lists of numbers joined by commas, lists of words repeated; None is left out."""
    out = []
    for name, value in params.items():
        if value is None:
            continue
        if isinstance(value, tuple | list) and value and isinstance(value[0], str):
            out += [(name, word) for word in value]
        elif isinstance(value, tuple | list):
            out.append((name, ",".join(map(repr, value))))
        elif isinstance(value, bool):
            out.append((name, str(value).lower()))
        else:
            out.append((name, value if isinstance(value, str) else repr(value)))
    return out


def _error(url: str, path: str, status: int, data: bytes) -> GridscribeError:
    """What the service says went wrong, as the exception that it was there."""
    try:
        told = json.loads(data)["error"]
        name, message = str(told["type"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return StoreError(f"{url}/v1/{path} answered {status}, and not as a gridscribe service does: check the address")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, GridscribeError):
        return kind(message)
    if status == 401:
        return StoreError(f"{url}: {message}: give it with Client(..., token=...) or ${TOKEN}")
    if status in (404, 413, 414, 422):
        return QueryError(f"{url}: {message}")
    return StoreError(f"{url}: {message} ({status})")
