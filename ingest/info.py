"""`RasterInfo`: what a raster file says of itself, whichever container it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import pyproj

from gridscribe.errors import UnreadableError
from gridscribe.values import METRES_PER_DEGREE, Grid

Affine6 = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class RasterInfo:
    """Size, type and place of one raster file."""

    driver: str
    """GDAL's name of the format, or "HDF5"."""
    height: int
    width: int
    count: int
    """Bands, alpha included."""
    dtype: str
    transform: Affine6 | None
    """None where pixels have no place."""
    crs: str | None
    """ "EPSG:n" where that is certain, else WKT; the horizontal part only."""
    alpha: int | None = None
    """1-based band of opacity."""
    descriptions: tuple[str, ...] = ()
    """The bands' descriptions, "" where there is none."""
    datetime: str | None = None
    """ISO 8601 of the TIFF DateTime tag."""

    @property
    def grid(self) -> Grid:
        """Its pixel grid; transform and CRS only where both are there."""
        if self.transform is None or self.crs is None:
            return Grid(self.height, self.width)
        return Grid(self.height, self.width, self.transform, self.crs)


@lru_cache(maxsize=256)
def _crs(text: str) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(text)


@lru_cache(maxsize=256)
def _metres_per_unit(text: str) -> float | None:
    """Ground metres to a CRS unit where that is the same everywhere, None where it depends on the place."""
    crs = _crs(text)
    method = crs.coordinate_operation.method_name if crs.coordinate_operation else ""
    stretched = "Mercator" in method and "Transverse" not in method and "Oblique" not in method
    if not crs.is_projected or stretched:
        return None
    return float(crs.axis_info[0].unit_conversion_factor)


@lru_cache(maxsize=256)
def _to_degrees(text: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(_crs(text), "OGC:CRS84", always_xy=True)


def ground_sampling_distance(grid: Grid) -> float | None:
    """Metres to a pixel at the image's centre (geometric mean of both directions); None where it is not georeferenced.

    Projected CRS: the pixel's size times the CRS's unit. Degrees and the cylindrical Mercators, whose units shrink towards
    the poles: on the sphere, at the centre's latitude. Raises UnreadableError where the CRS cannot be used.
    """
    if grid.transform is None or grid.crs is None:
        return None
    a, b, _, d, e, _ = grid.transform
    pixel = math.sqrt(abs(a * e - b * d))
    rows, cols = grid.height / 2, grid.width / 2
    corners = [grid.xy(rows - 0.5, cols - 0.5), grid.xy(rows - 0.5, cols + 0.5), grid.xy(rows + 0.5, cols - 0.5)]
    try:
        factor = _metres_per_unit(grid.crs)
        if factor is not None:
            return float(f"{pixel * factor:.9g}")  # 0.2, not 0.20000000000055
        (x0, y0), (x1, y1), (x2, y2) = (_to_degrees(grid.crs).transform(*corner) for corner in corners)
    except pyproj.exceptions.ProjError as exc:
        raise UnreadableError(f"its CRS cannot be used: {grid.crs[:200]}: {exc}") from exc
    shrink = math.cos(math.radians(y0))
    area = abs((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)) * shrink * METRES_PER_DEGREE**2
    gsd = float(f"{math.sqrt(area):.9g}")
    return gsd if math.isfinite(gsd) and gsd > 0 else None
