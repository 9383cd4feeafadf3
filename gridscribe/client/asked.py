"""Arguments of a `Client`'s methods, checked: what was asked, as values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridscribe.client.backend import Select
from gridscribe.client.phrases import Phrase
from gridscribe.client.places import parse_crs
from gridscribe.client.searching import Search
from gridscribe.client.when import When, parse_datetime
from gridscribe.errors import QueryError

if TYPE_CHECKING:
    from gridscribe.models.clip.concepts import ConceptBank


def points_array(points: ArrayLike) -> NDArray[np.float64]:
    """[n, 2] of anything like it."""
    try:
        array = np.asarray(points, np.float64)
    except (TypeError, ValueError) as error:
        raise QueryError(f"points are no array of numbers ({error}): expected [n, 2], (lon, lat) or (x, y)") from error
    if array.size == 0:
        array = array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise QueryError(f"points have the shape {list(array.shape)}: expected [n, 2], (lon, lat) or (x, y) each")
    return array


def box_of(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    values = tuple(float(value) for value in bbox)
    if len(values) != 4 or not np.isfinite(values).all():
        raise QueryError(f"bbox={list(values)}: expected four finite numbers (west, south, east, north)")
    west, south, east, north = values
    return west, south, east, north


def lonlat_box(bbox: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    """A box of longitudes and latitudes, in which west > east crosses the antimeridian."""
    if bbox is None:
        return None
    west, south, east, north = box = box_of(bbox)
    if south >= north or west == east:
        raise QueryError(f"bbox={list(box)} holds no area: expected west, south, east, north with south < north")
    return box


def bank_of(words: str | Path | Sequence[str]) -> ConceptBank:
    """A concept bank from a file, a shipped one's name, or words."""
    from gridscribe.models.clip.concepts import concepts_path, parse_concepts, read_concepts

    if isinstance(words, str | Path):
        return read_concepts(concepts_path(words))
    return parse_concepts("\n".join(words), "words")


def phrase_of(text: str, templates: Sequence[str] | None) -> Phrase:
    if isinstance(templates, str):
        raise QueryError(f"templates={templates!r}: a list of sentences with {{}} for the phrase is needed")
    return Phrase(text, None if templates is None else tuple(templates))


def search_of(
    top_k: int, threshold: float | None, bbox: Sequence[float] | None, class_name: str | None, image: str | None,
    exact: bool,
) -> Search:  # fmt: skip
    least = None if threshold is None else float(threshold)
    return Search(top_k, least, lonlat_box(bbox), class_name, image, exact)


def crs_of(crs: Any) -> str:
    """ "EPSG:n" where that says it, else WKT."""
    system = parse_crs(crs)
    authority = system.to_authority(min_confidence=100)
    return ":".join(authority) if authority else system.to_wkt()


def select_of(product: str | None, when: When) -> Select:
    return Select(product, parse_datetime(when))
