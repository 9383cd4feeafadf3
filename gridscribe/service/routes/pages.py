"""Documents: their pages, the tokens of a page, and where words stand."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from gridscribe.client import wire
from gridscribe.client.page import Page
from gridscribe.service.asked import Document, Number, Product, Size, Text, Threshold, TopK, example
from gridscribe.service.page_pictures import page_png, text_png, tokens_png
from gridscribe.service.replies import arrow_reply, json_reply, png_reply
from gridscribe.service.state import State

FACTS = [field.name for field in fields(Page) if not field.name.startswith("_")]
PAGE = {
    "document": "invoice-7-0a1b2c3d", "page": 0, "source": "invoice-7.pdf", "width": 595.2, "height": 841.9, "dpi": 150.0,
    "grid_h": 251, "grid_w": 178, "kept": 5210, "flags": [], "text_mask": None, "product": "d1", "model": "pages@01",
}  # fmt: skip
PLACE = {
    "score": 0.81, "document": "invoice-7-0a1b2c3d", "page": 0, "source": "invoice-7.pdf", "box": [400.1, 690.2, 431.0, 701.9],
    "box_px": [833.5, 1437.9, 897.9, 1462.3], "product": "d1", "model": "pages@01",
}  # fmt: skip
TOKEN = {
    "state": "kept", "index": 23411, "row": 131, "col": 93, "box": [312.5, 440.2, 315.8, 443.5], "embedding": [0.1],
    "product": "d1", "model": "pages@01",
}  # fmt: skip


def router(state: State) -> APIRouter:
    """`/documents`, `/page...`, `/match-pages`."""
    routes = APIRouter(tags=["documents"])
    client = state.client

    @routes.get(
        "/documents",
        summary="Documents and their pages",
        responses=example({"documents": [], "total": 0, "next": None}),
    )
    async def documents(
        product: Product = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(description="`next` of the answer before.", max_length=1000)] = None,
    ) -> Response:
        def answer() -> Response:
            index = state.backend.documents.index(product)
            names = sorted(index.documents)
            left = [name for name in names if after is None or name > after]
            shown = []
            for name in left[:limit]:
                pages = [client.page(name, page.row.page, product=index.product.id) for page in index.documents[name]]
                told = [{key: getattr(one, key) for key in ("page", "width", "height", "kept", "grid_h", "grid_w")}
                        | {"flags": list(one.flags)} for one in pages]  # fmt: skip
                shown.append({"document": name, "source": pages[0].source, "pages": told, "product": index.product.id})
            more = left[limit - 1] if len(left) > limit else None
            return json_reply({"documents": shown, "total": len(names), "next": more})

        return await state.ask(answer)

    @routes.get("/page", summary="One page", responses=example(PAGE))
    async def page(document: Document, number: Number, product: Product = None) -> Response:
        found = await state.ask(client.page, document, number, product=product)
        return json_reply({name: getattr(found, name) for name in FACTS})

    @routes.get("/page/at", summary="The token under a position", responses=example(TOKEN))
    async def at(
        document: Document,
        number: Number,
        x: Annotated[float, Query(description="Points from the left edge.", allow_inf_nan=False)],
        y: Annotated[float, Query(description="Points from the upper edge.", allow_inf_nan=False)],
        product: Product = None,
    ) -> Response:
        def answer() -> Response:
            return json_reply(wire.token_json(client.page(document, number, product=product).at(x, y)))

        return await state.ask(answer)

    @routes.get(
        "/page/match", summary="Where on a page words stand", responses=example({"query": "total", "matches": [PLACE]})
    )
    async def match(
        document: Document, number: Number, text: Text, top_k: TopK = 5, product: Product = None
    ) -> Response:
        def answer() -> Response:
            found = client.page(document, number, product=product).match(text, top_k)
            return json_reply({"query": text, "matches": [asdict(one) for one in found]})

        return await state.work(answer)

    @routes.get(
        "/match-pages", summary="The pages where words stand", responses=example({"query": "total", "matches": [PLACE]})
    )
    async def match_pages(
        text: Text, top_k: TopK = 20, threshold: Threshold = None, product: Product = None
    ) -> Response:
        def answer() -> Response:
            found = client.match_pages(text, top_k, threshold, product=product)
            return json_reply({"query": text, "matches": [asdict(one) for one in found]})

        return await state.work(answer)

    @routes.get("/page/thumbnail", summary="Tokens of a page seen whole", responses=example(None, wire.ARROW))
    async def thumbnail(document: Document, number: Number, product: Product = None) -> Response:
        def answer() -> Response:
            return arrow_reply(wire.grid_bytes(client.page(document, number, product=product).thumbnail()))

        return await state.ask(answer)

    @routes.get("/page/latents", summary="Adaptive latents of a page", responses=example({"latents": []}))
    async def latents(document: Document, number: Number, product: Product = None) -> Response:
        def answer() -> Response:
            found = client.page(document, number, product=product).latents()
            return json_reply({"latents": wire.latents_json(found)})

        return await state.ask(answer)

    @routes.get("/page/picture.png", summary="A page, rendered from its document", responses=example(None, "image/png"))
    async def picture(document: Document, number: Number, size: Size = 1024, product: Product = None) -> Response:
        return png_reply(await state.work(page_png, state, document, number, size, product))

    @routes.get("/page/tokens.png", summary="Which tokens are kept, a pixel each", responses=example(None, "image/png"))
    async def tokens(document: Document, number: Number, product: Product = None) -> Response:
        return png_reply(await state.work(tokens_png, state, document, number, product))

    @routes.get("/page/text.png", summary="Where a page has text", responses=example(None, "image/png"))
    async def text(document: Document, number: Number, product: Product = None) -> Response:
        return png_reply(await state.work(text_png, state, document, number, product))

    return routes
