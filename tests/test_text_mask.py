"""Points of heat maps against the slow way, and masks from words: what they consist of, and that they are of the right kind."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe import Client
from gridscribe.cli.segment import command
from gridscribe.client.found import Heatmap
from gridscribe.client.points import SURE, SURELY_NOT, halved, points_of
from gridscribe.client.prototypes import Prototypes
from gridscribe.client.segmenting import LEVEL, heat_at
from gridscribe.client.text_mask import second_look, votes
from gridscribe.errors import QueryError
from gridscribe.values import Window
from gridscribe.workers.run import RunRequest, run_job
from tests.tiny import tiny_package, write_pair
from tests.tiny_clip import tiny_alignment


def maps(rows: int, cols: int, seed: int, holes: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    heat = rng.normal(0, 0.1, (rows, cols)).astype(np.float32)
    heat[rng.random(heat.shape) < holes] = np.nan
    return heat


def slow_halved(heat: np.ndarray) -> np.ndarray:
    rows, cols = heat.shape
    out = np.full((-(-rows // 2), -(-cols // 2)), np.nan)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            part = heat[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            known = part[np.isfinite(part)]
            out[i, j] = known.mean() if len(known) else np.nan
    return out


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 13), cols=st.integers(1, 13), seed=st.integers(0, 999), holes=st.sampled_from([0.0, 0.3, 0.9]),
    count=st.sampled_from([None, 1, 4]),
)  # fmt: skip
def test_points_are_those_of_read(rows: int, cols: int, seed: int, holes: float, count: int | None) -> None:
    """One cell at a time: which are sure, in which order, and where each point is moved to."""
    heat = maps(rows, cols, seed, holes)
    coarse = slow_halved(heat)
    np.testing.assert_allclose(halved(heat), coarse, rtol=1e-5, atol=1e-7)
    found = points_of(heat, count)
    known = coarse[np.isfinite(coarse)]
    if not len(known) or known.max() == known.min():
        assert len(found) == 0
        return
    level = (coarse - known.min()) / (known.max() - known.min())
    most = max(1, round(rows * cols * 30 / 576)) if count is None else count
    cells = [(i, j) for i in range(coarse.shape[0]) for j in range(coarse.shape[1]) if np.isfinite(level[i, j])]
    sure = sorted((c for c in cells if level[c] >= SURE - 1e-6), key=lambda c: -level[c])
    never = sorted((c for c in cells if level[c] <= SURELY_NOT + 1e-6), key=lambda c: level[c])
    assert found.positive.sum() == min(most, len(sure))
    assert (~found.positive).sum() == min(most, len(never))
    np.testing.assert_allclose(found.level[found.positive], [level[c] for c in sure[:most]], atol=1e-5)
    np.testing.assert_allclose(found.level[~found.positive], [level[c] for c in never[:most]], atol=1e-5)
    spread = np.nanstd(heat)
    for k in range(len(found)):
        same = [c for c in cells if abs(level[c] - found.level[k]) < 1e-6]
        assert any(
            np.allclose(
                slow_place(heat, c, 1.0 if found.positive[k] else -1.0, spread), (found.row[k], found.col[k]), atol=1e-3
            )
            for c in same
        )


def slow_place(heat: np.ndarray, cell: tuple[int, int], sign: float, spread: float) -> tuple[float, float]:
    rows, cols = heat.shape
    middle = min(2 * cell[0] + 1, rows), min(2 * cell[1] + 1, cols)
    total = y = x = 0.0
    for i in range(max(0, middle[0] - 3), min(rows, middle[0] + 3)):
        for j in range(max(0, middle[1] - 3), min(cols, middle[1] + 3)):
            if np.isfinite(heat[i, j]):
                away = (i + 0.5 - middle[0]) ** 2 + (j + 0.5 - middle[1]) ** 2
                weight = math.exp(-away + sign * float(heat[i, j]) / spread)
                total, y, x = total + weight, y + weight * (i + 0.5), x + weight * (j + 0.5)
    return y / total, x / total


def test_a_point_leans_towards_what_is_warm() -> None:
    heat = np.zeros((8, 8), np.float32)
    heat[2, 5] = 1.0
    found = points_of(heat, 1)
    (row, col) = found.row[found.positive][0], found.col[found.positive][0]
    assert math.hypot(row - 2.5, col - 5.5) < math.hypot(
        3 - 2.5, 5 - 5.5
    )  # nearer to the warm cell than the halved cell's centre
    assert points_of(np.zeros((4, 4), np.float32)).row.size == 0


def test_votes_of_points() -> None:
    values = np.array([3, 10, 20, 31])
    under = np.array([3, 10, 10, 10, 31, 0, 7, 20])
    positive = np.array([True, True, True, False, False, True, True, True])
    first, never = votes(values, under, positive)
    assert first.tolist() == [True, True, True, False]
    assert never.tolist() == [False, False, False, True]


def test_the_second_look_finds_what_has_no_point() -> None:
    """Two kinds of regions, one of them named by two points: all of that kind is found, and none of the other."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 16))
    kind = rng.integers(0, 2, 60)
    vectors = centres[kind] + rng.normal(0, 0.3, (60, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    phrase = (centres[0] / np.linalg.norm(centres[0])).astype(np.float32)
    first, never = np.zeros(60, bool), np.zeros(60, bool)
    first[np.flatnonzero(kind == 0)[:2]] = True
    never[np.flatnonzero(kind == 1)[:3]] = True
    score = second_look(vectors, phrase, first, never, None)
    np.testing.assert_array_equal(score >= 0.5, kind == 0)

    wrong = np.zeros(60, bool)
    wrong[np.flatnonzero(kind == 1)[0]] = True  # a point that fell on the wrong kind
    alone = second_look(vectors, phrase, wrong, never, None)
    helped = second_look(vectors, phrase, wrong, never, (phrase, 50.0))
    separation = [score[kind == 0].mean() - score[kind == 1].mean() for score in (alone, helped)]
    assert separation[1] > separation[0]  # what is remembered of earlier images holds against it

    everything = np.ones(60, bool)
    assert second_look(vectors, phrase, everything, ~everything, None).all()
    assert not second_look(vectors, phrase, ~everything, never, None).any()


def test_prototypes_are_means_by_phrase() -> None:
    memory = Prototypes()
    one, other = np.eye(4, dtype=np.float32)[:2]
    assert memory.recall("m", one) is None
    memory.learn("m", one, np.eye(4, dtype=np.float32)[2:])
    near = np.array([1, 0.2, 0, 0], np.float32) / np.float32(math.sqrt(1.04))
    vector, count = memory.recall("m", near) or (None, 0)
    np.testing.assert_allclose(vector, [0, 0, math.sqrt(0.5), math.sqrt(0.5)], rtol=1e-6)
    assert count == 2
    assert memory.recall("m", other) is None
    memory.learn("m", other, np.empty((0, 4), np.float32))
    assert len(memory) == 1
    assert memory.recall("another model", one) is None
    assert len(memory) == 0


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    tiny_package(folder / "masks")
    tiny_alignment(folder / "align")
    for k, origin in enumerate(((500_000, 5_000_000), (501_000, 5_000_000))):
        write_pair(folder / "tiles", f"t{k}", 300, 260, seed=k, origin=origin)
    overrides = {
        "model": str(folder / "masks"),
        "alignment": {"model": str(folder / "align"), "concepts": None},
        "tokens": {"pruner": {"method": "ward", "block": 16}},
    }
    run_job(RunRequest("raster", (str(folder / "tiles"),), str(folder / "out"), executor="local", overrides=overrides))
    run_job(
        RunRequest(
            "raster", (str(folder / "tiles"),), str(folder / "bare"), executor="local",
            overrides={**overrides, "alignment": {**overrides["alignment"], "regions": None}},  # type: ignore[dict-item]
        )
    )  # fmt: skip
    return folder / "out"


def test_a_mask_consists_of_regions_and_begins_at_points(out: Path) -> None:
    client = Client(out)
    image = sorted({row["image"] for row in client.regions().to_pylist()})[0]
    found = client.segment("water", image=image, method="regions")
    assert found.array.shape == found.window.shape == (300, 260)
    assert found.array.dtype == np.bool_
    of_pixels = [[client.at_pixel(image, r, c).region for c in range(0, 260, 9)] for r in range(0, 300, 9)]
    wanted = np.array([[one in set(found.regions) for one in row] for row in of_pixels])
    np.testing.assert_array_equal(found.array[::9, ::9], wanted)
    assert found.regions
    assert list(found.scores) == sorted(found.scores, reverse=True)
    for point in found.points:
        assert client.at_pixel(image, int(point.row), int(point.col)).region == point.region
    assert set(found.first) <= {point.region for point in found.points if point.positive}
    again = client.segment("water", image=image, method="regions", memory=Prototypes())
    np.testing.assert_array_equal(again.array, found.array)  # a memory that is empty changes nothing
    assert tuple(found)[2] == "EPSG:32631"


def test_a_box_answers_for_its_part_and_memory_is_used(out: Path) -> None:
    client, memory = Client(out), Prototypes()
    one, other = sorted({row["image"] for row in client.regions().to_pylist()})
    client.segment("red roof", image=one, method="regions", memory=memory)
    assert len(memory) == 1
    plain = client.segment("red roof", image=other, method="regions")
    with_memory = client.segment("red roof", image=other, method="regions", memory=memory)
    assert plain.scores != with_memory.scores
    whole = client.segment("red roof", image=other, method="regions")
    lon, lat = client.at_pixel(other, 100, 100).lon, client.at_pixel(other, 100, 100).lat
    assert lon is not None
    assert lat is not None
    part = client.segment(
        "red roof", image=other, method="regions", bbox=(lon - 1e-4, lat - 1e-4, lon + 1e-4, lat + 1e-4)
    )
    assert part.array.size < whole.array.size
    assert whole.window.contains(part.window)


def test_the_command(out: Path, tmp_path: Path) -> None:
    image = Client(out).regions().to_pylist()[0]["image"]
    wanted = Client(out).segment("water", image=image, method="regions")
    runner = CliRunner()
    ask = [str(out), "water", "--image", image, "--method", "regions"]
    done = runner.invoke(command, [*ask, "--to", str(tmp_path / "w.tif"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [region["region_id"] for region in told["regions"]] == list(wanted.regions)
    assert told["pixels"] == wanted.array.sum()
    assert len(told["points"]) == len(wanted.points)
    with rasterio.open(tmp_path / "w.tif") as file:
        np.testing.assert_array_equal(file.read(1), wanted.array)
        assert file.crs.to_string() == wanted.crs
        assert tuple(file.transform)[:6] == wanted.transform
    plain = runner.invoke(command, ask)
    assert plain.stdout.splitlines()[0].startswith(f"{told['pixels']} of 78000 px in {len(wanted.regions)} regions")


def test_what_cannot_be_answered_is_said(out: Path) -> None:
    client = Client(out.with_name("bare"))
    image = client.regions().to_pylist()[0]["image"]
    with pytest.raises(QueryError, match="no embedded regions"):
        client.segment("water", image=image, method="regions")


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 6), cols=st.integers(1, 6), seed=st.integers(0, 999), holes=st.sampled_from([0.0, 0.3, 1.0]),
    patch=st.sampled_from([4.0, 7.0, 16.0]), shift=st.sampled_from([0.0, 3.0]),
)  # fmt: skip
def test_heat_between_cells_is_bilinear_of_what_is_known(
    rows: int, cols: int, seed: int, holes: float, patch: float, shift: float
) -> None:
    """One pixel at a time; where all is known, along the middle of cells, it is the linear interpolation of numpy."""
    heat = a_heatmap(maps(rows, cols, seed, holes), patch, shift)
    window = Window(int(shift), int(shift), int(rows * patch), int(cols * patch))
    found = heat_at(heat, window)
    wanted = np.full(window.shape, np.nan)
    for i in range(window.height):
        for j in range(window.width):
            y, x = (window.row + i + 0.5 - shift) / patch, (window.col + j + 0.5 - shift) / patch
            if np.isnan(heat.array[min(int(y), rows - 1), min(int(x), cols - 1)]):
                continue
            pairs = []
            for r in (math.floor(y - 0.5), math.floor(y - 0.5) + 1):
                for c in (math.floor(x - 0.5), math.floor(x - 0.5) + 1):
                    value = heat.array[min(max(r, 0), rows - 1), min(max(c, 0), cols - 1)]
                    weight = (1 - abs(y - 0.5 - r)) * (1 - abs(x - 0.5 - c))
                    if not np.isnan(value):
                        pairs.append((weight, float(value)))
            wanted[i, j] = sum(w * v for w, v in pairs) / sum(w for w, _ in pairs)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    part = Window(window.row + 1, window.col, max(1, window.height // 2), window.width)
    np.testing.assert_array_equal(heat_at(heat, part), found[part.slices(window)])  # does not depend on how it is cut
    if holes == 0.0:
        middle = found[int(patch // 2)] if patch == 7.0 else None
        if middle is not None:
            at = np.clip((np.arange(window.width) + 0.5) / patch - 0.5, 0, cols - 1)
            np.testing.assert_allclose(middle, np.interp(at, np.arange(cols), heat.array[0]), rtol=1e-4, atol=1e-5)


def a_heatmap(array: np.ndarray, patch: float, shift: float) -> Heatmap:
    rows, cols = array.shape
    return Heatmap(
        array=array, transform=None, pixel_transform=(patch, 0.0, shift, 0.0, patch, shift), crs=None,
        box=Window(0, 0, rows, cols), grid_h=rows, grid_w=cols, bias=0.0, coverage="full", query="text", image="i",
        product="p", alignment="a",
    )  # fmt: skip


def test_the_default_is_a_threshold_on_the_heat_map(out: Path, tmp_path: Path) -> None:
    client = Client(out)
    image = client.regions().to_pylist()[0]["image"]
    found = client.segment("water", image=image)
    heat = client.heatmap("water", image=image)
    pixels = heat_at(heat, found.window)
    low, high = np.nanmin(heat.array), np.nanmax(heat.array)
    assert found.method == "heatmap"
    assert found.threshold == pytest.approx(low + LEVEL * (high - low), abs=1e-6)
    np.testing.assert_array_equal(found.array, pixels >= np.float32(found.threshold))
    assert 0 < found.array.sum() < found.array.size
    assert not found.regions
    none, everything = (client.segment("water", image=image, threshold=value) for value in (2.0, -2.0))
    assert not none.array.any()
    assert everything.array.all()
    to = tmp_path / "w.tif"
    run = [str(out), "water", "--image", image, "--threshold", str(found.threshold), "--to", str(to)]
    done = CliRunner().invoke(command, run)
    assert done.exit_code == 0, done.output
    assert f"{found.array.sum()} of 78000 px of {image} have a similarity of at least" in done.output
    with rasterio.open(to) as file:
        np.testing.assert_array_equal(file.read(1), found.array)


def test_ways_that_do_not_go_together_are_refused(out: Path) -> None:
    client = Client(out)
    image = client.regions().to_pylist()[0]["image"]
    for wrong, told in (
        ({"method": "magic"}, "must be one of heatmap, regions"),
        ({"method": "regions", "threshold": 0.1}, "is of method='heatmap'"),
        ({"memory": Prototypes()}, "is of method='regions'"),
        ({"threshold": math.nan}, "must be a finite similarity"),
    ):
        with pytest.raises(QueryError, match=told):
            client.segment("water", image=image, **wrong)  # type: ignore[arg-type]
