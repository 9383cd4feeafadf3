"""Training samples of the alignment: a view of an image, what is said of it, and crops of what is in it.

Sample i depends on the seed and i alone, so that a run that is stopped and resumed sees what it would have seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gridscribe.errors import InputError, UsageError
from gridscribe.pipelines.alignment.annotated import AnnotatedImage, AnnotatedRegion
from gridscribe.pipelines.alignment.wording import said_of, sentence
from gridscribe.pipelines.augment import blur_or_grain, recolour
from gridscribe.pipelines.region_crops import cut, shrunk, square_around
from gridscribe.values import Window

Float32 = NDArray[np.float32]
Rng = np.random.Generator
Crops = Literal["objects", "random"]
MENTIONED = 4
"""Objects that a made-up caption names at most."""
SEEN = 0.6
"""Share of an object's box that must lie in a view for the object to be in it."""
VISIBLE = 1 / 32
"""Share of a view's side that the longer side of an object's box must have for the object to be seen: a car in 128 px has 4."""
DECODED = 1024
"""Decoded images that are kept."""


@dataclass(frozen=True, slots=True)
class View:
    """One sample. Pixels are R, G, B in 0..255."""

    image: Float32
    """[3, S, S]; [3, 0, 0] where only crops are wanted."""
    text: str
    crops: Float32
    """[R, 3, S, S]: the first R of the K boxes, as pictures."""
    boxes: Float32
    """[K, 4]: left, top, right, bottom in the view, 0..1."""
    regions: tuple[AnnotatedRegion, ...]
    """What is in the K boxes; empty where they are random."""
    phrases: tuple[str, ...]
    """Something that is true of each; as `regions`."""


class Views:
    """Samples of annotated images.

    An image with a caption is seen nearly whole. Of one without, a part around one of its objects is seen, as large as `pixels`
    says but at least as large as the object, a share `even` of the time around one of a category drawn evenly from all, and the
    caption names some of what is in view. `crops` says where
    the K boxes of a view are: `objects` around up to K of its objects (fewer where it has fewer), `random` as FarSLIP's first
    stage has them (0.3 to 0.7 of the view, sides 3:4 to 4:3). Objects are chosen category by category in turn, so that trees, of
    which a view has dozens, leave room for the rest; the first of all is the object that the view was chosen for, where it is in
    view. The first R of them come as pictures too.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        side: int,
        *,
        seed: int = 0,
        crops: Crops = "objects",
        count: int = 4,
        drawn: int | None = None,
        even: float = 0.5,
        pixels: tuple[int, int] = (96, 288),
        length: int = 1 << 20,
        plain: bool = False,
        whole: bool = True,
        jitter: float = 0.0,
    ) -> None:
        """`side`: S of a sample; `count`: K; `drawn`: R, None for K; `pixels`: the shortest and longest side of a view of an
        image without caption; `plain`: pixels as they are, for examination: neither turned nor in another light; `whole`:
        whether the view itself comes as a picture, which a loss over crops alone has no use for; `jitter`: share of its side by
        which the square around an object is moved, made smaller (both by at most half of it) or larger (by at most all of it).
        """
        if crops not in get_args(Crops):
            raise UsageError(f"crops={crops!r}: must be one of {', '.join(get_args(Crops))}")
        if not 1 <= pixels[0] <= pixels[1] or count < 0 or side < 1:
            raise UsageError(f"side={side}, count={count}, pixels={pixels}: positive, and pixels in order, are needed")
        if not 0 <= even <= 1:
            raise UsageError(f"even={even}: must lie in 0..1")
        if drawn is not None and not 0 <= drawn <= count:
            raise UsageError(f"drawn={drawn}: must lie in 0..count ({count}); None draws every crop")
        if not images or not any(image.regions or image.caption for image in images):
            raise InputError("no image has a caption or an object: nothing can be learnt from them")
        self.images, self.side, self.seed, self.crops, self.count = list(images), side, seed, crops, count
        self.drawn, self.pixels, self.length, self.plain = count if drawn is None else drawn, pixels, length, plain
        if not 0 <= jitter <= 0.5:
            raise UsageError(f"jitter={jitter}: must lie in 0..0.5")
        self.even, self.whole, self.jitter = even, whole, jitter
        self.categories = sorted({region.category for image in images for region in image.regions})
        self._holders = {
            name: [k for k, image in enumerate(images) if any(r.category == name for r in image.regions)]
            for name in self.categories
        }

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> View:
        rng = np.random.default_rng((self.seed, index))
        image, window, focus = self._choose(rng)
        pixels = _pixels(image.path)
        shape = pixels.shape[1:]
        window = window if window is not None else _nearly_whole(rng, shape)
        smallest = VISIBLE * max(window.height, window.width)
        seen = [(r, box) for r, box in in_view(image.regions, window, shape) if max(box.height, box.width) >= smallest]
        text = image.caption if image.caption is not None else self._caption(seen, rng)
        boxes, named = self._crops(seen, window, focus, rng)
        phrases = tuple(said_of(region.caption, region.category, rng) for region in named)
        flip, turns, colour = bool(rng.integers(2)), int(rng.integers(4)), int(rng.integers(1 << 31))
        if self.plain:
            flip, turns = False, 0

        def picture(part: Window) -> Float32:
            raw = cut(pixels, part)
            if self.plain:
                return resized(raw.astype(np.float32), self.side)
            if part.height > self.side:  # light and noise come last: a large view costs no more than a small one
                raw = shrunk(raw, self.side)
            coloured = recolour(np.random.default_rng(colour), raw)  # one light for a view and its crops
            small = resized(blur_or_grain(rng, coloured), self.side)
            turned = np.rot90(small, turns, axes=(1, 2))
            return np.ascontiguousarray(turned[..., ::-1] if flip else turned)

        whole = picture(window) if self.whole else np.empty((3, 0, 0), np.float32)
        crops = [picture(box) for box in boxes[: self.drawn]]
        placed = np.array([_relative(box, window) for box in boxes], np.float32).reshape(-1, 4)
        return View(
            whole,
            text,
            np.stack(crops) if crops else np.empty((0, 3, self.side, self.side), np.float32),
            _turned(placed, turns, flip=flip),
            tuple(named),
            phrases,
        )

    def _choose(self, rng: Rng) -> tuple[AnnotatedImage, Window | None, AnnotatedRegion | None]:
        """An image, the part of it to see (None: nearly all), and the object that this is about."""
        wanted = None
        if self.categories and rng.random() < self.even:
            wanted = self.categories[int(rng.integers(len(self.categories)))]
            image = self.images[int(rng.choice(self._holders[wanted]))]
        else:
            image = self.images[int(rng.integers(len(self.images)))]
        if image.caption is not None:
            return image, None, None
        rows, cols = _pixels(image.path).shape[1:]
        low, high = np.log(self.pixels)
        side = min(round(float(np.exp(rng.uniform(low, high)))), rows, cols)
        objects = [region for region in image.regions if wanted is None or region.category == wanted]
        focus = objects[int(rng.integers(len(objects)))] if objects else None
        if focus is not None:  # a view of nothing teaches nothing
            box = pixels_of(focus, (rows, cols))
            side = min(max(side, box.height, box.width), rows, cols)
            # anywhere in the middle half of the view, and inside it as a whole
            middle = np.array([box.row + box.height / 2, box.col + box.width / 2]) - rng.uniform(0.25, 0.75, 2) * side
            corner = np.array([box.row, box.col])
            extent = np.array([box.height, box.width])
            place = np.clip(middle, corner + extent - side, corner)
        else:
            place = rng.uniform(0, (rows - side, cols - side))
        row, col = (int(np.clip(at, 0, size - side)) for at, size in zip(place, (rows, cols), strict=True))
        return image, Window(row, col, side, side), focus

    def _caption(self, seen: Sequence[tuple[AnnotatedRegion, Window]], rng: Rng) -> str:
        kinds = list({region.category: None for region, _ in seen})
        if not kinds:
            return sentence(["nothing in particular"], rng)
        chosen = rng.permutation(len(kinds))[:MENTIONED].tolist()
        phrases = []
        for kind in (kinds[k] for k in chosen):
            of_kind = [region for region, _ in seen if region.category == kind]
            region = of_kind[int(rng.integers(len(of_kind)))]
            phrases.append(said_of(region.caption, kind, rng))
        return sentence(phrases, rng)

    def _crops(
        self, seen: Sequence[tuple[AnnotatedRegion, Window]], window: Window, focus: AnnotatedRegion | None, rng: Rng
    ) -> tuple[list[Window], list[AnnotatedRegion]]:
        if self.crops == "random":
            return [_random_crop(rng, window) for _ in range(self.count)], []
        turn: Counter[str] = Counter()  # how many of its category come before an object
        rank: dict[int, tuple[bool, int]] = {}
        for k in sorted(rng.permutation(len(seen)).tolist(), key=lambda k: seen[k][0] is not focus):
            category = seen[k][0].category
            rank[k] = seen[k][0] is not focus, turn[category]
            turn[category] += 1
        chosen = [seen[k] for k in sorted(rank, key=rank.__getitem__)[: self.count]]
        return [self._loosely(square_around(box), rng) for _, box in chosen], [region for region, _ in chosen]

    def _loosely(self, square: Window, rng: Rng) -> Window:
        if not self.jitter:
            return square
        side = max(1, round(square.width * (1 + rng.uniform(-self.jitter / 2, self.jitter))))
        row, col = (
            (rng.uniform(-0.5, 0.5, 2) * self.jitter * square.width + (square.width - side) / 2).round().astype(int)
        )
        return Window(square.row + int(row), square.col + int(col), side, side)


def in_view(
    regions: Sequence[AnnotatedRegion], window: Window, shape: tuple[int, int]
) -> list[tuple[AnnotatedRegion, Window]]:
    """The regions of an image of `shape` that lie in `window` by `SEEN`, with their boxes there in whole pixels."""
    if not regions:
        return []
    boxes = _boxes(tuple(regions), shape)
    first = np.maximum(boxes[:, :2], (window.row, window.col))
    last = np.minimum(boxes[:, 2:], (window.row + window.height, window.col + window.width))
    extent = np.clip(last - first, 0, None)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    inside = (extent > 0).all(axis=1) & (extent.prod(axis=1) >= SEEN * area)
    return [(regions[k], Window(*first[k].tolist(), *extent[k].tolist())) for k in np.flatnonzero(inside).tolist()]


@lru_cache(maxsize=1 << 12)
def _boxes(regions: tuple[AnnotatedRegion, ...], shape: tuple[int, int]) -> NDArray[np.int64]:
    """[N, 4] first and last row and column (first row, first column, row after, column after) of `pixels_of`."""
    found = [pixels_of(region, shape) for region in regions]
    return np.array([(box.row, box.col, box.row + box.height, box.col + box.width) for box in found], np.int64)


def pixels_of(region: AnnotatedRegion, shape: tuple[int, int]) -> Window:
    """The whole pixels that a region's box touches in an image of `shape`; at least one."""
    x0, y0, x1, y1 = region.box
    rows, cols = shape
    row, col = int(np.floor(y0 * rows)), int(np.floor(x0 * cols))
    return Window(row, col, max(1, int(np.ceil(y1 * rows)) - row), max(1, int(np.ceil(x1 * cols)) - col))


def resized(rgb: Float32, side: int) -> Float32:
    """[3, h, w] to [3, side, side], antialiased."""
    if rgb.shape[1:] == (side, side):
        return rgb
    small = F.interpolate(torch.from_numpy(rgb)[None], (side, side), mode="bilinear", antialias=True)[0]
    result: Float32 = small.numpy()
    return result


@lru_cache(maxsize=DECODED)
def _pixels(path: Path) -> NDArray[np.uint8]:
    import rasterio

    try:
        with rasterio.open(path) as image:
            if image.count < 3 or set(image.dtypes[:3]) != {"uint8"}:
                raise InputError(f"{path}: has {image.count} bands of {image.dtypes[0]}; three of uint8 are needed")
            pixels: NDArray[np.uint8] = image.read([1, 2, 3])
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{path}: cannot be read as an image: {error}") from error
    return pixels


def _nearly_whole(rng: Rng, shape: tuple[int, int]) -> Window:
    side = max(1, int(min(shape) * np.sqrt(rng.uniform(0.9, 1.0))))
    return Window(int(rng.integers(shape[0] - side + 1)), int(rng.integers(shape[1] - side + 1)), side, side)


def _random_crop(rng: Rng, window: Window) -> Window:
    area, ratio = rng.uniform(0.3, 0.7) * window.area, np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    height = int(np.clip(round(float(np.sqrt(area * ratio))), 1, window.height))
    width = int(np.clip(round(float(np.sqrt(area / ratio))), 1, window.width))
    row, col = int(rng.integers(window.height - height + 1)), int(rng.integers(window.width - width + 1))
    return Window(window.row + row, window.col + col, height, width)


def _relative(box: Window, window: Window) -> tuple[float, float, float, float]:
    left, top = (box.col - window.col) / window.width, (box.row - window.row) / window.height
    edges = left, top, left + box.width / window.width, top + box.height / window.height
    return tuple(float(np.clip(edge, 0, 1)) for edge in edges)  # type: ignore[return-value]


def _turned(boxes: Float32, turns: int, *, flip: bool) -> Float32:
    """Boxes [K, 4] in an image that is turned a quarter counter-clockwise `turns` times, then mirrored."""
    x0, y0, x1, y1 = boxes.T
    for _ in range(turns):
        x0, y0, x1, y1 = y0, 1 - x1, y1, 1 - x0
    if flip:
        x0, x1 = 1 - x1, 1 - x0
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.float32)
