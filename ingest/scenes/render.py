"""From a seed to a scene: plan, build, grow, light, photograph, survey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gridscribe.errors import UsageError
from gridscribe.values import Grid

from . import blocks_homes, blocks_large, blocks_open
from .canvas import GAP, Canvas, Points
from .classes import LOW_VEGETATION, TREE
from .districts import DISTRICTS, District
from .furniture import Garage
from .layout import Rect, cut, draw_plane
from .lidar import Lattice, survey
from .light import Sheer, Sun, draw_sun, illuminate
from .materials import lawn
from .noise import FloatArray
from .roads import lay_railway, mark, pave, survey_railway, traffic
from .roofing import RoofKit
from .seasons import draw_dryness, draw_season
from .sensor import expose, lean
from .town import Town
from .vegetation import Nursery, grow
from .waters import River
from .woods import shade_roofs

DEFAULT_GSD = 0.2
GSD_RANGE = 0.1, 0.5
CRS = "EPSG:32631"
_CORNER = 300_000.0, 5_600_000.0  # easting, northing of scene 0
_COLUMNS = 40

_USES: dict[str, Callable[[Town, Rect], None]] = {
    "detached": blocks_homes.detached,
    "terrace": blocks_homes.terrace,
    "perimeter": blocks_large.perimeter,
    "estate": blocks_large.estate,
    "works": blocks_large.works,
    "yard": blocks_large.yard,
    "car_park": blocks_large.block_car_park,
    "sport": blocks_large.sport,
    "waste": blocks_large.waste,
    "farm": blocks_large.farm,
    "garden": blocks_homes.allotments,
    "field": blocks_open.field,
    "meadow": blocks_open.meadow,
    "park": blocks_open.park,
    "wood": blocks_open.woodland,
    "orchard": blocks_open.rows,
    "scrub": blocks_open.scrub,
    "savanna": blocks_open.savanna,
    "pond": blocks_open.lake,
}


@dataclass(frozen=True)
class Scene:
    """One generated scene; every array has the height and width of `grid`.

    `ndsm` is the height as a user would meet it, on the image's grid, NaN where the survey has holes. `truth` is the height
    before any fault, to which `labels` belong. Where the survey was delivered on a coarser grid, `height_native` and
    `height_grid` are that delivery and `ndsm` is its bilinear interpolation (or, with neither, `ndsm` may itself be a coarse grid
    whose values were repeated over the image's pixels). `objects` are features like GeoJSON's:
    `{"category", "caption", "bbox": [x0, y0, x1, y1], "geometry"}` with (x, y) = (column, row) in pixels, clipped to the scene.
    """

    id: str
    seed: int
    index: int
    gsd: float
    rgb: NDArray[np.uint8]  # [3, H, W]
    ndsm: FloatArray  # [H, W], metres above ground
    truth: FloatArray  # [H, W], metres above ground
    labels: NDArray[np.uint8]  # [H, W]
    objects: list[dict[str, Any]]
    grid: Grid
    sun: Sun
    district: str
    height_native: FloatArray | None = None
    height_grid: Grid | None = None


def generate_scene(
    seed: int, size: int = 1024, gsd: float | tuple[float, float] | None = None, *, index: int = 0
) -> Scene:
    """Scene number `index` of a seed: the same arguments give the same bytes.

    `gsd` is metres per pixel (0.2 if None), or a range to draw from evenly on a log scale. Scenes of one seed and size lie
    beside one another in UTM zone 31N and never overlap, whatever their GSD. Raises UsageError for a size below 16 or a
    GSD outside 0.05-1 m.
    """
    if size < 16:
        raise UsageError(f"a scene needs size >= 16 pixels, got {size}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index, 20_871]))
    low, high = gsd if isinstance(gsd, tuple) else (gsd or DEFAULT_GSD, gsd or DEFAULT_GSD)
    if not 0.05 <= low <= high <= 1.0:
        raise UsageError(f"a scene's GSD must lie in 0.05..1 m, and a range must rise, got {gsd}")
    drawn = rng.random()
    metres = low if low == high else round(float(low * (high / low) ** drawn), 3)
    district = _draw_district(rng)
    sun = draw_sun(rng)
    canvas = _build(rng, size, metres, district)
    color = canvas.table.paint(canvas.surface, canvas.noise, metres)
    relief = canvas.table.column("leaf")[canvas.surface.astype(np.intp)]
    cloud = None
    if rng.random() < 0.08:
        cloud = np.clip(canvas.noise.field(30.0) * 0.9 + np.float32(rng.uniform(-0.5, 0.8)), 0, 0.85)
    lit = illuminate(color, canvas.height, (canvas.slope_x, canvas.slope_y), relief, sun, metres, cloud, _sheer(canvas))
    if rng.random() < 0.6:
        reach, angle = rng.uniform(0.0, 0.16), rng.uniform(0, 2 * np.pi)
        lit = lean(lit, canvas.height, (float(reach * np.cos(angle)), float(reach * np.sin(angle))), metres)
    inner = slice(canvas.pad, canvas.pad + size), slice(canvas.pad, canvas.pad + size)
    rgb = np.ascontiguousarray(expose(lit[inner], rng).transpose(2, 0, 1))
    truth, labels = canvas.height[inner].copy(), canvas.label[inner].copy()
    ndsm, native, lattice = survey(truth, labels, rng, metres)
    grid = scene_grid(size, metres, index, high)
    return Scene(
        id=f"scene-{seed}-{index:05d}", seed=seed, index=index, gsd=metres, rgb=rgb, ndsm=ndsm, truth=truth, labels=labels,
        objects=_features(canvas), grid=grid, sun=sun, district=district.name, height_native=native,
        height_grid=None if lattice is None else _lattice_grid(grid, lattice),
    )  # fmt: skip


def scene_grid(size: int, gsd: float, index: int, widest: float) -> Grid:
    """Where scene `index` lies: cells wide enough for `widest` metres per pixel, 40 to a row, with a gap between."""
    cell = float(np.ceil((size * max(widest, GSD_RANGE[1]) + 40) / 50) * 50)
    x = _CORNER[0] + index % _COLUMNS * cell
    y = _CORNER[1] - index // _COLUMNS * cell
    return Grid(size, size, (gsd, 0.0, x, 0.0, -gsd, y), CRS)


def _lattice_grid(grid: Grid, lattice: Lattice) -> Grid:
    x, y = grid.xy(0, 0)
    return Grid(
        lattice.rows, lattice.cols, (lattice.cell, 0.0, x + lattice.x, 0.0, -lattice.cell, y - lattice.y), grid.crs
    )


def _draw_district(rng: np.random.Generator) -> District:
    weights = np.array([district.weight for district in DISTRICTS])
    return DISTRICTS[int(rng.choice(len(DISTRICTS), p=weights / weights.sum()))]


def _build(rng: np.random.Generator, size: int, gsd: float, district: District) -> Canvas:
    pad = int(np.clip(9.0 / gsd, 16, 72))
    season = draw_season(rng, rural=district.rural)
    canvas = Canvas(gsd, size, pad, rng, dryness=draw_dryness(rng, season), season=season)
    canvas.surface[:] = canvas.add(lawn(rng, canvas.dryness))
    plane = draw_plane(rng, canvas.extent, district.style)
    roads, blocks = cut(rng, canvas.extent / 2, district.style)
    nursery = Nursery(canvas)
    palette = str(rng.choice(["terracotta", "brown", "slate", "metal", "grey"], p=[0.46, 0.18, 0.18, 0.08, 0.1]))
    town = Town(canvas, plane, RoofKit(canvas), Garage(canvas), nursery, palette, float(rng.beta(1.2, 1.2)))
    river = River(canvas) if rng.random() < district.river else None
    pave(canvas, plane, roads, rural=district.rural)
    rails = survey_railway(canvas) if river is None and rng.random() < 0.07 else None
    names, weights = list(district.uses), np.array(list(district.uses.values()))
    for block in blocks:
        use = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        if canvas.seen(block.outline(plane), 12):
            _USES[use](town, block)
    if river is not None:
        river.flow(canvas, plane, roads, nursery)
    if rails is not None:
        lay_railway(canvas, *rails)
    mark(canvas, plane, roads)
    traffic(canvas, plane, roads, town.garage, nursery)
    _settle_grass(canvas)
    shade_roofs(canvas, nursery)
    grow(canvas, nursery)
    _roughen_canopies(canvas)
    return canvas


def _settle_grass(canvas: Canvas) -> None:
    """Grass is not a plane: a few centimetres everywhere, tufts up to half a metre in some scenes."""
    wild = float(canvas.rng.choice([0.03, 0.08, 0.2]))
    tufts = np.clip(0.5 * canvas.noise.field(0.9) + 0.5 * canvas.noise.field(2.5) + 0.3, 0, 2) * np.float32(wild)
    low = (canvas.label == LOW_VEGETATION) & (canvas.height < 0.3)
    canvas.height[low] += tufts[low]


def _roughen_canopies(canvas: Canvas) -> None:
    """Gives canopies their lumps of 0.3-2.5 m, which shade them; low plants get less of them."""
    depth = np.float32(canvas.rng.uniform(0.12, 0.45))
    woody = (canvas.label == TREE) | ((canvas.label == LOW_VEGETATION) & (canvas.height > 0.5))
    lumps = 0.45 * canvas.noise.field(0.9) + 0.22 * canvas.noise.field(0.35) + 0.8 * canvas.noise.field(2.5)
    rough = canvas.height + depth * np.clip(lumps, -2.5, 1.6) * np.clip(canvas.height / 4, 0.1, 1.5)
    np.copyto(canvas.height, np.maximum(rough, 0.3 * canvas.height), where=woody)


def _sheer(canvas: Canvas) -> Sheer | None:
    """How light falls through the leafless and thin crowns, or None where there are none."""
    if not canvas.sheer.any():
        return None
    crowned = canvas.sheer > 0
    opaque = np.where(crowned, canvas.below, canvas.height)
    seen = np.where(canvas.sheer == GAP, canvas.below, canvas.height)
    through = (
        np.float32(canvas.rng.uniform(0.35, 0.7)) + 0.12 * canvas.noise.field(0.35) + 0.1 * canvas.noise.field(0.9)
    )
    return Sheer(opaque, seen, np.clip(through, 0.1, 0.9))


def _features(canvas: Canvas) -> list[dict[str, Any]]:
    """The named objects that reach into the scene, as pixel geometries clipped to it."""
    frame = shapely.box(0, 0, canvas.size, canvas.size)
    features = []
    for item in canvas.objects:
        pixels = item.polygon / canvas.gsd - canvas.pad
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        if high.min() <= 0 or low.max() >= canvas.size:
            continue
        if low.min() >= 0 and high.max() <= canvas.size:
            geometry, bounds = _polygon(pixels), (*low, *high)
        else:
            shape = shapely.Polygon(pixels)
            if not shape.is_valid:
                shape = shape.buffer(0)
            shape = shape.intersection(frame)
            if shape.area < 1 or shape.geom_type not in ("Polygon", "MultiPolygon"):
                continue
            geometry, bounds = shapely.geometry.mapping(shapely.set_precision(shape, 0.01)), shape.bounds
        features.append(
            {
                "category": item.category,
                "caption": item.caption,
                "height": round(item.height, 2),
                "bbox": [round(float(v), 2) for v in bounds],
                "geometry": geometry,
            }
        )
    return features


def _polygon(pixels: Points) -> dict[str, Any]:
    ring = np.round(np.concatenate([pixels, pixels[:1]]), 2)
    return {"type": "Polygon", "coordinates": [ring.tolist()]}
