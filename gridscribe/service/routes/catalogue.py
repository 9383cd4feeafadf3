"""What there is: products, images, jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from gridscribe.client.asked import lonlat_box
from gridscribe.client.found import geojson
from gridscribe.client.index import UNKNOWN_TIME, ImageIndex
from gridscribe.client.when import EPOCH, parse_datetime
from gridscribe.service.asked import Bbox, Datetime, Product, example, numbers
from gridscribe.service.products import described
from gridscribe.service.replies import json_reply
from gridscribe.service.state import State
from gridscribe.status import job_statuses

PRODUCT = {
    "id": "26b5d518261cf9a2", "kind": "raster", "model": "scenes@0123456789ab", "alignment": "align@0123456789ab",
    "classes": [{"id": 3, "name": "building", "color": [220, 40, 40]}], "images": 12, "bounds": [3.87, 43.59, 3.88, 43.6],
    "minzoom": 12, "maxzoom": 21,
}  # fmt: skip


def router(state: State) -> APIRouter:
    """`/products`, `/images`, `/jobs`, `/kind`, `/refresh`."""
    routes = APIRouter(tags=["catalogue"])

    @routes.get(
        "/products", summary="The products of this output", responses=example({"output": "out", "products": [PRODUCT]})
    )
    async def products() -> Response:
        return json_reply({"output": state.store.uri, "products": await state.ask(described, state)})

    @routes.get("/kind", summary="Whether there are pages alone", responses=example({"documents_alone": False}))
    async def kind(product: Product = None) -> Response:
        return json_reply({"documents_alone": await state.ask(state.client.asks_pages, product=product)})

    @routes.get(
        "/images",
        summary="Images, by id",
        responses=example({"type": "FeatureCollection", "features": [], "total": 0, "next": None}),
    )
    async def images(
        bbox: Bbox = None,
        datetime: Datetime = None,
        product: Product = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        after: Annotated[str | None, Query(description="`next` of the answer before.", max_length=1000)] = None,
    ) -> Response:
        def answer() -> Response:
            index = state.backend.index(product)
            names = index.chosen_ids(parse_datetime(datetime), lonlat_box(numbers(bbox)))
            left = [name for name in names if after is None or name > after]
            features = [_feature(index, name) for name in left[:limit]]
            more = left[limit - 1] if len(left) > limit else None
            return json_reply({"type": "FeatureCollection", "features": features, "total": len(names), "next": more})

        return await state.ask(answer)

    @routes.get("/jobs", summary="Jobs, and how far they are", responses=example({"jobs": []}))
    async def jobs() -> Response:
        found = await state.work(job_statuses, state.store)
        return json_reply({"jobs": [job.to_json() for job in found]})

    @routes.post(
        "/refresh", summary="Look at once for what was committed since", responses=example({"refreshed": True})
    )
    async def refresh() -> Response:
        await state.work(state.backend.reload)
        return json_reply({"refreshed": True})

    return routes


def _feature(index: ImageIndex, name: str) -> dict[str, Any]:
    place = index.place_of(name)
    assert place is not None
    height, width = index.shapes[place].tolist()
    time = int(index.times[place])
    shape = index.footprint(place)
    bounds = index.footprint_bounds[place].tolist()
    return {
        "type": "Feature",
        "id": name,
        "geometry": geojson(shape),
        **({} if shape is None else {"bbox": bounds}),
        "properties": {
            "source": index.sources[place], "width": width, "height": height, "crs": index.crs[place],
            "gsd": index.gsd[place], "flags": list(index.flags[place]), "product": index.product.id,
            "datetime": None if time == UNKNOWN_TIME else (EPOCH + timedelta(microseconds=time)).isoformat(),
        },
    }  # fmt: skip
