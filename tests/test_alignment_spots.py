"""Spots of scenes: named after what is at their middle, half of them beside objects, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.scenes import write_scenes
from gridscribe.pipelines.alignment.annotated import AnnotatedRegion
from gridscribe.pipelines.alignment.dataset import AlignmentViews
from gridscribe.pipelines.alignment.scene_objects import read_scenes
from gridscribe.pipelines.alignment.surroundings import AREAS, read_spots, spots

SIZE = 100
GARDEN, POOL, TREE = shapely.box(20, 20, 80, 80), shapely.box(40, 40, 60, 60), shapely.box(42, 42, 54, 54)


def region(outline: shapely.Polygon, category: str, caption: str | None = None) -> AnnotatedRegion:
    x0, y0, x1, y1 = (edge / SIZE for edge in outline.bounds)
    return AnnotatedRegion((x0, y0, x1, y1), category, caption)


def middle(spot: AnnotatedRegion) -> shapely.Point:
    x0, y0, x1, y1 = spot.box
    return shapely.Point((x0 + x1) / 2 * SIZE, (y0 + y1) / 2 * SIZE)


def test_a_spot_is_named_after_the_smallest_thing_at_its_middle() -> None:
    labels = np.full((SIZE, SIZE), 2, np.uint8)
    labels[:10] = 0  # nothing is said of "other"
    known = [region(TREE, "tree", "tall tree"), region(GARDEN, "garden"), region(POOL, "swimming pool", "round pool")]
    found = spots(labels, [TREE, GARDEN, POOL], known, 600, np.random.default_rng(0))
    assert 300 < len(found) < 600
    inner = [
        spot for spot in found if spot.box[0] > 0.13 and spot.box[2] < 0.87 and spot.box[3] < 0.87
    ]  # not cut at the edge
    said = set()
    for spot in inner:
        at = middle(spot)
        if min(outline.exterior.distance(at) for outline in (TREE, POOL, GARDEN)) < 1 or at.y < 12:
            continue  # a pixel belongs to one side or the other
        wanted = ("grass", None)
        for outline, named in ((GARDEN, known[1]), (POOL, known[2]), (TREE, known[0])):
            if outline.contains(at):
                wanted = (named.category, named.caption)
        assert (spot.category, spot.caption) == wanted
        said.add(spot.category)
    assert said == {"tree", "garden", "swimming pool", "grass"}
    sides = np.array([(s.box[2] - s.box[0], s.box[3] - s.box[1]) for s in inner]) * SIZE
    assert 4 <= sides.min() < 6 < 20 < sides.max() <= 24


def test_half_of_the_spots_lie_beside_objects() -> None:
    labels = np.full((SIZE, SIZE), 1, np.uint8)
    alone = [region(shapely.box(48, 48, 52, 52), "car")]
    found = spots(labels, [shapely.box(48, 48, 52, 52)], alone, 400, np.random.default_rng(1))
    near = [shapely.box(48, 48, 52, 52).distance(middle(spot)) < 20 for spot in found]
    assert 0.5 < np.mean(near) < 0.75  # of those that lie anywhere some are near as well
    assert {spot.category for spot in found} <= {"car", "bare ground"}


def test_scenes_without_objects_or_names_have_what_there_is() -> None:
    rng = np.random.default_rng(2)
    assert spots(np.full((40, 50), 255, np.uint8), [], [], 50, rng) == []
    found = spots(np.full((40, 50), 1, np.uint8), [], [], 50, rng)
    assert [spot.category for spot in found] == ["bare ground"] * 50
    assert all(0 <= edge <= 1 for spot in found for edge in spot.box)


def test_spots_of_files(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1, 5, 256, 0.2)
    (image,) = read_scenes(tmp_path)
    found = read_spots(image.path, image.regions, 60, 3)
    assert found == read_spots(image.path, image.regions, 60, 3) != read_spots(image.path, image.regions, 60, 4)
    known = {(r.category, r.caption) for r in image.regions} | {(name, None) for name in AREAS.values()}
    assert {(spot.category, spot.caption) for spot in found} <= known
    views = AlignmentViews(str(tmp_path), 32, spots=60)
    assert views.views.images[0].regions == (*image.regions, *read_spots(image.path, image.regions, 60, 0))
    assert views.found[0].regions == image.regions
    with pytest.raises(UsageError, match=r"spots=5.*'mgrs'"):
        AlignmentViews(str(tmp_path), 32, kind="mgrs", spots=5)
    labels = next(tmp_path.glob("*_labels.tif"))
    labels.write_bytes(b"no image")
    with pytest.raises(InputError, match=labels.name):
        read_spots(image.path, image.regions, 60, 3)
