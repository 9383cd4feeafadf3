"""Regions: by box, by id, by words, and those that resemble one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from gridscribe.client import wire
from gridscribe.client.found import geojson
from gridscribe.errors import QueryError
from gridscribe.service.asked import (
    WORLD,
    Bbox,
    ClassName,
    Crs,
    Datetime,
    Product,
    Sentence,
    Templates,
    Text,
    Threshold,
    TopK,
    example,
    named_crs,
    numbers,
)
from gridscribe.service.bodies import body_of, read_model
from gridscribe.service.replies import arrow_reply, json_reply
from gridscribe.service.state import State

Id = Annotated[str, Query(description="A region's id.", max_length=1000)]
Within = Annotated[
    str | None, Query(description="One image: its id, a beginning of one, or its source.", max_length=1000)
]
Exact = Annotated[bool, Query(description="false: fast among very many, by an index that the service makes.")]
SQUARE = {"type": "Polygon", "coordinates": [[[3.87, 43.59], [3.88, 43.59], [3.88, 43.6], [3.87, 43.59]]]}
MATCH = {
    "region_id": "tile-12-0f3a99c1-20480", "image": "tile-12-0f3a99c1", "class_id": 4, "class_name": "water",
    "confidence": 0.93, "area_px": 812, "area_m2": 32.5, "height_mean": 0.1, "height_p95": 0.2, "geometry": SQUARE,
    "geometry_px": SQUARE, "labels": [{"text": "swimming pool", "score": 0.41}], "product": "26b5d518261cf9a2",
    "model": "scenes@0123456789ab", "alignment": "align@0123456789ab", "source": "tiles.tar!/tile_12_rgb.tif",
    "datetime": None, "score": 0.37, "query": "text", "bbox": [3.87, 43.59, 3.88, 43.6],
}  # fmt: skip


class DescribeBody(BaseModel):
    """A question to `/describe`."""

    region: str = Field(max_length=1000)
    words: list[Sentence] = Field(min_length=1, max_length=4000, examples=[["swimming pool", "tennis court"]])
    top_k: int = Field(5, ge=1, le=1000)
    product: str | None = Field(None, max_length=64)


def router(state: State) -> APIRouter:
    """`/regions`, `/region`, `/match`, `/similar`, `/describe`."""
    routes = APIRouter(tags=["regions"])
    client = state.client

    @routes.get(
        "/regions",
        summary="Regions that meet a box",
        responses=example({"type": "FeatureCollection", "features": [], "total": 0}),
    )
    async def regions(
        bbox: Bbox = None,
        class_name: ClassName = None,
        datetime: Datetime = None,
        product: Product = None,
        limit: Annotated[int, Query(ge=1, le=100_000, description="Features of a GeoJSON answer.")] = 1000,
        format: Annotated[Literal["geojson", "arrow"], Query()] = "geojson",  # noqa: A002
    ) -> Response:
        def answer() -> Response:
            table = client.regions(numbers(bbox), class_name, datetime=datetime, product=product)
            if format == "arrow":
                return arrow_reply(wire.table_bytes(table))
            shown = table.drop_columns(["embedding", "scale", "value", "bbox"]).slice(0, limit)
            features = [_feature(row) for row in shown.to_pylist()]
            return json_reply({"type": "FeatureCollection", "features": features, "total": table.num_rows})

        return await state.work(answer)

    @routes.get("/region", summary="One region, with its embedding", responses=example({**MATCH, "embedding": [0.1]}))
    async def region(id: Id, product: Product = None) -> Response:  # noqa: A002
        found = await state.ask(client.region, id, product=product)
        return json_reply(found.to_json())

    @routes.get(
        "/match", summary="Regions that look like words", responses=example({"query": "pool", "matches": [MATCH]})
    )
    async def match(
        text: Text,
        bbox: Bbox = None,
        top_k: TopK = 20,
        threshold: Threshold = None,
        class_name: ClassName = None,
        image: Within = None,
        datetime: Datetime = None,
        product: Product = None,
        templates: Templates = None,
        exact: Exact = True,
    ) -> Response:
        asked: dict[str, Any] = {"top_k": top_k, "threshold": threshold, "class_name": class_name, "image": image}
        asked |= {"datetime": datetime, "product": product, "templates": templates, "exact": exact}

        def answer() -> Response:
            found = client.match(text, numbers(bbox), **asked)
            return json_reply({"query": text, "matches": [one.to_json() for one in found]})

        return await state.work(answer)

    @routes.get("/similar", summary="Regions that resemble another", responses=example({"matches": [MATCH]}))
    async def similar(
        lon: Annotated[float | None, Query(description="Of a place in the region, or x of another crs.")] = None,
        lat: Annotated[float | None, Query()] = None,
        crs: Crs = WORLD,
        region: Annotated[str | None, Query(description="Or the region's id.", max_length=1000)] = None,
        bbox: Bbox = None,
        top_k: TopK = 20,
        threshold: Threshold = None,
        class_name: ClassName = None,
        image: Within = None,
        datetime: Datetime = None,
        product: Product = None,
        region_product: Annotated[str | None, Query(description="The product that it is of.", max_length=64)] = None,
        exact: Exact = True,
    ) -> Response:
        asked: dict[str, Any] = {"top_k": top_k, "threshold": threshold, "class_name": class_name, "image": image}
        asked |= {"datetime": datetime, "product": product, "region_product": region_product, "exact": exact}

        def answer() -> Response:
            found = client.similar(lon, lat, region=region, crs=named_crs(crs), bbox=numbers(bbox), **asked)
            return json_reply({"matches": [one.to_json() for one in found]})

        return await state.work(answer)

    @routes.post(
        "/describe",
        summary="What a region may be called",
        openapi_extra=body_of(DescribeBody),
        responses=example({"labels": [{"text": "pool", "score": 0.4}]}),
    )
    async def describe(request: Request) -> Response:
        data = await request.body()

        def answer() -> Response:
            body = read_model(DescribeBody, data)
            if any("\n" in word for word in body.words):
                raise QueryError("words hold a line break: one concept each is expected, `name; another word for it`")
            labels = client.describe(body.region, body.words, top_k=body.top_k, product=body.product)
            return json_reply({"labels": [label._asdict() for label in labels]})

        return await state.work(answer)

    return routes


def _feature(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a regions table as GeoJSON; its vector is left out."""
    import shapely

    shapes = {name: geojson(shapely.from_wkb(row.pop(name))) for name in ("geometry", "geometry_px")}
    return {
        "type": "Feature",
        "id": row.pop("region_id"),
        "geometry": shapes["geometry"],
        "properties": {**row, "geometry_px": shapes["geometry_px"]},
    }
