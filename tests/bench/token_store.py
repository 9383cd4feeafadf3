"""Token storage: bytes per 1,000 tokens, time to fetch one token from a local folder, time to merge 1,024 tokens.

`python tests/bench/token_store.py [DIM]`. One core: the process is pinned. Vectors are a mixture of Gaussians and
no encoder's output: sizes of real ones will differ a little. Beside each size stand the bare vectors: DIM bytes and a scale,
or 2 * DIM. "One token" is at a random pixel; the file is in the operating system's cache, so no disk is measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gridscribe.models.pruning import Candidates
from gridscribe.models.pruning.bipartite import BipartiteMerging
from gridscribe.models.pruning.pixels import PixelPrune
from gridscribe.models.pruning.pooling import TokenPooling
from gridscribe.models.pruning.ward import WardPooling
from gridscribe.quantise import KINDS, quantise
from gridscribe.store import open_store
from gridscribe.tables import ImageRow
from gridscribe.token_reader import open_tokens
from gridscribe.token_tables import TokenEntry, token_columns, write_tokens
from gridscribe.tokens import TokenFrame, TokenGrid

PATCH, SIDE = 16, 128  # an item of 2048 x 2048 px


def mixture(count: int, dim: int) -> np.ndarray:
    """`count` vectors about 40 centres, float32."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(40, dim))[rng.integers(0, 40, count)] + 0.5 * rng.normal(size=(count, dim))).astype("f4")


def milliseconds(work: Callable[[], Any], times: int = 7) -> float:
    """Median time of one call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e3)
    return median(taken)


def storage(dim: int) -> None:
    """Sizes and fetches of one item's table, all tokens kept."""
    frame = TokenFrame(SIDE, SIDE, PATCH)
    vectors = mixture(frame.cells, dim)
    for kind in KINDS:
        grid = TokenGrid(frame, frame.indices(), None, quantise(vectors, kind))
        row = ImageRow(
            image="scene-1a2b3c4d", source="x", height=2048, width=2048, box_row=0, box_col=0, box_height=2048,
            box_width=2048, **token_columns(grid),
        )  # fmt: skip
        entry = TokenEntry(row.image, 0, grid)
        data = write_tokens([entry], dim, kind)  # the first call also imports pyarrow, and is not timed
        wrote = milliseconds(partial(write_tokens, [entry], dim, kind), 3)
        bare = dim + 2 if kind == "int8" else 2 * dim
        print(
            f"{kind}: {len(data) / frame.cells * 1000:,.0f} bytes per 1,000 tokens of {dim} (bare vectors {bare * 1000:,}); "
            f"written at {frame.cells / wrote * 1e3:,.0f} tokens/s"
        )
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(folder)
            store.put("t.parquet", data)
            rng = np.random.default_rng(1)

            def cold(row: ImageRow = row, store: Any = store, rng: Any = rng, size: int = len(data)) -> None:
                table, read = open_tokens(store, "t.parquet", size)
                table.at_pixel(read, row, *rng.integers(0, 2048, 2).tolist())

            table, read = open_tokens(store, "t.parquet", len(data))

            def warm(row: ImageRow = row, table: Any = table, read: Any = read, rng: Any = rng) -> None:
                table.at_pixel(read, row, *rng.integers(0, 2048, 2).tolist())

            print(
                f"  one token: {milliseconds(cold, 30):.1f} ms, {milliseconds(warm, 30):.1f} ms where the footer is held"
            )
            whole = milliseconds(partial(table.grid, read, row), 3)
            print(f"  all {frame.cells:,} tokens: {whole:.0f} ms")


def merging(dim: int) -> None:
    """Time of each method for one block of 1,024 tokens, kept to a quarter."""
    frame = TokenFrame(32, 32, PATCH)
    pixels = np.random.default_rng(0).integers(0, 2, (32, 32)).repeat(PATCH, 0).repeat(PATCH, 1)[..., None].repeat(4, 2)
    candidates = Candidates(frame, mixture(frame.cells, dim), pixels.astype(np.uint8))
    pruners = (WardPooling(), BipartiteMerging(), TokenPooling(), TokenPooling(centres="means"), PixelPrune())
    for pruner in pruners:
        taken = milliseconds(partial(pruner.select, candidates), 5)
        kept = len(pruner.select(candidates).grid)
        print(f"{pruner.name} {getattr(pruner, 'centres', '')}: {taken:.0f} ms per 1,024 tokens of {dim}, {kept} kept")


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    print(f"{Path(__file__).name}: {SIDE} x {SIDE} tokens")
    storage(width)
    merging(width)
