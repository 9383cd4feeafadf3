"""Labelled data sets in the layouts that they are published in: found, read, refused, cropped and trained on."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import torch
from mmengine.config import Config
from numpy.typing import NDArray
from rasterio.transform import Affine

import gridscribe.configs
from gridscribe.errors import ChangedError, GridscribeError, InputError, UnpairedError, UnreadableError, UsageError
from gridscribe.ingest.scenes import write_scenes
from gridscribe.pipelines.augment import missing_modality
from gridscribe.pipelines.crops import LabelledCrops
from gridscribe.pipelines.datasets import (
    ANCHORS,
    IGNORE,
    KINDS,
    LabelledImage,
    Legend,
    Scene,
    cache,
    cache_images,
    find_labelled,
    open_labelled,
)
from gridscribe.pipelines.datasets.flair import VAL_DOMAINS
from gridscribe.pipelines.datasets.isprs import AREAS
from gridscribe.pipelines.datasets.legends import FLAIR, FLAIR_MERGED, GAMUS, ISPRS
from gridscribe.pipelines.datasets.recipe import with_data
from gridscribe.pipelines.evaluation import evaluate, score
from gridscribe.pipelines.recipes import config_path
from gridscribe.pipelines.training import train
from gridscribe.values import Window

torch.set_num_threads(1)
SIZE = 96
MINE = Legend(("field", "road", "hut"), ((200, 220, 90), (90, 90, 90), (226, 62, 50)), ignored_in_mean=(1,))
PLACE = Affine(0.2, 0, 5e5, 0, -0.2, 5e6)


def blocks(seed: int, classes: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Squares of 16 pixels: what JPEG keeps exactly where they are flat."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, (size // 16, size // 16)).repeat(16, 0).repeat(16, 1).astype(np.uint8)


def colour(labels: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.clip(30 + 12.0 * labels + rng.normal(0, 3, (3, *labels.shape)), 1, 255).astype(np.uint8)


def write(path: Path, bands: NDArray[Any], *, placed: bool = False, **profile: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = bands if bands.ndim == 3 else bands[None]
    driver = {".tif": "GTiff", ".png": "PNG", ".jpg": "JPEG"}[path.suffix]
    if placed:
        profile |= {"crs": "EPSG:32631", "transform": PLACE}
    if driver == "JPEG":
        profile |= {"quality": 100}
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", driver=driver, dtype=bands.dtype, **shape, **profile) as file:
        file.write(bands)


def write_h5(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["image"] = values


def write_gamus(root: Path, split: str, base: str, labels: NDArray[Any], *, end: str = "RGB", seed: int = 0) -> Scene:
    """A tile as GAMUS has it: NaN and negative heights among them."""
    rgb, height = colour(labels, seed), (2.5 * labels).astype(np.float32)
    height[0, 0], height[0, 1], height[0, 2] = np.nan, -3.0, -80.0
    write_h5(root / "images" / split / f"{base}_{end}.h5", np.moveaxis(rgb, 0, -1))
    write_h5(root / "heights" / split / f"{base}_AGL.h5", height)
    write_h5(root / "classes" / split / f"{base}_CLS.h5", labels)
    height[0, 2] = np.nan  # impossible
    return Scene(rgb, height, labels.astype(np.uint8))


def paint(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """In the benchmark's colours; 255 is black."""
    table = np.zeros((256, 3), np.uint8)
    table[:6] = [(255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)]
    return np.moveaxis(table[labels], -1, 0)


def eroded(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    labels = labels.copy()
    labels[15::16], labels[:, 15::16] = IGNORE, IGNORE
    return labels


def write_vaihingen(root: Path, tile: int, labels: NDArray[np.uint8]) -> Scene:
    rgb, levels = colour(labels, tile), (20 * labels).astype(np.uint8)
    write(root / f"top/top_mosaic_09cm_area{tile}.tif", rgb, placed=True)
    write(root / f"dsm/dsm_09cm_matching_area{tile}_normalized.jpg", levels)
    write(root / f"dsm/dsm_09cm_matching_area{tile}.tif", levels + np.float32(260), placed=True)
    write(root / f"gts_for_participants/top_mosaic_09cm_area{tile}.tif", paint(labels))
    write(root / f"gts_eroded_for_participants/top_mosaic_09cm_area{tile}_noBoundary.tif", paint(eroded(labels)))
    return Scene(rgb, levels * np.float32(0.1), labels)


def write_potsdam(root: Path, row: int, col: int, labels: NDArray[np.uint8]) -> Scene:
    rgb, levels = colour(labels), (20 * labels).astype(np.uint8)
    write(root / f"2_Ortho_RGB/top_potsdam_{row}_{col}_RGB.tif", rgb, placed=True)
    write(root / f"1_DSM_normalisation/dsm_potsdam_{row:02}_{col:02}_normalized_lastools.jpg", levels)
    write(root / f"5_Labels_all/top_potsdam_{row}_{col}_label.tif", paint(labels))
    write(root / f"5_Labels_all_noBoundary/top_potsdam_{row}_{col}_label_noBoundary.tif", paint(eroded(labels)))
    return Scene(rgb, levels * np.float32(0.05), labels)


def write_flair(images: Path, masks: Path, zone: str, number: int, stored: NDArray[np.uint8]) -> Scene:
    rgb = colour(stored, number)
    levels = (10 * stored).astype(np.uint8)
    bands = np.concatenate([rgb, 255 - rgb[:1], levels[None]])
    write(images / zone / f"img/IMG_{number:06}.tif", bands, placed=True)
    write(masks / zone / f"msk/MSK_{number:06}.tif", stored, placed=True)
    return Scene(rgb, levels * np.float32(0.2), stored)


def write_scene(root: Path, name: str, labels: NDArray[np.uint8]) -> Scene:
    rgb, height = colour(labels), (5.0 * labels).astype(np.float32)
    write(root / f"{name}_rgb.tif", rgb, placed=True)
    write(root / f"{name}_ndsm.tif", height, placed=True)
    write(root / f"{name}_labels.tif", labels, placed=True)
    return Scene(rgb, height, labels)


def write_mine(root: Path, name: str, labels: NDArray[np.uint8]) -> Scene:
    rgb, height = colour(labels), (100 * labels.astype(np.uint16)).astype(np.uint16)
    write(root / f"ortho/{name}_2021.tif", rgb)
    write(root / f"ndsm/h_{name}.tif", height)
    write(root / f"truth/{name}.png", labels)
    return Scene(rgb, height * np.float32(0.01), labels)


MINE_OPTIONS: dict[str, Any] = {
    "images": "ortho/*_2021.tif",
    "heights": "ndsm/h_*.tif",
    "labels": "truth/*.png",
    "reading": {"height_scale": 0.01, "gsd": 0.3},
}


def check(image: LabelledImage, wanted: Scene) -> None:
    """All pixels, and a window on its own, are those that were written."""
    window = Window(7, 11, 30, 41)
    for found, box in ((image.read(), (slice(None), slice(None))), (image.read(window), window.slices())):
        assert (found.rgb.dtype, found.height.dtype, found.labels.dtype) == (np.uint8, np.float32, np.uint8)
        np.testing.assert_array_equal(found.rgb, wanted.rgb[(slice(None), *box)])
        np.testing.assert_allclose(found.height, wanted.height[box], atol=1e-5)
        np.testing.assert_array_equal(found.labels, wanted.labels[box])


# --- GAMUS ---


def test_gamus_is_read_as_published(tmp_path: Path) -> None:
    second = write_gamus(tmp_path, "train", "NYC_03_07", blocks(1, 7), end="IMG", seed=1)
    first = write_gamus(tmp_path, "train", "DC_01_25", blocks(0, 7).astype(np.int64))
    write_gamus(tmp_path, "val", "DC_09_09", blocks(2, 7))
    images = find_labelled("gamus", tmp_path, "train")
    assert [image.id for image in images] == ["DC_01_25", "NYC_03_07"]
    assert images[0].legend == GAMUS
    assert images[0].legend.ignored_in_mean == (0,)
    assert images[0].image.gsd == 0.33
    for image, wanted in zip(images, (first, second), strict=True):
        check(image, wanted)
    assert find_labelled("gamus", tmp_path, "val")[0].id == "DC_09_09"


def test_gamus_refusals(tmp_path: Path) -> None:
    labels = blocks(0, 7)
    write_gamus(tmp_path, "train", "a", labels)
    with pytest.raises(UsageError, match="split 'dev': choose one of train, val, test"):
        find_labelled("gamus", tmp_path, "dev")
    with pytest.raises(InputError, match=r"images/test: no such folder"):
        find_labelled("gamus", tmp_path, "test")
    (tmp_path / "images/test").mkdir()
    with pytest.raises(InputError, match="holds no image of the test split"):
        find_labelled("gamus", tmp_path, "test")

    labels[20, 30] = 7
    write_gamus(tmp_path, "train", "a", labels)
    with pytest.raises(
        InputError,
        match=r"a_CLS\.h5: the label 7 at row 20, column 30 .*1 pixels of 9,216.*allowed are 0, 1, 2, 3, 4, 5, 6:",
    ):
        find_labelled("gamus", tmp_path, "train")[0].read()
    with pytest.raises(InputError, match="at row 20, column 30"):
        find_labelled("gamus", tmp_path, "train")[0].read(Window(10, 20, 40, 40))
    find_labelled("gamus", tmp_path, "train")[0].read(Window(0, 0, 20, 30))
    write_h5(tmp_path / "classes/train/a_CLS.h5", np.zeros((SIZE, SIZE - 1), np.uint8))
    with pytest.raises(InputError, match=r"a_CLS\.h5: labels of 96 x 95 pixels, its image has 96 x 96"):
        find_labelled("gamus", tmp_path, "train")[0].read()
    write_h5(tmp_path / "classes/train/a_CLS.h5", np.zeros((SIZE, SIZE), np.float32))
    with pytest.raises(InputError, match=r"a_CLS\.h5: labels of type float32, expected whole numbers"):
        find_labelled("gamus", tmp_path, "train")[0].read()
    write_h5(tmp_path / "classes/train/a_CLS.h5", np.zeros((SIZE, SIZE, 3), np.uint8))
    with pytest.raises(InputError, match=r"a_CLS\.h5: 3 bands of labels, expected one band"):
        find_labelled("gamus", tmp_path, "train")[0].read()
    (tmp_path / "classes/train/a_CLS.h5").unlink()
    with pytest.raises(
        UnpairedError, match=r"a_RGB\.h5: no label file belongs to it: expected .*classes/train/a_CLS\.h5"
    ):
        find_labelled("gamus", tmp_path, "train")

    write_gamus(tmp_path, "train", "a", blocks(0, 7))
    write_h5(tmp_path / "heights/train/a_AGL.h5", np.zeros((SIZE, SIZE + 1), np.float32))
    with pytest.raises(UnpairedError, match=r"96 x 96 pixels, its height .*a_AGL\.h5 96 x 97"):
        find_labelled("gamus", tmp_path, "train")
    (tmp_path / "heights/train/a_AGL.h5").unlink()
    with pytest.raises(UnpairedError, match=r"a_RGB\.h5: no height belongs to it: expected .*heights/train/a_AGL\.h5"):
        find_labelled("gamus", tmp_path, "train")
    write_gamus(tmp_path, "train", "a", blocks(0, 7), end="IMG")
    with pytest.raises(InputError, match=r"a_RGB\.h5: .*a_IMG\.h5 has the same base name 'a_'"):
        find_labelled("gamus", tmp_path, "train")
    (tmp_path / "images/train/a_RGB.h5").rename(tmp_path / "images/train/b.h5")
    with pytest.raises(InputError, match=r"b\.h5: its name does not end in RGB\.h5 or IMG\.h5"):
        find_labelled("gamus", tmp_path, "train")


# --- ISPRS ---


def test_vaihingen_is_read_as_published(tmp_path: Path) -> None:
    wanted = {tile: write_vaihingen(tmp_path, tile, blocks(tile, 6)) for tile in (1, 11)}
    options: dict[str, Any] = {"area": "vaihingen", "metres_per_level": 0.1, "tiles": ["11", "1"]}
    images = find_labelled("isprs", tmp_path, "train", **options)
    assert [image.id for image in images] == ["vaihingen-11", "vaihingen-1"]
    assert images[0].legend == ISPRS
    assert ISPRS.classes[ISPRS.ignored_in_mean[0]] == "clutter"
    for image, tile in zip(images, (11, 1), strict=True):
        check(image, wanted[tile])
    (image, _) = find_labelled("isprs", tmp_path, "train", **options, eroded=True)
    check(image, Scene(wanted[11].rgb, wanted[11].height, eroded(wanted[11].labels)))
    assert (image.read().labels == IGNORE).sum() == SIZE**2 - (SIZE // 16 * 15) ** 2


def test_potsdam_is_read_as_published(tmp_path: Path) -> None:
    wanted = write_potsdam(tmp_path, 7, 9, blocks(3, 6))
    options: dict[str, Any] = {"area": "potsdam", "metres_per_level": 0.05, "tiles": ["7_9"]}
    (image,) = find_labelled("isprs", tmp_path, "train", **options)
    assert image.id == "potsdam-7_9"
    check(image, wanted)
    (image,) = find_labelled("isprs", tmp_path, "train", **options, eroded=True)
    check(image, Scene(wanted.rgb, wanted.height, eroded(wanted.labels)))


def test_isprs_splits_are_the_benchmarks() -> None:
    for area, counts in (("vaihingen", (16, 17)), ("potsdam", (24, 14))):
        train_tiles, test_tiles = AREAS[area].splits["train"], AREAS[area].splits["test"]
        assert (len(set(train_tiles)), len(set(test_tiles))) == counts == (len(train_tiles), len(test_tiles))
        assert not set(train_tiles) & set(test_tiles)


def test_isprs_refusals(tmp_path: Path) -> None:
    labels = blocks(0, 6)
    write_vaihingen(tmp_path, 1, labels)
    options: dict[str, Any] = {"area": "vaihingen", "metres_per_level": 0.1, "tiles": ["1"]}
    find = lambda split="train", **changed: find_labelled("isprs", tmp_path, split, **(options | changed))  # noqa: E731
    with pytest.raises(UsageError, match="area 'toronto': choose one of vaihingen, potsdam"):
        find(area="toronto")
    with pytest.raises(UsageError, match="split 'val': choose one of train, test"):
        find("val")
    with pytest.raises(UsageError, match="tile '1' is no name in potsdam: expected one like '2_10'"):
        find(area="potsdam")
    with pytest.raises(UsageError, match="height_scale"):
        find(metres_per_level=0.0)
    with pytest.raises(InputError, match=r"area3\.tif: no such file; it is tile 3 of the train split"):
        find(tiles=None)
    with pytest.raises(UsageError, match="option 'metres_per_level' must be set"):
        find_labelled("isprs", tmp_path, "train", area="vaihingen")

    wrong = paint(labels)
    wrong[:, 40, 50] = (255, 254, 0)
    write(tmp_path / "gts_for_participants/top_mosaic_09cm_area1.tif", wrong)
    with pytest.raises(
        InputError, match=r"area1\.tif: the colour \(255, 254, 0\) at row 40, column 50 stands for no class"
    ):
        find()[0].read()
    write(tmp_path / "gts_for_participants/top_mosaic_09cm_area1.tif", labels)
    with pytest.raises(InputError, match=r"area1\.tif: 1 bands of labels, expected three bands of colour"):
        find()[0].read()
    write(tmp_path / "gts_for_participants/top_mosaic_09cm_area1.tif", paint(labels).astype(np.uint16))
    with pytest.raises(InputError, match=r"area1\.tif: labels of type uint16, expected uint8"):
        find()[0].read()
    write(tmp_path / "gts_for_participants/top_mosaic_09cm_area1.tif", paint(labels)[:, 1:])
    with pytest.raises(InputError, match="labels of 95 x 96 pixels, its image has 96 x 96"):
        find()[0].read()
    (tmp_path / "gts_eroded_for_participants/top_mosaic_09cm_area1_noBoundary.tif").unlink()
    with pytest.raises(UnpairedError, match=r"no eroded label file .* or .*gts_eroded_for_participants"):
        find(eroded=True)
    (tmp_path / "dsm/dsm_09cm_matching_area1_normalized.jpg").unlink()  # the absolute DSM is not taken for it
    with pytest.raises(UnpairedError, match=r"no normalised DSM .*area1_normalized\.jpg or .*area1_normalized\.tif"):
        find()


# --- FLAIR ---


def merged(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.minimum(stored - 1, 12)


def test_flair_is_read_as_published(tmp_path: Path) -> None:
    images, masks = tmp_path / "flair_aerial_train", tmp_path / "flair_labels_train"
    stored = blocks(4, 19) + 1
    first = write_flair(images, masks, "D006_2020/Z1_NN", 12, stored)
    held = write_flair(images, masks, "D014_2020/Z2_UU", 13, blocks(5, 19) + 1)
    test = write_flair(
        tmp_path / "flair_1_aerial_test", tmp_path / "flair_1_labels_test", "D022_2021/Z3_AA", 14, stored
    )
    assert "D014_2020" in VAL_DOMAINS
    for split, wanted, name in (
        ("train", first, "flair_aerial_train/D006_2020/Z1_NN/IMG_000012"),
        ("val", held, "flair_aerial_train/D014_2020/Z2_UU/IMG_000013"),
        ("test", test, "flair_1_aerial_test/D022_2021/Z3_AA/IMG_000014"),
    ):
        (image,) = find_labelled("flair", tmp_path, split)
        assert (image.id, image.legend, image.image.gsd) == (name, FLAIR_MERGED, 0.2)
        check(image, Scene(wanted.rgb, wanted.height, merged(wanted.labels)))
        (image,) = find_labelled("flair", tmp_path, split, merge_other=False)
        assert image.legend == FLAIR
        check(image, Scene(wanted.rgb, wanted.height, wanted.labels - np.uint8(1)))
    (image,) = find_labelled("flair", tmp_path, "train", metres_per_level=0.1)
    np.testing.assert_allclose(image.read().height, first.height / 2, atol=1e-5)
    assert FLAIR_MERGED.classes == (*FLAIR.classes[:12], "other")


def test_flair_labels_may_lie_beside_images(tmp_path: Path) -> None:
    wanted = write_flair(tmp_path / "train", tmp_path / "train", "D006_2020/Z1_NN", 1, blocks(4, 19) + 1)
    (image,) = find_labelled("flair", tmp_path, "train")
    check(image, Scene(wanted.rgb, wanted.height, merged(wanted.labels)))


def test_flair_refusals(tmp_path: Path) -> None:
    place = tmp_path / "train"
    with pytest.raises(InputError, match=r"no folder train/ or \*_aerial_train/"):
        find_labelled("flair", tmp_path, "train")
    stored = blocks(4, 19) + 1
    stored[8, 9] = 0  # FLAIR starts at 1
    write_flair(place, place, "D006_2020/Z1_NN", 1, stored)
    with pytest.raises(UsageError, match="split None: choose one of train, val, test"):
        find_labelled("flair", tmp_path)
    with pytest.raises(
        InputError, match=r"MSK_000001\.tif: the label 0 at row 8, column 9 .* allowed are 1, 2, .*, 19:"
    ):
        find_labelled("flair", tmp_path, "train")[0].read()
    with pytest.raises(InputError, match="holds no image of the val split"):
        find_labelled("flair", tmp_path, "val")
    (tmp_path / "x_aerial_train").mkdir()
    with pytest.raises(InputError, match="train, x_aerial_train all hold a train split"):
        find_labelled("flair", tmp_path, "train")
    (tmp_path / "x_aerial_train").rmdir()
    mask = place / "D006_2020/Z1_NN/msk/MSK_000001.tif"
    mask.unlink()
    with pytest.raises(
        UnpairedError, match=r"IMG_000001\.tif: no label file belongs to it: expected .*MSK_000001\.tif"
    ):
        find_labelled("flair", tmp_path, "train")
    mask.touch()
    with pytest.raises(UnreadableError, match=r"MSK_000001\.tif: not a raster format"):
        find_labelled("flair", tmp_path, "train")[0].read()
    write(place / "D006_2020/Z1_NN/img/IMG_000001.tif", np.ones((4, SIZE, SIZE), np.uint8))
    with pytest.raises(UnpairedError, match=r"IMG_000001\.tif: no height beside it, and 4 bands, fewer than .*\(5\)"):
        find_labelled("flair", tmp_path, "train")


# --- generated scenes and a folder of one's own ---


def test_generated_scenes_have_no_splits(tmp_path: Path) -> None:
    wanted = write_scene(tmp_path, "a", blocks(0, 7))
    (image,) = find_labelled("scenes", tmp_path)
    check(image, wanted)
    with pytest.raises(UsageError, match="split 'train': generated scenes have none"):
        find_labelled("scenes", tmp_path, "train")


def test_a_folder_is_read_by_its_patterns(tmp_path: Path) -> None:
    wanted = {name: write_mine(tmp_path, name, blocks(k, 3)) for k, name in enumerate(("b-1", "a"))}
    wanted["a"].labels[3, 4] = IGNORE
    write(tmp_path / "truth/a.png", wanted["a"].labels)
    images = find_labelled("folder", tmp_path, legend=MINE, **MINE_OPTIONS)
    assert [image.id for image in images] == ["a", "b-1"]
    for image in images:
        check(image, wanted[image.id])
        assert (image.legend, image.image.gsd) == (MINE, 0.3)


def test_a_folder_may_have_splits_colours_and_heights_in_its_images(tmp_path: Path) -> None:
    labels = blocks(0, 3)
    rgb = colour(labels)
    height = (2.0 * labels).astype(np.float32)
    write(tmp_path / "val/i/x.tif", np.concatenate([height[None], rgb.astype(np.float32)]))
    painted = np.moveaxis(np.array(MINE.palette, np.uint8)[labels], -1, 0).copy()
    painted[:, 5, 6] = 0
    write(tmp_path / "val/l/x.png", painted)
    (image,) = find_labelled(
        *("folder", tmp_path, "val"),
        legend=MINE,
        images="{split}/i/*.tif",
        labels="{split}/l/*.png",
        coded="colors",
        reading={"height_band": 1, "rgb_bands": (2, 3, 4), "scale": (0, 255)},
    )
    labels[5, 6] = IGNORE
    check(image, Scene(rgb, height, labels))


def test_folder_refusals(tmp_path: Path) -> None:
    write_mine(tmp_path, "a", blocks(0, 3))

    def find(split: str | None = None, legend: Legend | None = MINE, **changed: Any) -> list[LabelledImage]:
        return find_labelled("folder", tmp_path, split, legend=legend, **(MINE_OPTIONS | changed))

    for changed, message in (
        ({"images": "ortho/a_2021.tif"}, "exactly one '\\*' is needed"),
        ({"images": "*/*_2021.tif"}, "exactly one '\\*' is needed"),
        ({"labels": "truth/[ab]*.png"}, "exactly one '\\*' is needed"),
        ({"labels": "/truth/*.png"}, "labels='/truth/\\*.png': give a path below the root"),
        ({"labels": "{split}/*.png"}, "patterns have '{split}', and no split is chosen"),
        ({"split": "val"}, "split 'val', and no pattern has '{split}' in it"),
        ({"heights": None}, "no 'heights' pattern, and no 'height_band'"),
        ({"coded": "rgb"}, "coded 'rgb': choose 'ids' or 'colors'"),
        ({"reading": {"gds": 1}}, "option 'reading': .*gds.*allowed: scale, nodata"),
        ({"legend": None}, "needs a legend"),
        ({"colour": 1}, "no option 'colour'; allowed: images, labels, heights, coded, reading"),
    ):
        with pytest.raises(UsageError, match=message):
            find(**changed)
    with pytest.raises(InputError, match=r"no file matches images='photos/\*\.tif'"):
        find(images="photos/*.tif")
    write(tmp_path / "truth/b.png", blocks(0, 3))
    with pytest.raises(
        UnpairedError,
        match=r"truth/b\.png: no file of 'images' belongs to it: 'ortho/\*_2021\.tif' matches none for \* = 'b'",
    ):
        find()
    (tmp_path / "truth/b.png").rename(tmp_path / "truth/a.png")
    (tmp_path / "ndsm/h_a.tif").rename(tmp_path / "ndsm/h_b.tif")
    with pytest.raises(UnpairedError, match=r"ortho/a_2021\.tif: no file of 'heights' belongs to it"):
        find()
    (tmp_path / "ndsm/h_b.tif").rename(tmp_path / "ndsm/h_a.tif")
    write(tmp_path / "truth/a.png", blocks(0, 3) + 1)
    with pytest.raises(InputError, match=r"a\.png: the label 3 at .* allowed are 0, 1, 2, 255:"):
        find()[0].read()


def test_legends_and_options_are_checked(tmp_path: Path) -> None:
    for arguments, message in (
        ((("a",), ((0, 0, 0),)), "1 given, .* 2 to 255 are needed"),
        ((("a", "a"), ((0, 0, 0),) * 2), "a name stands twice"),
        ((("a", "b"), ((0, 0, 0),)), "1 colours for 2 classes"),
        ((("a", "b"), ((0, 0, 0), (0, 0, 256))), r"\(0, 0, 256\) is no colour"),
        ((("a", "b"), ((0, 0, 0),) * 2, (2,)), r"ignored_in_mean: \(2,\) of 2 classes"),
        ((("a", "b"), ((0, 0, 0),) * 2, (0, 1)), "not all of them"),
    ):
        with pytest.raises(UsageError, match=message):
            Legend(*arguments)
    with pytest.raises(UsageError, match="kind 'cityscapes': choose one of scenes, gamus, isprs, flair, folder"):
        find_labelled("cityscapes", tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_labelled("scenes", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="kind 'scenes': no option 'eroded'; allowed: none"):
        find_labelled("scenes", tmp_path, eroded=True)
    write_scene(tmp_path, "a", blocks(0, 7))
    with pytest.raises(UsageError, match=r"its classes are \['other', .*asked for were \['field'"):
        find_labelled("scenes", tmp_path, legend=MINE)
    write_mine(tmp_path, "a", blocks(0, 3))
    same = Legend(MINE.classes, (MINE.palette[0],) * 3)
    with pytest.raises(UsageError, match="a colour stands for two classes"):
        find_labelled("folder", tmp_path, legend=same, **MINE_OPTIONS, coded="colors")


def test_a_pixel_without_rgb_has_no_label(tmp_path: Path) -> None:
    wanted = write_scene(tmp_path, "a", blocks(0, 7))
    wanted.rgb[:, 10:20, 30:40] = 0
    write(tmp_path / "a_rgb.tif", wanted.rgb, placed=True, nodata=0)
    labels = find_labelled("scenes", tmp_path)[0].read().labels
    assert (labels[10:20, 30:40] == IGNORE).all()
    assert (labels == IGNORE).sum() == 100


def test_files_that_change_under_a_reader_are_noticed(tmp_path: Path) -> None:
    write_scene(tmp_path, "a", blocks(0, 7))
    (image,) = find_labelled("scenes", tmp_path)
    os.utime(tmp_path / "a_labels.tif", ns=(1, 1))
    with pytest.raises(ChangedError, match="a_labels"):
        open_labelled(image)
    assert find_labelled("scenes", tmp_path)[0].identity != image.identity


# --- the cache ---


def test_anchors_are_spread_evenly_over_all_bands(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 5, (1200, 24)).astype(np.uint8)
    labels[:600] = 1
    labels[700, 3] = 6
    write_scene(tmp_path / "s", "a", labels)
    (image,) = find_labelled("scenes", tmp_path / "s")
    (cached,) = cache_images([image], tmp_path / "c")
    assert cached.shape == labels.shape
    assert cached.present == (0, 1, 2, 3, 4, 6)
    np.testing.assert_array_equal(cached.scene.labels, labels)
    np.testing.assert_array_equal(cached.scene.height, 5.0 * labels)
    assert cached.anchors.shape == (7, ANCHORS, 2)
    assert (cached.anchors[5] == -1).all()
    for k in cached.present:
        positions = np.argwhere(labels == k)
        wanted = positions[np.linspace(0, len(positions) - 1, ANCHORS).astype(int)]
        np.testing.assert_array_equal(cached.anchors[k], wanted)


def test_only_whole_images_are_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = blocks(0, 7)
    write_scene(tmp_path / "s", "a", labels)
    decode, images = cache._decode, find_labelled("scenes", tmp_path / "s")

    def die(image: LabelledImage, folder: Path) -> None:
        decode(image, folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_decode", die)
        with pytest.raises(KeyboardInterrupt):
            cache_images(images, tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())

    def lose_the_race(image: LabelledImage, folder: Path) -> None:
        decode(image, folder)
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_decode", decode)
            cache_images([image], tmp_path / "c")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_decode", lose_the_race)
        (cached,) = cache_images(images, tmp_path / "c")
    np.testing.assert_array_equal(cached.scene.labels, labels)
    assert [p.name for p in (tmp_path / "c").iterdir()] == [cached.folder.name]

    def fill_the_disk(image: LabelledImage, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "_decode", fill_the_disk)
        with pytest.raises(UsageError, match="pixels of a cannot be written: No space left on device: free space"):
            cache_images(images, tmp_path / "d")
    monkeypatch.setattr(cache, "_decode", die)  # nothing is decoded twice
    assert cache_images(images, tmp_path / "c") == [cached]


def test_more_images_than_file_handles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for k in range(60):
        write_scene(tmp_path / "s", f"{k:03}", np.full((8, 9), k % 7, np.uint8))
    cached = cache_images(find_labelled("scenes", tmp_path / "s"), tmp_path / "c")
    monkeypatch.setattr(cache, "_mapped", lru_cache(maxsize=8)(cache._mapped.__wrapped__))
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, limits[1]))
    try:
        for _ in range(2):
            assert [int(one.scene.labels[3, 3]) for one in cached] == [k % 7 for k in range(60)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# --- crops ---


def make(kind: str, root: Path) -> dict[str, Any]:
    """Two images of a kind, with some pixels to be ignored where it has such; the crops' arguments."""
    legend, split, options = GAMUS, "train", {}
    for k in (0, 1):
        if kind == "gamus":
            write_gamus(root, "train", f"t{k}", blocks(k, 7))
        elif kind == "isprs":
            write_vaihingen(root, (1, 3)[k], blocks(k, 6))
            legend = ISPRS
            options = {"area": "vaihingen", "metres_per_level": 0.125, "tiles": ["1", "3"], "eroded": True}
        elif kind == "flair":
            write_flair(root / "train", root / "train", "D006_2020/Z1_NN", k, blocks(k, 19) + 1)
            legend = FLAIR_MERGED
        elif kind == "scenes":
            write_scene(root, f"s{k}", eroded(blocks(k, 7)))
            split = None
        else:
            write_mine(root, f"m{k}", eroded(blocks(k, 3)))
            legend, split, options = MINE, None, MINE_OPTIONS
    return {"kind": kind, "split": split, "options": options, "classes": legend.classes, "palette": legend.palette}


def crops(kind: str, root: Path, **changed: Any) -> LabelledCrops:
    arguments = make(kind, root / "data")
    return LabelledCrops(str(root / "data"), str(root / "cache"), crop=64, **(arguments | changed))


def parts(item: dict[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return item["inputs"].numpy(), item["data_samples"].gt_sem_seg.data.numpy()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_crops_of_every_kind(kind: str, tmp_path: Path) -> None:
    one, two = crops(kind, tmp_path), crops(kind, tmp_path)
    assert len(one.scenes) == 2
    count = len(one.metainfo["classes"])
    seen: set[int] = set()
    for index in range(30):
        inputs, labels = parts(one[index])
        assert (inputs.shape, inputs.dtype, labels.shape, labels.dtype) == ((4, 64, 64), np.float32, (64, 64), np.int64)
        assert 0 <= inputs[:3].min() <= inputs[:3].max() <= 255.01
        seen |= set(np.unique(labels).tolist())
    assert seen - {IGNORE} == {k for scene in one.scenes for k in scene.present} <= set(range(count))
    if kind in ("isprs", "scenes", "folder"):
        eroded_share = np.mean([(parts(one[k])[1] == IGNORE).mean() for k in range(30)])
        assert 0.05 < eroded_share < 0.25  # 1 - (15 / 16)^2, and borders
    for index in (7, 2):
        for x, y in zip(parts(one[index]), parts(two[index]), strict=True):
            assert np.array_equal(x, y, equal_nan=True)


def test_modalities_are_dropped_as_often_as_stated(tmp_path: Path) -> None:
    data = crops("gamus", tmp_path, drop_height=0.3, drop_rgb=0.2)
    inputs = [parts(data[k])[0] for k in range(300)]
    no_height = np.array([np.isnan(x[3]).all() for x in inputs])
    no_rgb = np.array([not x[:3].any() for x in inputs])
    assert not (no_height & no_rgb).any()
    assert 0.22 < no_height.mean() < 0.38
    assert 0.13 < no_rgb.mean() < 0.27
    whole = crops("gamus", tmp_path, drop_height=0.0)
    for k in range(50):
        x = parts(whole[k])[0]
        assert x[:3].any()
        assert np.isfinite(x[3]).any()
    drawn = [missing_modality(np.random.default_rng(k), 0.0, 1.0) for k in range(20)]
    assert set(drawn) == {"rgb"}
    for odds in ((0.7, 0.4), (-0.1, 0.0)):
        with pytest.raises(UsageError, match="probabilities are needed, together at most 1"):
            crops("gamus", tmp_path, drop_height=odds[0], drop_rgb=odds[1])


def test_crops_refuse_what_they_cannot_learn_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="asked for were"):
        crops("gamus", tmp_path, classes=MINE.classes, palette=MINE.palette)
    write_scene(tmp_path / "blank", "x", np.full((SIZE, SIZE), IGNORE, np.uint8))
    with pytest.raises(InputError, match="no pixel of its 1 images has a label"):
        LabelledCrops(str(tmp_path / "blank"), str(tmp_path / "c"), GAMUS.classes, GAMUS.palette)


# --- scores, configs, training ---


def test_scores_leave_out_what_the_benchmark_leaves_out(tmp_path: Path) -> None:
    write_vaihingen(tmp_path, 1, blocks(0, 6))
    images = find_labelled("isprs", tmp_path, "train", area="vaihingen", metres_per_level=0.1, tiles=["1"])
    scores = score(lambda scene: np.where(scene.labels == 5, 0, scene.labels).astype(np.uint8), images, ISPRS.classes)
    assert scores.legend.ignored_in_mean == (5,)
    assert scores.iou[5] == 0
    assert scores.miou_without_other == pytest.approx(scores.iou[:5].mean())
    with pytest.raises(UsageError, match="cannot be scored on labels of"):
        score(lambda scene: scene.labels, images, GAMUS.classes)
    with pytest.raises(UsageError, match="no image"):
        score(lambda scene: scene.labels, [], ISPRS.classes)


BASES = Path(gridscribe.configs.__path__[0]) / "segmentation" / "_base_"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["timf", "late"])
def test_every_strategy_takes_every_kind_of_data(strategy: str, kind: str, tmp_path: Path) -> None:
    config = Config.fromfile(str(config_path(strategy)))
    with_data(config, kind)
    arguments = make(kind, tmp_path / "data")
    dataset = dict(config.train_dataloader.dataset)
    assert dataset.pop("type") == "LabelledCrops"
    if kind == "folder":
        for key in ("classes", "palette", "options"):
            dataset[key] = arguments[key]
    else:
        assert tuple(config.classes) == arguments["classes"]
        assert tuple(map(tuple, config.palette)) == arguments["palette"]
        assert dict(dataset.get("options") or {}).keys() <= arguments["options"].keys() | {
            "merge_other",
            "metres_per_level",
        }
        dataset["options"] = arguments["options"]
    outputs: list[int] = []

    def collect(part: Any) -> None:
        if isinstance(part, dict):
            outputs.extend(v for key, v in part.items() if key == "num_classes")
            list(map(collect, part.values()))
        elif isinstance(part, (list, tuple)):
            list(map(collect, part))

    collect(config.model)
    assert outputs
    assert set(outputs) == {len(config.classes)} == {config.num_classes}
    data = LabelledCrops(
        **{**dataset, "data_root": str(tmp_path / "data"), "cache": str(tmp_path / "cache"), "crop": 32}
    )
    assert data[0]["inputs"].shape == (4, 32, 32)


def test_data_of_ones_own_is_named_in_a_config(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        f"_base_ = [{str(BASES / 'folder.py')!r}]\n"
        f"classes, palette = {MINE.classes}, {MINE.palette}\n"
        f"train_dataloader = dict(dataset=dict(options={MINE_OPTIONS}, classes=classes, palette=palette))\n"
    )
    config = Config.fromfile(str(config_path("timf")))
    with_data(config, tmp_path / "mine.py")
    assert config.num_classes == config.model.decode_head.num_classes == 3
    assert config.train_dataloader.dataset.options.labels == "truth/*.png"
    for name, message in (("cityscapes", "neither a .py file nor one of scenes"), ("no.py", "no such file")):
        with pytest.raises(UsageError, match=message):
            with_data(config, tmp_path / name if name.endswith(".py") else name)
    (tmp_path / "other.py").write_text("classes = ('a', 'b')\n")
    with pytest.raises(UsageError, match="no palette, train_dataloader in it"):
        with_data(config, tmp_path / "other.py")


def test_a_gamus_folder_is_trained_and_scored_on(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", 3, 11, 128, (0.3, 0.36))
    for k, image in enumerate(find_labelled("scenes", tmp_path / "scenes")):
        scene, split = image.read(), ("train", "train", "test")[k]
        write_h5(tmp_path / f"gamus/images/{split}/DC_{k}_RGB.h5", np.moveaxis(scene.rgb, 0, -1))
        write_h5(tmp_path / f"gamus/heights/{split}/DC_{k}_AGL.h5", scene.height)
        write_h5(tmp_path / f"gamus/classes/{split}/DC_{k}_CLS.h5", scene.labels)
    package = train(
        "timf",
        tmp_path / "work",
        data=tmp_path / "gamus",
        steps=2,
        seed=0,
        threads=1,
        cfg_options={
            "train_dataloader.dataset.kind": "gamus",
            "train_dataloader.dataset.split": "train",
            "train_dataloader.dataset.crop": 64,
            "train_dataloader.batch_size": 2,
            "package.window": 64,
            "package.stride": 48,
        },
    )
    assert package.training["data"]["images"] == 2
    scores = evaluate(package, find_labelled("gamus", tmp_path / "gamus", "test"), engine_name="torch")
    assert scores.confusion.sum() == 128**2
    assert scores.legend.classes == GAMUS.classes


def test_errors_of_data_are_the_programs_own(tmp_path: Path) -> None:
    """A file cut short anywhere is an error that names it, never another's exception."""
    write_gamus(tmp_path, "train", "a", blocks(0, 7))
    for path in sorted(tmp_path.rglob("*.h5")):
        whole = path.read_bytes()
        for size in (0, 10, len(whole) // 2):
            path.write_bytes(whole[:size])
            with pytest.raises(GridscribeError, match=path.name):
                find_labelled("gamus", tmp_path, "train")[0].read()
        path.write_bytes(whole)
    find_labelled("gamus", tmp_path, "train")[0].read()
