"""Aligned pixels of images of every kind, against numpy and formulas written out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.env import get_gdal_config
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from gridscribe.errors import UnpairedError, UnreadableError, UsageError
from gridscribe.ingest.discover import InputOptions, discover
from gridscribe.ingest.images import RasterImage
from gridscribe.ingest.limits import Limits
from gridscribe.ingest.raster import Pixels, open_raster
from gridscribe.values import Grid, Window
from tests.hostile import tiff

REAL = Path(__file__).parents[2] / "shared" / "data" / "rasters"


RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (3, 60, 50)).astype(np.uint8)
NDSM = (RANDOM.random((1, 60, 50)) * 25).astype(np.float32)


def images(folder: Path, files: dict[str, bytes], **options: Any) -> tuple[RasterImage, ...]:
    """Write files, and find what they make; nothing may be left over as a failure."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    found = discover([str(folder)], InputOptions(**options))
    assert not [account for account in found.accounts if account.state == "failed"], found.accounts
    return found.images


def failure(folder: Path, files: dict[str, bytes], **options: Any) -> str:
    """The first reason of files that make no image."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    found = discover([str(folder)], InputOptions(**options))
    assert not found.images
    return found.accounts[0].reason


def read(image: RasterImage, window: Window | None = None, grid: Grid | None = None) -> Pixels:
    with open_raster(image) as reader:
        return reader.read((grid or image.grid).window if window is None else window, grid)


def test_a_plain_pair_is_read_as_it_is(tmp_path: Path) -> None:
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(NDSM)})
    assert image.grid == Grid(60, 50, (0.2, 0.0, 700_000.0, 0.0, -0.2, 6_600_000.0), "EPSG:2154")
    assert (image.dtype, image.gsd, image.datetime, image.source) == ("uint8", 0.2, None, "a_rgb.tif")
    pixels = read(image)
    assert (pixels.rgb.dtype, pixels.height.dtype, pixels.valid.dtype) == (np.uint8, np.float32, np.bool_)
    np.testing.assert_array_equal(pixels.rgb, RGB)
    np.testing.assert_array_equal(pixels.height, NDSM[0])
    assert pixels.valid.all()


def test_an_image_survives_json(tmp_path: Path) -> None:
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(NDSM)}, scale=(0, 9), height_nodata=-1.0)
    assert RasterImage.from_json(json.loads(json.dumps(image.to_json()))) == image
    slim = json.loads(json.dumps(image.to_json(options=False)))
    assert "options" not in slim
    assert RasterImage.from_json(slim, image.options) == image


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_window_in_any_order_equals_its_part_of_the_whole(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("pair")
    tiled = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    coarse = tiff(NDSM[:, :20, :20], transform=from_origin(699_999.7, 6_600_000.3, 0.7, 0.7))
    (image,) = images(folder, {"a_rgb.tif": tiff(RGB, **tiled), "a_ndsm.tif": coarse})
    whole = read(image)
    with open_raster(image) as reader:
        for _ in range(3):
            row, col = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 49))
            window = Window(row, col, data.draw(st.integers(1, 60 - row)), data.draw(st.integers(1, 50 - col)))
            pixels, again = reader.read(window), reader.read(window)
            np.testing.assert_array_equal(pixels.rgb, whole.rgb[(slice(None), *window.slices())])
            np.testing.assert_array_equal(pixels.height, whole.height[window.slices()])
            assert pixels.height.tobytes() == again.height.tobytes() == read(image, window).height.tobytes()


def test_a_window_that_leaves_the_image_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(NDSM)})
    for window in (Window(0, 0, 61, 50), Window(-1, 0, 5, 5), Window(0, 0, 0, 5)):
        with pytest.raises(ValueError, match="not inside"):
            read(image, window)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_other_types_are_scaled_clipped_and_rounded(tmp_path: Path, dtype: str) -> None:
    low, high = (-100.0, 1000.0) if dtype != "uint16" else (100.0, 4000.0)
    stored = (RANDOM.random((3, 60, 50)) * 6000 - 500).clip(0 if dtype == "uint16" else -500, None).astype(dtype)
    files = {"a_rgb.tif": tiff(stored), "a_ndsm.tif": tiff(NDSM)}
    (image,) = images(tmp_path, files, scale=(low, high))
    expected = [
        [[round(min(255.0, max(0.0, (float(v) - low) * 255.0 / (high - low)))) for v in row] for row in band]
        for band in stored
    ]
    found = read(image).rgb.astype(int)
    assert np.abs(found - np.array(expected)).max() <= (0 if dtype != "float32" else 1)
    assert {0, 255} <= set(found.ravel().tolist())
    assert "'scale'" in failure(tmp_path, files)


def test_rgb_nodata_is_where_all_bands_say_so(tmp_path: Path) -> None:
    stored = RGB.copy()
    stored[:, 5, 7] = 255
    stored[:2, 9, 9] = 255
    stored[2, 9, 9] = 3
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(stored, nodata=255), "a_ndsm.tif": tiff(NDSM)})
    pixels = read(image)
    assert np.argwhere(~pixels.valid).tolist() == [[5, 7]]
    assert pixels.rgb[:, 5, 7].tolist() == [0, 0, 0]
    assert pixels.rgb[:, 9, 9].tolist() == [255, 255, 3]
    with rasterio.open(tmp_path / "a_rgb.tif") as dataset:
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, pixels.valid)
    (overridden,) = images(tmp_path, {}, nodata=3.0)
    assert read(overridden).valid.all()


def test_nan_and_infinity_in_float_rgb_are_missing(tmp_path: Path) -> None:
    stored = RGB.astype(np.float32)
    stored[1, 2, 3], stored[0, 4, 5] = np.nan, np.inf
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(stored), "a_ndsm.tif": tiff(NDSM)}, scale=(0, 255))
    pixels = read(image)
    assert np.argwhere(~pixels.valid).tolist() == [[2, 3], [4, 5]]
    assert not pixels.rgb[:, ~pixels.valid].any()


@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_alpha_and_masks_hide_pixels(tmp_path: Path, kind: str) -> None:
    hidden = np.zeros((60, 50), bool)
    hidden[10:20, 30:40] = True
    if kind == "alpha":
        data = tiff(
            np.concatenate([RGB, np.where(hidden, 0, 255)[None].astype(np.uint8)]), photometric="RGB", alpha="YES"
        )
    else:
        with MemoryFile() as memory:
            with (
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                rasterio.open(memory, "w", driver="GTiff", count=3, height=60, width=50, dtype="uint8") as dataset,
            ):
                dataset.write(RGB)
                dataset.write_mask(~hidden)
            data = bytes(memory.read())
    (image,) = images(tmp_path, {"a_rgb.tif": data, "a_ndsm.tif": tiff(NDSM)})
    pixels = read(image)
    np.testing.assert_array_equal(pixels.valid, ~hidden)
    np.testing.assert_array_equal(pixels.rgb, np.where(hidden, 0, RGB))


def test_impossible_heights_are_missing_and_small_negative_ones_stay(tmp_path: Path) -> None:
    stored = NDSM.copy()
    bad = [-9999.0, np.nan, 1e6, -10.5, 500.5, -3.4e38, np.inf]
    stored[0, 0, :7] = bad
    stored[0, 1, :4] = [-0.3, -10.0, 500.0, 0.0]
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(stored, nodata=-9999)})
    height = read(image).height
    assert np.isnan(height[0, :7]).all()
    assert np.isnan(height).sum() == 7
    assert height[1, :4].tolist() == [np.float32(-0.3), -10.0, 500.0, 0.0]
    (image,) = images(tmp_path, {}, height_range=(0.0, 20.0), height_nodata=0.0)
    expected = np.where((stored[0] > 0) & (stored[0] <= 20), stored[0], np.nan)
    np.testing.assert_array_equal(read(image).height, expected)


def test_impossible_heights_do_not_bleed_into_their_neighbours(tmp_path: Path) -> None:
    stored = np.full((1, 12, 10), 5.0, np.float32)
    stored[0, 4, 4] = 30_000.0
    files = {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(stored, transform=from_origin(700_000, 6_600_000, 1.0, 1.0))}
    (image,) = images(tmp_path, files)
    height = read(image).height
    assert np.isnan(height[20:25, 20:25]).all()
    height[20:25, 20:25] = 5.0
    np.testing.assert_allclose(height, 5.0, rtol=1e-6)


def test_stored_units_become_metres(tmp_path: Path) -> None:
    centimetres = (NDSM * 100).astype(np.int16)
    (image,) = images(
        tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(centimetres, nodata=-32768)}, height_scale=0.01
    )
    np.testing.assert_allclose(read(image).height, centimetres[0] / 100, atol=1e-5)
    with rasterio.open(tmp_path / "a_ndsm.tif", "r+") as dataset:
        dataset.scales, dataset.offsets = (0.01,), (-2.0,)
    (image,) = images(tmp_path, {})
    np.testing.assert_allclose(read(image).height, centimetres[0] / 100 - 2, atol=1e-5)


def test_a_surface_minus_its_ground(tmp_path: Path) -> None:
    ground = (200 + RANDOM.random((1, 60, 50)) * 10).astype(np.float32)
    surface = ground + NDSM
    surface[0, 3, 3], ground[0, 4, 4] = -9999.0, np.nan
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB), "a_dsm.tif": tiff(surface), "a_dtm.tif": tiff(ground)})
    height = read(image).height
    assert np.argwhere(np.isnan(height)).tolist() == [[3, 3], [4, 4]]
    np.testing.assert_allclose(height[5:], NDSM[0, 5:], atol=1e-4)
    # ground on a coarser, shifted grid: both come to the RGB's pixels by the same rule
    flat = tiff(np.full((1, 30, 30), 150.0, np.float32), transform=from_origin(699_999.9, 6_600_000.1, 0.5, 0.5))
    (image,) = images(tmp_path, {"a_dtm.tif": flat})
    expected = np.where(np.isnan(height), np.nan, surface[0] - 150)
    expected[4, 4] = surface[0, 4, 4] - 150
    np.testing.assert_allclose(read(image).height, expected, atol=1e-4)


def test_height_that_covers_a_part_leaves_the_rest_missing(tmp_path: Path) -> None:
    shifted = tiff(NDSM[:, :30, :20], transform=from_origin(700_002.0, 6_599_998.0, 0.2, 0.2))
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": shifted})
    expected = np.full((60, 50), np.nan, np.float32)
    expected[10:40, 10:30] = NDSM[0, :30, :20]
    np.testing.assert_array_equal(read(image).height, expected)
    assert np.isnan(read(image, Window(0, 0, 8, 8)).height).all()


def test_finer_height_is_interpolated_on_the_own_grid_and_averaged_on_another(tmp_path: Path) -> None:
    fine = (RANDOM.random((1, 180, 150)) * 25).astype(np.float32)
    files = {
        "a_rgb.tif": tiff(RGB),
        "a_ndsm.tif": tiff(fine, transform=from_origin(700_000, 6_600_000, 0.2 / 3, 0.2 / 3)),
    }
    (image,) = images(tmp_path, files)
    mean = fine[0].reshape(60, 3, 50, 3).mean(axis=(1, 3))
    own = read(image).height
    weights = np.array([1, 2, 3, 2, 1]) / 9  # a kernel three pixels wide on each side of the centre
    row, col = 20, 30
    around = fine[0, row * 3 - 1 : row * 3 + 4, col * 3 - 1 : col * 3 + 4]
    assert own[row, col] == pytest.approx(float(weights @ around @ weights), abs=1e-3)
    assert abs(own[row, col] - mean[row, col]) > 0.01
    half = read(image, grid=image.grid.resampled(0.5)).height
    np.testing.assert_allclose(half, mean.reshape(30, 2, 25, 2).mean(axis=(1, 3)), atol=1e-3)


def test_wide_strips_get_room_in_the_cache_while_they_are_open(tmp_path: Path) -> None:
    wide = np.zeros((3, 700, 4000), np.uint8)
    (image,) = images(
        tmp_path, {"a_rgb.tif": tiff(wide, compress="deflate"), "a_ndsm.tif": tiff(np.ones((1, 9, 9), np.uint8))}
    )
    limits = image.options.limits
    with open_raster(image) as reader:
        reader.read(Window(0, 0, 9, 9))
        assert get_gdal_config("GDAL_CACHEMAX") == limits.gdal_cache + 640 * 4000 * 3
    assert get_gdal_config("GDAL_CACHEMAX") == limits.gdal_cache


def test_south_up_and_turned_images_keep_their_own_pixels(tmp_path: Path) -> None:
    for number, transform in enumerate(
        [
            rasterio.Affine(0.2, 0, 700_000, 0, 0.2, 6_599_988),
            rasterio.Affine(0.1, 0.17, 700_000, 0.17, -0.1, 6_600_000),
        ]
    ):
        folder = tmp_path / str(number)
        files = {"a_rgb.tif": tiff(RGB, transform=transform), "a_ndsm.tif": tiff(NDSM, transform=transform)}
        (image,) = images(folder, files)
        assert image.grid.transform == tuple(transform)[:6]
        assert image.gsd == pytest.approx(math.sqrt(abs(transform.determinant)))
        pixels = read(image)
        np.testing.assert_array_equal(pixels.rgb, RGB)
        np.testing.assert_array_equal(pixels.height, NDSM[0])


def test_four_bands_by_description_by_option_and_never_by_alpha(tmp_path: Path) -> None:
    stored = np.concatenate([RGB.astype(np.float32), NDSM])

    def four(description: str | None = None, color: ColorInterp | None = None) -> bytes:
        with MemoryFile() as memory:
            settings_ = {"driver": "GTiff", "count": 4, "height": 60, "width": 50, "dtype": "float32"}
            with rasterio.open(memory, "w", **settings_) as dataset:
                dataset.write(stored)
                if description:
                    dataset.set_band_description(4, description)
                colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, color or ColorInterp.undefined]
                dataset.colorinterp = colors
            return bytes(memory.read())

    (image,) = images(tmp_path, {"a.tif": four("nDSM")}, scale=(0, 255))
    assert image.height_band == 4
    np.testing.assert_array_equal(read(image).height, NDSM[0])
    np.testing.assert_array_equal(read(image).rgb, RGB)
    (image,) = images(tmp_path, {"a.tif": four()}, scale=(0, 255), height_band=4)
    np.testing.assert_array_equal(read(image).height, NDSM[0])
    assert "height_band" in failure(tmp_path, {"a.tif": four()}, scale=(0, 255))
    assert "no height beside it" in failure(tmp_path, {"a.tif": four(color=ColorInterp.alpha)}, scale=(0, 255))
    (image,) = images(
        tmp_path, {"b.tif": four("near infrared"), "b_ndsm.tif": tiff(NDSM + 1), "a.tif": four("chm")}, scale=(0, 255)
    )[1:]
    np.testing.assert_array_equal(read(image).height, NDSM[0] + 1)


def test_a_band_that_is_said_to_be_height_hides_nothing_as_alpha(tmp_path: Path) -> None:
    height = (NDSM // 1).astype(np.uint8)
    data = tiff(np.concatenate([RGB, height]), photometric="RGB", alpha="YES")
    (image,) = images(tmp_path, {"a.tif": data}, height_band=4)
    assert (height == 0).any()
    pixels = read(image)
    assert pixels.valid.all()
    np.testing.assert_array_equal(pixels.height, height[0])


def test_images_without_a_place_pair_by_size(tmp_path: Path) -> None:
    plain = {"crs": None, "transform": rasterio.Affine.identity()}
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB, **plain), "a_ndsm.tif": tiff(NDSM, **plain)}, gsd=0.3)
    assert image.grid == Grid(60, 50)
    assert image.gsd == 0.3
    np.testing.assert_array_equal(read(image).height, NDSM[0])
    reason = failure(tmp_path, {"a_ndsm.tif": tiff(NDSM[:, :30, :25], **plain)})
    assert "60 x 50" in reason
    assert "30 x 25" in reason


def test_a_height_without_a_place_lies_on_its_rgb(tmp_path: Path) -> None:
    plain = {"crs": None, "transform": rasterio.Affine.identity()}
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(NDSM, **plain)})
    assert image.grid.crs == "EPSG:2154"
    np.testing.assert_array_equal(read(image).height, NDSM[0])
    small = image.grid.resampled(0.5)
    means = RGB.reshape(3, 30, 2, 25, 2).astype(float).mean(axis=(2, 4))
    pixels = read(image, grid=small)
    assert np.abs(pixels.rgb - means).max() <= 0.5
    np.testing.assert_allclose(pixels.height, NDSM[0].reshape(30, 2, 25, 2).mean(axis=(1, 3)), atol=1e-4)


@pytest.mark.parametrize("georeferenced", [True, False])
def test_another_resolution_averages_what_is_there(tmp_path: Path, georeferenced: bool) -> None:
    place = {} if georeferenced else {"crs": None, "transform": rasterio.Affine.identity()}
    stored, height = RGB.copy(), NDSM.copy()
    stored[:, 10:14, 20:24] = 0
    stored[:, 30, 30] = 0
    height[0, :4, :4] = np.nan
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(stored, nodata=0, **place), "a_ndsm.tif": tiff(height, **place)})
    native = read(image)
    color = np.where(native.valid, native.rgb.astype(float), np.nan).reshape(3, 30, 2, 25, 2)
    small = image.grid.resampled(0.5)
    pixels = read(image, grid=small)
    with np.errstate(all="ignore"):
        expected = np.nanmean(color, axis=(2, 4))
    np.testing.assert_array_equal(pixels.valid, ~np.isnan(expected[0]))
    assert not pixels.valid[5:7, 10:12].any()
    assert pixels.valid[15, 15]
    assert np.nanmax(np.abs(np.where(pixels.valid, pixels.rgb, np.nan) - expected)) <= 0.5 + 1e-4
    assert np.isnan(pixels.height[:2, :2]).all()
    np.testing.assert_allclose(pixels.height[2:], height[0, 4:].reshape(28, 2, 25, 2).mean(axis=(1, 3)), atol=1e-4)
    part = read(image, Window(7, 9, 11, 13), small)
    np.testing.assert_array_equal(part.rgb, pixels.rgb[:, 7:18, 9:22])
    large = image.grid.resampled(2.0)
    assert read(image, Window(0, 0, 120, 100), large).rgb.shape == (3, 120, 100)


def test_a_resampled_grid_may_state_its_pixel_without_a_place(tmp_path: Path) -> None:
    odd, height = RGB[:, :59, :47], NDSM[:, :59, :47]
    plain = {"crs": None, "transform": None}
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(odd, **plain), "a_ndsm.tif": tiff(height, **plain)})
    stated = Grid(30, 24, (2.0, 0.0, 0.0, 0.0, 2.0, 0.0))
    pixels = read(image, grid=stated)
    means = height[0, :58, :46].reshape(29, 2, 23, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(pixels.height[:29, :23], means, atol=1e-4)
    np.testing.assert_allclose(pixels.height[29, :23], height[0, 58, :46].reshape(23, 2).mean(axis=1), atol=1e-4)
    assert pixels.height[29, 23] == height[0, 58, 46]


def test_limits_may_be_stated_as_plain_data() -> None:
    options = InputOptions(limits={"max_block": 5})  # type: ignore[arg-type]
    assert options.limits == Limits(max_block=5)
    assert "limits" not in options.settings()
    assert options.settings()["height_range"] == (-10.0, 500.0)
    with pytest.raises(UsageError, match="max_blocks"):
        InputOptions(limits={"max_blocks": 5})  # type: ignore[arg-type]


def test_legacy_crs_text_without_a_code_is_kept(tmp_path: Path) -> None:
    text = (
        'PROJCS["Old survey grid",GEOGCS["Old",DATUM["Old",SPHEROID["Clarke 1880 (IGN)",6378249.2,293.466021293627]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Lambert_Conformal_Conic_1SP"],'
        'PARAMETER["latitude_of_origin",46.8],PARAMETER["central_meridian",2.3],PARAMETER["scale_factor",0.9999],'
        'PARAMETER["false_easting",600000],PARAMETER["false_northing",2200000],UNIT["metre",1]]'
    )
    files = {"a_rgb.tif": tiff(RGB, crs=text), "a_ndsm.tif": tiff(NDSM, crs=text)}
    (image,) = images(tmp_path, files)
    assert image.grid.georeferenced
    assert image.grid.crs is not None
    assert not image.grid.crs.startswith("EPSG")
    assert "Lambert" in image.grid.crs
    assert rasterio.crs.CRS.from_wkt(image.grid.crs).is_projected
    np.testing.assert_array_equal(read(image).height, NDSM[0])


def test_a_compound_crs_is_read_by_its_map_part(tmp_path: Path) -> None:
    files = {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": tiff(NDSM, crs="EPSG:2154+5720")}
    (image,) = images(tmp_path, files)
    np.testing.assert_array_equal(read(image).height, NDSM[0])
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB, crs="EPSG:2154+5720")})
    assert image.grid.crs == "EPSG:2154"


def test_height_elsewhere_is_a_failure(tmp_path: Path) -> None:
    far = tiff(NDSM, transform=from_origin(800_000, 6_600_000, 0.2, 0.2))
    assert "do not overlap" in failure(tmp_path, {"a_rgb.tif": tiff(RGB), "a_ndsm.tif": far})


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        ("EPSG:2154", from_origin(700_000, 6_600_000, 0.5, 0.5), 0.5),
        ("EPSG:2263", from_origin(980_000, 200_000, 1.0, 1.0), 0.3048006),  # New York, US survey feet
        ("EPSG:3857", from_origin(261_000, 6_250_000, 1.0, 1.0), 0.6578),  # Paris: metres shrink by cos(latitude)
        ("EPSG:4326", from_origin(2.35, 48.85, 1e-5, 1e-5), 1.1132 * math.sqrt(math.cos(math.radians(48.85)))),
    ],
)
def test_the_sampling_distance_is_in_metres(tmp_path: Path, crs: str, transform: Any, expected: float) -> None:
    place = {"crs": crs, "transform": transform}
    (image,) = images(tmp_path, {"a_rgb.tif": tiff(RGB, **place), "a_ndsm.tif": tiff(NDSM, **place)})
    assert image.gsd == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("driver", ["PNG", "JPEG", "JP2OpenJPEG", "WEBP"])
def test_other_formats_are_read(tmp_path: Path, driver: str) -> None:
    suffix = {"PNG": "png", "JPEG": "jpg", "JP2OpenJPEG": "jp2", "WEBP": "webp"}[driver]
    lossless = {"JP2OpenJPEG": {"quality": 100, "reversible": "YES"}, "WEBP": {"lossless": "YES"}}.get(driver, {})
    plain = {"crs": None, "transform": rasterio.Affine.identity()}
    smooth = np.add.outer(np.arange(60), np.arange(50))[None].repeat(3, 0).astype(np.uint8)
    data = tiff(smooth, driver=driver, **plain, **lossless)
    (image,) = images(tmp_path, {f"a_rgb.{suffix}": data, "a_ndsm.tif": tiff(NDSM, **plain)})
    pixels = read(image, Window(13, 17, 30, 20))
    assert np.abs(pixels.rgb.astype(int) - smooth[:, 13:43, 17:37]).max() <= (0 if driver != "JPEG" else 8)
    (tmp_path / f"a_rgb.{suffix}").write_bytes(data[: len(data) // 2])
    found = discover([str(tmp_path)], InputOptions())
    if not found.images:
        assert all(account.error in ("UnreadableError", "UnpairedError") for account in found.accounts)
        return
    with pytest.raises(UnreadableError, match="a_rgb"):
        read(found.images[0])


@pytest.mark.parametrize(
    ("driver", "suffix"), [("PNG", "png"), ("JPEG", "jpg"), ("JP2OpenJPEG", "jp2"), ("WEBP", "webp")]
)
def test_what_is_decoded_at_once_is_bounded(tmp_path: Path, driver: str, suffix: str) -> None:
    data = tiff(RGB, driver=driver, crs=None, transform=None)
    (tmp_path / f"a_rgb.{suffix}").write_bytes(data)
    (tmp_path / "a_ndsm.tif").write_bytes(tiff(NDSM[:, :4, :4]))
    for limit, refused in ((60 * 50 * 3 - 1, True), (60 * 50 * 3, False)):
        found = discover([str(tmp_path)], InputOptions(limits=Limits(max_block=limit)))
        assert any("max_block" in account.reason for account in found.accounts) is refused


def gamus(path: Path, array: np.ndarray, **settings_: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=array, **settings_)


def test_the_layout_of_gamus(tmp_path: Path) -> None:
    color = np.moveaxis(RGB, 0, 2)
    classes = np.zeros((60, 50), np.int64)
    for split, name, rgb in (("train", "DC_01_25", "_IMG"), ("val", "NY_7", "_RGB")):
        gamus(tmp_path / f"images/{split}/{name}{rgb}.h5", color, chunks=(16, 16, 3), compression="gzip")
        gamus(tmp_path / f"heights/{split}/{name}_AGL.h5", NDSM[0])
        gamus(tmp_path / f"classes/{split}/{name}_CLS.h5", classes)
    gamus(tmp_path / "images/test/PHIMG.h5", color)
    gamus(tmp_path / "heights/test/PHAGL.h5", NDSM[0].astype(np.float64))
    found = discover([str(tmp_path)], InputOptions(gsd=0.33))
    assert [image.source for image in found.images] == [
        "images/test/PHIMG.h5",
        "images/train/DC_01_25_IMG.h5",
        "images/val/NY_7_RGB.h5",
    ]
    assert [(account.state, account.error) for account in found.accounts] == [("skipped", "label")] * 2
    for image in found.images:
        assert image.image_id[:-9] in ("images-test-ph", "images-train-dc_01_25", "images-val-ny_7")
        assert image.grid == Grid(60, 50)
        pixels = read(image, Window(3, 4, 50, 40))
        np.testing.assert_array_equal(pixels.rgb, RGB[:, 3:53, 4:44])
        np.testing.assert_array_equal(pixels.height, NDSM[0, 3:53, 4:44])


def test_damaged_and_hostile_hdf5(tmp_path: Path) -> None:
    color = np.moveaxis(RGB, 0, 2)
    gamus(tmp_path / "good_IMG.h5", color)
    gamus(tmp_path / "huge_IMG.h5", np.zeros((2, 2, 3), np.uint8))
    with h5py.File(tmp_path / "huge_IMG.h5", "w") as file:
        file.create_dataset("image", (60_000, 60_000, 3), np.uint8, chunks=(30_000, 30_000, 3))
    with h5py.File(tmp_path / "empty_IMG.h5", "w") as file:
        file.create_dataset("image", (60_000, 60_000, 3), np.uint8, chunks=(300, 300, 3))
    with h5py.File(tmp_path / "link_IMG.h5", "w") as file:
        file["image"] = h5py.ExternalLink("good_IMG.h5", "image")
    with h5py.File(tmp_path / "other_IMG.h5", "w") as file:
        file["picture"] = color
    with h5py.File(tmp_path / "outside_IMG.h5", "w") as file:
        file.create_dataset("image", (10, 10, 3), np.uint8, external=[("/etc/passwd", 0, 300)])
    data = (tmp_path / "good_IMG.h5").read_bytes()
    (tmp_path / "cut_IMG.h5").write_bytes(data[: len(data) // 2])
    reasons = {Path(a.source).name: a for a in discover([str(tmp_path)], InputOptions()).accounts}
    assert all(account.state == "failed" for account in reasons.values())
    assert "max_block" in reasons["huge_IMG.h5"].reason
    assert "no pixels" in reasons["empty_IMG.h5"].reason
    assert "link" in reasons["link_IMG.h5"].reason
    assert "picture" in reasons["other_IMG.h5"].reason
    assert "other files" in reasons["outside_IMG.h5"].reason
    assert reasons["cut_IMG.h5"].error == "UnreadableError"
    assert reasons["good_IMG.h5"].error == UnpairedError.__name__


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (5, 5)},
        {"scale": (0, math.nan)},
        {"height_range": (10, -10)},
        {"height_scale": 0},
        {"rgb_bands": (0, 1, 2)},
        {"height_band": 2},
        {"gsd": -1.0},
        {"datetime_pattern": "("},
        {"datetime_pattern": r"(\d{4})"},
        {"datetime": "yesterday"},
    ],
)
def test_options_that_cannot_be_are_told_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        InputOptions(**options)


def test_dates_come_from_tag_path_and_option_in_this_order(tmp_path: Path) -> None:
    def stamped(text: str | None) -> bytes:
        path = tmp_path.parent / f"{tmp_path.name}.tif"
        path.write_bytes(tiff(RGB))
        with rasterio.open(path, "r+") as dataset:
            if text:
                dataset.update_tags(TIFFTAG_DATETIME=text)
        return path.read_bytes()

    files = {"t_2019-05-04_rgb.tif": stamped("2021:06:07 08:09:10"), "t_2019-05-04_ndsm.tif": tiff(NDSM)}
    pattern = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    (image,) = images(tmp_path, files, datetime="2001-01-01", datetime_pattern=pattern)
    assert image.datetime == "2021-06-07T08:09:10Z"
    files["t_2019-05-04_rgb.tif"] = stamped(None)
    (image,) = images(tmp_path, files, datetime="2001-01-01", datetime_pattern=pattern)
    assert image.datetime == "2019-05-04T00:00:00Z"
    (image,) = images(tmp_path, files, datetime="2001-01-01T12:00:00+02:00")
    assert image.datetime == "2001-01-01T10:00:00Z"
    (image,) = images(tmp_path, files)
    assert image.datetime is None


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real rasters do not lie beside this checkout")
def test_the_real_folder_gives_two_images_and_names_the_rest() -> None:
    found = discover([str(REAL)], InputOptions())
    assert [image.source for image in found.images] == ["ign_lidar_hd/rgb.tif", "neon_sjer_052/rgb.tif"]
    assert [image.image_id[:-9] for image in found.images] == ["ign_lidar_hd", "neon_sjer_052"]
    assert [(image.grid.crs, round(image.gsd or 0, 6)) for image in found.images] == [
        ("EPSG:2154", 0.2),
        ("EPSG:32611", 0.1),
    ]
    left = {Path(account.source).name: (account.state, account.error) for account in found.accounts}
    assert left == {
        "LICENSE.md": ("skipped", "format"),
        "LICENSE": ("skipped", "format"),
        "tree_boxes.xml": ("skipped", "format"),
        "labels_nn3px.tif": ("skipped", "label"),
        "labels_sparse.tif": ("skipped", "label"),
    }
    with rasterio.open(REAL / "ign_lidar_hd/rgb.tif") as rgb, rasterio.open(REAL / "ign_lidar_hd/ndsm.tif") as ndsm:
        pixels = read(found.images[0])
        np.testing.assert_array_equal(pixels.rgb, rgb.read())
        np.testing.assert_array_equal(pixels.height, ndsm.read(1))


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the real rasters do not lie beside this checkout")
def test_the_neon_height_lies_where_its_coordinates_say() -> None:
    (image,) = discover([str(REAL / "neon_sjer_052")], InputOptions()).images
    with rasterio.open(REAL / "neon_sjer_052/chm.tif") as dataset:
        chm, origin = dataset.read(1).astype(float), dataset.transform
    assert (origin.c - image.grid.xy(0, 0)[0], origin.f - image.grid.xy(0, 0)[1]) == pytest.approx((0.4, 0.2), abs=1e-6)
    whole = read(image)
    assert np.isnan(whole.height[:, :4]).all()  # 0.4 m of RGB west of the height
    assert np.isnan(whole.height[398:]).all()  # 0.2 m south of it
    assert not np.isnan(whole.height[:398, 4:]).any()
    for row, col in [(0, 4), (3, 9), (200, 123), (397, 399), (55, 380)]:
        # by hand: this pixel's centre, in metres east and south of the first height pixel's centre
        u = (col + 0.5) * 0.1 - 0.4 - 0.5
        v = (row + 0.5) * 0.1 + 0.2 - 0.5
        c, r = min(max(u, 0), 39), min(max(v, 0), 39)
        c0, r0 = min(int(c), 38), min(int(r), 38)
        fc, fr = c - c0, r - r0
        by_hand = (chm[r0, c0] * (1 - fc) + chm[r0, c0 + 1] * fc) * (1 - fr) + (
            chm[r0 + 1, c0] * (1 - fc) + chm[r0 + 1, c0 + 1] * fc
        ) * fr
        assert whole.height[row, col] == pytest.approx(by_hand, abs=1e-4)
    window = Window(128, 64, 256, 300)
    assert read(image, window).height.tobytes() == whole.height[window.slices()].tobytes()
