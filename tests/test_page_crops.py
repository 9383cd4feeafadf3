"""Cutting pages: the grid that changes a page least, crops and places that belong together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gridscribe.errors import UsageError
from gridscribe.pipelines.documents.cropping import cut_page, joined, page_crops


def test_the_grid_changes_the_page_least() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(v) for v in np.exp(rng.uniform(0, 9, 2)).astype(int) + 1)
        crop, most = int(rng.integers(1, 600)), int(rng.integers(1, 17))
        crops = page_crops(height, width, crop, most)
        assert 1 <= crops.rows * crops.cols <= most
        cost = math.log(crops.scale[0]) ** 2 + math.log(crops.scale[1]) ** 2
        for rows in range(1, most + 1):
            for cols in range(1, most + 1):
                if rows * cols <= most:
                    other = math.log(rows * crop / height) ** 2 + math.log(cols * crop / width) ** 2
                    assert other > cost - 1e-6


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((1286, 909), (3, 2)),  # A4 at 110 dpi in crops of 448
        ((909, 1286), (2, 3)),
        ((448, 448), (1, 1)),
        ((10, 10), (1, 1)),
        ((4480, 448), (10, 1)),
        ((1, 100_000), (1, 12)),
        ((100_000, 100_000), (3, 4)),  # 4 x 3 is as near: fewer rows
    ],
)
def test_grids_of_known_pages(size: tuple[int, int], grid: tuple[int, int]) -> None:
    crops = page_crops(*size, 448, 12)
    assert (crops.rows, crops.cols) == grid


def test_crops_are_the_page_and_join_again() -> None:
    page = np.random.default_rng(1).integers(0, 256, (60, 40, 3), np.uint8)
    crops = page_crops(60, 40, 20, 6)
    assert (crops.rows, crops.cols, crops.scale) == (3, 2, (1.0, 1.0))
    cut = cut_page(page, crops)
    assert cut.shape == (6, 20, 20, 3)
    assert (cut[3] == page[20:40, 20:40]).all()
    assert (joined(crops, cut) == page).all()
    small = joined(crops, np.arange(6 * 4).reshape(6, 2, 2))
    assert small[2:4, 2:4].tolist() == np.arange(12, 16).reshape(2, 2).tolist()
    with pytest.raises(UsageError, match="3 x 2"):
        joined(crops, cut[:5])
    with pytest.raises(UsageError, match="60 x 40"):
        cut_page(page[:-1], crops)
    with pytest.raises(UsageError, match="at least 1"):
        page_crops(0, 5, 20, 6)


def test_a_mark_is_found_where_it_stands() -> None:
    """A dark square on a page of another size: the token under its place on the page is the dark one."""
    page = np.full((333, 517, 3), 255, np.uint8)
    page[200:216, 320:340] = 0
    crops = page_crops(333, 517, 128, 20)
    assert crops.scale != (1.0, 1.0)
    frame = crops.frame(8)
    dark = joined(crops, 255 - cut_page(page, crops)[..., 0])
    cells = dark.reshape(frame.grid_h, 8, frame.grid_w, 8).mean(axis=(1, 3))
    row, col = divmod(int(cells.argmax()), frame.grid_w)
    assert frame.index_at(208, 330) == row * frame.grid_w + col
