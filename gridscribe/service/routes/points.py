"""What is at a point, or at many."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from gridscribe.client import wire
from gridscribe.client.asked import crs_of, select_of
from gridscribe.client.pixel import Pixel
from gridscribe.errors import QueryError
from gridscribe.service.arrow_in import points_of, too_many
from gridscribe.service.asked import WORLD, Crs, Datetime, Image, Product, example, named_crs
from gridscribe.service.bodies import read_json
from gridscribe.service.replies import arrow_reply, json_reply
from gridscribe.service.state import State

PIXEL: dict[str, Any] = {
    "status": "ok", "coverage": "full", "reason": None, "class_id": 3, "class_name": "building", "confidence": 0.9882,
    "height": 6.56, "region": "tile-12-0f3a99c1-20480", "labels": None, "embedding": None, "embedding_of": None,
    "product": "26b5d518261cf9a2", "model": "scenes@0123456789ab", "image": "tile-12-0f3a99c1", "item": "5a1f0c66b2d9e401",
    "source": "tiles.tar!/tile_12_rgb.tif", "row": 20, "col": 0, "x": 500123.5, "y": 4826123.5, "crs": "EPSG:32631",
    "lon": 3.87365, "lat": 43.59368, "gsd": 0.2, "datetime": "2021-06-14T10:30:00+00:00", "flags": [],
}  # fmt: skip
POINTS_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["points"],
                "properties": {
                    "points": {
                        "type": "array",
                        "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                    }
                },
            },
            "example": {"points": [[3.87365, 43.59368], [3.8735, 43.5936]]},
        },
        wire.ARROW: {"schema": {"type": "string", "format": "binary", "description": "Columns x and y, float64."}},
    },
}
ROWS = {"rows": 1, "columns": {"class_name": ["building"], "confidence": [0.9882], "status": ["ok"]}}


def router(state: State) -> APIRouter:
    """`/at`, `/at-pixel`, `/height-order`."""
    routes = APIRouter(tags=["points"])
    client = state.client

    @routes.get("/at", summary="The pixel that holds a place", responses=example({"pixels": [PIXEL]}))
    async def at(
        lon: Annotated[float, Query(description="Longitude, or x of another crs.", examples=[3.87365])],
        lat: Annotated[float, Query(description="Latitude, or y of another crs.", examples=[43.59368])],
        crs: Crs = WORLD,
        datetime: Datetime = None,
        product: Product = None,
        embedding: Annotated[bool, Query(description="With labels and the stored vector.")] = False,
        every: Annotated[bool, Query(alias="all", description="Every image that holds it, best first.")] = False,
    ) -> Response:
        # A thread would cost more than the answer: what is in memory is told from here. Not in any CRS: PROJ takes its time
        # to find the way from one that it has not seen.
        pixels = None
        if crs == WORLD and not embedding:
            pixels = state.backend.at_held(lon, lat, WORLD, select_of(product, datetime), every=every)
        if pixels is None:

            def answer() -> tuple[Pixel, ...]:
                system, select = crs_of(named_crs(crs)), select_of(product, datetime)
                return state.backend.at(lon, lat, system, select, embedding=embedding, every=every)

            pixels = await state.ask(answer)
        else:
            state.fresh.touch()
        return json_reply({"pixels": [pixel.to_json() for pixel in pixels]})

    @routes.get("/at-pixel", summary="A pixel of one image", responses=example({"pixels": [PIXEL]}))
    async def at_pixel(
        image: Image,
        row: Annotated[int, Query(ge=-(2**53), le=2**53)],
        col: Annotated[int, Query(ge=-(2**53), le=2**53)],
        product: Product = None,
        embedding: bool = False,
    ) -> Response:
        pixel = await state.ask(client.at_pixel, image, row, col, product=product, embedding=embedding)
        return json_reply({"pixels": [pixel.to_json()]})

    @routes.post(
        "/at",
        summary="Many points: a row for each, in order",
        openapi_extra={"requestBody": POINTS_BODY},
        responses=_table_example(),
    )
    async def at_many(
        request: Request,
        crs: Crs = WORLD,
        fields: Annotated[str | None, Query(description="Columns, joined by commas.", max_length=1000)] = None,
        datetime: Datetime = None,
        product: Product = None,
        every: Annotated[bool, Query(alias="all")] = False,
    ) -> Response:
        body = await request.body()
        names = None if fields is None else fields.split(",")
        asked: dict[str, Any] = {"crs": named_crs(crs), "datetime": datetime, "product": product, "all": every}

        def answer() -> Response:
            return _table_reply(client.at_many(_points(state, request, body), fields=names, **asked), request)

        return await state.work(answer)

    @routes.post(
        "/height-order",
        summary="Which of several places is higher, by coded heights",
        openapi_extra={"requestBody": POINTS_BODY},
        responses=_table_example(),
    )
    async def height_order(
        request: Request, crs: Crs = WORLD, datetime: Datetime = None, product: Product = None
    ) -> Response:
        body = await request.body()
        asked: dict[str, Any] = {"crs": named_crs(crs), "datetime": datetime, "product": product}

        def answer() -> Response:
            return _table_reply(client.height_order(_points(state, request, body), **asked), request)

        return await state.work(answer)

    return routes


def _table_example() -> dict[int | str, dict[str, Any]]:
    found = example(ROWS)
    found[200]["content"][wire.ARROW] = {"schema": {"type": "string", "format": "binary"}}
    return found


def _points(state: State, request: Request, body: bytes) -> NDArray[np.float64]:
    """[n, 2] of a JSON or an Arrow body; `QueryError` for anything else, or for too many."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    most = state.settings.max_points
    return points_of(body, most) if kind == wire.ARROW else _json_points(body, most)


def _json_points(body: bytes, most: int) -> NDArray[np.float64]:
    try:
        points = read_json(body)["points"]
        if isinstance(points, list) and len(points) > most:
            raise too_many(len(points), most)
        array = np.array(points, np.float64)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise QueryError(f'the body is no JSON object {{"points": [[lon, lat], ...]}} ({str(error)[:200]})') from error
    if points == []:
        array = array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise QueryError(f"points have the shape {list(array.shape)}: expected [n, 2], [lon, lat] or [x, y] each")
    return array


def _table_reply(table: Any, request: Request) -> Response:
    """As Arrow where that is asked for, else as JSON by column: NaN becomes null, a time ISO 8601."""
    if wire.ARROW in request.headers.get("accept", ""):
        return arrow_reply(wire.table_bytes(table))
    columns = {name: _column(table[name]) for name in table.column_names}
    return json_reply({"rows": table.num_rows, "columns": columns})


def _column(column: Any) -> list[Any]:
    """The values of a column as JSON has them. Those of a dictionary are picked from it, which is many times as fast."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return [None if value is None else value.isoformat() for value in column.to_pylist()]
    if not pa.types.is_dictionary(column.type):
        values: list[Any] = column.to_pylist()
        return values
    whole = column.unify_dictionaries().combine_chunks()
    names = np.array([*whole.dictionary.to_pylist(), None], object)
    codes = whole.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)
    picked: list[Any] = names[codes].tolist()
    return picked
