"""Height on another grid: against references that go pixel by pixel, for windows anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import RefusedError
from gridscribe.ingest import warp as module
from gridscribe.ingest.warp import lattice_offset, overlaps, read_shifted, source_window, warp
from gridscribe.values import Grid, Window

LAMBERT = "EPSG:2154"


def reader(values: np.ndarray) -> Callable[[Window], np.ndarray]:
    """Reads windows of an array, and insists that they lie inside it."""

    def read(window: Window) -> np.ndarray:
        assert Window(0, 0, *values.shape).contains(window)
        return values[window.slices()][None]

    return read


def bilinear(values: np.ndarray, u: float, v: float) -> float:
    """By hand, at column `u` and row `v` (centres at .5): missing under the point is missing, missing neighbours do not count."""
    height, width = values.shape
    if not (0 <= u < width and 0 <= v < height) or math.isnan(values[int(v), int(u)]):
        return math.nan
    r0, c0 = math.floor(v - 0.5), math.floor(u - 0.5)
    total = weight = 0.0
    for r in (r0, r0 + 1):
        for c in (c0, c0 + 1):
            if 0 <= r < height and 0 <= c < width and not math.isnan(values[r, c]):
                k = (1 - abs(v - 0.5 - r)) * (1 - abs(u - 0.5 - c))
                total += k * float(values[r, c])
                weight += k
    return total / weight


def average(values: np.ndarray, row: int, col: int, rows: float, cols: float) -> float:
    """By hand: the mean of what a pixel of `rows` x `cols` source pixels covers, by area."""
    y0, y1, x0, x1 = row * rows, (row + 1) * rows, col * cols, (col + 1) * cols
    total = weight = 0.0
    for r in range(math.floor(y0), min(values.shape[0], math.ceil(y1))):
        for c in range(math.floor(x0), min(values.shape[1], math.ceil(x1))):
            if not math.isnan(values[r, c]):
                k = (min(r + 1, y1) - max(r, y0)) * (min(c + 1, x1) - max(c, x0))
                total += k * float(values[r, c])
                weight += k
    return total / weight if weight > 1e-9 else math.nan


def field(height: int, width: int, seed: int, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = (random.random((height, width)) * 30).astype(np.float32)
    values[random.random(values.shape) < missing] = np.nan
    return values


@lru_cache
def transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def place(target: Grid, source: Grid, row: float, col: float) -> tuple[float, float]:
    """(u, v) on the source of a position on the target, through coordinates on Earth."""
    x, y = target.xy(row, col)
    if source.crs != target.crs:
        x, y = transformer(str(target.crs), str(source.crs)).transform(x, y)
    v, u = source.rowcol(x, y)
    return u, v


def expected(values: np.ndarray, source: Grid, target: Grid, window: Window) -> np.ndarray:
    rows, cols = range(window.row, window.row1), range(window.col, window.col1)
    return np.array([[bilinear(values, *place(target, source, r + 0.5, c + 0.5)) for c in cols] for r in rows])


def turned(angle: float, size: float, x: float, y: float) -> tuple[float, float, float, float, float, float]:
    """A grid turned by `angle` degrees."""
    cos, sin = math.cos(math.radians(angle)) * size, math.sin(math.radians(angle)) * size
    return cos, sin, x, sin, -cos, y


COARSE = Grid(30, 40, (1.0, 0.0, 700_000.0, 0.0, -1.0, 6_600_000.0), LAMBERT)


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (COARSE, Grid(120, 150, (0.2, 0.0, 700_003.4, 0.0, -0.2, 6_600_000.6), LAMBERT)),
        (COARSE, Grid(60, 60, (0.5, 0.0, 699_990.25, 0.0, 0.5, 6_599_969.9), LAMBERT)),  # south up
        (COARSE, Grid(50, 50, turned(30, 0.4, 700_005.0, 6_599_990.0), LAMBERT)),
        (Grid(30, 40, turned(-75, 1.0, 700_000.0, 6_600_000.0), LAMBERT), COARSE),
        (COARSE, Grid(60, 60, (0.5, 0.0, 700_300.0, 0.0, -0.5, 6_600_000.0), LAMBERT)),  # nowhere near
    ],
)
def test_bilinear_equals_the_formula_at_every_pixel(source: Grid, target: Grid, missing: float) -> None:
    values = field(source.height, source.width, 3, missing)
    out = warp(reader(values), source, target, target.window, 1, average=False)[0]
    np.testing.assert_allclose(out, expected(values, source, target, target.window), atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("size", [1.0, 4000.0])  # over 500 km the two grids are bent against each other
def test_another_crs_is_reprojected_pixel_by_pixel(size: float) -> None:
    x, y = transformer(LAMBERT, "EPSG:32631").transform(700_000.0 + 20 * size, 6_600_000.0 - 15 * size)
    source = Grid(40, 40, (size, 0.0, x - 20 * size, 0.0, -size, y + 20 * size), "EPSG:32631")
    step = 0.2 * size
    target = Grid(100, 120, (step, 0.0, 700_000.0 + 4 * size, 0.0, -step, 6_600_000.0 - 3 * size), LAMBERT)
    values = field(40, 40, 5, 0.1)
    reference = expected(values, source, target, target.window)
    out = warp(reader(values), source, target, target.window, 1, average=False)[0]
    assert 0.05 < np.isnan(reference).mean() < 0.5
    different = np.isnan(out) != np.isnan(reference)
    assert different.mean() < 1e-3  # centres that fall on the line between two source pixels
    np.testing.assert_allclose(out[~different], reference[~different], atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_window_equals_its_part_of_the_whole(data: st.DataObject) -> None:
    offset = data.draw(st.floats(-5, 5)), data.draw(st.floats(-5, 5))
    size = data.draw(st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.7, 3.0]))
    target = Grid(70, 90, (size, 0.0, 700_000.0 + offset[0], 0.0, -size, 6_600_000.0 + offset[1]), LAMBERT)
    row, col = data.draw(st.integers(0, 69)), data.draw(st.integers(0, 89))
    window = Window(row, col, data.draw(st.integers(1, 70 - row)), data.draw(st.integers(1, 90 - col)))
    read = reader(field(30, 40, 7, 0.1))
    for mean in (False, True):
        whole = warp(read, COARSE, target, target.window, 1, average=mean)[0][window.slices()]
        part = warp(read, COARSE, target, window, 1, average=mean)[0]
        assert part.tobytes() == np.ascontiguousarray(whole).tobytes()


def test_windows_agree_where_a_finer_source_of_another_crs_is_shrunk() -> None:
    to_utm = pyproj.Transformer.from_crs(LAMBERT, "EPSG:32631", always_xy=True)
    x, y = to_utm.transform(700_020.0, 6_599_985.0)
    source = Grid(200, 200, (0.3, 0.0, x - 30, 0.0, -0.3, y + 30), "EPSG:32631")
    target = Grid(40, 50, (1.0, 0.0, 699_995.0, 0.0, -1.0, 6_600_005.0), LAMBERT)
    read = reader(field(200, 200, 23))
    whole = warp(read, source, target, target.window, 1, average=False)[0]
    assert 0.3 < np.isfinite(whole).mean() <= 1
    for window in (Window(3, 4, 1, 1), Window(10, 20, 5, 9), Window(0, 0, 40, 11), Window(33, 0, 3, 50)):
        part = warp(read, source, target, window, 1, average=False)[0]
        np.testing.assert_allclose(part, whole[window.slices()], atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("georeferenced", [True, False])
@pytest.mark.parametrize("factor", [0.5, 0.4, 17 / 40, 0.09])
def test_shrinking_is_the_mean_by_area(factor: float, georeferenced: bool) -> None:
    values = field(30, 40, 9, 0.3)
    source = COARSE if georeferenced else Grid(30, 40)
    target = source.resampled(factor)
    out = warp(reader(values), source, target, target.window, 1, average=True)[0]
    # a grid without a place on Earth keeps the step too: its resampled grid leads to its pixels (`Grid.resampled`)
    reference = [
        [average(values, r, c, 1 / factor, 1 / factor) for c in range(target.width)] for r in range(target.height)
    ]
    np.testing.assert_allclose(out, np.array(reference), atol=2e-5, equal_nan=True)


def test_growing_is_bilinear_where_averages_are_asked_for() -> None:
    values = field(30, 40, 11)
    target = COARSE.resampled(2.0)
    out = warp(reader(values), COARSE, target, target.window, 1, average=True)[0]
    np.testing.assert_allclose(out, expected(values, COARSE, target, target.window), atol=2e-5, equal_nan=True)


def triangle(values: np.ndarray, v: float, u: float, ratio: float) -> float:
    """By hand: bilinear with its kernel as wide as a target pixel needs, at row `v` and column `u`."""
    total = weight = 0.0
    for r in range(max(0, math.floor(v - ratio)), min(values.shape[0], math.ceil(v + ratio))):
        for c in range(max(0, math.floor(u - ratio)), min(values.shape[1], math.ceil(u + ratio))):
            k = max(0.0, 1 - abs(r + 0.5 - v) / ratio) * max(0.0, 1 - abs(c + 0.5 - u) / ratio)
            total += k * float(values[r, c])
            weight += k
    return total / weight


@pytest.mark.parametrize("ratio", [1.5, 2.0, 4.3])
def test_bilinear_of_a_finer_source_does_not_skip_pixels(ratio: float) -> None:
    values = field(60, 80, 29)
    source = Grid(60, 80, (1.0, 0.0, 700_000.0, 0.0, -1.0, 6_600_000.0), LAMBERT)
    size = (int(58 / ratio), int(77 / ratio))
    target = Grid(*size, (ratio, 0.0, 700_000.7, 0.0, -ratio, 6_599_999.4), LAMBERT)
    out = warp(reader(values), source, target, target.window, 1, average=False)[0]
    reference = [
        [triangle(values, (r + 0.5) * ratio + 0.6, (c + 0.5) * ratio + 0.7, ratio) for c in range(size[1])]
        for r in range(size[0])
    ]
    np.testing.assert_allclose(out, np.array(reference), atol=5e-5)


def test_a_finer_source_of_another_crs_is_smoothed_too() -> None:
    x, y = transformer(LAMBERT, "EPSG:32631").transform(700_020.0, 6_599_985.0)
    source = Grid(400, 400, (0.1, 0.0, x - 20, 0.0, -0.1, y + 20), "EPSG:32631")
    target = Grid(20, 20, (1.0, 0.0, 700_010.0, 0.0, -1.0, 6_599_995.0), LAMBERT)
    values = field(400, 400, 31)
    out = warp(reader(values), source, target, target.window, 1, average=False)[0]
    assert values.std() > 8
    assert out.std() < 1  # all pixels count: 0.6; what is kept of the noise where some are passed over is more


def test_a_large_source_is_warped_in_parts_of_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    values = field(120, 160, 13, 0.1)
    source = Grid(120, 160, (0.25, 0.0, 700_000.0, 0.0, -0.25, 6_600_000.0), LAMBERT)
    target = Grid(33, 44, (0.9, 0.0, 700_000.3, 0.0, -0.9, 6_599_999.8), LAMBERT)
    whole = warp(reader(values), source, target, target.window, 1, average=True)
    largest = []

    def read(window: Window) -> np.ndarray:
        largest.append(window.area)
        return reader(values)(window)

    monkeypatch.setattr(module, "MAX_SOURCE", 900)
    parts = warp(read, source, target, target.window, 1, average=True)
    assert max(largest) <= 900
    np.testing.assert_allclose(parts, whole, atol=2e-5, equal_nan=True)
    monkeypatch.setattr(module, "MAX_SOURCE", 10)
    with pytest.raises(RefusedError, match="similar resolutions"):
        warp(read, source, target, target.window, 1, average=True)


@given(
    row=st.integers(-50, 50),
    col=st.integers(-50, 50),
    top=st.integers(0, 25),
    left=st.integers(0, 35),
    noise=st.floats(-4e-7, 4e-7),
)
def test_one_lattice_is_read_as_it_is(row: int, col: int, top: int, left: int, noise: float) -> None:
    values = field(30, 40, 17)
    target = Grid(30, 40, (1.0, 0.0, 700_000.0 + col + noise, 0.0, -1.0, 6_600_000.0 - row), LAMBERT)
    offset = lattice_offset(COARSE, target)
    assert offset == (row, col)
    window = Window(top, left, 5, 5)
    out = read_shifted(reader(values), COARSE, offset, window, 1)[0]
    for r in range(5):
        for c in range(5):
            at = top + r + row, left + c + col
            inside = 0 <= at[0] < 30 and 0 <= at[1] < 40
            assert (out[r, c] == values[at]) if inside else math.isnan(out[r, c])


@pytest.mark.parametrize(
    "target",
    [
        Grid(30, 40, (1.0, 0.0, 700_000.5, 0.0, -1.0, 6_600_000.0), LAMBERT),
        Grid(30, 40, (1.0, 0.0, 700_000.00001, 0.0, -1.0, 6_600_000.0), LAMBERT),
        Grid(30, 40, (1.001, 0.0, 700_000.0, 0.0, -1.0, 6_600_000.0), LAMBERT),
        Grid(30, 40, (1.0, 0.0, 700_000.0, 0.0, 1.0, 6_600_000.0), LAMBERT),
        Grid(30, 40, (1.0, 0.001, 700_000.0, 0.0, -1.0, 6_600_000.0), LAMBERT),
        Grid(30, 40, (1.0, 0.0, 700_000.0, 0.0, -1.0, 6_600_000.0), "EPSG:32631"),
        Grid(31, 40),
    ],
)
def test_another_lattice_is_not_taken_for_the_same(target: Grid) -> None:
    assert lattice_offset(COARSE, target) is None


def test_lattices_without_a_place_agree_by_size() -> None:
    assert lattice_offset(Grid(30, 40), COARSE) == (0, 0)
    assert lattice_offset(Grid(30, 40), Grid(30, 40)) == (0, 0)


def test_the_same_crs_in_other_words_is_the_same_lattice() -> None:
    text = pyproj.CRS(2154).to_wkt()
    assert lattice_offset(Grid(30, 40, COARSE.transform, text), COARSE) == (0, 0)


def test_overlap_is_seen() -> None:
    assert overlaps(COARSE, COARSE)
    assert overlaps(COARSE, Grid(5, 5, (1.0, 0.0, 700_039.5, 0.0, -1.0, 6_599_970.5), LAMBERT))
    assert not overlaps(COARSE, Grid(5, 5, (1.0, 0.0, 700_040.0, 0.0, -1.0, 6_600_000.0), LAMBERT))
    # a small height inside a large image is found though no corner of the image lies on it
    assert overlaps(Grid(4, 4, (1.0, 0.0, 700_017.0, 0.0, -1.0, 6_599_980.0), LAMBERT), COARSE)
    far = Grid(1000, 1000, (30.0, 0.0, 680_000.0, 0.0, -30.0, 6_620_000.0), LAMBERT)
    assert overlaps(Grid(3, 3, (0.1, 0.0, 700_001.0, 0.0, -0.1, 6_600_001.0), LAMBERT), far)


def test_only_the_source_itself_is_read() -> None:
    target = Grid(300, 300, (1.0, 0.0, 699_900.0, 0.0, -1.0, 6_600_100.0), LAMBERT)
    values = field(30, 40, 19)
    out = warp(reader(values), COARSE, target, target.window, 1, average=False)[0]  # `reader` checks
    np.testing.assert_array_equal(out[100:130, 100:140], values)
    assert np.isnan(out).sum() == 300 * 300 - 30 * 40
    assert not source_window(COARSE, target, Window(0, 0, 50, 50), (1.0, 1.0))
