"""Tiles, and how map programs find them: XYZ, TileJSON, WMTS; and pictures of whole images."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlencode
from xml.sax.saxutils import quoteattr

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from gridscribe.service.asked import Datetime, Image, Product, Size, example
from gridscribe.service.pictures import image_png
from gridscribe.service.products import bounds_of, zooms
from gridscribe.service.replies import empty_reply, json_reply, png_reply
from gridscribe.service.state import State
from gridscribe.service.tiles import HALF, MAX_ZOOM, Tile, tile_png


class Layer(StrEnum):
    """What a tile shows."""

    MASK = "mask"
    CONFIDENCE = "confidence"
    HEIGHT = "height"
    SOURCE = "source"
    HEATMAP = "heatmap"


Words = Annotated[str | None, Query(description="Of layer heatmap: the words.", min_length=1, max_length=1000)]
Only = Annotated[str | None, Query(description="One image: its id, a beginning of it, or its source.", max_length=1000)]
High = Annotated[float, Query(gt=0, le=10_000, description="Of layer height: metres that have the last colour.")]
Zoom = Annotated[int, Path(ge=0, le=MAX_ZOOM)]
Index = Annotated[int, Path(ge=0, lt=1 << MAX_ZOOM)]
PICTURE: dict[int | str, dict[str, Any]] = {
    **example(None, "image/png", "A picture."),
    204: {"description": "Nothing is on it."},
}


def router(state: State) -> APIRouter:
    """`/tiles`, `/wmts`, `/image/picture.png`."""
    routes = APIRouter(tags=["tiles"])

    @routes.get("/tiles/{layer}/tilejson.json", summary="TileJSON of a layer", responses=example({"tilejson": "3.0.0"}))
    async def tilejson(
        request: Request, layer: Layer, product: Product = None, datetime: Datetime = None, text: Words = None
    ) -> Response:
        index = await state.ask(state.backend.index, product)
        low, high = zooms(index)
        asked = {"product": index.product.id, "datetime": datetime, "text": text}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        bounds = bounds_of(index)
        told = {
            "tilejson": "3.0.0", "name": f"{layer.value} of {index.product.id}", "scheme": "xyz",
            "tiles": [f"{_base(request)}/v1/tiles/{layer.value}/{{z}}/{{x}}/{{y}}.png?{query}"],
            "minzoom": low, "maxzoom": high, **({} if bounds is None else {"bounds": bounds}),
        }  # fmt: skip
        return json_reply(told)

    @routes.get("/tiles/{layer}/{z}/{x}/{y}.png", summary="A map tile", responses=PICTURE)
    async def tile(
        layer: Layer,
        z: Zoom,
        x: Index,
        y: Index,
        product: Product = None,
        datetime: Datetime = None,
        image: Only = None,
        text: Words = None,
        size: Annotated[int, Query(ge=64, le=1024, description="Pixels of its side.")] = 256,
        high: High = 30.0,
    ) -> Response:
        asked: dict[str, Any] = {"product": product, "datetime": datetime, "image": image, "text": text, "high": high}
        data = await state.work(tile_png, state, Tile(z, x, y, size), layer.value, **asked)
        return empty_reply() if data is None else png_reply(data)

    @routes.get("/wmts", summary="WMTS capabilities", responses=example(None, "application/xml"))
    async def wmts(request: Request, product: Product = None) -> Response:
        index = await state.ask(state.backend.index, product)
        low, high = zooms(index)
        bounds = bounds_of(index) or [-180.0, -85.0, 180.0, 85.0]
        body = capabilities(_base(request), index.product.id, bounds, low, high)
        return Response(body, media_type="application/xml")

    @routes.get("/image/picture.png", summary="A whole image, on its own grid", responses=PICTURE)
    async def picture(
        image: Image,
        layer: Layer = Layer.MASK,
        product: Product = None,
        text: Words = None,
        size: Size = 1024,
        high: High = 30.0,
    ) -> Response:
        asked: dict[str, Any] = {"product": product, "text": text, "high": high}
        return png_reply(await state.work(image_png, state, image, layer.value, size, **asked))

    return routes


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def capabilities(base: str, product: str, bounds: list[float], low: int, high: int) -> str:
    """A WMTS 1.0.0 document (OGC 07-057r7) with a layer for each kind of raster, whose tiles are asked for as XYZ."""
    west, south, east, north = bounds
    layers = "".join(
        f"<Layer><ows:Title>{layer} of {product}</ows:Title><ows:WGS84BoundingBox>"
        f"<ows:LowerCorner>{west} {south}</ows:LowerCorner>"
        f"<ows:UpperCorner>{east} {north}</ows:UpperCorner></ows:WGS84BoundingBox><ows:Identifier>{layer}</ows:Identifier>"
        "<Style isDefault='true'><ows:Identifier>default</ows:Identifier></Style><Format>image/png</Format>"
        "<TileMatrixSetLink><TileMatrixSet>WebMercatorQuad</TileMatrixSet></TileMatrixSetLink>"
        f"<ResourceURL format='image/png' resourceType='tile' template="
        + quoteattr(f"{base}/v1/tiles/{layer}/{{TileMatrix}}/{{TileCol}}/{{TileRow}}.png?product={product}")
        + "/></Layer>"
        for layer in ("mask", "confidence", "height", "source")
    )
    matrices = "".join(
        f"<TileMatrix><ows:Identifier>{z}</ows:Identifier><ScaleDenominator>{2 * HALF / 256 / 2**z / 0.00028}</ScaleDenominator>"
        f"<TopLeftCorner>{-HALF} {HALF}</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>"
        f"<MatrixWidth>{2**z}</MatrixWidth><MatrixHeight>{2**z}</MatrixHeight></TileMatrix>"
        for z in range(low, high + 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Capabilities xmlns="http://www.opengis.net/wmts/1.0" '
        'xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.0.0">'
        "<ows:ServiceIdentification><ows:Title>gridscribe</ows:Title><ows:ServiceType>OGC WMTS</ows:ServiceType>"
        "<ows:ServiceTypeVersion>1.0.0</ows:ServiceTypeVersion></ows:ServiceIdentification>"
        f"<Contents>{layers}<TileMatrixSet><ows:Identifier>WebMercatorQuad</ows:Identifier>"
        "<ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>"
        "<WellKnownScaleSet>urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible</WellKnownScaleSet>"
        f"{matrices}</TileMatrixSet></Contents></Capabilities>"
    )
