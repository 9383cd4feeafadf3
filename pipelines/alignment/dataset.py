"""Views as a data set of MMEngine's Runner, and batches of them as the `Aligner` takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from torch import Tensor
from torch.utils.data import Dataset

from gridscribe.errors import UsageError
from gridscribe.models.clip.losses import UNNAMED
from gridscribe.pipelines.alignment.annotated import AnnotatedImage
from gridscribe.pipelines.alignment.mgrs import read_mgrs
from gridscribe.pipelines.alignment.scene_objects import read_scenes
from gridscribe.pipelines.alignment.views import View, Views

MGRS_LISTING, MGRS_IMAGES = "text_info.json", "global_imgs"
READERS: dict[str, Callable[[Path], list[AnnotatedImage]]] = {
    "scenes": read_scenes,
    "mgrs": lambda folder: read_mgrs(folder / MGRS_LISTING, folder / MGRS_IMAGES),
}
"""Kinds of data: generated scenes, and MGRS-200k as it is unpacked."""


@DATASETS.register_module()
class AlignmentViews(Dataset):
    """`Views` of the images that a reader finds in `data_root`. Item i is a dict: `view` (a `View`) and `category`, int64 [K]."""

    def __init__(
        self, data_root: str, side: int, kind: str = "scenes", seed: int = 0, *, shuffled: bool = False, **views: Any
    ) -> None:
        """`views` are options of `Views`. `shuffled` gives each view the captions of another: with them there is nothing to
        learn, which is how a score above chance is shown to come from the captions.
        """
        if kind not in READERS:
            raise UsageError(f"kind={kind!r}: must be one of {', '.join(READERS)}")
        self.found = READERS[kind](Path(data_root))
        self.views = Views(self.found, side, seed=seed, **views)
        self.kind, self.shuffled, self.seed = kind, shuffled, seed
        self._numbers = {name: number for number, name in enumerate(self.views.categories)}

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> dict[str, Any]:
        view = self.views[index]
        named = self._misnamed(view, index) if self.shuffled else view
        return {
            "view": named,
            "category": np.array([self._numbers[name] for name in named.categories] or [UNNAMED] * len(named.crops)),
        }

    def _misnamed(self, view: View, index: int) -> View:
        """The pixels of `view` with the words of another."""
        rng = np.random.default_rng((self.seed, index, 1))
        other = self.views[int(rng.integers(len(self.views)))]
        count = min(len(view.phrases), len(other.phrases))
        kept = slice(0, count if view.phrases else len(view.crops))
        return View(
            view.image, other.text, view.crops[kept], view.boxes[kept], other.categories[:count], other.phrases[:count]
        )


@FUNCTIONS.register_module()
def collate_views(items: Sequence[dict[str, Any]], context: int) -> dict[str, Tensor]:
    """Items of `AlignmentViews` as the arguments of `Aligner.forward`. Longer texts than `context` tokens are cut."""
    tokenize = tokenizer(context)
    views: list[View] = [item["view"] for item in items]
    count = [len(view.crops) for view in views]
    phrases = [phrase for view, n in zip(views, count, strict=True) for phrase in view.phrases or [""] * n]
    return {
        "views": torch.from_numpy(np.stack([view.image for view in views])),
        "texts": tokenize([view.text for view in views]),
        "crops": torch.from_numpy(np.concatenate([view.crops for view in views])),
        "boxes": torch.from_numpy(np.concatenate([view.boxes for view in views])),
        "owner": torch.from_numpy(np.repeat(np.arange(len(views)), count)),
        "category": torch.from_numpy(np.concatenate([item["category"] for item in items]).astype(np.int64)),
        "phrases": tokenize(phrases) if phrases else torch.empty(0, context, dtype=torch.long),
    }


@cache
def tokenizer(context: int) -> Callable[[list[str]], Tensor]:
    """open_clip's `SimpleTokenizer`; needs no download."""
    from open_clip.tokenizer import SimpleTokenizer

    made: Callable[[list[str]], Tensor] = SimpleTokenizer(context_length=context)
    return made
