"""Vectors and labels of regions: the square around each one looked at by the alignment model, or the tokens under its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gridscribe.ingest.raster import RasterReader
from gridscribe.pipelines.aligning import Alignment
from gridscribe.pipelines.concept_bank import Concepts
from gridscribe.pipelines.region_crops import LEAST, cut, shrunk, square_around
from gridscribe.pipelines.regions.pooling import TokenPool, mean_by_counts
from gridscribe.pipelines.regions.rows import Group
from gridscribe.pipelines.scale import work_grid
from gridscribe.pipelines.stages import Deadline
from gridscribe.quantise import Quantised, normalised, quantise
from gridscribe.regions import regions_schema
from gridscribe.values import Window

Float32 = NDArray[np.float32]
SCORE_DIGITS = 4
"""Digits of a label's probability that are stored."""


class RegionEmbedder:
    """Embeds the regions of one image, a group at a time."""

    def __init__(
        self, reader: RasterReader, gsd: float | None, alignment: Alignment, concepts: Concepts | None, pool: TokenPool | None,
        deadline: Deadline,
    ) -> None:  # fmt: skip
        """`gsd` is the image's; `pool` gives its stored tokens, where asked for. Raises `RefusedError` as `work_grid`."""
        spec = alignment.spec
        self._reader, self._alignment, self._concepts, self._pool = reader, alignment, concepts, pool
        self._deadline = deadline
        factor = work_grid(reader.grid, gsd, spec.gsd, strict=spec.strict_gsd).factor
        self._least = max(1, round(LEAST / factor))

    def columns(self, group: Group) -> dict[str, pa.Array]:
        """`labels`, `embedding` and `scale` of the group's regions, in their order; all null of a region that has no vector."""
        vectors = self._vectors(group)
        has = np.linalg.norm(vectors, axis=1) > 0
        stored = quantise(vectors)
        return {
            "labels": self._labels(stored, has),
            "embedding": _lists(stored.values, has),
            "scale": pa.array(stored.scale, pa.float16(), mask=~has),
        }

    def _vectors(self, group: Group) -> Float32:
        look = self._alignment.spec.regions
        found: list[NDArray[Any]] = []
        if look == "inside":
            found += self._looked_inside(group)
        elif look in ("crop", "both"):
            found.append(self._looked_at(group))
        if self._pool is not None:
            found.append(self._pool.means(group))
        if len(found) == 1:
            return found[0]
        total: Float32 = sum(normalised(vectors) for vectors in found).astype(np.float32)  # type: ignore[union-attr]
        return total

    def _looked_at(self, group: Group) -> Float32:
        """The class vector of the square around each region."""
        encoder = self._alignment.encoder
        out = np.empty((len(group.regions), encoder.embed_dim), np.float32)
        for number, cls in enumerate(encoder.class_vectors(self._crops(group))):
            out[number] = cls
        return out

    def _looked_inside(self, group: Group) -> tuple[Float32, Float32]:
        """The class vector of the square around each region, and the mean of the square's tokens under the region's pixels,
        each token as often as it has pixels there."""
        encoder = self._alignment.encoder
        cls = np.empty((len(group.regions), encoder.embed_dim), np.float32)
        inside = np.empty_like(cls)
        for number, (whole, tokens) in enumerate(encoder.vectors(self._crops(group))):
            counts = pixels_in_cells(group, number, self._square(group, number), len(tokens))
            cls[number] = whole
            inside[number] = mean_by_counts(counts, normalised(tokens.reshape(counts.size, -1)))
        return cls, inside

    def _square(self, group: Group, number: int) -> Window:
        return square_around(group.box(number), self._least)

    def _crops(self, group: Group) -> Iterator[Float32]:
        """What the encoder is given of each region, float32 [3, side, side] in 0..255."""
        side = self._alignment.spec.encoder.window
        squares = [self._square(group, number) for number in range(len(group.regions))]
        top, left = min(s.row for s in squares), min(s.col for s in squares)
        around = Window(top, left, max(s.row1 for s in squares) - top, max(s.col1 for s in squares) - left)
        inside = around.intersection(self._reader.grid.window)
        rgb, _ = self._reader.read_color(inside)
        for square in squares:
            self._deadline.check()
            here = Window(square.row - inside.row, square.col - inside.col, square.height, square.width)
            yield shrunk(cut(rgb, here), side).astype(np.float32)

    def _labels(self, stored: Quantised, has: NDArray[np.bool_]) -> pa.Array:
        kind = regions_schema().field("labels").type
        if self._concepts is None:
            return pa.nulls(len(has), kind)
        chosen, scores = top_labels(
            stored, self._concepts, self._alignment.spec.logit_scale, self._alignment.spec.labels
        )
        ends = np.concatenate([[0], np.cumsum(has * chosen.shape[1])]).astype(np.int32)
        texts = pa.array(np.array(self._concepts.names, object)[chosen[has].ravel()], pa.string())
        items = pa.StructArray.from_arrays(
            [texts, pa.array(scores[has].ravel(), pa.float32())], fields=list(kind.value_type)
        )
        return pa.ListArray.from_arrays(pa.array(ends), items, mask=pa.array(~has)).cast(kind)


def top_labels(
    stored: Quantised, concepts: Concepts, logit_scale: float, count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best concepts of each vector: (numbers [n, k], probabilities [n, k]), best first, of equals the first in the bank.

    Probabilities are a softmax over the whole bank of `logit_scale` times the cosine, of the vectors as they are stored and in
    float64 without BLAS: whoever has table and bank gets the same ones.
    """
    unit = normalised(stored.dequantised())
    cosine = np.einsum("nd,kd->nk", unit, normalised(concepts.vectors))
    logits = logit_scale * cosine
    odds = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    probability = np.round(odds / odds.sum(axis=1, keepdims=True), SCORE_DIGITS)
    count = min(count, len(concepts.names))
    chosen = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    return chosen, np.take_along_axis(probability, chosen, axis=1).astype(np.float32)


def pixels_in_cells(group: Group, number: int, square: Window, grid: int) -> NDArray[np.int64]:
    """int64 [grid * grid]: how many pixels of region `number` of the group lie in each cell of a `grid` over `square`, row-major.

    A pixel belongs to the cell that its upper left corner lies in.
    """
    rows, cols = group.pixels(number)
    down, along = (rows - square.row) * grid // square.height, (cols - square.col) * grid // square.width
    return np.bincount(down * grid + along, minlength=grid * grid)


def _lists(values: NDArray[Any], has: NDArray[np.bool_]) -> pa.Array:
    """Rows as lists, null where `has` is False."""
    ends = np.concatenate([[0], np.cumsum(has * values.shape[1])]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(ends), pa.array(np.ascontiguousarray(values[has]).ravel()), mask=pa.array(~has)
    )
