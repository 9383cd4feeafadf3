"""What queries answer with: regions, matches, and similarity over an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridscribe.footprint import lonlat_bbox
from gridscribe.values import Window

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from shapely.geometry.base import BaseGeometry

Affine = tuple[float, float, float, float, float, float]


class Label(NamedTuple):
    """A word of the concept bank, and its score."""

    text: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFacts:
    """What is stored of a region, and where that comes from."""

    region_id: str
    image: str
    class_id: int
    class_name: str
    confidence: float | None
    """Mean over the region's pixels, 0 to 1."""
    area_px: int
    area_m2: float | None
    """None where the image is not georeferenced."""
    height_mean: float | None
    """Metres above ground; None where no pixel of it has a height."""
    height_p95: float | None
    geometry: BaseGeometry | None
    """A shapely (Multi)Polygon of longitudes and latitudes, split at the antimeridian; None where not georeferenced."""
    geometry_px: BaseGeometry
    """The outline in pixels of the image: x the column, y the row."""
    labels: tuple[Label, ...]
    """Words of the concept bank, best first; none where regions are not labelled."""
    product: str
    model: str
    """Of the classes: name and the first 12 hex of its digest, `name@digest`."""
    alignment: str | None
    """Of the embeddings, likewise; None where there are none."""
    source: str
    """The input that the image came from."""
    datetime: datetime | None
    """When the image was taken."""

    @property
    def bbox(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north; west > east where the region crosses the antimeridian (RFC 7946, section 5.2)."""
        return None if self.geometry is None else lonlat_bbox(self.geometry)

    def to_json(self) -> dict[str, Any]:
        """Plain data, every field; geometries as GeoJSON."""
        value = {name.name: getattr(self, name.name) for name in fields(self)}
        for name in ("geometry", "geometry_px"):
            value[name] = geojson(value[name])
        value["bbox"] = None if self.bbox is None else list(self.bbox)
        value["labels"] = [label._asdict() for label in self.labels]
        value["datetime"] = None if self.datetime is None else self.datetime.isoformat()
        return value

    def to_feature(self) -> dict[str, Any]:
        """A GeoJSON feature: `geometry` null where the region has no place on Earth."""
        value = self.to_json()
        bbox = value.pop("bbox")
        feature = {"type": "Feature", "id": value.pop("region_id"), "geometry": value.pop("geometry")}
        return {**feature, **({} if bbox is None else {"bbox": bbox}), "properties": value}

    def plot(self, ax: Axes | None = None) -> Axes:
        """The outline, on matplotlib's `ax` or a new figure: in longitude and latitude, or in pixels where not georeferenced."""
        from gridscribe.client.drawn import region_axes

        return region_axes(self, ax)

    def _repr_html_(self) -> str:
        """The outline and what is known, as a table; an embedding as its shape."""
        from gridscribe.client.shown import region_html

        return region_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match(RegionFacts):
    """A region that was found."""

    score: float
    """Cosine of the query and the region's stored vector (which has unit length up to the rounding of int8)."""
    query: str
    """Where the query's vector comes from: "text", "concept" (a word of the product's concept bank) or "region"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(RegionFacts):
    """A region and its embedding."""

    embedding: NDArray[np.float32] | None = field(compare=False)
    """The stored vector, float32 [D], of unit length up to the rounding of int8; None where regions are not embedded."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, every field."""
        value = RegionFacts.to_json(self)
        return {**value, "embedding": None if self.embedding is None else self.embedding.tolist()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnImage:
    """What a phrase is answered with on the grid of one image. Unpacks as `array, transform, crs`."""

    array: NDArray[Any]
    transform: Affine | None
    """Affine terms a, b, c, d, e, f from corners of cells of `array` to `crs`, as `Affine(*transform)`; None where the image is
    not georeferenced."""
    crs: str | None
    query: str
    """Where the phrase's vector comes from: "text" or "concept"."""
    image: str
    product: str
    alignment: str

    def __iter__(self) -> Iterator[Any]:
        """`array, transform, crs`."""
        return iter((self.array, self.transform, self.crs))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heatmap(OnImage):
    """Similarity of each token of an image with a phrase."""

    array: NDArray[np.float32]
    """[rows, cols] of the image's token grid; NaN where a token was dropped or is not committed."""
    pixel_transform: Affine
    """Affine terms to pixels of the image: x the column, y the row."""
    box: Window
    """The cells of `array` on the image's whole grid of `grid_h x grid_w`."""
    grid_h: int
    grid_w: int
    bias: float
    """The share of the windows' class vectors that was taken off."""
    coverage: str
    """`full` where every cell has a value, `partial`, or `none`."""

    def to_xarray(self) -> xarray.DataArray:
        """The similarities as a DataArray on the centres of cells, as `Mask.to_xarray`.

        Where the image is not georeferenced, `x` and `y` are the column and the row in its pixels, and there is no `crs`.
        """
        from gridscribe.client.frames import heat_array

        return heat_array(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The similarities and their scale, on matplotlib's `ax` or a new figure; cells without a value are clear."""
        from gridscribe.client.drawn import heat_axes

        return heat_axes(self, ax)

    def _repr_html_(self) -> str:
        """A small picture, and where it comes from."""
        from gridscribe.client.shown import heat_html

        return heat_html(self)


@dataclass(frozen=True, slots=True)
class PointOnImage:
    """Where a phrase surely is on an image, or surely is not."""

    row: float
    """In pixels from the upper edge; the centre of the first row is 0.5."""
    col: float
    positive: bool
    level: float
    """Of the smoothed heat map: 0 its least value, 1 its greatest."""
    region: str | None
    """The region under it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextMask(OnImage):
    """Which pixels of an image a phrase means."""

    array: NDArray[np.bool_]
    """[rows, cols] of the pixels of `window`."""
    window: Window
    method: str
    """"heatmap" or "regions"; what follows is of one of them."""
    threshold: float | None = None
    """"heatmap": the similarity that a pixel must have."""
    regions: tuple[str, ...] = ()
    """"regions": what the answer consists of, best first."""
    scores: tuple[float, ...] = ()
    """Of each: 0 as those that the phrase surely is not, 1 as those that it surely is."""
    points: tuple[PointOnImage, ...] = ()
    """"regions": what it was found from, the points of the heat map."""
    first: tuple[str, ...] = ()
    """"regions": those of the first pass, under positive points."""

    def to_xarray(self) -> xarray.DataArray:
        """Which pixels were found, as a DataArray of bool on their centres; see `Heatmap.to_xarray`."""
        from gridscribe.client.frames import text_array

        return text_array(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The pixels that were found, and points they were found from (+ surely so, x surely not), on `ax` or a new figure."""
        from gridscribe.client.drawn import text_axes

        return text_axes(self, ax)

    def _repr_html_(self) -> str:
        """A small picture, how much was found, and where it comes from."""
        from gridscribe.client.shown import text_html

        return text_html(self)


def geojson(geometry: BaseGeometry | None) -> dict[str, Any] | None:
    """The geometry as GeoJSON, of lists."""
    if geometry is None:
        return None
    import json

    import shapely

    value: dict[str, Any] = json.loads(shapely.to_geojson(geometry))
    return value
