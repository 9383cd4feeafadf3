"""Views as a data set of MMEngine's Runner, and batches of them as the `Aligner` takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gridscribe.errors import UsageError
from gridscribe.pipelines.alignment.annotated import AnnotatedImage
from gridscribe.pipelines.alignment.mgrs import read_mgrs
from gridscribe.pipelines.alignment.scene_objects import read_scenes
from gridscribe.pipelines.alignment.surroundings import read_spots
from gridscribe.pipelines.alignment.views import View, Views
from gridscribe.pipelines.alignment.wording import true_of

MGRS_LISTING, MGRS_IMAGES = "text_info.json", "global_imgs"
READERS: dict[str, Callable[[Path], list[AnnotatedImage]]] = {
    "scenes": read_scenes,
    "mgrs": lambda folder: read_mgrs(folder / MGRS_LISTING, folder / MGRS_IMAGES),
}
"""Kinds of data: generated scenes, and MGRS-200k as it is unpacked."""


@DATASETS.register_module()
class AlignmentViews(Dataset):
    """`Views` of the images that a reader finds in `data_root`."""

    def __init__(
        self, data_root: str, side: int, kind: str = "scenes", seed: int = 0, *, shuffled: bool = False, spots: int = 0,
        **views: Any,
    ) -> None:  # fmt: skip
        """`views` are options of `Views`. `shuffled` gives each view the captions of another: with them there is nothing to
        learn, which is how a score above chance is shown to come from the captions. `spots` adds as many to the objects of each
        generated scene (see `surroundings`).
        """
        if kind not in READERS:
            raise UsageError(f"kind={kind!r}: must be one of {', '.join(READERS)}")
        if spots and kind != "scenes":
            raise UsageError(
                f"spots={spots}: only generated scenes (kind='scenes', not {kind!r}) have labels to name them by"
            )
        self.found = READERS[kind](Path(data_root))
        known = self.found
        if spots:
            known = [
                replace(image, regions=(*image.regions, *read_spots(image.path, image.regions, spots, seed)))
                for image in self.found
            ]
        self.views = Views(known, side, seed=seed, **views)
        self.kind, self.shuffled, self.seed = kind, shuffled, seed

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: int) -> View:
        view = self.views[index]
        return self._misnamed(view, index) if self.shuffled else view

    def _misnamed(self, view: View, index: int) -> View:
        """The pixels of `view` with the words of another."""
        rng = np.random.default_rng((self.seed, index, 1))
        other = self.views[int(rng.integers(len(self.views)))]
        if not view.regions:
            return replace(view, text=other.text)
        count = min(len(view.regions), len(other.regions))
        return View(
            view.image, other.text, view.crops[:count], view.boxes[:count], other.regions[:count], other.phrases[:count]
        )


@FUNCTIONS.register_module()
def collate_views(views: Sequence[View], context: int) -> dict[str, Tensor]:
    """Views as the arguments of `Aligner.forward`. Longer texts than `context` tokens are cut."""
    tokenize = tokenizer(context)
    count = [len(view.boxes) for view in views]
    first = np.concatenate([[0], np.cumsum(count)[:-1]])  # row of a view's first box
    drawn = [start + k for start, view in zip(first, views, strict=True) for k in range(len(view.crops))]
    phrases = [phrase for view, n in zip(views, count, strict=True) for phrase in view.phrases or [""] * n]
    return {
        "views": torch.from_numpy(np.stack([view.image for view in views])),
        "texts": tokenize([view.text for view in views]),
        "boxes": torch.from_numpy(np.concatenate([view.boxes for view in views])),
        "owner": torch.from_numpy(np.repeat(np.arange(len(views)), count)),
        "phrases": tokenize(phrases) if phrases else torch.empty(0, context, dtype=torch.long),
        "truth": torch.from_numpy(truth(views)),
        "crops": torch.from_numpy(np.concatenate([view.crops for view in views])),
        "drawn": torch.tensor(drawn, dtype=torch.long),
    }


def truth(views: Sequence[View]) -> NDArray[np.bool_]:
    """Which phrases are true of which boxes of all `views`, bool [N, N]; none is true of a random box."""
    regions = [region for view in views for region in view.regions or [None] * len(view.boxes)]
    phrases = [phrase for view in views for phrase in view.phrases or [""] * len(view.boxes)]
    found = np.zeros((len(regions), len(phrases)), np.bool_)
    columns: dict[str, list[int]] = {}
    for column, phrase in enumerate(phrases):
        columns.setdefault(phrase, []).append(column)
    for row, region in enumerate(regions):
        if region is not None:
            for phrase in true_of(region.caption, region.category) & columns.keys():
                found[row, columns[phrase]] = True
    return found


@cache
def tokenizer(context: int) -> Callable[[list[str]], Tensor]:
    """open_clip's `SimpleTokenizer`; needs no download."""
    from open_clip.tokenizer import SimpleTokenizer

    made: Callable[[list[str]], Tensor] = SimpleTokenizer(context_length=context)
    return made
