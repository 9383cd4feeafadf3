"""Crops of generated pages with their token-mask pairs (TokenIT, of TokenFD): what the document encoder is trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.paperwork import PageTruth
from gridscribe.ingest.paperwork.truth import UNITS, rasterise
from gridscribe.models.document.characters import PAPER, plain, shown_characters

FINE = 2
"""Points a side at which a cell is asked whether a token covers it."""
MOST_CUT = 0.3
"""Share of a token's box beyond the crop's edge, above which it is text of no name there."""
SINGLE = 0.15
"""How often a token of one character is drawn, where a longer one is drawn once."""
TRIES = 20
"""Pages that are looked at for one of the least resolution, before any will do."""
STRETCH = 1.12
"""How far the sides of a page's crops may be stretched apart, as `page_crops` does to whole pages."""


@dataclass(frozen=True, slots=True)
class PageCrop:
    """A square of a page and what stands on it."""

    pixels: NDArray[np.uint8]
    """[3, S, S]."""
    tokens: NDArray[np.int64]
    """[n]."""
    masks: NDArray[np.uint8]
    """[n, cells, cells]: how many of the `FINE` ** 2 points of each cell a token covers; at least one of one cell."""
    blank: NDArray[np.int64]
    """[m]: row-major numbers of some cells that no text touches."""
    covered: NDArray[np.uint8]
    """[cells, cells]: how many of the `FINE` ** 2 points of each cell any text covers."""
    characters: NDArray[np.int64]
    """[cells, cells]: what each cell shows, as `models.document.characters` numbers it."""


@dataclass(frozen=True, slots=True)
class CropPlan:
    """How pages are cut."""

    side: int
    """Pixels of a crop, whole cells."""
    cells: int
    """Cells of the encoder's finer grid along a side."""
    dpi: float
    """Dots per inch that the encoder is for."""
    zoom: float = 1.25
    """Crops are of `dpi`, times or over at most this."""
    most: int = 64
    """Tokens of a crop, drawn at random from what stands there."""
    blanks: int = 24
    """Cells without text of a crop."""

    def __post_init__(self) -> None:
        if self.side < 1 or self.cells < 1 or self.zoom < 1 or self.most < 1 or self.blanks < 0 or self.dpi <= 0:
            raise UsageError(f"{self}: sizes must be at least 1, zoom too")


def crop_page(page: Image.Image, truth: PageTruth, plan: CropPlan, rng: np.random.Generator) -> PageCrop:
    """A crop of an RGB page about one of its tokens, resampled to near `plan.dpi`; a page that is smaller is stretched."""
    zoom = math.exp(rng.uniform(-1, 1) * math.log(plan.zoom)) * plan.dpi / truth.dpi
    apart = math.exp(rng.uniform(-1, 1) * math.log(STRETCH) / 2)
    tall, wide = (
        min(float(size), plan.side / scale)
        for size, scale in zip(truth.shape, (zoom * apart, zoom / apart), strict=True)
    )
    boxes = np.array([token.box for token in truth.tokens]).reshape(-1, 4)
    if len(boxes) and rng.random() < 0.95:
        x0, y0, x1, y1 = boxes[rng.integers(len(boxes))]
        top, left = (y0 + y1) / 2 - rng.uniform(0.1, 0.9) * tall, (x0 + x1) / 2 - rng.uniform(0.1, 0.9) * wide
    else:
        top, left = rng.uniform(0, truth.height - tall), rng.uniform(0, truth.width - wide)
    top, left = float(np.clip(top, 0, truth.height - tall)), float(np.clip(left, 0, truth.width - wide))
    cut = page.resize((plan.side, plan.side), Image.Resampling.LANCZOS, box=(left, top, left + wide, top + tall))
    tokens, masks, covered, shown = _masks(truth, boxes, (left, top, wide, tall), plan, rng)
    free = np.flatnonzero(covered.ravel() == 0)
    blank = rng.choice(free, min(plan.blanks, len(free)), replace=False).astype(np.int64)
    shown.ravel()[blank] = PAPER
    return PageCrop(np.ascontiguousarray(np.asarray(cut).transpose(2, 0, 1)), tokens, masks, blank, covered, shown)


def _masks(
    truth: PageTruth,
    boxes: NDArray[np.float64],
    box: tuple[float, float, float, float],
    plan: CropPlan,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """(ids, masks, points of each cell that any text covers, characters) of the tokens in a box (left, top, width, height)."""
    left, top, wide, tall = box
    x0, y0, x1, y1 = boxes.T
    inside = np.clip(np.minimum(x1, left + wide) - np.maximum(x0, left), 0, None)
    inside *= np.clip(np.minimum(y1, top + tall) - np.maximum(y0, top), 0, None)
    shares = inside / np.maximum((x1 - x0) * (y1 - y0), 1e-9)
    there = np.flatnonzero(shares > 0)
    fine = plan.cells * FINE
    factor = np.array([fine / wide, fine / tall])
    rings = {int(k): (truth.tokens[k].outline - np.array([left, top]) * UNITS) * factor for k in there}
    covered = _in_cells(rasterise(rings.values(), (fine, fine)), plan.cells)
    named = there[shares[there] >= 1 - MOST_CUT]
    shown = shown_characters({int(k): (truth.tokens[k].id, rings[int(k)] / (FINE * UNITS)) for k in named}, plan.cells)
    if len(named) > plan.most:  # words before figures and marks, of which any page is full
        rare = np.array([1.0 if len(plain(truth.tokens[k].id)) > 1 else SINGLE for k in named])
        named = np.sort(rng.choice(named, plan.most, replace=False, p=rare / rare.sum()))
    tokens, masks = [], []
    for k in named.tolist():
        mask = _in_cells(rasterise([rings[k]], (fine, fine)), plan.cells)
        if mask.any():  # one thinner than the gap between points has no cell
            tokens.append(truth.tokens[k].id)
            masks.append(mask)
    shape = (len(masks), plan.cells, plan.cells)
    return np.array(tokens, np.int64), np.array(masks, np.uint8).reshape(shape), covered, shown


def _in_cells(points: NDArray[np.bool_], cells: int) -> NDArray[np.uint8]:
    return points.reshape(cells, FINE, cells, FINE).sum(axis=(1, 3), dtype=np.uint8)


@DATASETS.register_module()
class PageCrops(Dataset):
    """Crops of the pages that `gridscribe pages` left in `data_root`; item k is `each` crops of one page, by `seed` and k."""

    def __init__(
        self, data_root: str, side: int, cells: int, dpi: float, seed: int = 0, *, count: int = 1 << 20, each: int = 4,
        zoom: float = 1.25, most: int = 64, blanks: int = 24, least_dpi: float = 0.0,
    ) -> None:  # fmt: skip
        """`count`: items of an epoch; pages of fewer than `least_dpi` dots per inch are passed over. Raises InputError for a
        folder without pages."""
        self.plan = CropPlan(side, cells, dpi, zoom, most, blanks)
        self.seed, self.count, self.each, self.least_dpi = seed, count, each, least_dpi
        self.found = sorted(Path(data_root).glob("*_tokens.json"))
        if not self.found:
            raise InputError(
                f"{data_root}: holds no generated pages (*_tokens.json); make some with `gridscribe pages`"
            )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> list[PageCrop]:
        rng = np.random.default_rng((self.seed, index))
        for _ in range(TRIES):
            path = self.found[int(rng.integers(len(self.found)))]
            truth = PageTruth.load(path)
            if truth.dpi >= self.least_dpi:
                break
        page = load_page(path.parent, truth)
        return [crop_page(page, truth, self.plan, rng) for _ in range(self.each)]


def load_page(folder: Path, truth: PageTruth) -> Image.Image:
    """The RGB picture of a page. Raises InputError where its file is missing, damaged or of another size."""
    path = folder / truth.image
    try:
        with Image.open(path) as file:
            file.seek(truth.frame)
            page = file.convert("RGB")
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: frame {truth.frame} cannot be read: {error}") from error
    if page.size != (truth.width, truth.height):
        raise InputError(f"{path}: frame {truth.frame} is {page.size}, its truth is of {(truth.width, truth.height)}")
    return page


@FUNCTIONS.register_module()
def collate_pages(items: Sequence[Sequence[PageCrop]]) -> dict[str, Tensor]:
    """Crops as the arguments of `PageAligner.forward`."""
    crops = [crop for item in items for crop in item]
    tokens, blanks = [len(crop.tokens) for crop in crops], [len(crop.blank) for crop in crops]
    number = np.arange(len(crops))
    return {
        "pages": torch.from_numpy(np.stack([crop.pixels for crop in crops])),
        "tokens": torch.from_numpy(np.concatenate([crop.tokens for crop in crops])),
        "page": torch.from_numpy(np.repeat(number, tokens)),
        "masks": torch.from_numpy(np.concatenate([crop.masks for crop in crops])),
        "blank_page": torch.from_numpy(np.repeat(number, blanks)),
        "blank_cell": torch.from_numpy(np.concatenate([crop.blank for crop in crops])),
        "characters": torch.from_numpy(np.stack([crop.characters for crop in crops])),
    }
