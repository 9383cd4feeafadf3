"""From points to answers: the images that hold each point, the one that is best, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.client.columns import COLUMNS, DEFAULT_FIELDS, Answers
from gridscribe.client.crs_group import Candidates
from gridscribe.client.index import UNKNOWN_TIME, ImageIndex
from gridscribe.client.pixel import COVERAGE_OF, STATUSES, Pixel
from gridscribe.client.places import LONLAT, Floats, is_geographic, transform
from gridscribe.client.stored import CLASS_NODATA, CONFIDENCE_NODATA, HEIGHT_NODATA, Located, stored_values
from gridscribe.client.tiles import Tiles
from gridscribe.client.when import EPOCH, Interval
from gridscribe.errors import LayoutError, QueryError
from gridscribe.tiff import BLOCK

if TYPE_CHECKING:
    import pyarrow as pa

OK, NODATA, UNCOMMITTED, OUTSIDE, INVALID = range(len(STATUSES))


class Answerer:
    """Answers for one product: its index, and the blocks of its rasters."""

    def __init__(self, index: ImageIndex, tiles: Tiles) -> None:
        self.index, self._tiles = index, tiles

    def table(
        self, x: Floats, y: Floats, crs: str, fields: Sequence[str] | None, interval: Interval | None, *, every: bool
    ) -> pa.Table:
        """A row per point (with `every` a row per point and image), with the columns `fields` and always `status`."""
        import pyarrow as pa

        names = list(DEFAULT_FIELDS if fields is None else dict.fromkeys(fields))
        names += ["status"] * ("status" not in names)
        unknown = [name for name in names if name not in COLUMNS]
        if unknown:
            raise QueryError(f"field {unknown[0]!r} is unknown: allowed are {', '.join(COLUMNS)}")
        found = self._answers(x, y, crs, self._locate(x, y, crs, interval), every=every)
        columns = {name: COLUMNS[name](found) for name in names}
        return pa.table({"point": pa.array(found.at.point), **columns} if every else columns)

    def pixels(self, x: float, y: float, crs: str, interval: Interval | None) -> tuple[Pixel, ...]:
        """Every image's pixel at one point, best first."""
        px, py = np.array([x], np.float64), np.array([y], np.float64)
        located = self._locate(px, py, crs, interval)
        self._warm(located)
        return _pixels(self._answers(px, py, crs, located, every=True), interval)

    def pixel_of(self, image: int, row: int, col: int) -> Pixel:
        """A pixel of one image; `QueryError` outside it."""
        height, width = self.index.shapes[image].tolist()
        if not (0 <= row < height and 0 <= col < width):
            raise QueryError(
                f"pixel row {row}, col {col} is outside image {self.index.ids[image]} of {height} rows x {width} columns"
            )
        one = Candidates(*(np.array([value], np.int64) for value in (0, image, row, col)))
        located = Located.find(self.index, one)
        self._warm(located)
        return _pixels(self._judged(located), None)[0]

    def _locate(self, x: Floats, y: Floats, crs: str, interval: Interval | None) -> Located:
        return Located.find(self.index, self.index.candidates(x, y, crs, self.index.chosen(interval)))

    def _answers(self, x: Floats, y: Floats, crs: str, located: Located, *, every: bool) -> Answers:
        """The best answer of each point, or `every` one, best first; in order of points, and none without one."""
        found = self._ranked(self._judged(located), every=every)
        held = np.zeros(len(x), np.bool_)
        held[found.at.point] = True
        if held.all():
            return found
        empty = np.flatnonzero(~held)
        at, order = found.at.merged(Located.nowhere(empty))
        place = np.isfinite(x[empty]) & np.isfinite(y[empty])
        if is_geographic(crs):
            place &= np.abs(y[empty]) <= 90  # beyond the poles: most often latitude and longitude the wrong way round
        status = np.concatenate([found.status, np.where(place, OUTSIDE, INVALID).astype(np.int8)])
        classes = np.concatenate([found.classes, np.full(len(empty), CLASS_NODATA)])
        return Answers(self.index, self._tiles, at, status[order], classes[order])

    def _judged(self, located: Located) -> Answers:
        """The class at each pixel, or why there is none."""
        classes: NDArray[np.uint8] = stored_values(self.index, self._tiles, "mask", located)
        status = np.where(located.box < 0, UNCOMMITTED, np.where(classes == CLASS_NODATA, NODATA, OK)).astype(np.int8)
        product = self.index.product
        present = np.flatnonzero(np.bincount(classes, minlength=256)[: int(CLASS_NODATA)]).tolist()
        if nameless := [value for value in present if value not in product.classes]:
            raise LayoutError(f"masks of product {product.id} hold class {nameless[0]}, which its product.json lacks")
        return Answers(self.index, self._tiles, located, status, classes)

    def _ranked(self, found: Answers, *, every: bool) -> Answers:
        """Where images overlap: with a class before without, newest, then highest confidence, then image id."""
        at = found.at
        repeats = at.point[1:] == at.point[:-1]
        if not repeats.any():
            return found
        shared = np.flatnonzero(np.append(repeats, False) | np.insert(repeats, 0, False))
        some = at.take(shared)
        trust = stored_values(self.index, self._tiles, "confidence", some)
        trust = np.where(trust == CONFIDENCE_NODATA, -1, trust.astype(np.int64))
        newest = -self.index.times[some.image].clip(UNKNOWN_TIME + 1)
        best_first = np.lexsort((some.image, -trust, newest, found.status[shared], some.point))
        order = np.arange(len(at.point))
        order[shared] = shared[best_first]  # points ascend in both, so that each point keeps its stretch
        if not every:
            order = order[np.insert(~repeats, 0, True)]
        return Answers(self.index, self._tiles, at.take(order), found.status[order], found.classes[order])

    def _warm(self, located: Located) -> None:
        """Fetch all that single pixels need at once, instead of one kind after another."""
        wants: dict[str, list[tuple[int, int]]] = {}
        for box, down, across in zip(*(v.tolist() for v in (located.box, located.down, located.across)), strict=True):
            keys = [self.index.keys[kind][box] for kind in self.index.keys] if box >= 0 else []
            for key in keys:
                if key is not None:
                    wants.setdefault(key, []).append((down // BLOCK, across // BLOCK))
        regions = self.index.regions
        known = np.flatnonzero(located.box >= 0)
        box = regions.boxes_of(located.image[known], located.row[known], located.col[known])
        for at, row, col in zip(box.tolist(), located.row[known].tolist(), located.col[known].tolist(), strict=True):
            if at >= 0:
                place = (row - int(regions.boxes[at, 0])) // BLOCK, (col - int(regions.boxes[at, 1])) // BLOCK
                wants.setdefault(regions.keys[at], []).append(place)
        self._tiles.fetch(wants)


def _pixels(found: Answers, interval: Interval | None) -> tuple[Pixel, ...]:
    index, at = found.index, found.at
    confidences, heights, regions = found.stored("confidence"), found.stored("height"), found.regions()
    pixels = []
    for i, image in enumerate(at.image.tolist()):
        status, value = STATUSES[int(found.status[i])], int(found.classes[i])
        height = int(heights[i])
        facts: dict[str, Any] = {
            "status": status,
            "coverage": COVERAGE_OF[status],
            "reason": _reason(status, index.ids[image] if image >= 0 else None, index.product.id, interval),
            "height": None if height == HEIGHT_NODATA else height / 100,
            "region": regions[i],
            "product": index.product.id,
            "model": index.product.model,
        }
        if status == "ok":
            confidence = int(confidences[i])
            facts["class_id"], facts["class_name"] = value, index.product.classes[value]
            facts["confidence"] = None if confidence == CONFIDENCE_NODATA else round(confidence / 254, 4)
        if image >= 0:
            facts |= _provenance(index, image, int(at.box[i]), int(at.row[i]), int(at.col[i]))
        pixels.append(Pixel(**facts))
    return tuple(pixels)


def _provenance(index: ImageIndex, image: int, box: int, row: int, col: int) -> dict[str, Any]:
    """What a pixel says of where it is and comes from."""
    time = int(index.times[image])
    facts: dict[str, Any] = {
        "image": index.ids[image],
        "item": index.items[box] if box >= 0 else None,
        "source": index.sources[image],
        "row": row,
        "col": col,
        "gsd": index.gsd[image],
        "datetime": None if time == UNKNOWN_TIME else EPOCH + timedelta(microseconds=time),
        "flags": tuple(index.flags[image]),
    }
    grid = index.grid(image)
    if grid.georeferenced:
        assert grid.crs is not None
        x, y = grid.xy(row + 0.5, col + 0.5)
        lon, lat = transform(grid.crs, LONLAT, np.array([x]), np.array([y]))
        facts |= {"x": x, "y": y, "crs": grid.crs, "lon": float(lon[0]), "lat": float(lat[0])}
    return facts


def _reason(status: str, image: str | None, product: str, interval: Interval | None) -> str | None:
    when = f" that was taken in {interval.text}" if interval is not None else ""
    return {
        "ok": None,
        "nodata": f"image {image} has no valid input at this pixel",
        "uncommitted": f"image {image} is there, but this part of it is not committed",
        "outside": f"no image of product {product}{when} is there",
        "invalid": "the coordinates are no place: they must be finite, and a latitude lies in -90..90 (longitude comes first)",
    }[status]
