"""Training crops, training runs from end to end, scores, and the per-pixel classifier."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import Affine

from gridscribe.errors import InputError, ModelError, UnpairedError, UsageError
from gridscribe.ingest.scenes.classes import CLASSES
from gridscribe.models.architecture import check_architecture, inference_architecture
from gridscribe.models.package import load_package
from gridscribe.models.segmentor import build_segmentor
from gridscribe.pipelines.augment import disturb_height, recolour, resize, turn
from gridscribe.pipelines.baselines import train_pixel_classifier
from gridscribe.pipelines.crops import LabelledCrops
from gridscribe.pipelines.evaluation import evaluate, score
from gridscribe.pipelines.scene_files import find_scenes, read_scene
from gridscribe.pipelines.training import config_path, load_config, train

torch.set_num_threads(1)
NAMES = tuple(c.name for c in CLASSES)
CONFIGS = ("scenes", "timf", "early", "late", "tokenfusion")
TINY: dict[str, Any] = {
    **{
        f"model.backbone.{stream}.{key}": value
        for stream in ("rgb", "height")
        for key, value in (("embed_dims", 8), ("num_layers", (1, 1, 1, 1)), ("num_heads", (1, 1, 2, 2)))
    },
    "model.decode_head.in_channels": (8, 8, 16, 16),
    "model.decode_head.channels": 16,
    "train_dataloader.batch_size": 2,
    "train_dataloader.dataset.crop": 64,
    "package.window": 64,
    "package.stride": 48,
}


def write_scene(folder: Path, name: str, labels: NDArray[np.uint8], *, coarse: int = 1, seed: int = 0) -> None:
    """A scene whose colour and height follow from its labels: grey 20 + 30 k, and 5 k metres."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows, cols = labels.shape
    rgb = np.clip(20 + 30.0 * labels + rng.normal(0, 2, (3, rows, cols)), 0, 255).astype(np.uint8)
    height = (5.0 * labels)[coarse // 2 :: coarse, coarse // 2 :: coarse].astype(np.float32)
    height[:2, :3] = -9999
    for suffix, bands, scale in (("rgb", rgb, 1), ("ndsm", height[None], coarse), ("labels", labels[None], 1)):
        nodata = -9999 if suffix == "ndsm" else None
        with rasterio.open(
            folder / f"{name}_{suffix}.tif",
            "w",
            driver="GTiff",
            count=len(bands),
            height=bands.shape[1],
            width=bands.shape[2],
            dtype=bands.dtype,
            nodata=nodata,
            crs="EPSG:32631",
            transform=Affine(0.2 * scale, 0, 5e5, 0, -0.2 * scale, 5e6),
        ) as file:
            file.write(bands)


def blocks(seed: int, size: int = 128, step: int = 32, classes: int = 7) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, (size // step, size // step)).repeat(step, 0).repeat(step, 1).astype(np.uint8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scene(folder, "a", blocks(1))
    write_scene(folder, "b", blocks(2), coarse=2)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path_factory.getbasetemp() / "graphs-of-training"))


# --- scenes and crops ---


def test_height_on_another_grid_lands_on_the_rgb_grid(scenes: Path) -> None:
    a, b = (read_scene(f) for f in find_scenes(scenes))
    assert np.isnan(a.height[:2, :3]).all()
    assert np.isfinite(a.height[2:]).all()
    known = np.isfinite(b.height)
    assert b.height.shape == b.labels.shape
    assert not known[:3, :5].any()
    assert known[8:].all()
    inner = np.zeros_like(known)
    for row in range(0, 128, 32):  # away from the edges between blocks, where bilinear mixes
        for col in range(0, 128, 32):
            inner[row + 3 : row + 29, col + 3 : col + 29] = True
    np.testing.assert_allclose(b.height[inner & known], 5.0 * b.labels[inner & known], atol=1e-4)


def test_scenes_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no scene"):
        find_scenes(tmp_path)
    write_scene(tmp_path, "x", blocks(0))
    (tmp_path / "x_ndsm.tif").unlink()
    with pytest.raises(UnpairedError, match=r"x has no x_ndsm\.tif"):
        find_scenes(tmp_path)


def crops(scenes: Path, tmp_path: Path, **options: Any) -> LabelledCrops:
    palette = tuple(c.color for c in CLASSES)
    return LabelledCrops(str(scenes), str(tmp_path / "cache"), NAMES, palette, crop=64, **options)


def parts(item: dict[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return item["inputs"].numpy(), item["data_samples"].gt_sem_seg.data.numpy()[0]


def test_a_crop_depends_on_seed_and_index_alone(scenes: Path, tmp_path: Path) -> None:
    one, two = crops(scenes, tmp_path), crops(scenes, tmp_path)
    list(map(one.__getitem__, range(5)))
    for index in (3, 0):
        for x, y in zip(parts(one[index]), parts(two[index]), strict=True):
            assert np.array_equal(x, y, equal_nan=True)
    assert not np.array_equal(parts(one[0])[0], parts(one[1])[0], equal_nan=True)
    assert not np.array_equal(parts(one[0])[0], parts(crops(scenes, tmp_path, seed=1)[0])[0], equal_nan=True)


def test_colour_height_and_labels_stay_together(scenes: Path, tmp_path: Path) -> None:
    data = crops(scenes, tmp_path)
    seen, checked = set(), 0
    for index in range(60):
        inputs, labels = parts(data[index])
        assert inputs.shape == (4, 64, 64)
        assert inputs.dtype == np.float32
        assert inputs[:3].min() >= 0
        assert inputs[:3].max() <= 255
        blank = labels == 255
        assert not inputs[:3, blank].any()
        assert np.isnan(inputs[3, blank]).all()
        seen |= set(np.unique(labels))
        known = ~blank & np.isfinite(inputs[3])
        if known.any():
            off = np.abs(inputs[3] - 5.0 * labels)[known]
            # offset and scale are a few decimetres and per cent; only edges mix two blocks
            assert np.median(off) < 3.5
            checked += 1
    assert seen >= set(range(7))
    assert checked > 40


def test_rare_classes_are_seen_often(tmp_path: Path) -> None:
    labels = np.ones((256, 256), np.uint8)
    labels[100:104, 40:44] = 4
    write_scene(tmp_path / "s", "rare", labels)
    shares = []
    for balanced in (0.0, 1.0):
        data = crops(tmp_path / "s", tmp_path, balanced=balanced)
        shares.append(np.mean([4 in np.unique(parts(data[k])[1]) for k in range(60)]))
    assert shares[1] > 0.4 > shares[0]


def test_changed_scenes_are_decoded_again(tmp_path: Path) -> None:
    write_scene(tmp_path / "s", "x", blocks(0))
    assert crops(tmp_path / "s", tmp_path).scenes[0].scene.labels[0, 0] == blocks(0)[0, 0]
    changed = 6 - blocks(0)
    write_scene(tmp_path / "s", "x", changed, seed=1)
    os.utime(tmp_path / "s" / "x_labels.tif", ns=(1, 1))
    assert np.array_equal(crops(tmp_path / "s", tmp_path).scenes[0].scene.labels, changed)


def test_augmentations_keep_their_word() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (3, 32, 32)).astype(np.uint8)
    colour = recolour(np.random.default_rng(1), rgb)
    assert colour.dtype == np.float32
    assert 0 <= colour.min() <= colour.max() <= 255
    marks = np.arange(16, dtype=np.float32).reshape(4, 4)
    seen = {turn(np.random.default_rng(k), marks)[0].tobytes() for k in range(200)}
    assert len(seen) == 8
    for k in range(200):
        x, y = turn(np.random.default_rng(k), marks, np.stack([marks, -marks]))
        assert np.array_equal(y, np.stack([x, -x]))
    height = np.full((32, 32), 7.0, np.float32)
    height[4, 4] = np.nan
    _, metres, classes = resize(colour, height, np.full((32, 32), 3, np.uint8), 48)
    assert metres.shape == classes.shape == (48, 48)
    assert np.isnan(metres[6, 6])
    assert np.nanmax(np.abs(metres - 7)) < 1e-5
    assert (classes == 3).all()
    found = [disturb_height(np.random.default_rng(k), np.full((32, 32), 7.0, np.float32)) for k in range(300)]
    assert not any(np.isnan(f).all() for f in found)
    assert 30 < sum(np.isnan(f).any() for f in found) < 120


# --- configs ---


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_build_within_what_packages_allow(name: str) -> None:
    config = Config.fromfile(str(config_path(name)))
    assert config.classes == NAMES
    assert [tuple(c) for c in config.palette] == [c.color for c in CLASSES]
    architecture = inference_architecture(config.model.to_dict())
    check_architecture(architecture, name)
    network = build_segmentor(architecture)
    size = sum(p.numel() * (2 if p.ndim > 1 else 4) for p in network.parameters())
    assert size < 16e6
    network.init_weights()
    assert network.data_preprocessor.use == {"rgb": ("rgb",), "height": ("height",)}.get(
        name.split("_")[0], ("rgb", "height")
    )


def test_unknown_configs_and_lengths_are_usage_errors(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="timf, tokenfusion"):
        config_path("nosuch")
    with pytest.raises(UsageError, match="steps=1"):
        load_config(CONFIGS[0], data=scenes, work_dir=tmp_path, steps=1)


def test_the_schedule_follows_the_number_of_steps(scenes: Path, tmp_path: Path) -> None:
    whole = load_config(CONFIGS[0], data=scenes, work_dir=tmp_path)
    assert whole.param_scheduler[1].end == whole.train_cfg.max_iters == whole.steps
    short = load_config(CONFIGS[0], data=scenes, work_dir=tmp_path, steps=whole.steps // 10, seed=4)
    rising, falling = short.param_scheduler
    assert rising.end == falling.begin == round(whole.warm_up / 10)
    assert falling.end == short.train_cfg.max_iters == whole.steps // 10
    assert short.train_dataloader.dataset.seed == short.randomness.seed == 4


# --- runs ---


def test_three_steps_make_a_scored_package(scenes: Path, tmp_path: Path) -> None:
    package = train(CONFIGS[0], tmp_path, data=scenes, held_out=scenes, steps=3, seed=0, threads=1, cfg_options=TINY)
    stored = load_package(tmp_path / "package")
    assert stored.digest == package.digest
    assert stored.name == "scenes"
    assert [c.name for c in stored.classes] == list(NAMES)
    assert stored.training["steps"] == 3
    assert stored.training["data"]["images"] == 2
    assert stored.training["data"]["kind"] == "scenes"
    assert stored.training["drop_height"] == 0.125
    assert stored.optional_bands == ("height",)
    assert set(stored.metrics["iou"]) == set(NAMES)
    assert stored.metrics == evaluate(stored, find_scenes(scenes)).to_json()
    for picture in ("curve.png", "held-out/evaluation.png", "held-out/samples.png"):
        assert Image.open(tmp_path / picture).size[0] > 300
    again = train(CONFIGS[0], tmp_path / "two", data=scenes, steps=3, seed=0, threads=1, cfg_options=TINY)
    assert again.training == stored.training  # no place on disk is in it


@HOOKS.register_module(force=True)
class StopAfter(Hook):
    """Ends a run the hard way."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.iter + 1 == self.steps:
            raise KeyboardInterrupt


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(scenes: Path, tmp_path: Path) -> None:
    options = {**TINY, "default_hooks.checkpoint.interval": 2}
    whole = train(CONFIGS[0], tmp_path / "whole", data=scenes, steps=4, threads=1, cfg_options=options)
    with pytest.raises(KeyboardInterrupt):
        train(
            CONFIGS[0],
            tmp_path / "cut",
            data=scenes,
            steps=4,
            threads=1,
            cfg_options={**options, "custom_hooks": [{"type": "StopAfter", "steps": 3}]},
        )
    assert not (tmp_path / "cut" / "package").exists()
    resumed = train(CONFIGS[0], tmp_path / "cut", data=scenes, steps=4, threads=1, cfg_options=options)
    assert resumed.weights == whole.weights
    other = train(CONFIGS[0], tmp_path / "other", data=scenes, steps=4, seed=1, threads=1, cfg_options=options)
    assert other.weights != whole.weights


def test_a_checkpoint_with_code_in_it_stops_training(scenes: Path, tmp_path: Path) -> None:
    class Owned:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"state_dict": {}, "meta": Owned()}, tmp_path / "iter_1.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_1.pth"))
    with pytest.raises(ModelError, match=r"iter_1\.pth: not loaded"):
        train(CONFIGS[0], tmp_path, data=scenes, steps=3, threads=1, cfg_options=TINY)
    assert not (tmp_path / "owned").exists()


# --- scores ---


def test_a_pixel_classifier_learns_what_one_pixel_tells(scenes: Path) -> None:
    classifier = train_pixel_classifier(scenes, 7, steps=150, pixels_per_scene=4000)
    images = find_scenes(scenes)
    scores = score(classifier, images, NAMES)
    assert scores.miou > 0.9
    assert scores.images == 2
    again = train_pixel_classifier(scenes, 7, steps=150, pixels_per_scene=4000)
    assert np.array_equal(score(again, images, NAMES).confusion, scores.confusion)


def test_the_command_trains_and_prints_one_document(scenes: Path, tmp_path: Path) -> None:
    tiny = [f"{key}={value!r}" for key, value in TINY.items()]
    options = [part for pair in tiny for part in ("--cfg-options", pair)]
    command = [sys.executable, "-m", "gridscribe", "train", "scenes", "--data", str(scenes)]
    command += ["--work-dir", str(tmp_path / "work")]
    short = [*command, "--steps", "2", "--threads", "1", "--json", *options]
    done = subprocess.run(short, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert load_package(found["package"]).digest == found["digest"]
    wrong = subprocess.run([*command, "--encoder", "vgg"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "encoder 'vgg': must be one of mit-b0" in wrong.stderr
