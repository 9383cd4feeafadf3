"""Bodies of requests in JSON: read by a thread, of bounded size, and checked against a model."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

MAX_JSON = 16 << 20
"""Bytes: 100,000 points are 4 MB. Reading JSON keeps all else waiting, so that more of it has to come as Arrow."""

M = TypeVar("M", bound=BaseModel)


def read_json(body: bytes) -> Any:
    """The value of a body; `ValueError` for what is no JSON."""
    _check_size(body)
    return orjson.loads(body)


def read_model(model: type[M], body: bytes) -> M:
    """The value of a body as a model; raises what makes it a 422, naming the field."""
    _check_size(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_input=False, include_url=False)]
        raise RequestValidationError(found) from error


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """What the schema says of such a body."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _check_size(body: bytes) -> None:
    if len(body) > MAX_JSON:
        raise HTTPException(413, f"JSON has at most {MAX_JSON} bytes: ask for less, or with points as Arrow")
