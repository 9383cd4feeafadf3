"""A page's pixels to its tokens: cut into crops, encoded, told from paper, pruned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from gridscribe.models.document.encoder import CropEncoder, LookingEncoder, looks_inside
from gridscribe.models.document.latents import AdaptiveLatents, pooled, shortest
from gridscribe.models.document.package import DocumentPackage, build_latents, gram_vectors
from gridscribe.models.document.patch_classifier import blocks_of, dilated
from gridscribe.models.document.spelling import BACKGROUND, token_vectors
from gridscribe.models.pruning import Candidates, Pruner
from gridscribe.models.pruning.skip import SkipTokens
from gridscribe.pipelines.documents.cropping import PageCrops, cut_page, joined, page_crops
from gridscribe.pipelines.stages import Deadline
from gridscribe.quantise import Kind, quantise
from gridscribe.tokens import TokenFrame, TokenGrid

Float32 = NDArray[np.float32]


class CodedCrop(NamedTuple):
    """The adaptive latents of a crop."""

    row: int
    col: int
    codes: NDArray[np.uint16]
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class PageTokens:
    """What comes of a page."""

    grid: TokenGrid
    """Cells of the finer grid that are kept; vectors `Quantised`."""
    text: Float32
    """[grid_h, grid_w]: the probability that a cell is text; 0 where its patch was not computed."""
    crops: int
    thumbnail: TokenGrid | None = None
    """Kept cells of the whole page in one crop, on that crop's own grid; None where it was not asked for."""
    latents: tuple[CodedCrop, ...] = ()
    """Of each crop, where they were asked for."""


class PageEmbedder:
    """Turns pages into tokens; may be used from several threads at once."""

    def __init__(
        self,
        package: DocumentPackage,
        encoder: CropEncoder,
        pruner: Pruner,
        kind: Kind,
        most: int,
        *,
        before: bool | Pruner = False,
        within: SkipTokens | None = None,
        thumbnails: bool = False,
        latents: float | None = None,
    ) -> None:
        """`most`: crops of a page; `before`: whether the package's patch classifier says what is computed, where it has one, or
        a method that does; `within`: which patches pass layers by; `latents`: the error below which adaptive latents do. A
        `within`, and a pruner that looks inside, need a `LookingEncoder`."""
        self._inside, self._within, self._thumbnails = looks_inside(pruner), within, thumbnails
        self._enough, self._latents = latents, None if latents is None else build_latents(package)
        if self._latents is not None and encoder.spec.name != "torch":
            torch.set_num_threads(1)  # the last bits of a sum, and by them a code, depend on it
        self._before = package.classifies if before is True else before
        self._package, self._encoder, self._pruner, self._kind, self._most = package, encoder, pruner, kind, most
        (self._paper,) = token_vectors(gram_vectors(package), [BACKGROUND])
        self._paper /= np.linalg.norm(self._paper)

    def embed(self, page: NDArray[np.uint8], digest: str, deadline: Deadline) -> PageTokens:
        """The tokens of a page uint8 [H, W, 3]; `digest` is of its content, for methods that draw lots."""
        crops = page_crops(page.shape[0], page.shape[1], self._package.crop, self._most)
        found = self._embed(page, crops, digest, deadline)
        if not self._thumbnails:
            return found
        height, width = page.shape[:2]
        whole = self._embed(page, PageCrops(height, width, self._package.crop, 1, 1), digest, deadline, coded=False)
        return replace(found, thumbnail=TokenGrid(whole.grid.frame, whole.grid.index, None, whole.grid.vectors))

    def _embed(
        self, page: NDArray[np.uint8], crops: PageCrops, digest: str, deadline: Deadline, *, coded: bool = True
    ) -> PageTokens:
        arch = self._package.architecture
        cut = cut_page(page, crops)
        kept = self.kept_patches(cut, crops, digest)
        cells = self._package.crop // arch.cell
        found = np.zeros((len(cut), cells, cells, arch.embed_dim), np.float32)
        signals: list[dict[str, Float32]] = []
        for number, crop in enumerate(cut):
            deadline.check()
            if kept is None or kept[number].any() or self._inside:
                found[number], seen = self._encode(crop, None if kept is None else kept[number], digest)
                signals.append(seen)
        frame = crops.frame(arch.cell)
        shown = {
            name: np.ascontiguousarray(together.reshape(frame.cells, *together.shape[2:]))
            for name in self._inside
            for together in (joined(crops, np.stack([one[name] for one in signals])),)
        }
        flat = np.ascontiguousarray(joined(crops, found).reshape(-1, arch.embed_dim))
        text, computed = self.text_probability(flat), np.ones(len(flat), np.bool_)
        if kept is not None:
            fine = kept.repeat(2**arch.doublings, axis=1).repeat(2**arch.doublings, axis=2)
            computed = np.ascontiguousarray(joined(crops, fine).ravel())
            text[~computed] = 0
        selection = self._pruner.select(
            Candidates(
                frame,
                vectors=flat,
                valid=computed,
                significance=shown.get(self._pruner.signal, text),
                digest=digest,
                keys=shown.get("keys"),
                shallow=shown.get("shallow"),
            )
        )
        chosen = selection.grid
        vectors = flat[frame.local(chosen.index)] if chosen.vectors is None else chosen.dense()
        stored = chosen.with_vectors(quantise(vectors, self._kind))
        latents = () if self._latents is None or not coded else self._coded(self._latents, found, crops, deadline)
        return PageTokens(stored, text.reshape(_shape(frame)), len(cut), latents=latents)

    def _coded(
        self, network: AdaptiveLatents, found: Float32, crops: PageCrops, deadline: Deadline
    ) -> tuple[CodedCrop, ...]:
        assert self._enough is not None
        out = []
        for number, vectors in enumerate(found):
            deadline.check()
            codes, error = shortest(network, pooled(vectors, network.settings.side), self._enough)
            out.append(CodedCrop(*divmod(number, crops.cols), codes, error))
        return tuple(out)

    def _encode(
        self, crop: NDArray[np.uint8], kept: NDArray[np.bool_] | None, digest: str
    ) -> tuple[Float32, dict[str, Float32]]:
        if self._inside:
            return cast("LookingEncoder", self._encoder).look(crop, kept, self._inside, digest)
        if self._within is not None:
            return cast("LookingEncoder", self._encoder).skip(crop, kept, self._within), {}
        return self._encoder.encode(crop, kept), {}

    def kept_patches(self, cut: NDArray[np.uint8], crops: PageCrops, digest: str = "") -> NDArray[np.bool_] | None:
        """bool [crops, g, g]: the patches to compute; None for all, where nothing is pruned before the encoder.

        By the classifier: blocks of 2 x 2 patches are judged, as published, and those that touch a kept one are kept too, over
        the borders of crops.
        """
        if not self._before:
            return None
        patch, grid = self._package.patch, self._package.crop // self._package.patch
        if not isinstance(self._before, bool):
            frame = crops.frame(patch)
            chosen = self._before.select(
                Candidates(frame, pixels=np.ascontiguousarray(joined(crops, cut)), digest=digest)
            )
            held = np.zeros(frame.cells, np.bool_)
            held[chosen.grid.index] = True
            return _in_crops(held.reshape(_shape(frame)), crops, grid)
        logits = self._encoder.text_logits(np.concatenate([blocks_of(crop, 2 * patch) for crop in cut]))
        text = joined(crops, (logits > 0).reshape(len(cut), grid // 2, grid // 2))
        return _in_crops(dilated(np.asarray(text, np.bool_)).repeat(2, axis=0).repeat(2, axis=1), crops, grid)

    def text_probability(self, vectors: Float32) -> Float32:
        """The share of 1 that paper leaves: 1 - sigmoid(cosine with paper * scale + bias), float32 [n]."""
        lengths = np.maximum(np.linalg.norm(vectors, axis=1), np.float32(1e-12))
        cosine = (vectors @ self._paper) / lengths
        logit = cosine * np.float32(self._package.scale) + np.float32(self._package.bias)
        result: Float32 = (1 / (1 + np.exp(np.clip(logit, -60, 60)))).astype(np.float32)
        return result


def text_mask(text: Float32, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [height, width]: 255 where a page has text, else 0; above 0.5, bilinear between the centres of cells."""
    from PIL import Image

    scaled = Image.fromarray(text, "F").resize((width, height), Image.Resampling.BILINEAR)
    return np.where(np.asarray(scaled) >= 0.5, 255, 0).astype(np.uint8)


def _in_crops(kept: NDArray[np.bool_], crops: PageCrops, grid: int) -> NDArray[np.bool_]:
    """[crops, grid, grid] of a page's [rows * grid, cols * grid]."""
    apart = kept.reshape(crops.rows, grid, crops.cols, grid).swapaxes(1, 2)
    return np.ascontiguousarray(apart.reshape(crops.rows * crops.cols, grid, grid))


def _shape(frame: TokenFrame) -> tuple[int, int]:
    return frame.grid_h, frame.grid_w
