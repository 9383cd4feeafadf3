"""The committed regions of a product: where the raster and the table of each image lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gridscribe.client.blocks import joined_window
from gridscribe.client.boxes import Ints, boxes_of
from gridscribe.client.tiles import Places, Tiles, gather
from gridscribe.commits import Commit, ObjectRecord, read_commit
from gridscribe.errors import LayoutError
from gridscribe.layout import parse_product_key
from gridscribe.regions import region_id, value_dtype
from gridscribe.store import Store, concurrently
from gridscribe.values import Window


@dataclass(frozen=True, slots=True)
class RegionTable:
    """The table of one item, and the images whose rows in it count."""

    record: ObjectRecord
    images: frozenset[str]


class RegionIndex:
    """The committed regions of a product's images.

    Where regions of an image were made for several boxes (areas of interest), those of a box inside another do not count;
    boxes that overlap otherwise hold the areas in common twice, each cut off at its own edge.
    """

    def __init__(self, images: Sequence[str], shapes: Ints, commits: Iterable[Commit]) -> None:
        """`images` and `shapes` [n, 2] are the index's."""
        found: dict[str, list[tuple[Window, str, str]]] = {}
        records: dict[str, ObjectRecord] = {}
        for commit in commits:
            records[commit.item] = _table_of(commit)
            for entry in commit.regions:
                box = Window(*entry["window"])
                found.setdefault(entry["image"], []).append((box, commit.item, entry["regions"]))
        kept = {image: _uncovered(boxes) for image, boxes in found.items()}
        owned: dict[str, set[str]] = {item: set() for item in records}
        for image, boxes in kept.items():
            for _, item, _ in boxes:
                owned[item].add(image)
        self.tables = [RegionTable(records[item], frozenset(names)) for item, names in sorted(owned.items())]
        ordered = [kept.get(image, []) for image in images]
        self.starts: Ints = np.cumsum([0, *map(len, ordered)])
        self.boxes: Ints = np.array([box.to_list() for boxes in ordered for box, _, _ in boxes], np.int64).reshape(
            -1, 4
        )
        self.keys = [key for boxes in ordered for _, _, key in boxes]
        numbers = {item: number for number, item in enumerate(sorted(owned))}
        self.owners = [numbers[item] for boxes in ordered for _, item, _ in boxes]
        """For each box, the index in `tables` of the table that holds its regions."""
        self._dtypes = [
            value_dtype(int(pixels)) for pixels, boxes in zip(shapes.prod(axis=1), ordered, strict=True) for _ in boxes
        ]
        self._images = images

    def boxes_of(self, image: Ints, row: Ints, col: Ints) -> Ints:
        """The box whose raster of regions holds each pixel, as an index into `boxes` and `keys`; -1 where none does."""
        return boxes_of(self.starts, self.boxes, image, row, col)

    def covers(self, image: int, boxes: Iterable[Window]) -> bool:
        """Whether the regions of one box of the image are those of all `boxes`."""
        have = [Window(*box) for box in self.boxes[self.starts[image] : self.starts[image + 1]].tolist()]
        wanted = list(boxes)
        return any(all(one.contains(box) for box in wanted) for one in have)

    def ids(self, tiles: Tiles, image: Ints, row: Ints, col: Ints) -> list[str | None]:
        """The id of the region at each pixel; None where there is none."""
        pairs = zip(image.tolist(), self.values(tiles, image, row, col).tolist(), strict=True)
        return [region_id(self._images[which], value) if value else None for which, value in pairs]

    def values(self, tiles: Tiles, image: Ints, row: Ints, col: Ints) -> Ints:
        """What the raster of regions holds at each pixel; 0 where no region is."""
        box = self.boxes_of(image, row, col)
        values = np.zeros(len(box), np.int64)
        dtypes = np.array([*self._dtypes, ""])[box]
        for dtype in ("uint32", "uint64"):
            here = np.flatnonzero(dtypes == dtype)
            if not len(here):
                continue
            at = box[here]
            places = Places.sort(at, row[here] - self.boxes[at, 0], col[here] - self.boxes[at, 1])
            used = {raster for raster, _, _ in places.groups}
            keys: dict[int, str | None] = {raster: self.keys[raster] for raster in used}
            shapes = {raster: (int(self.boxes[raster, 2]), int(self.boxes[raster, 3])) for raster in used}
            values[here] = gather(tiles, keys, shapes, places, np.dtype(dtype).type(0))
        return values

    def window(self, tiles: Tiles, image: int, window: Window) -> Ints:
        """The same for a window of an image, [rows, cols]."""
        which = range(int(self.starts[image]), int(self.starts[image + 1]))
        out = np.zeros(window.shape, np.int64)
        for box in which:
            part = [(Window(*self.boxes[box].tolist()), self.keys[box])]
            held = joined_window(tiles, part, np.dtype(self._dtypes[box]).type(0), window)
            np.copyto(out, held, where=held > 0, casting="unsafe")
        return out


def load_regions(store: Store, product: str, items: Iterable[str]) -> list[Commit]:
    """The commits of items of regions; a get for each, several at once."""
    return list(concurrently(lambda item: read_commit(store, product, item), sorted(items), workers=32))


def _uncovered(boxes: list[tuple[Window, str, str]]) -> list[tuple[Window, str, str]]:
    """Those not inside another; of equal ones that of the first item. Largest first."""
    kept: list[tuple[Window, str, str]] = []
    for one in sorted(boxes, key=lambda entry: (-entry[0].area, entry[0], entry[1])):
        if not any(held[0].contains(one[0]) for held in kept):
            kept.append(one)
    return kept


def _table_of(commit: Commit) -> ObjectRecord:
    parsed = [(record, parse_product_key(record.key)) for record in commit.objects]
    found = [record for record, key in parsed if key.room == "regions" and key.extension == "parquet"]
    if len(found) != 1:
        raise LayoutError(f"the commit of item {commit.item} names {len(found)} regions tables, 1 expected")
    return found[0]
