"""What is committed under a product, in one pass over its commits: counts, pixels and areas of classes, and when it came."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gridscribe.commits import Commit, read_commits
from gridscribe.coverage import image_of
from gridscribe.layout import commit_prefix, is_regions_item, parse_commit_key, parse_product_key
from gridscribe.store import Store, concurrently
from gridscribe.tables import read_table

if TYPE_CHECKING:
    from pyproj import Geod


@dataclass(frozen=True, slots=True)
class Landing:
    """A commit that came to lie in the store."""

    time: datetime
    """By the store's clock."""
    amount: float
    """Megapixels, or pages."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A committed image or page, or a box of an image, to be shown as a sample."""

    name: str
    """The id of the image, or of the page."""
    entry: dict[str, Any]
    """What its commit says of it."""
    table: str
    """Key of the images table that it has a row in."""

    @property
    def draw(self) -> bytes:
        """By which it was chosen: a digest, so that neither the first nor the best are."""
        return hashlib.sha256(self.name.encode()).digest()


@dataclass(slots=True)
class Tally:
    """What the commits of a product hold."""

    items: int = 0
    images: set[str] = field(default_factory=set)
    """Their ids; of documents, of pages."""
    pixels: int = 0
    windows: int = 0
    """Predicted; crops of pages."""
    regions: int = 0
    region_items: int = 0
    tokens: int = 0
    cells: int = 0
    """Tokens before pruning (documents)."""
    class_pixels: dict[str, int] = field(default_factory=dict)
    class_m2: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    """Pixels of items that state how many are of which class,"""
    located: float = 0.0
    """and of these, the pixels that have a place on Earth."""
    landings: list[Landing] = field(default_factory=list)
    region_landings: list[Landing] = field(default_factory=list)
    samples: list[Chosen] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    """What a commit and its images table say together."""

    commit: Commit
    located: float = 0.0
    """Pixels of the item's boxes that have a place on Earth,"""
    m2: float = 0.0
    """and their area."""
    cells: int = 0


def tally_product(store: Store, product: str, *, documents: bool, samples: int, among: Collection[str] | None) -> Tally:
    """Read the commits of a product. Samples are taken of the images `among` (None: of all).

    Costs a listing, and a get of the commit and one of its images table for each item; memory holds the ids of images and a
    number for each item.
    """
    times = {parse_commit_key(info.key)[1]: info.last_modified for info in store.list(commit_prefix(product))}
    tally = Tally()
    commits = (commit for commit in read_commits(store, product) if commit.item in times)
    for read in concurrently(lambda commit: _read(store, commit, documents=documents), commits):
        _add(tally, read, times[read.commit.item], documents=documents)
        table = _images_key(read.commit)
        fit = [Chosen(image_of(entry), entry, table) for entry in read.commit.images if table is not None]
        fit = [chosen for chosen in fit if among is None or chosen.name in among]
        by_name = {chosen.name: chosen for chosen in [*fit, *tally.samples]}
        tally.samples = heapq.nsmallest(samples, by_name.values(), key=lambda chosen: chosen.draw)
    return tally


def _add(tally: Tally, read: _Read, time: datetime, *, documents: bool) -> None:
    commit, told = read.commit, read.commit.statistics
    if is_regions_item(commit.item):
        tally.region_items += 1
        tally.regions += told.get("regions", 0)
        tally.region_landings.append(Landing(time, told.get("pixels", 0) / 1e6))
        return
    pixels = sum(height * width for _, _, height, width in (entry["window"] for entry in commit.images))
    tally.items += 1
    tally.images.update(image_of(entry) for entry in commit.images)
    tally.pixels += pixels
    tally.windows += told.get("crops" if documents else "windows", 0)
    tally.tokens += told.get("tokens", 0)
    tally.cells += read.cells
    tally.landings.append(Landing(time, len(commit.images) if documents else pixels / 1e6))
    if "class_pixels" in told:
        tally.counted += pixels
        tally.located += read.located
        for name, count in told["class_pixels"].items():
            tally.class_pixels[name] = tally.class_pixels.get(name, 0) + count
            tally.class_m2[name] = tally.class_m2.get(name, 0.0) + count * read.m2 / pixels


def _read(store: Store, commit: Commit, *, documents: bool) -> _Read:
    key = _images_key(commit)
    if key is None or not (documents or "class_pixels" in commit.statistics):
        return _Read(commit)
    if documents:
        table = read_table(store.get(key), key, ["n_total"])
        return _Read(commit, cells=sum(table.column("n_total").to_pylist()))
    columns = ["footprint", "height", "width", "box_height", "box_width"]
    located, m2 = 0.0, 0.0
    for row in read_table(store.get(key), key, columns).to_pylist():
        if row["footprint"] is not None:
            pixels = row["box_height"] * row["box_width"]
            located += pixels
            m2 += pixels * _ground_area(row["footprint"]) / (row["height"] * row["width"])
    return _Read(commit, located, m2)


def _ground_area(footprint: bytes) -> float:
    """Square metres on the WGS 84 ellipsoid."""
    import shapely

    return abs(_geod().geometry_area_perimeter(shapely.from_wkb(footprint))[0])


def _geod() -> Geod:
    from pyproj import Geod

    return Geod(ellps="WGS84")


def _images_key(commit: Commit) -> str | None:
    """The key of its images table; an item of regions has none."""
    return next((record.key for record in commit.objects if parse_product_key(record.key).room == "images"), None)
