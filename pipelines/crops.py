"""The training data set: endless random crops of labelled images, each a function of (seed, index) alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from gridscribe.errors import InputError, UsageError
from gridscribe.pipelines.augment import (
    blank_border,
    blur_or_grain,
    disturb_height,
    missing_modality,
    recolour,
    resize,
    turn,
)
from gridscribe.pipelines.datasets import ANCHORS, CachedImage, Legend, cache_images, find_labelled


@DATASETS.register_module()
class LabelledCrops(Dataset):
    """Crops of the images that `find_labelled(kind, data_root, split, **options)` finds, for MMEngine's Runner.

    Item i is `{"inputs": float32 [4, crop, crop], "data_samples": SegDataSample}`; inputs are R, G, B in 0..255 and height
    in metres with NaN = missing (what `RGBHPreprocessor` takes); labels are int64 with 255 = ignore. It depends on `seed` and
    i only, so a run that is stopped and resumed sees the crops that it would have seen. With probability `balanced` a crop is
    centred near a pixel of a class drawn evenly from all, so that rare classes are seen as often as common ones. Crops come
    without height (all NaN) with probability `drop_height` and without RGB (all 0) with `drop_rgb`, never without both,
    so that a network survives what is missing. Images are decoded once into `cache`.

    Raises UsageError where options cannot be used, InputError where images or labels cannot be read.
    """

    def __init__(
        self,
        data_root: str,
        cache: str,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        kind: str = "scenes",
        split: str | None = None,
        options: dict[str, Any] | None = None,
        crop: int = 256,
        zoom: tuple[float, float] = (0.7, 1.5),
        balanced: float = 0.5,
        drop_height: float = 0.04,
        drop_rgb: float = 0.0,
        seed: int = 0,
        length: int = 200_000,
    ) -> None:
        if not (drop_height >= 0 and drop_rgb >= 0 and drop_height + drop_rgb <= 1):
            raise UsageError(
                f"drop_height={drop_height}, drop_rgb={drop_rgb}: probabilities are needed, together at most 1"
            )
        legend = Legend(tuple(classes), tuple(palette))
        self.metainfo = {"classes": legend.classes, "palette": [list(c) for c in legend.palette]}
        self.crop, self.zoom, self.balanced, self.seed, self.length = crop, zoom, balanced, seed, length
        self.drop_height, self.drop_rgb = drop_height, drop_rgb
        self.found = find_labelled(kind, Path(data_root), split, legend=legend, **(options or {}))
        """The images, as they are stored."""
        self.scenes: list[CachedImage] = cache_images(self.found, Path(cache))
        self.holders = [
            [s for s, scene in enumerate(self.scenes) if k in scene.present] for k in range(len(legend.classes))
        ]
        self.present = [k for k, holders in enumerate(self.holders) if holders]
        if not self.present:
            raise InputError(
                f"{data_root}: no pixel of its {len(self.found)} images has a label: nothing can be learnt from it"
            )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, index))
        side = round(self.crop * float(np.exp(rng.uniform(*np.log(self.zoom)))))
        if rng.random() < self.balanced:
            wanted = self.present[int(rng.integers(len(self.present)))]
            cached = self.scenes[self.holders[wanted][int(rng.integers(len(self.holders[wanted])))]]
            near = cached.anchors[wanted, int(rng.integers(ANCHORS))] - rng.integers(0, side, 2)
        else:
            cached = self.scenes[int(rng.integers(len(self.scenes)))]
            near = rng.integers(-side // 2, np.array(cached.shape))
        scene = cached.scene
        rows, cols = cached.shape
        side = min(side, rows, cols)
        row, col = int(np.clip(near[0], 0, rows - side)), int(np.clip(near[1], 0, cols - side))
        box = (slice(row, row + side), slice(col, col + side))
        rgb, height, labels = resize(
            recolour(rng, np.array(scene.rgb[(slice(None), *box)])),
            scene.height[box].astype(np.float32),
            np.array(scene.labels[box]),
            self.crop,
        )
        rgb, height, labels = turn(rng, rgb, height, labels)
        rgb = blur_or_grain(rng, rgb)
        missing = missing_modality(rng, self.drop_height, self.drop_rgb)
        height = np.full_like(height, np.nan) if missing == "height" else disturb_height(rng, height)
        if missing == "rgb":
            rgb = np.zeros_like(rgb)
        if rng.random() < 0.05:
            blank_border(rng, rgb, height, labels)
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels.astype(np.int64))[None]))
        return {"inputs": torch.from_numpy(np.concatenate([rgb, height[None]])), "data_samples": sample}
