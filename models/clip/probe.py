"""Labelled images for `choose_activation`, from a folder with a folder of images for each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridscribe.errors import UsageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"}
MOST_PIXELS = 64 << 20
MOST_PER_LABEL = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """Labelled images; see `choose_activation`."""

    images: NDArray[np.uint8]
    """[N, 3, S, S]."""
    labels: Sequence[int]
    """Indices into `texts`."""
    texts: Sequence[str]


def read_probe(folder: Path, side: int) -> Probe:
    """The images in `folder/<label>/`, resized to `side` on their shorter edge and cut to the middle square.

    A label is its folder's name, `_` read as a space; the first `MOST_PER_LABEL` images by name count. Raises UsageError for a
    folder without labels, or an image that cannot be read or has more than `MOST_PIXELS`.
    """
    labelled = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if len(labelled) < 2:
        raise UsageError(
            f"probe {folder}: has {len(labelled)} folders; at least 2 are needed, one per label, with images in it"
        )
    images, labels = [], []
    for k, one in enumerate(labelled):
        for path in sorted(p for p in one.iterdir() if p.suffix.lower() in SUFFIXES)[:MOST_PER_LABEL]:
            images.append(_square(path, side))
            labels.append(k)
    return Probe(
        np.stack(images) if images else np.empty((0, 3, side, side), np.uint8),
        labels,
        [one.name.replace("_", " ") for one in labelled],
    )


def _square(path: Path, side: int) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise UsageError(f"probe {path}: has {width} x {height} pixels, the limit is {MOST_PIXELS}")
            edge = min(width, height)
            left, top = (width - edge) / 2, (height - edge) / 2
            middle = (left, top, left + edge, top + edge)
            small = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, box=middle)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"probe {path}: cannot be read as an image: {error}") from error
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
