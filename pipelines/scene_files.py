"""Reading a folder of generated scenes for training and evaluation: `<id>_rgb.tif`, `<id>_ndsm.tif`, `<id>_labels.tif`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from gridscribe.errors import InputError, UnpairedError

IGNORE = 255
ANCHORS = 64  # stored positions per class and scene, for crops that show a wanted class


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """The three files of one scene."""

    id: str
    rgb: Path
    height: Path
    labels: Path

    @property
    def stamp(self) -> str:
        """Changes when a file's size or time changes."""
        facts = [(p.name, (s := p.stat()).st_size, s.st_mtime_ns) for p in (self.rgb, self.height, self.labels)]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Scene:
    """Pixels of one scene on its RGB grid."""

    rgb: NDArray[np.uint8]
    """[3, H, W]."""
    height: NDArray[np.floating]
    """[H, W] metres, NaN where missing."""
    labels: NDArray[np.uint8]
    """[H, W] class ids, 255 = ignore."""


def find_scenes(folder: Path) -> list[SceneFiles]:
    """All scenes of a folder, by id. Raises UnpairedError where a file of a scene is absent, InputError where none is found."""
    scenes = []
    for rgb in sorted(folder.glob("*_rgb.tif")):
        name = rgb.name.removesuffix("_rgb.tif")
        files = SceneFiles(name, rgb, folder / f"{name}_ndsm.tif", folder / f"{name}_labels.tif")
        for path in (files.height, files.labels):
            if not path.is_file():
                raise UnpairedError(f"scene {name} has no {path.name} beside {rgb.name} in {folder}")
        scenes.append(files)
    if not scenes:
        raise InputError(
            f"{folder} holds no scene (<id>_rgb.tif): make some with `gridscribe scenes {folder} --count N`"
        )
    return scenes


def read_scene(files: SceneFiles) -> Scene:
    """Decode a scene; height on another grid is warped onto the RGB grid (bilinear)."""
    with rasterio.open(files.rgb) as src:
        rgb = src.read((1, 2, 3))
        transform, crs = src.transform, src.crs
    with rasterio.open(files.labels) as src:
        labels = src.read(1)
    if labels.shape != rgb.shape[1:]:
        raise InputError(f"scene {files.id}: labels are {labels.shape}, RGB is {rgb.shape[1:]}; they must be equal")
    with rasterio.open(files.height) as src:
        height = src.read(1, masked=True).astype(np.float32).filled(np.nan)
        if height.shape != labels.shape or src.transform != transform:
            warped = np.full(labels.shape, np.nan, np.float32)
            reproject(
                height,
                warped,
                src_transform=src.transform,
                src_crs=src.crs,
                dst_transform=transform,
                dst_crs=crs,
                src_nodata=np.nan,
                dst_nodata=np.nan,
                resampling=Resampling.bilinear,
                tolerance=1e-9,
            )
            height = warped
    return Scene(rgb, height, labels)


def _anchors(labels: NDArray[np.uint8], classes: int) -> NDArray[np.int32]:
    """[classes, ANCHORS, 2] evenly drawn (row, col) of each class; -1 where the scene lacks it."""
    found = np.full((classes, ANCHORS, 2), -1, np.int32)
    for k in range(classes):
        flat = np.flatnonzero(labels == k)
        if flat.size:
            pick = flat[np.linspace(0, flat.size - 1, ANCHORS).astype(np.int64)]
            found[k] = np.stack(np.unravel_index(pick, labels.shape), axis=1)
    return found


@dataclass(frozen=True, slots=True)
class CachedScene:
    """A decoded scene as memory maps, plus its anchors (see `_anchors`); height is float16."""

    scene: Scene
    anchors: NDArray[np.int32]


def cache_scenes(folder: Path, cache: Path, classes: int) -> Iterator[CachedScene]:
    """Every scene of `folder`, decoded once into `cache` (11 bytes a pixel or less) and mapped from there."""
    cache.mkdir(parents=True, exist_ok=True)
    for files in find_scenes(folder):
        stem = cache / f"{files.id}-{files.stamp}"
        paths = {part: stem.with_name(f"{stem.name}.{part}.npy") for part in ("rgb", "height", "labels", "anchors")}
        if not paths["anchors"].is_file():  # written last
            scene = read_scene(files)
            np.save(paths["rgb"], scene.rgb)
            np.save(paths["height"], scene.height.astype(np.float16))
            np.save(paths["labels"], scene.labels)
            np.save(paths["anchors"], _anchors(scene.labels, classes))
        rgb, height, labels = (np.load(paths[part], mmap_mode="r") for part in ("rgb", "height", "labels"))
        yield CachedScene(Scene(rgb, height, labels), np.load(paths["anchors"]))
