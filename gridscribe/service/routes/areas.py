"""The classes of a box, and words laid out on an image."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from gridscribe.client import wire
from gridscribe.client.found import OnImage
from gridscribe.client.pixel import Mask
from gridscribe.client.prototypes import Prototypes
from gridscribe.errors import QueryError
from gridscribe.service.asked import (
    WORLD,
    Bbox,
    Box,
    Crs,
    Datetime,
    Image,
    Product,
    Sentence,
    Templates,
    Text,
    example,
    named_crs,
    numbers,
)
from gridscribe.service.bodies import body_of, read_model
from gridscribe.service.replies import arrow_reply
from gridscribe.service.state import State

TIFF = "image/tiff; application=geotiff"
Format = Annotated[
    Literal["tif", "arrow"], Query(description="tif: a GeoTIFF. arrow: an Arrow stream, with all that is said of it.")
]
Bias = Annotated[float, Query(ge=-10, le=10, description="Share of the windows' own similarity that is taken off.")]


Vector = Annotated[list[float], Field(max_length=8192)]


class Memory(BaseModel):
    """What `Prototypes.state` gives."""

    model: str | None = Field(None, max_length=200)
    phrases: list[Vector] = Field(max_length=500)
    sums: list[Vector] = Field(max_length=500)
    weights: list[float] = Field(max_length=500)


class SegmentBody(BaseModel):
    """A question to `/segment`."""

    text: str = Field(max_length=1000, examples=["swimming pool"])
    image: str = Field(max_length=1000)
    bbox: tuple[float, float, float, float] | None = None
    method: str = Field("heatmap", max_length=40)
    threshold: float | None = None
    bias: float = Field(0.3, ge=-10, le=10)
    templates: list[Sentence] | None = Field(None, max_length=100)
    product: str | None = Field(None, max_length=64)
    memory: Memory | None = None
    """State of a client's `Prototypes`, which comes back with the answer."""


def router(state: State) -> APIRouter:
    """`/mask`, `/heatmap`, `/segment`."""
    routes = APIRouter(tags=["areas"])
    client = state.client
    files = {**example(None, TIFF)[200]["content"], wire.ARROW: {}}

    @routes.get("/mask", summary="The classes in a box", responses={200: {"description": "Classes.", "content": files}})
    async def mask(
        bbox: Box,
        crs: Crs = WORLD,
        datetime: Datetime = None,
        product: Product = None,
        every: Annotated[bool, Query(alias="all", description="A mask per image; as Arrow alone.")] = False,
        format: Format = "tif",  # noqa: A002 - the parameter's name
    ) -> Response:
        asked: dict[str, Any] = {"crs": named_crs(crs), "datetime": datetime, "product": product, "all": every}
        if every and format == "tif":
            raise QueryError("all=true gives several masks, a GeoTIFF holds one: ask with format=arrow")

        def answer() -> Response:
            found = client.mask(numbers(bbox) or (), **asked)
            masks: tuple[Mask, ...] = found if isinstance(found, tuple) else (found,)
            return arrow_reply(wire.masks_bytes(masks)) if format == "arrow" else _mask_tiff(state, masks[0])

        return await state.work(answer)

    @routes.get(
        "/heatmap",
        summary="How near each token of an image is to some words",
        responses={200: {"description": "Similarities.", "content": files}},
    )
    async def heatmap(
        text: Text,
        image: Image,
        bbox: Bbox = None,
        bias: Bias = 0.3,
        product: Product = None,
        templates: Templates = None,
        format: Format = "tif",  # noqa: A002
    ) -> Response:
        def answer() -> Response:
            box = numbers(bbox)
            heat = client.heatmap(text, image=image, bbox=box, bias=bias, product=product, templates=templates)
            return arrow_reply(wire.heatmap_bytes(heat)) if format == "arrow" else _tiff(heat.array, heat, np.nan)

        return await state.work(answer)

    @routes.post(
        "/segment",
        summary="The pixels of an image that some words mean",
        openapi_extra=body_of(SegmentBody),
        responses=example(None, wire.ARROW),
    )
    async def segment(request: Request) -> Response:
        data = await request.body()

        def answer() -> Response:
            body = read_model(SegmentBody, data)
            memory = None if body.memory is None else Prototypes()
            if memory is not None and body.memory is not None:
                try:
                    memory.restore(body.memory.model_dump())
                except ValueError as error:
                    raise QueryError(f"memory: {error}") from error
            found = client.segment(
                body.text, image=body.image, bbox=body.bbox, method=body.method, threshold=body.threshold,
                memory=memory, bias=body.bias, product=body.product, templates=body.templates,
            )  # fmt: skip
            return arrow_reply(wire.text_mask_bytes(found, None if memory is None else memory.state()))

        return await state.work(answer)

    return routes


def _mask_tiff(state: State, mask: Mask) -> Response:
    from gridscribe.service.products import classes_of

    colors = {one["id"]: (*one["color"], 255) for one in classes_of(state, mask.product)}
    return _tiff(mask.array, mask, 255, colors)


def _tiff(array: Any, placed: Mask | OnImage, nodata: float, colors: dict[int, Any] | None = None) -> Response:
    """A GeoTIFF of one band."""
    import rasterio
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    height, width = array.shape
    where = {} if placed.transform is None else {"transform": Affine(*placed.transform), "crs": placed.crs}
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype=array.dtype,
            nodata=nodata,
            compress="zstd",
            **where,
        ) as file:
            file.write(array, 1)
            if colors is not None:
                file.write_colormap(1, colors)
        return Response(memory.read(), media_type=TIFF)
