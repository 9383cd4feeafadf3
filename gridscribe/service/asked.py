"""Parameters that several routes have, their checks, and what the schema says of them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Query
from pydantic import StringConstraints

from gridscribe.errors import QueryError

Product = Annotated[
    str | None, Query(description="A product's id, or a beginning of it that no other has.", max_length=64)
]
Datetime = Annotated[
    str | None,
    Query(
        description="When images were taken: 2021, 2021-06, an instant, or START/END.",
        max_length=80,
        examples=["2021-06"],
    ),
]
_BOX = Query(description="west,south,east,north", max_length=200, examples=["3.8734,43.5935,3.8740,43.5940"])
Box = Annotated[str, _BOX]
Bbox = Annotated[str | None, _BOX]
Crs = Annotated[
    str, Query(description="CRS of the coordinates: AUTHORITY:CODE, or WKT.", max_length=8000, examples=["EPSG:4326"])
]
Image = Annotated[str, Query(description="An image's id, a beginning of one, or its source.", max_length=1000)]
Text = Annotated[str, Query(description="Words to look for.", max_length=1000, examples=["swimming pool"])]
Sentence = Annotated[str, StringConstraints(max_length=300)]
Templates = Annotated[
    list[Sentence] | None,
    Query(description="Sentences with {} for the words; default: the product's own.", max_length=100),
]
TopK = Annotated[int, Query(ge=1, le=10_000, description="How many, best first.")]
Threshold = Annotated[float | None, Query(description="Least score; what it is depends on model and words.")]
ClassName = Annotated[str | None, Query(description="Regions of one class.", max_length=200)]
Size = Annotated[int, Query(ge=16, le=4096, description="Pixels of the longer side.")]
Document = Annotated[str, Query(description="A document's id, a beginning of one, or its source.", max_length=1000)]
Number = Annotated[int, Query(ge=0, le=1_000_000, description="Page, counted from 0.")]

WORLD = "EPSG:4326"


def numbers(bbox: str | None) -> tuple[float, ...] | None:
    """The four numbers of a box; what they may be is the client's to say."""
    if bbox is None:
        return None
    try:
        values = tuple(float(part) for part in bbox.split(","))
    except ValueError as error:
        raise QueryError(f"bbox={bbox[:80]!r}: expected four numbers, west,south,east,north") from error
    return values


_NAMED = re.compile(r"[A-Za-z]{2,10}:[A-Za-z0-9.]{1,20}")
_PLAIN = re.compile(
    r"\s*(GEOGCS|PROJCS|GEOGCRS|GEODCRS|PROJCRS|GEODETICCRS|GEOGRAPHICCRS|PROJECTEDCRS)\s*\[", re.IGNORECASE
)
_READS = re.compile(
    r"\+\s*\w|NADGRIDS|GEOIDGRIDS|GEOIDMODEL|PARAMETERFILE|EXTENSION|BOUNDCRS|ABRIDGED|OPERATION\s*\[|DERIVING|TOWGS84|URI\s*\[",
    re.IGNORECASE,
)


def named_crs(crs: str) -> str:
    """A CRS that names no file: PROJ would open grids and parameters that a definition names.

    Taken are `AUTHORITY:CODE`, and the WKT of a geographic or projected system without transformations in it.
    """
    if not _NAMED.fullmatch(crs) and (not _PLAIN.match(crs) or _READS.search(crs)):
        raise QueryError(f"crs={crs[:80]!r}: expected AUTHORITY:CODE, such as EPSG:4326, or plain WKT")
    return crs


def example(value: Any, kind: str = "application/json", text: str = "The answer.") -> dict[int | str, dict[str, Any]]:
    """What the schema shows as an answer."""
    return {200: {"description": text, "content": {kind: {"example": value} if value is not None else {}}}}
