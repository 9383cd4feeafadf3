"""Heatmaps against tokens scattered whole, and windows spread one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import Client
from gridscribe.client import token_vectors
from gridscribe.client.heat import cells_of
from gridscribe.client.search import dots
from gridscribe.errors import LayoutError, QueryError
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.clip.text import SATELLITE, TextEncoder
from gridscribe.pipelines.blend import taper
from gridscribe.quantise import quantise
from gridscribe.store import Store, open_store
from gridscribe.token_reader import TokenTable
from gridscribe.tokens import TokenFrame, TokenGrid, join
from gridscribe.values import Grid, Window
from tests.embedded import DIM, aligned, write_tokens_of
from tests.outputs import FakeImage, write_output
from tests.test_token_tables import tokens
from tests.tiny_clip import tiny_alignment

PATCH, WINDOW, STRIDE = 8, 4, 3  # the last two in cells
SIDE = 256  # of a committed box
UTM = "EPSG:32633"
NORTH_UP = (0.5, 0.0, 5e5, 0.0, -0.5, 5e6)
TURNED = (0.3, 0.1, 5e5, 0.1, -0.3, 5e6)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> AlignmentPackage:
    return tiny_alignment(tmp_path_factory.mktemp("models") / "words")


@pytest.fixture(scope="module")
def query(package: AlignmentPackage) -> np.ndarray:
    return TextEncoder(package).embed(["water"], SATELLITE)[0].astype(np.float64)


class Made:
    """An image's tokens and windows, by committed box."""

    def __init__(
        self, height: int, width: int, transform: Any, *, merging: bool = True, kind: Any = "int8", scaled: bool = False
    ) -> None:
        rng = np.random.default_rng([height, width, merging])
        cut = tuple(Window(0, 0, height, width).split(SIDE))
        self.image = FakeImage("one", Grid(height, width, transform, UTM if transform else None), boxes=cut)
        step = 2 * PATCH if scaled else PATCH  # the encoder saw it at half the resolution
        self.frame = TokenFrame(
            -(-height // step), -(-width // step), PATCH, transform=(step, 0.0, 0.0, 0.0, step, 0.0) if scaled else None
        )
        rows, cols = (
            max(1, -(-(n - WINDOW) // STRIDE) + 1) if n > WINDOW else 1 for n in (self.frame.grid_h, self.frame.grid_w)
        )
        self.cls = {(r, c): rng.normal(size=DIM) for r in range(rows) for c in range(cols) if rng.random() < 0.9}
        self.parts: dict[Window, tuple[TokenGrid, list[Any], Any]] = {}
        for box in cut:
            cells = Window(box.row // step, box.col // step, -(-box.height // step), -(-box.width // step))
            places = [p for p in self.cls if cells.contains(Window(p[0] * STRIDE, p[1] * STRIDE, 1, 1))]
            vectors = quantise(np.array([self.cls[p] for p in places]).reshape(-1, DIM), kind)
            grid = tokens(
                self.frame.with_box(cells), 0.3, int(rng.integers(1 << 31)), merging=merging, kind=kind, dim=DIM
            )
            self.parts[box] = grid, places, vectors

    def write(self, store: Store, product: dict[str, Any], without: tuple[int, ...] = ()) -> str:
        boxes = [box for k, box in enumerate(self.parts) if k not in without]
        self.image.boxes = boxes
        name = write_output(store, [self.image], product)
        write_tokens_of(store, name, self.image, {box: self.parts[box] for box in boxes})
        return name

    def slow(self, query: np.ndarray, bias: float, without: tuple[int, ...] = ()) -> np.ndarray:
        """The whole grid, cell by cell and window by window."""
        out = np.full((self.frame.grid_h, self.frame.grid_w), np.nan)
        total, weight = np.zeros_like(out), np.zeros_like(out)
        ramp = taper(WINDOW, STRIDE)
        for k, (grid, places, vectors) in enumerate(self.parts.values()):
            if k in without:
                continue
            values, _ = grid.scatter(grid.dense().astype(np.float64) @ query)
            out[grid.frame.box.slices()] = values
            for (row, col), vector in zip(places, vectors.dequantised(), strict=True):
                for i in range(WINDOW):
                    for j in range(WINDOW):
                        r, c = row * STRIDE + i, col * STRIDE + j
                        if r < out.shape[0] and c < out.shape[1]:
                            total[r, c] += ramp[i] * ramp[j] * (vector.astype(np.float64) @ query)
                            weight[r, c] += ramp[i] * ramp[j]
        spread = np.divide(total, weight, out=np.zeros_like(out), where=weight > 0)
        return out - bias * spread


CASES = [
    pytest.param({"merging": True}, id="merged"),
    pytest.param({"merging": False}, id="pruned"),
    pytest.param({"merging": True, "kind": "float16"}, id="float16"),
    pytest.param({"merging": True, "scaled": True}, id="resampled"),
]


@pytest.mark.parametrize("options", CASES)
def test_values_are_those_of_tokens_laid_out(
    options: dict[str, Any], package: AlignmentPackage, query: np.ndarray, tmp_path: Path
) -> None:
    made = Made(500, 600, NORTH_UP, **options)
    store = open_store(tmp_path)
    product = made.write(store, aligned(package.uri, package.digest))
    client = Client(store)
    for bias in (0.3, 0.0, -1.0):
        found = client.heatmap("water", image="one", bias=bias)
        assert found.array.dtype == np.float32
        assert (found.grid_h, found.grid_w) == found.array.shape == (made.frame.grid_h, made.frame.grid_w)
        np.testing.assert_allclose(found.array, made.slow(query, bias), atol=2e-6)
    assert np.isnan(found.array).any()
    assert (found.coverage, found.query, found.image, found.product) == ("partial", "text", "one", product)
    array, transform, crs = found
    step = 16 if options.get("scaled") else 8
    assert transform == (0.5 * step, 0.0, 5e5, 0.0, -0.5 * step, 5e6)
    assert found.pixel_transform == (step, 0.0, 0.0, 0.0, step, 0.0)
    assert (array is found.array, crs) == (True, UTM)
    joined = join([grid for grid, _, _ in made.parts.values()])
    plain, _ = joined.scatter(joined.dense() @ query.astype(np.float32))
    np.testing.assert_allclose(client.heatmap("water", image="one", bias=0).array, plain, atol=2e-6)
    same = client.heatmap("water", image="one", bias=0.3, templates=SATELLITE).array
    assert np.array_equal(client.heatmap("water", image="one").array, same, equal_nan=True)


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED], ids=["north-up", "rotated"])
@pytest.mark.parametrize("merging", [True, False])
def test_a_box_is_a_part_of_the_whole_and_reads_less(
    transform: Any, merging: bool, package: AlignmentPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(500, 600, transform, merging=merging)
    store = open_store(tmp_path)
    made.write(store, aligned(package.uri, package.digest))
    client = Client(store)
    whole = client.heatmap("water", image="one")
    read: list[int] = []
    plain = TokenTable._batch
    monkeypatch.setattr(
        TokenTable, "_batch", lambda self, group, data: read.append(group.rows) or plain(self, group, data)
    )  # type: ignore[func-returns-value]
    lonlat = pyproj.Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)
    rng = np.random.default_rng(0)
    edges = [
        (256, 520, 9, 9),
        (264, 256, 3, 30),
        (0, 256, 8, 8),
    ]  # begin where a committed box does: windows do before it
    boxes = [tuple(rng.integers((0, 0, 1, 1), (490, 590, 60, 60)).tolist()) for _ in range(8)]
    for row, col, height, width in (*boxes, *edges):
        grid = made.image.grid
        corners = [grid.xy(row + i, col + j) for i in (0, height) for j in (0, width)]
        lon, lat = lonlat.transform(*zip(*corners, strict=True))
        read.clear()
        found = client.heatmap("water", image="one", bbox=(min(lon), min(lat), max(lon), max(lat)))
        assert np.array_equal(found.array, whole.array[found.box.slices()], equal_nan=True)
        asked = Window(
            row // 8, col // 8, (row + height - 1) // 8 - row // 8 + 1, (col + width - 1) // 8 - col // 8 + 1
        )
        assert found.box.contains(asked.intersection(whole.box))
        if transform is NORTH_UP:
            assert found.box.area <= (asked.height + 2) * (asked.width + 2)
        if not merging:
            assert sum(read) < 600
        a, _, c, _, e, f = found.transform or whole.pixel_transform
        x, y = grid.xy(found.box.row * 8, found.box.col * 8)
        assert (c, f) == pytest.approx((x, y))
        assert found.pixel_transform == (8, 0.0, found.box.col * 8, 0.0, 8, found.box.row * 8)
        assert a == pytest.approx(grid.transform[0] * 8)  # type: ignore[index]
        assert e == pytest.approx(grid.transform[4] * 8)  # type: ignore[index]
    with pytest.raises(QueryError, match="does not meet the box"):
        client.heatmap("water", image="one", bbox=(0, 0, 1, 1))


def test_what_is_not_committed_has_no_value(package: AlignmentPackage, query: np.ndarray, tmp_path: Path) -> None:
    made = Made(500, 600, None)
    store = open_store(tmp_path)
    made.write(store, aligned(package.uri, package.digest), without=(1, 3))
    client = Client(store)
    found = client.heatmap("water", image="one")
    wanted = made.slow(query, 0.3, without=(1, 3))
    np.testing.assert_allclose(found.array, wanted, atol=2e-6)
    assert np.isnan(found.array[:, 32:64][:32]).all()
    assert (found.transform, found.crs, found.coverage) == (None, None, "partial")
    with pytest.raises(QueryError, match="not georeferenced"):
        client.heatmap("water", image="one", bbox=(0, 0, 1, 1))


def test_the_token_of_a_pixel_without_region(package: AlignmentPackage, tmp_path: Path) -> None:
    made = Made(300, 270, NORTH_UP)
    store = open_store(tmp_path)
    made.write(store, aligned(package.uri, package.digest))
    client = Client(store)
    joined = join([grid for grid, _, _ in made.parts.values()])
    rng, seen = np.random.default_rng(1), set()
    for _ in range(30):
        row, col = int(rng.integers(0, 300)), int(rng.integers(0, 270))
        pixel = client.at_pixel("one", row, col, embedding=True)
        token = joined.token_at(row, col)
        seen.add(token.status)
        if token.slot is None:
            assert (pixel.embedding, pixel.embedding_of) == (None, None)
        else:
            assert np.array_equal(pixel.embedding, joined.dense()[token.slot])  # type: ignore[arg-type]
            assert pixel.embedding_of == "token"
    assert seen == {"kept", "merged", "dropped"}


def test_questions_that_cannot_be(package: AlignmentPackage, tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    made = Made(100, 90, None)
    made.write(store, aligned(package.uri, package.digest))
    with pytest.raises(QueryError, match="bias=nan"):
        Client(store).heatmap("water", image="one", bias=float("nan"))
    with pytest.raises(QueryError, match="has no image 'two'"):
        Client(store).heatmap("water", image="two")
    bare = open_store(tmp_path / "bare")
    write_output(bare, [FakeImage("one", Grid(60, 60))], aligned(package.uri, package.digest))
    with pytest.raises(QueryError, match="no tokens of image one are stored"):
        Client(bare).heatmap("water", image="one")
    off = open_store(tmp_path / "off")
    write_output(off, [FakeImage("one", Grid(60, 60))], aligned(package.uri, package.digest, tokens=None))
    with pytest.raises(QueryError, match="stores no tokens"):
        Client(off).heatmap("water", image="one")
    other = open_store(tmp_path / "other")
    made.write(other, aligned(package.uri, package.digest, patch=16, window=64, stride=48))
    with pytest.raises(LayoutError, match="have a patch of 8 px, the product tells of 16"):
        Client(other).heatmap("water", image="one")


def test_only_a_few_vectors_are_held(
    package: AlignmentPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(500, 600, None)
    store = open_store(tmp_path)
    made.write(store, aligned(package.uri, package.digest))
    sizes: list[int] = []
    monkeypatch.setattr(token_vectors, "dots", lambda values, query: sizes.append(len(values)) or dots(values, query))  # type: ignore[func-returns-value]
    Client(store).heatmap("water", image="one", bias=0)
    assert sum(sizes) == sum(len(grid) for grid, _, _ in made.parts.values())
    assert max(sizes) <= 7  # a row group of these tables


@settings(max_examples=200, deadline=None)
@given(
    row=st.integers(0, 99), col=st.integers(0, 79), height=st.integers(1, 100), width=st.integers(1, 100),
    step=st.sampled_from([8.0, 11.3, 16.0]),
)  # fmt: skip
def test_cells_hold_every_pixel_of_a_window(row: int, col: int, height: int, width: int, step: float) -> None:
    frame = TokenFrame(-(-100 // 8), -(-80 // 8), 8, transform=None if step == 8 else (step, 0.0, 0.0, 0.0, step, 0.0))
    window = Window(row, col, height, width).intersection(Window(0, 0, 100, 80))
    cells = cells_of(frame, window)
    for r, c in ((window.row, window.col), (window.row1 - 1, window.col1 - 1)):
        down, across = int((r + 0.5) // step), int((c + 0.5) // step)
        if down < frame.grid_h and across < frame.grid_w:
            assert cells.contains(Window(down, across, 1, 1))
    assert cells.height <= window.height / step + 2
    assert cells.width <= window.width / step + 2
