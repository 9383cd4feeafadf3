"""Cutting into items: boxes tile, edges lie on the grain, bundles hold what they should, coverage is exact."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.coverage import Coverage
from gridscribe.ingest.images import InputOptions, RasterImage
from gridscribe.ingest.sources import Source
from gridscribe.pipelines.cutting import cut, split_even
from gridscribe.pipelines.items import Item
from gridscribe.values import Grid, Window


def image(name: str, height: int, width: int) -> RasterImage:
    source = Source(f"/data/{name}.tif")
    return RasterImage(
        f"{name}-00000000",
        name,
        source,
        source,
        None,
        None,
        None,
        Grid(height, width),
        "uint8",
        0.2,
        None,
        InputOptions(),
    )


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 8))
def test_boxes_tile_and_inner_edges_lie_on_the_grain(row: int, col: int, h: int, w: int, grains: int) -> None:
    box = Window(row, col, h, w)
    parts = split_even(box, grains * 512)
    assert parts == sorted(parts)
    assert sum(part.area for part in parts) == box.area
    for part in parts:
        assert part.area > 0
        assert box.contains(part)
        assert part.height <= grains * 512
        assert part.width <= grains * 512
        assert part.row == row or part.row % 512 == 0
        assert part.col == col or part.col % 512 == 0


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), max_size=30), st.integers(1, 10**7))
def test_items_cover_every_image_once(sizes: list[tuple[int, int]], bundle: int) -> None:
    images = [image(f"t{i}", h, w) for i, (h, w) in enumerate(sizes)]
    boxes = {im.image_id: im.grid.window for im in images}
    items = cut(images, boxes, item_size=1024, bundle_pixels=bundle)
    area: dict[str, int] = {}
    for item in items:
        assert len(item.parts) == 1 or item.pixels <= bundle
        for part in item.parts:
            area[part.image.image_id] = area.get(part.image.image_id, 0) + part.box.area
    assert area == {im.image_id: im.grid.window.area for im in images}
    assert len({item.id for item in items}) == len(items)
    assert [i.id for i in items] == [i.id for i in cut(images, boxes, item_size=1024, bundle_pixels=bundle)]
    assert [Item.from_json(i.to_json()) for i in items] == items


boxes20 = st.builds(Window, st.integers(0, 15), st.integers(0, 15), st.integers(1, 15), st.integers(1, 15))


@settings(max_examples=200)
@given(st.lists(boxes20, max_size=6), boxes20)
def test_coverage_equals_a_raster_of_it(committed: list[Window], box: Window) -> None:
    coverage = Coverage()
    raster = np.zeros((40, 40), bool)
    for have in committed:
        coverage.add("a", have)
        raster[have.slices()] = True
    assert coverage.covers("a", box) == raster[box.slices()].all()
    assert not coverage.covers("b", box)
