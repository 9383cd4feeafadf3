"""Coordinate reference systems of questions and images, and points taken from one to another."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from gridscribe.errors import QueryError
from gridscribe.values import Grid

if TYPE_CHECKING:
    from pyproj import CRS, Transformer

LONLAT = "OGC:CRS84"
TRANSFORMERS = 64
"""Kept by each thread; one is most of a megabyte."""

Floats = NDArray[np.float64]

_local = threading.local()  # a PROJ context, and so a Transformer, belongs to one thread


@lru_cache(maxsize=512)
def parse_crs(crs: Any) -> CRS:
    """The CRS that a name, code or WKT means; `QueryError` for an unknown one."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise QueryError(f'CRS {str(crs)[:120]!r} is not known to PROJ: expected "EPSG:n" or WKT') from error


@lru_cache(maxsize=512)
def same_crs(one: str, other: str) -> bool:
    """Whether the two name one system; order of axes does not count, since points are always (x, y)."""
    return one == other or parse_crs(one).equals(parse_crs(other), ignore_axis_order=True)


@lru_cache(maxsize=512)
def is_geographic(crs: str) -> bool:
    """Whether coordinates are longitudes and latitudes in degrees."""
    system = parse_crs(crs)
    return bool(system.is_geographic) and all(axis.unit_name == "degree" for axis in system.axis_info[:2])


def transform(source: str, target: str, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Points in another system, element by element; not finite where a point has no place in it."""
    if same_crs(source, target):
        return x, y
    try:
        return _transformer(source, target).transform(x, y)
    except ProjError as error:
        raise _apart(source, target, error) from error


def transform_bounds(source: str, target: str, bounds: tuple[float, float, float, float]) -> tuple[float, ...]:
    """The box in `target` that holds the box in `source`: edges are followed, not only corners."""
    if same_crs(source, target):
        return bounds
    try:
        return _transformer(source, target).transform_bounds(*bounds)
    except ProjError as error:
        raise _apart(source, target, error) from error


def _apart(source: str, target: str, error: Exception) -> QueryError:
    told = " ".join(str(error).split())[:200]
    return QueryError(f"PROJ knows no way from {source[:60]} to {target[:60]} ({told}): ask in another CRS")


def grid_xy(grid: Grid, row: Floats, col: Floats) -> tuple[Floats, Floats]:
    """`Grid.xy` of many positions."""
    return grid.xy(row, col)  # type: ignore[arg-type, return-value]


def grid_rowcol(grid: Grid, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """`Grid.rowcol` of many positions."""
    return grid.rowcol(x, y)  # type: ignore[arg-type, return-value]


def _transformer(source: str, target: str) -> Transformer:
    from pyproj import Transformer

    known: OrderedDict[tuple[str, str], Transformer] = _local.__dict__.setdefault("transformers", OrderedDict())
    if (source, target) not in known:
        known[source, target] = Transformer.from_crs(parse_crs(source), parse_crs(target), always_xy=True)
        if len(known) > TRANSFORMERS:
            known.popitem(last=False)
    known.move_to_end((source, target))
    return known[source, target]
