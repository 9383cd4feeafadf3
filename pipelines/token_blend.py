"""Tokens of overlapping windows on ONE patch grid per image, in memory bounded by a row of windows.

The lattice is that of the pixels, counted in patches: window and stride are multiples of the patch, so the tokens of all
windows fall on the same cells, `ceil(height / patch) x ceil(width / patch)` of them. Vectors are added under the taper of
`blend`, in float32 and in row-major order of windows, so a cell's sum has the same terms in the same order whatever box
of the image is worked on. Whatever is linear in a token (a score against a phrase) may be blended instead, to the same end;
the class vectors of the windows are kept beside it, since their share of a score is taken off when a question is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.engines.batching import Queued, in_batches
from gridscribe.pipelines.blend import taper
from gridscribe.pipelines.lattice import Lattice
from gridscribe.values import Window

Float32 = NDArray[np.float32]
Place = tuple[int, int]
"""Row and column of a window in the lattice."""


Encoder = Queued[tuple[Float32, Float32]]
"""What a dense encoder gives here: class vectors [B, D] and tokens [B, g, g, D] of windows [3, H, W], once they are there; see
`models.clip.shared_encoder.SharedEncoder`."""


class Read(Protocol):
    """Gives a window's pixels."""

    def __call__(self, window: Window) -> Float32 | None:
        """R, G, B in 0..255, float32 [3, height, width], the far edge padded; None where no pixel is valid."""
        ...


@dataclass(frozen=True, slots=True)
class TokenBand:
    """Rows of a box that no later window reaches, and the row of windows that settled them."""

    box: Window
    """In patches, on the image's grid; of no rows where the windows lie mostly above the box that was asked for."""
    tokens: Float32
    """[box.height, box.width, D]; 0 where `covered` is False."""
    covered: NDArray[np.bool_]
    """[box.height, box.width]: whether a window with valid pixels saw the cell."""
    places: tuple[Place, ...]
    """Windows of this row of the lattice that were encoded, in order. Neighbouring boxes have some of them in common."""
    cls: Float32
    """[len(places), D]: their class vectors."""


def patch_lattice(height: int, width: int, window: int, stride: int, patch: int) -> Lattice:
    """The lattice of an image of `height x width` pixels, with all its numbers in patches.

    It has exactly the windows of the lattice in pixels. Raises ValueError unless window and stride are multiples of the patch.
    """
    if patch < 1 or window % patch or stride % patch:
        raise ValueError(f"window {window} and stride {stride} must be multiples of the patch ({patch})")
    lattice = Lattice(-(-height // patch), -(-width // patch), window // patch, stride // patch)
    _ = lattice.rows, lattice.cols  # says what is wrong with a stride that is zero or above the window
    return lattice


class TokenBlender:
    """Blends the tokens of the windows that meet one box, given in row-major order; holds one row of windows at a time."""

    def __init__(self, lattice: Lattice, box: Window, dim: int) -> None:
        """`lattice` and `box` in patches (`patch_lattice`), the box within the grid and not empty."""
        if not box or not Window(0, 0, lattice.height, lattice.width).contains(box):
            raise ValueError(f"box {box} must hold a cell and lie in the grid of {lattice.height} x {lattice.width}")
        self._lattice, self._box = lattice, box
        self._due = lattice.meeting(box)
        self._next: Place | None = next(self._due)
        self._top = box.row
        ramp = taper(lattice.window, lattice.stride)
        self._taper = np.outer(ramp, ramp)
        rows = min(lattice.window, box.height)
        self._sum = np.zeros((rows, box.width, dim), np.float32)
        self._weight = np.zeros((rows, box.width), np.float32)
        self._row: list[tuple[Place, Float32]] = []

    def add(self, place: Place, encoded: tuple[Float32, Float32] | None) -> TokenBand | None:
        """Add window `place`: its class vector [D] and tokens [window, window, D], or None for one that was not encoded.

        Every window that meets the box must come, row-major (ValueError otherwise). The last one of a row of the lattice
        gives the rows of the box that are settled with it; others give None.
        """
        if place != self._next:
            raise ValueError(f"window {place} came, {self._next} is due: all that meet the box must come, row-major")
        if encoded is not None:
            cls, tokens = encoded
            window = self._lattice.at(*place)
            part = window.intersection(self._box)
            inner = part.slices(window)
            here = part.slices(Window(self._top, self._box.col, *self._weight.shape))
            weights = self._taper[inner]
            self._sum[here] += tokens[inner] * weights[..., None]
            self._weight[here] += weights
            self._row.append((place, cls))
        self._next = next(self._due, None)
        done = self._next is None or self._next[0] != place[0]
        return self._settle(place[0]) if done else None

    def _settle(self, k_row: int) -> TokenBand:
        stop = max(self._top, min(self._lattice.rows.owner(k_row)[1], self._box.row1))
        count, dim = stop - self._top, self._sum.shape[2]
        covered = self._weight[:count] > 0
        weight = np.maximum(self._weight[:count], np.float32(1e-30))  # 0 only where nothing was added
        tokens = np.divide(self._sum[:count], weight[..., None], dtype=np.float32)
        band = TokenBand(
            Window(self._top, self._box.col, count, self._box.width),
            tokens,
            covered,
            tuple(place for place, _ in self._row),
            np.stack([cls for _, cls in self._row]) if self._row else np.empty((0, dim), np.float32),
        )
        for held in (self._sum, self._weight):
            held[: len(held) - count] = held[count:].copy()
            held[len(held) - count :] = 0
        self._top, self._row = stop, []
        return band


def encode_box(
    read: Read, encoder: Encoder, lattice: Lattice, box: Window, *, patch: int, dim: int
) -> Iterator[TokenBand]:
    """The bands of `box`, top to bottom: read the windows that meet it, encode, blend.

    `lattice` and `box` are in patches; `read` is asked for windows in pixels. What is blended is what the encoder gives,
    not normalised. Nothing that is held grows with the height of the box.
    """
    blender = TokenBlender(lattice, box, dim)

    def asked() -> Iterator[tuple[Place, Float32 | None]]:
        for place in lattice.meeting(box):
            cell = lattice.at(*place)
            yield place, read(Window(cell.row * patch, cell.col * patch, cell.height * patch, cell.width * patch))

    for place, found in in_batches(asked(), encoder, windows_of):
        band = blender.add(place, found)
        if band is not None:
            yield band


def windows_of(answer: tuple[Float32, Float32]) -> Iterator[tuple[Float32, Float32]]:
    """An encoder's answer to a batch, window by window: class vector and tokens."""
    return zip(*answer, strict=True)


def spread_windows(lattice: Lattice, box: Window, places: Sequence[Place], values: Float32) -> Float32:
    """Numbers of windows on the cells of `box`, float32 [box.height, box.width]: the tapered mean of the windows over each.

    `places` are all encoded windows that meet the box (others are left out), in any order, and `values` [len(places)] such
    as the cosines of their class vectors with a phrase: what is spread so is the share that they have in the blended score
    of a cell (SegEarth-OV, CVPR 2025: score less 0.3 times it). 0 where no window lies.
    """
    ramp = taper(lattice.window, lattice.stride)
    weights = np.outer(ramp, ramp)
    total, weight = np.zeros(box.shape, np.float32), np.zeros(box.shape, np.float32)
    for k in sorted(range(len(places)), key=lambda k: places[k]):
        window = lattice.at(*places[k])
        part = window.intersection(box)
        if part:
            inner, here = part.slices(window), part.slices(box)
            total[here] += weights[inner] * np.float32(values[k])
            weight[here] += weights[inner]
    return np.divide(total, weight, out=total, where=weight > 0)
