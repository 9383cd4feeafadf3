"""Generated scenes: what they promise about bytes, geometry, light, height and files."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject

from gridscribe.errors import UsageError
from gridscribe.ingest.scenes import CLASSES, Scene, Sun, generate_scene, write_scenes
from gridscribe.ingest.scenes.canvas import BRANCH, GAP, Canvas, Frame, strip
from gridscribe.ingest.scenes.classes import BUILDING, LOW_VEGETATION, TREE, TREE_HEIGHT, WATER
from gridscribe.ingest.scenes.lidar import Lattice, interpolate, survey
from gridscribe.ingest.scenes.light import Sheer, illuminate, shadow_depth
from gridscribe.ingest.scenes.materials import lawn
from gridscribe.ingest.scenes.roofs import PITCHED, roof_height
from gridscribe.ingest.scenes.vegetation import Nursery, grow
from gridscribe.ingest.scenes.writer import HEIGHT_NODATA


@pytest.fixture(scope="module")
def handful() -> list[Scene]:
    return [generate_scene(3, 384, (0.15, 0.5), index=index) for index in range(14)]


def same(a: Scene, b: Scene) -> bool:
    return (
        a.rgb.tobytes() == b.rgb.tobytes()
        and a.ndsm.tobytes() == b.ndsm.tobytes()
        and a.labels.tobytes() == b.labels.tobytes()
        and json.dumps(a.objects) == json.dumps(b.objects)
        and a.grid == b.grid
    )


def test_same_arguments_same_bytes_other_arguments_other_bytes():
    first = generate_scene(11, 160, (0.1, 0.5), index=4)
    generate_scene(12, 96)  # another scene in between: no state is shared
    assert same(first, generate_scene(11, 160, (0.1, 0.5), index=4))
    assert not same(first, generate_scene(11, 160, (0.1, 0.5), index=5))
    assert not same(first, generate_scene(12, 160, (0.1, 0.5), index=4))


def test_bytes_do_not_depend_on_opencv_threads():
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = generate_scene(21, 300)
        cv2.setNumThreads(3)
        assert same(one, generate_scene(21, 300))
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize(("size", "gsd"), [(16, 0.5), (64, 0.1), (64, None), (65, 0.5), (200, 1.0)])
def test_any_size(size: int, gsd: float | None):
    scene = generate_scene(5, size, gsd)
    assert scene.rgb.shape == (3, size, size)
    assert scene.rgb.dtype == np.uint8
    assert scene.ndsm.shape == scene.labels.shape == scene.truth.shape == scene.grid.shape == (size, size)
    assert scene.ndsm.dtype == scene.truth.dtype == np.float32
    assert scene.labels.dtype == np.uint8
    assert scene.gsd == (gsd or 0.2) == scene.grid.transform[0]
    assert scene.labels.max() < len(CLASSES)
    assert np.isfinite(scene.truth).all()


def test_refused_arguments(tmp_path: Path):
    for arguments in ({"size": 8}, {"gsd": 0.01}, {"gsd": (0.5, 0.1)}):
        with pytest.raises(UsageError):
            generate_scene(1, **{"size": 64, **arguments})
    with pytest.raises(UsageError):
        write_scenes(tmp_path, 1, 1, 64, tar=tmp_path / "x.tar")
    with pytest.raises(UsageError):
        write_scenes(tmp_path, 0, 1, 64)


def test_scenes_of_a_seed_do_not_overlap():
    boxes = []
    for index in (0, 1, 2, 39, 40, 41):
        grid = generate_scene(1, 64, (0.1, 0.5), index=index).grid
        x0, y1 = grid.xy(0, 0)
        x1, y0 = grid.xy(64, 64)
        boxes.append(shapely.box(x0, y0, x1, y1))
    assert all(a.disjoint(b) for i, a in enumerate(boxes) for b in boxes[:i])
    wide = generate_scene(1, 64, 1.0, index=0).grid, generate_scene(1, 64, 1.0, index=1).grid
    assert wide[0].xy(0, 64)[0] <= wide[1].xy(0, 0)[0]


def test_every_class_and_both_kinds_of_height_grid_occur(handful: list[Scene]):
    counts = sum(np.bincount(scene.labels.ravel(), minlength=7) for scene in handful)
    assert (counts / counts.sum() > 0.002).all(), counts
    assert any(scene.height_grid is not None for scene in handful)
    assert any(scene.height_grid is None for scene in handful)
    assert any(np.isnan(scene.ndsm).any() for scene in handful)
    assert any(np.nanmin(scene.ndsm) < -0.05 for scene in handful)
    assert len({scene.district for scene in handful}) >= 4
    assert len({scene.gsd for scene in handful}) == len(handful)
    assert all(20 < scene.rgb.mean() < 235 and scene.rgb.std() > 8 for scene in handful)


def test_labels_belong_to_the_heights(handful: list[Scene]):
    for scene in handful:
        truth, labels = scene.truth, scene.labels
        if (labels == BUILDING).any():
            assert np.mean(truth[labels == BUILDING] > 2.0) > 0.99
        if (labels == WATER).any():
            assert np.abs(truth[labels == WATER]).max() < 0.01
        low = labels == LOW_VEGETATION
        if low.any():
            assert np.mean(truth[low] < 1.25 * TREE_HEIGHT) > 0.995
        tree = labels == TREE
        if tree.sum() > 200:
            assert np.mean(truth[tree] > 0.5) > 0.93
        assert truth.min() > -0.01
        assert truth.max() < 60


def test_the_surveyed_height_is_faulty_but_not_another_scene(handful: list[Scene]):
    for scene in handful:
        seen = np.isfinite(scene.ndsm)
        assert seen.mean() > 0.5
        error = np.abs(scene.ndsm - scene.truth)[seen]
        assert np.median(error) < 0.6
        assert error.max() > 0.02


def test_objects_lie_on_their_labels():
    wanted = {"swimming pool": WATER, "pond": WATER, "building": BUILDING}
    hits: dict[str, list[float]] = {name: [] for name in wanted}
    for index in range(12):
        scene = generate_scene(2, 512, 0.25, index=index)
        for item in scene.objects:
            shape = shapely.geometry.shape(item["geometry"])
            x0, y0, x1, y1 = item["bbox"]
            assert shape.is_valid
            assert (x0, y0) >= (0, 0)
            assert max(x1, y1) <= scene.grid.width
            assert np.allclose(shape.bounds, item["bbox"], atol=0.02)
            if item["category"] in wanted and shape.area > 100 and "courtyard" not in item["caption"]:
                # Slow and independent of the generator's own rasteriser: the pixel centres inside the polygon.
                rows, cols = np.mgrid[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
                inside = shapely.contains_xy(shape, cols.ravel() + 0.5, rows.ravel() + 0.5)
                labels = scene.labels[rows.ravel()[inside], cols.ravel()[inside]]
                labels = labels[labels != TREE]  # crowns hang over
                if labels.size > 50:
                    hits[item["category"]].append(float(np.mean(labels == wanted[item["category"]])))
    assert all(hits.values()), {name: len(values) for name, values in hits.items()}
    for name, shares in hits.items():
        assert np.median(shares) > 0.95, (name, shares)
        assert np.mean(np.array(shares) > 0.7) > 0.9, (name, shares)


def slow_shadow(height: np.ndarray, sun: Sun, gsd: float, row: int, col: int) -> float:
    """Highest ray over one pixel: walk towards the sun in steps of a tenth of a pixel."""
    (x, y), best = sun.towards, -np.inf
    for step in np.arange(0.0, 200.0, 0.1):
        r, c = round(row + step * y), round(col + step * x)
        if not (0 <= r < height.shape[0] and 0 <= c < height.shape[1]):
            break
        best = max(best, height[r, c] - step * gsd * sun.climb)
    return best - float(height[row, col])


@pytest.mark.parametrize("azimuth", [0.0, 63.0, 135.0, 200.0, 290.0])
def test_shadows_equal_a_ray_march(azimuth: float):
    sun, gsd = Sun(azimuth, 38.0, 0.8), 0.5
    height = np.zeros((90, 110), dtype=np.float32)
    height[40:50, 50:62] = 9
    height[20:24, 80:95] = 4
    depth = shadow_depth(height, sun, gsd)
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        row, col = int(rng.integers(2, 88)), int(rng.integers(2, 108))
        slow = slow_shadow(height, sun, gsd, row, col)
        wrong += abs(slow - depth[row, col]) > 0.6 and (slow > 0.3) != (depth[row, col] > 0.3)
    assert wrong <= 12  # pixels on the rim of a shadow


def test_shadow_falls_away_from_the_sun():
    height = np.zeros((101, 101), dtype=np.float32)
    height[48:53, 48:53] = 6
    grey = np.full((101, 101, 3), 0.5, dtype=np.float32)
    flat = np.zeros_like(height)
    for azimuth, (dx, dy) in {90.0: (-1, 0), 180.0: (0, -1), 270.0: (1, 0), 0.0: (0, 1)}.items():
        lit = illuminate(grey, height, (flat, flat), flat, Sun(azimuth, 45.0, 0.8), 0.5).mean(axis=2)
        away, towards = lit[50 + 7 * dy, 50 + 7 * dx], lit[50 - 7 * dy, 50 - 7 * dx]
        assert away < 0.7 * towards


def test_shadows_in_whole_scenes_lie_away_from_the_sun():
    """Open road and yard beside buildings is darker on the far side of the sun than on its near side."""
    ratios = []
    for index in range(10):
        scene = generate_scene(14, 448, 0.25, index=index)
        if scene.sun.strength < 0.6:
            continue
        light = scene.rgb.mean(axis=0)
        flat = np.isin(scene.labels, (1, 5)) & (scene.truth < 0.1)
        x, y = scene.sun.towards
        sides = []
        for sign in (-1, 1):
            matrix = np.array([[1, 0, sign * x * 2.0 / scene.gsd], [0, 1, sign * y * 2.0 / scene.gsd]])
            near = cv2.warpAffine((scene.labels == BUILDING).astype(np.uint8), matrix, light.shape[::-1]) > 0
            sides.append(light[near & flat])
        if min(len(side) for side in sides) > 300:
            ratios.append(sides[0].mean() / sides[1].mean())
    assert len(ratios) >= 4
    assert np.median(ratios) < 0.85  # one scene alone may have a dark road on the sunny side
    assert np.mean(np.array(ratios) < 1) > 0.7


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(PITCHED),
    length=st.floats(4, 40),
    ratio=st.floats(0.3, 1.0),
    pitch=st.floats(0.1, 1.2),
    u=st.floats(-0.5, 0.5),
    v=st.floats(-0.5, 0.5),
)
def test_roofs_start_at_the_eave_and_stay_below_their_ridge(kind, length, ratio, pitch, u, v):
    width = length * ratio
    top = roof_height(
        kind, np.array([[u * length]], np.float32), np.array([[v * width]], np.float32), length, width, 3.0, pitch
    )
    assert top.dtype == np.float32
    limit = {"barrel": 0.3 * width, "sawtooth": 2.45, "mansard": 2.4 + 0.25 * pitch * width}.get(
        kind, pitch * width / 2
    )
    assert 3.0 - 1e-3 <= float(top[0, 0]) <= 3.0 + limit + 1e-3


def test_frames_and_strips():
    frame = Frame(10.0, 20.0, np.pi / 2)
    assert np.allclose(frame.place([(2.0, 0.0), (0.0, 3.0)]), [(10, 22), (7, 20)])
    inner = frame.at(2.0, 0.0, -np.pi / 2)
    assert np.allclose(inner.place([(1.0, 0.0)]), [(11, 22)])
    line = np.stack([np.linspace(0, 10, 6), np.zeros(6)], axis=1)
    assert shapely.Polygon(strip(line, 3.0)).area == pytest.approx(30)


def test_local_coordinates_agree_with_placing():
    canvas = Canvas(0.25, 80, 4, np.random.default_rng(0), dryness=0.5, season="summer")
    frame = Frame(9.0, 12.0, 0.7)
    patch = canvas.patch(frame.rect(-4, -2, 5, 3))
    u, v = canvas.local(patch, frame)
    assert (patch.mask == ((u > -4.2) & (u < 5.2) & (v > -2.2) & (v < 3.2))).mean() > 0.97
    points = frame.place(np.stack([u.ravel(), v.ravel()], axis=1)) / 0.25
    rows, cols = np.mgrid[patch.rows, patch.cols]
    assert np.allclose(points, np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5], axis=1), atol=1e-3)


def test_a_polygon_off_the_canvas_changes_nothing():
    canvas = Canvas(0.25, 80, 4, np.random.default_rng(0), dryness=0.5, season="summer")
    before = canvas.label.copy()
    for x, y in ((-50.0, 3.0), (3.0, 90.0), (500.0, 500.0)):
        box = Frame(x, y, 0.3).rect(-2, -2, 2, 2)
        assert canvas.patch(box) is None
        assert not canvas.fill(box, label=BUILDING, height=3.0)
    assert (canvas.label == before).all()


def test_interpolation_between_cells_is_linear_and_keeps_holes():
    native = np.arange(20, dtype=np.float32).reshape(4, 5)
    lattice = Lattice(1.0, -0.4, -0.2, 4, 5)
    out = interpolate(native, lattice, (10, 12), 0.2)
    # Pixel (r, c) is centred at ((c + 0.5) * 0.2 + 0.4, (r + 0.5) * 0.2 + 0.2) metres from the lattice's corner.
    for row in range(10):
        for col in range(12):
            x = min(max((col + 0.5) * 0.2 + 0.4 - 0.5, 0), 4)
            y = min(max((row + 0.5) * 0.2 + 0.2 - 0.5, 0), 3)
            assert out[row, col] == pytest.approx(x + 5 * y, abs=0.1)  # OpenCV interpolates in steps of 1/32
    native[1, 1] = np.nan
    holed = interpolate(native, lattice, (10, 12), 0.2)
    assert np.isnan(holed).any()
    assert not np.isnan(holed).all()


def test_survey_holes_do_not_depend_on_what_is_asked_twice():
    truth = np.zeros((120, 120), dtype=np.float32)
    labels = np.full((120, 120), WATER, dtype=np.uint8)
    shares = []
    for seed in range(30):
        first, *_ = survey(truth, labels, np.random.default_rng(seed), 0.2)
        again, *_ = survey(truth, labels, np.random.default_rng(seed), 0.2)
        assert first.tobytes() == again.tobytes()
        shares.append(np.isnan(first).mean())
    assert min(shares) == 0
    assert max(shares) > 0.5
    assert (truth == 0).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes")
    calls = []
    files = write_scenes(path, 6, 3, 128, (0.15, 0.5), progress=lambda done, count: calls.append((done, count)))
    assert calls == [(n, 6) for n in range(1, 7)]
    assert sorted(files) == sorted(path.iterdir())
    assert len(files) == 24
    return path


def test_files_are_georeferenced_and_lie_on_one_another(folder: Path):
    coarse = 0
    for rgb_path in sorted(folder.glob("*_rgb.tif")):
        stem = rgb_path.name.removesuffix("_rgb.tif")
        with (
            rasterio.open(rgb_path) as rgb,
            rasterio.open(folder / f"{stem}_ndsm.tif") as ndsm,
            rasterio.open(folder / f"{stem}_labels.tif") as labels,
        ):
            assert rgb.crs.to_epsg() == 32631
            assert rgb.crs == ndsm.crs == labels.crs
            assert rgb.count == 3
            assert rgb.dtypes[0] == "uint8"
            assert rgb.transform == labels.transform
            assert ndsm.nodata == HEIGHT_NODATA
            assert ndsm.dtypes == ("float32",)
            if ndsm.transform != rgb.transform:
                coarse += 1
                assert ndsm.res[0] in (0.5, 1.0, 2.0)
            assert ndsm.bounds.left <= rgb.bounds.left + 1e-6
            assert ndsm.bounds.top >= rgb.bounds.top - 1e-6
            assert ndsm.bounds.right >= rgb.bounds.right - 1e-6
            assert ndsm.bounds.bottom <= rgb.bounds.bottom + 1e-6
            colors = labels.colormap(1)
            assert all(colors[c.id][:3] == c.color and labels.tags(1)[f"CLASS_{c.id}"] == c.name for c in CLASSES)
            index = int(stem[-5:])
            scene = generate_scene(3, 128, (0.15, 0.5), index=index)
            assert (rgb.read() == scene.rgb).all()
            assert (labels.read(1) == scene.labels).all()
            stored = ndsm.read(1)
            native = scene.ndsm if scene.height_native is None else scene.height_native
            assert np.array_equal(np.where(stored == HEIGHT_NODATA, np.nan, stored), native, equal_nan=True)
    assert 0 < coarse < 6


def test_coarse_heights_stand_where_the_fine_ones_do():
    """The delivered grid, resampled by GDAL onto the image, is the scene's ndsm."""
    found = 0
    for index in range(40):
        scene = generate_scene(3, 128, 0.2, index=index)
        if scene.height_grid is None:
            continue
        found += 1
        out = np.full(scene.grid.shape, np.nan, dtype=np.float32)
        reproject(
            np.where(np.isfinite(scene.height_native), scene.height_native, HEIGHT_NODATA), out,
            src_transform=rasterio.Affine(*scene.height_grid.transform), dst_transform=rasterio.Affine(*scene.grid.transform),
            src_crs=scene.grid.crs, dst_crs=scene.grid.crs, src_nodata=HEIGHT_NODATA, dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )  # fmt: skip
        both = np.isfinite(out) & np.isfinite(scene.ndsm)
        assert both.mean() > 0.4
        assert np.percentile(np.abs(out - scene.ndsm)[both], 98) < 0.35
        # Cells of a metre or two miss the lumps of tall canopies by more than they miss open ground.
        assert np.median(np.abs(scene.ndsm - scene.truth)[both]) < 0.6 + 0.1 * np.median(scene.truth[both])
        if found == 4:
            break
    assert found == 4


def test_geojson_is_rfc_7946_and_lands_on_its_pixels(folder: Path):
    seen = 0
    for path in sorted(folder.glob("*_objects.geojson")):
        collection = json.loads(path.read_text())
        assert collection["type"] == "FeatureCollection"
        assert "crs" not in collection
        with rasterio.open(path.with_name(path.name.replace("_objects.geojson", "_rgb.tif"))) as image:
            back = pyproj.Transformer.from_crs("OGC:CRS84", image.crs, always_xy=True)
            for feature in collection["features"]:
                seen += 1
                shape = shapely.geometry.shape(feature["geometry"])
                assert feature["properties"]["category"]
                assert feature["properties"]["caption"]
                for part in getattr(shape, "geoms", [shape]):
                    assert part.exterior.is_ccw
                moved = shapely.transform(shape, lambda xy: np.stack(back.transform(*xy.T), axis=1))  # noqa: B023
                (a, _, c, _, e, f), bounds = tuple(image.transform)[:6], moved.bounds
                pixels = (bounds[0] - c) / a, (bounds[3] - f) / e, (bounds[2] - c) / a, (bounds[1] - f) / e
                assert np.allclose(pixels, feature["properties"]["bbox_px"], atol=0.1)
    assert seen > 30


def test_tar_holds_the_same_files(folder: Path, tmp_path: Path):
    (archive,) = write_scenes(None, 2, 3, 128, (0.15, 0.5), tar=tmp_path / "scenes.tar")
    with tarfile.open(archive, "r:") as tar:
        names = tar.getnames()
        assert len(names) == 8
        for name in names:
            assert tar.extractfile(name).read() == (folder / name).read_bytes()
    (again,) = write_scenes(None, 2, 3, 128, (0.15, 0.5), tar=tmp_path / "again.tar")
    assert archive.read_bytes() == again.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_colour_and_height_each_know_what_the_other_does_not(handful: list[Scene]):
    """Flat roofs share the greys of roads; water, roads and lawns share the height of the ground."""
    roof, road = [], []
    for scene in handful:
        grey = np.ptp(scene.rgb.astype(int), axis=0) < 24
        roof.append(scene.rgb.mean(axis=0)[grey & (scene.labels == BUILDING)])
        road.append(scene.rgb.mean(axis=0)[grey & (scene.labels == 5)])
    a, b = (np.histogram(np.concatenate(part), bins=32, range=(0, 255))[0] for part in (roof, road))
    overlap = np.minimum(a / a.sum(), b / b.sum()).sum()
    assert overlap > 0.6
    flat = [np.mean(s.truth[np.isin(s.labels, (1, 4, 5))] < 0.1) for s in handful]
    assert np.median(flat) > 0.97  # a scene with a bridge over its river or many boulders has less


def test_some_woods_are_no_greener_than_the_grass_and_many_heights_are_coarse():
    grey = coarse = 0
    for index in range(24):
        scene = generate_scene(21, 192, 0.3, index=index)
        coarse += scene.height_grid is not None
        red, green, blue = (
            (scene.rgb.astype(np.int32)[:, scene.labels == TREE]) if (scene.labels == TREE).any() else [np.zeros(1)] * 3
        )
        grey += red.size > 2000 and np.mean((green > red) & (green > blue)) < 0.35
    assert grey >= 3
    assert 4 <= coarse <= 16


def test_a_share_of_trees_is_not_green_and_some_scenes_are_wholly_so():
    shares, pixels = [], []
    for index in range(30):
        scene = generate_scene(33, 256, 0.3, index=index)
        red, green, blue = scene.rgb[:, scene.labels == TREE].astype(np.int32)
        if red.size > 1500:
            shares.append(float(np.mean((green <= red) | (green <= blue))))
            pixels.append(red.size)
    assert len(shares) > 12
    assert 0.22 < np.average(shares, weights=pixels) < 0.7
    assert max(shares) > 0.75
    assert min(shares) < 0.15


def test_the_ground_shows_through_leafless_crowns_but_height_and_class_are_the_crowns():
    canvas = Canvas(0.1, 160, 0, np.random.default_rng(2), dryness=0.8, season="winter")
    ground = canvas.add(lawn(canvas.rng, 0.8))
    canvas.surface[:] = ground
    nursery = Nursery(canvas)
    nursery.tree(canvas, 8.0, 8.0, 5.0, 9.0, "bare")
    grow(canvas, nursery)
    crown = canvas.label == TREE
    assert 300 < crown.sum() * 0.01 * 10 < 1200  # 30 to 120 square metres
    assert (canvas.height[crown] > 0.5).all()
    assert 0.2 < np.mean(canvas.surface[crown] == ground) < 0.85
    assert ((canvas.sheer == GAP) == (crown & (canvas.surface == ground))).all()
    assert ((canvas.sheer == BRANCH) == (crown & (canvas.surface != ground))).all()
    assert (canvas.below == 0).all()


def test_see_through_crowns_shadow_in_part():
    height = np.zeros((61, 61), dtype=np.float32)
    height[28:33, 28:33] = 6
    grey, flat = np.full((61, 61, 3), 0.5, dtype=np.float32), np.zeros_like(height)
    sun = Sun(180.0, 45.0, 0.85)
    half = Sheer(opaque=flat, seen=height, through=np.full_like(height, 0.5))
    solid, thin = (illuminate(grey, height, (flat, flat), flat, sun, 0.5, None, s).mean(axis=2) for s in (None, half))
    assert solid[22, 30] < 0.9 * thin[22, 30] < 0.9 * thin[40, 30]
    assert thin[40, 30] == pytest.approx(solid[40, 30])


def in_blocks(height: np.ndarray, pixels: int) -> bool:
    """Whether nearly all horizontal steps of the height lie `pixels` (or a multiple) apart, holes left out."""
    step = (height[:, 1:] != height[:, :-1]) & np.isfinite(height[:, 1:]) & np.isfinite(height[:, :-1])
    by_phase = [int(step[:, phase::pixels].sum()) for phase in range(pixels)]
    return max(by_phase) > 0.99 * sum(by_phase) > 0


def test_heights_come_on_coarse_grids_as_cells_and_as_blocks():
    cells: list[float] = []
    blocks = 0
    for index in range(48):
        scene = generate_scene(1, 120, 0.25, index=index)
        if scene.height_grid is not None:
            cells.append(scene.height_grid.transform[0])
        else:
            blocks += in_blocks(scene.ndsm, 4)
    assert {1.0, 2.0} <= set(cells)
    assert sum(cell >= 1 for cell in cells) >= 5
    assert blocks >= 2


def test_crowns_hide_parts_of_roofs():
    """Pixels of class tree within a building's outline, over many towns."""
    hidden = []
    for index in range(10):
        scene = generate_scene(15, 384, 0.3, index=index)
        for item in scene.objects:
            if item["category"] == "building" and "courtyard" not in item["caption"]:
                x0, y0, x1, y1 = (int(v) for v in item["bbox"])
                shape = shapely.geometry.shape(item["geometry"])
                rows, cols = np.mgrid[y0:y1, x0:x1]
                inside = shapely.contains_xy(shape, cols.ravel() + 0.5, rows.ravel() + 0.5)
                labels = scene.labels[rows.ravel()[inside], cols.ravel()[inside]]
                if labels.size > 100:
                    hidden.append(float(np.mean(labels == TREE)))
    assert 0.03 < np.mean(np.array(hidden) > 0.1) < 0.4


def test_overcast_scenes_have_weaker_shadows():
    height = np.zeros((61, 61), dtype=np.float32)
    height[28:33, 28:33] = 6
    grey, flat = np.full((61, 61, 3), 0.5, dtype=np.float32), np.zeros_like(height)
    bright = Sun(180.0, 45.0, 0.85)
    clear, dull = (
        illuminate(grey, height, (flat, flat), flat, sun, 0.5).mean(axis=2)
        for sun in (bright, replace(bright, strength=0.3))
    )
    assert clear[22, 30] < dull[22, 30] < dull[40, 30]
