"""The training data set: endless random crops of generated scenes, each a function of (seed, index) alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from gridscribe.pipelines.augment import blank_border, blur_or_grain, disturb_height, recolour, resize, turn
from gridscribe.pipelines.scene_files import CachedScene, cache_scenes


@DATASETS.register_module()
class SceneCrops(Dataset):
    """Crops of the scenes in `data_root` for MMEngine's Runner.

    Item i is `{"inputs": float32 [4, crop, crop], "data_samples": SegDataSample}`; inputs are R, G, B in 0..255 and height
    in metres with NaN = missing (what `RGBHPreprocessor` takes). It depends on `seed` and i only, so a run that is
    stopped and resumed sees the crops that it would have seen. Half of the crops are centred near a pixel of a class drawn
    evenly from all, so that rare classes are seen as often as common ones. Scenes are decoded once into `cache`.
    """

    def __init__(
        self,
        data_root: str,
        cache: str,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        crop: int = 256,
        zoom: tuple[float, float] = (0.7, 1.5),
        balanced: float = 0.5,
        seed: int = 0,
        length: int = 200_000,
    ) -> None:
        self.metainfo = {"classes": tuple(classes), "palette": [list(c) for c in palette]}
        self.crop, self.zoom, self.balanced, self.seed, self.length = crop, zoom, balanced, seed, length
        self.scenes: list[CachedScene] = list(cache_scenes(Path(data_root), Path(cache), len(classes)))
        self.holders = [
            [s for s, scene in enumerate(self.scenes) if scene.anchors[k, 0, 0] >= 0] for k in range(len(classes))
        ]
        self.present = [k for k, holders in enumerate(self.holders) if holders]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, index))
        side = round(self.crop * float(np.exp(rng.uniform(*np.log(self.zoom)))))
        if rng.random() < self.balanced:
            wanted = self.present[int(rng.integers(len(self.present)))]
            cached = self.scenes[self.holders[wanted][int(rng.integers(len(self.holders[wanted])))]]
            near = cached.anchors[wanted, int(rng.integers(cached.anchors.shape[1]))] - rng.integers(0, side, 2)
        else:
            cached = self.scenes[int(rng.integers(len(self.scenes)))]
            near = rng.integers(-side // 2, np.array(cached.scene.labels.shape))
        scene = cached.scene
        rows, cols = scene.labels.shape
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
        rgb, height = blur_or_grain(rng, rgb), disturb_height(rng, height)
        if rng.random() < 0.05:
            blank_border(rng, rgb, height, labels)
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(labels.astype(np.int64))[None]))
        return {"inputs": torch.from_numpy(np.concatenate([rgb, height[None]])), "data_samples": sample}
