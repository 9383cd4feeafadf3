"""The application: routes, refusals, the viewer, and what stands before them all."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from gridscribe import __version__
from gridscribe.errors import GridscribeError
from gridscribe.service.asked import example
from gridscribe.service.guard import Guard
from gridscribe.service.replies import json_reply, refusal, refusal_of
from gridscribe.service.routes import areas, catalogue, pages, points, regions, tiles
from gridscribe.service.settings import Settings
from gridscribe.service.state import State, open_state
from gridscribe.service.warming import warm

UNBUILT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>gridscribe</title></head><body>
<h1>gridscribe</h1><p>The service runs; its questions are listed in <a href="/openapi.json">/openapi.json</a>.</p>
<p>The viewer is not built here. It needs Node.js and npm once, in a checkout: <code>make viewer</code>; then start the service
again.</p></body></html>"""


EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Refused(BaseModel):
    """What went wrong: a class of `gridscribe.errors` or of this service, and what to do."""

    type: str
    message: str


class Refusal(BaseModel):
    """Every answer that is none."""

    error: Refused


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The question cannot be answered as put."},
    401: {"model": Refusal, "description": "A bearer token is needed, or another one."},
    413: {"model": Refusal, "description": "The request is too large."},
    414: {"model": Refusal, "description": "The query is too long."},
    422: {"model": Refusal, "description": "A parameter is missing, or not of its kind."},
    502: {"model": Refusal, "description": "Storage fails, or what lies there is not what gridscribe writes."},
    503: {"model": Refusal, "description": "Too much is asked at once: ask again."},
    504: {"model": Refusal, "description": "No answer within the time limit."},
}


def create_app(settings: Settings) -> ASGIApp:
    """The service as an ASGI application. What is there is read beside the first questions."""
    state = open_state(settings)
    app = FastAPI(
        title="gridscribe",
        version=__version__,
        description="Pixels, regions, words and pages of one output. Every answer says which product, image and model it is of.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan(state),
        default_response_class=Response,
        responses=REFUSALS,
    )
    _refuse(app)
    routes = APIRouter(prefix="/v1")
    for module in (points, areas, regions, pages, catalogue, tiles):
        routes.include_router(module.router(state))
    app.include_router(routes)
    _around(app, state)
    if settings.token is not None:
        app.openapi = _with_token(app)  # type: ignore[method-assign]
    guarded: ASGIApp = Guard(app, settings, state.metrics)
    if settings.origins:
        guarded = CORSMiddleware(
            guarded, allow_origins=settings.origins, allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Accept"], expose_headers=["X-Request-Id"],
        )  # fmt: skip
    return guarded


def _lifespan(state: State) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=warm, args=(state,), name="warm", daemon=True).start()
        yield
        state.quick.close()
        state.slow.close()

    return lifespan


def _refuse(app: FastAPI) -> None:
    """Every error in one form."""

    @app.exception_handler(GridscribeError)
    async def ours(_: Request, error: Exception) -> Response:
        return refusal_of(cast(GridscribeError, error))

    @app.exception_handler(Exception)
    async def bug(request: Request, _: Exception) -> Response:
        return refusal(
            500, "InternalError", f"the service failed; its log tells of {request.scope['gridscribe.request']}"
        )

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: Exception) -> Response:
        first = cast(RequestValidationError, error).errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return refusal(422, "Malformed", f"{where[:200]}: {first['msg'][:500]}")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: Exception) -> Response:
        told = cast(HTTPException, error)
        message = f"nothing is at {request.url.path[:200]}" if told.status_code == 404 else str(told.detail)
        names = {404: "NotFound", 405: "MethodNotAllowed", 413: "TooLarge"}
        headers = None if told.headers is None else dict(told.headers)
        return refusal(told.status_code, names.get(told.status_code, "Refused"), message, headers)


def _around(app: FastAPI, state: State) -> None:
    """Health, metrics, the viewer."""

    @app.get("/healthz", tags=["service"], summary="Whether the service runs", responses=example({"status": "ok"}))
    async def healthz() -> Response:
        return json_reply({"status": "ok", "version": __version__})

    @app.get("/metrics", tags=["service"], summary="Counters for Prometheus", responses=example(None, EXPOSITION))
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type=EXPOSITION)

    dist = resources.files("gridscribe") / "viewer" / "dist"
    page = dist / "index.html"

    @app.get("/", include_in_schema=False)
    async def viewer() -> Response:
        return (
            FileResponse(str(page), headers={"Cache-Control": "no-cache"}) if page.is_file() else HTMLResponse(UNBUILT)
        )

    if page.is_file():
        app.mount("/viewer", StaticFiles(directory=str(dist)), name="viewer")


def _with_token(app: FastAPI) -> Any:
    """The schema, saying that a bearer token is needed."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        return schema

    return openapi
