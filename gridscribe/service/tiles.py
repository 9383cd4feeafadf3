"""Map tiles (web Mercator) of what is stored, of the jobs' own imagery, and of heat maps; by rio-tiler.

Where images overlap a tile shows the newest, and of equally new ones the one with the lowest id: it is a picture. The client's
rule, which compares confidences too, holds for answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rio_tiler.errors import NoOverviewWarning, TileOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.models import ImageData

from gridscribe.client.index import ImageIndex
from gridscribe.client.stored import EMPTY
from gridscribe.client.when import parse_datetime
from gridscribe.errors import QueryError
from gridscribe.service.heat import heat_file, heat_range
from gridscribe.service.products import MOST_ACROSS, zooms
from gridscribe.service.rasters import input_raster, planned_image, shown, stored_raster
from gridscribe.service.shades import Shade, rendered
from gridscribe.service.state import State

warnings.filterwarnings("ignore", category=NoOverviewWarning)  # small images need none; large ones are refused here

MOST = MOST_ACROSS**2
"""Images of one tile."""
MAX_ZOOM = 24
MAX_SOURCE = 1 << 26
"""Pixels of an image without overviews that a tile is made from."""
HALF = 20_037_508.342789244
"""Metres from the middle of the projection to its edge."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Which tile, and how large."""

    z: int
    x: int
    y: int
    size: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.z <= MAX_ZOOM or not (0 <= self.x < 1 << self.z and 0 <= self.y < 1 << self.z):
            raise QueryError(
                f"there is no tile {self.z}/{self.x}/{self.y}: zooms are 0 to {MAX_ZOOM}, x and y below 2^zoom"
            )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in metres of EPSG:3857."""
        side = 2 * HALF / (1 << self.z)
        return self.x * side - HALF, HALF - (self.y + 1) * side, (self.x + 1) * side - HALF, HALF - self.y * side

    @property
    def lonlat(self) -> tuple[float, float, float, float]:
        """The same in degrees."""
        west, south, east, north = self.bounds
        lat = np.degrees(np.arctan(np.sinh(np.array([south, north]) / HALF * np.pi)))
        return west / HALF * 180, float(lat[0]), east / HALF * 180, float(lat[1])


def tile_png(
    state: State,
    tile: Tile,
    layer: str,
    *,
    product: str | None,
    datetime: str | None,
    image: str | None,
    text: str | None,
    high: float,
) -> bytes | None:
    """PNG bytes of a tile, None where nothing is on it, and at zooms at which images are specks (`zooms`).

    `text` is of layer "heatmap"; `high` the height in metres that has the last colour. `QueryError` for what cannot be, and where
    more than `MOST` images share the tile.
    """
    if (layer == "heatmap") != (text is not None):
        raise QueryError(f"layer={layer}: text= is of layer heatmap, which needs it")
    index = state.backend.index(product)
    if tile.z < zooms(index)[0]:
        return None  # specks of many images, each of which would be read
    names = index.chosen_ids(parse_datetime(datetime), tile.lonlat, image)
    if len(names) > MOST:
        raise QueryError(f"zoom {tile.z}: {len(names)} images share a tile; tiles begin at zoom {zooms(index)[0]}")
    places = [place for name in names if (place := index.place_of(name)) is not None]
    places.sort(key=lambda place: (-int(index.times[place]), place))
    pieces = _pieces(state, tile, layer, index, places, text)
    merged = _merged(pieces)
    if merged is None:
        return None
    shade = Shade.of(state, layer, index.product.id, high, heat_range(state, index, text) if text else (0.0, 1.0))
    return rendered(*merged, shade)


def _pieces(
    state: State, tile: Tile, layer: str, index: ImageIndex, places: list[int], text: str | None
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """(values [bands, h, w], which are there) of each image or part of one, the uppermost first."""
    for place in places:
        if layer == "source":
            piece = source_tile(state, tile, index, place)
            found = [] if piece is None else [piece]
        elif layer == "heatmap":
            assert text is not None
            found = list(_heat_tiles(state, tile, index, place, text))
        else:
            found = list(_stored_tiles(state, tile, layer, index, place))
        yield from found


def _merged(pieces: Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """The first piece wherever it has something, then the next."""
    out: tuple[NDArray[Any], NDArray[np.bool_]] | None = None
    for values, there in pieces:
        if out is None:
            out = values.copy(), there.copy()
        else:
            take = there & ~out[1]
            out[0][:, take] = values[:, take]
            out[1][take] = True
        if out[1].all():
            break
    return None if out is None or not out[1].any() else out


def _stored_tiles(
    state: State, tile: Tile, kind: str, index: ImageIndex, place: int
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    for box in range(int(index.box_starts[place]), int(index.box_starts[place + 1])):
        key = index.keys[kind][box]
        if key is None:
            continue
        with stored_raster(state, key) as dataset:
            found = _read(dataset, tile, resampling_method="nearest")
        if found is not None:
            values = found.array.data
            yield values, values[0] != EMPTY[kind]


def _heat_tiles(
    state: State, tile: Tile, index: ImageIndex, place: int, text: str
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    memory = heat_file(state, index, place, text)
    if memory is not None:
        with memory as file:
            found = _read(file, tile, resampling_method="bilinear")
        if found is not None:
            there = (found.mask > 0) & np.isfinite(found.array.data[0])
            yield found.array.data, there


def source_tile(
    state: State, tile: Tile, index: ImageIndex, place: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """The job's own imagery on a tile, uint8 [3, h, w]; None where it cannot be read any more, or not at this zoom."""
    image = planned_image(state, index.product.id, index.ids[place])
    options = image.options
    try:
        with input_raster(state, image) as dataset:
            west, _, east, _ = tile.bounds
            metres = (east - west) / tile.size
            shrink = metres / (image.gsd or metres)
            if not dataset.overviews(1) and tile.size**2 * shrink**2 > MAX_SOURCE < image.grid.window.area:
                return None
            alpha = ColorInterp.alpha in dataset.colorinterp and options.height_band is None
            found = _read(
                dataset, tile, indexes=options.rgb_bands, resampling_method="bilinear",
                **({} if options.nodata is None or alpha else {"nodata": options.nodata}),
            )  # fmt: skip
    except QueryError:
        return None  # the tile shows what can be read
    if found is None:
        return None
    return shown(found.array.data, image), found.mask > 0


def _read(dataset: Any, tile: Tile, **how: Any) -> ImageData | None:
    """A tile of an open raster; None where they do not meet."""
    try:
        return Reader(None, dataset=dataset).tile(tile.x, tile.y, tile.z, tilesize=tile.size, **how)
    except TileOutsideBounds:
        return None
