"""Choosing and mapping back the scale of prediction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridscribe.errors import RefusedError
from gridscribe.pipelines.scale import work_grid
from gridscribe.values import Grid, Window


@pytest.mark.parametrize(
    ("gsd", "factor"), [(0.05, 0.5), (0.1, 1), (0.3, 1), (0.5, 1), (1.0, 2), (None, 1), (0.505, 1)]
)
def test_factor(gsd: float | None, factor: float) -> None:
    assert work_grid(Grid(100, 90), gsd, (0.1, 0.5), strict=False).factor == pytest.approx(factor)


def test_strict_refuses_and_names_both() -> None:
    with pytest.raises(RefusedError, match=r"1 m.*0\.1-0\.5 m"):
        work_grid(Grid(4, 4), 1.0, (0.1, 0.5), strict=True)


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.02, 3.0), st.data())
def test_every_pixel_is_answered_by_the_work_pixel_under_its_centre(
    h: int, w: int, gsd: float, data: st.DataObject
) -> None:
    work = work_grid(Grid(h, w), gsd, (0.1, 0.5), strict=False)
    row = data.draw(st.integers(0, h - 1))
    row1 = data.draw(st.integers(row + 1, h))
    box = Window(row, 0, row1 - row, w)
    part = work.box(box)
    assert work.grid.window.contains(part)
    index = work.index(row, row1, work.grid.height) if work.resampled else list(range(row, row1))
    assert index[0] == part.row
    assert index[-1] == part.row1 - 1
    for r, k in zip(range(row, row1), index, strict=True):
        assert k <= (r + 0.5) * work.factor <= k + 1 or k == work.grid.height - 1
