"""Encoding a crop of 1,024 patches: all of them beside a part of them, classifier, dilation and head included.

    python tests/bench/page_encoding.py [--model pages] [--rounds 15] [--engine auto]

The pruned run does all that a job does: the classifier on every square of 2 x 2 patches, its answer dilated, the kept patches
through the blocks, the head on the whole grid. Which are kept is drawn here, squares at random, so that their share is what is
written. Rounds alternate; medians of one stream. Bytes are those of a page's tokens as stored, beside a full grid in float16.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from gridscribe.ingest.paperwork import generate_document
from gridscribe.models.document.encoder import CropEncoder, open_page_encoder, resolve_page_engine
from gridscribe.models.document.package import load_document_model
from gridscribe.models.document.patch_classifier import blocks_of, dilated
from gridscribe.models.pruning.text_prior import TextPrior
from gridscribe.pipelines.documents.encoding import PageEmbedder
from gridscribe.pipelines.stages import Deadline
from gridscribe.token_tables import TokenEntry, write_tokens

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7)


def seconds(encoder: CropEncoder, crop: np.ndarray, kept: np.ndarray | None, patch: int) -> float:
    """One crop, encoded as a job would."""
    started = time.perf_counter()
    if kept is not None:
        logits = encoder.text_logits(blocks_of(crop, 2 * patch))
        dilated((logits > 0).reshape(kept.shape[0] // 2, -1)).repeat(2, axis=0).repeat(2, axis=1)
    encoder.encode(crop, kept)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="pages")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    package = load_document_model(options.model)
    encoder = open_page_encoder(resolve_page_engine(options.engine, package), package, cores=1)
    grid, rng = package.crop // package.patch, np.random.default_rng(0)
    pages = [page.scan.pixels for page in generate_document(3, 1).pages]
    crop = np.ascontiguousarray(pages[0][: package.crop, : package.crop, :3])
    masks = {}
    for share in SHARES:
        squares = np.zeros((grid // 2) ** 2, np.bool_)
        squares[rng.permutation(len(squares))[: round(share * len(squares))]] = True
        masks[share] = squares.reshape(grid // 2, grid // 2).repeat(2, axis=0).repeat(2, axis=1)
    taken: dict[float, list[float]] = {share: [] for share in (1.0, *SHARES)}
    for number in range(options.rounds + 2):
        for share in taken:
            value = seconds(encoder, crop, masks.get(share), package.patch)
            if number >= 2:
                taken[share].append(value)
    full = statistics.median(taken[1.0])
    print(f"{encoder.spec.name} {encoder.spec.precision}, {grid * grid} patches, all: {full * 1e3:.1f} ms")
    for share in SHARES:
        ratios = [a / b for a, b in zip(taken[share], taken[1.0], strict=True)]
        print(
            f"kept {share:.1f}: {statistics.median(taken[share]) * 1e3:6.1f} ms, {statistics.median(ratios):.2f} of all"
        )
    for before in (False, True) if package.classifies else (False,):
        embedder = PageEmbedder(package, encoder, TextPrior(), "int8", 64, before=before)
        page = np.ascontiguousarray(pages[0][..., :3])
        tokens = embedder.embed(page, "page", Deadline(600))
        stored = len(write_tokens([TokenEntry("page", 0, tokens.grid)], package.architecture.embed_dim))
        whole = tokens.grid.n_total * package.architecture.embed_dim * 2
        name = "classifier before" if before else "all patches"
        print(
            f"{name}: {len(tokens.grid):,} of {tokens.grid.n_total:,} tokens kept, {stored:,} bytes stored, "
            f"{stored / whole:.3f} of the full grid in float16"
        )
    encoder.close()


if __name__ == "__main__":
    main()
