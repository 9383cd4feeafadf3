"""Exact search among int8 vectors: time against the memory's bandwidth, recall against float32, and a whole text query.

`python tests/bench/vector_search.py [VECTORS] [DIM] [EMBEDDINGS.npy]`. One core: the process is pinned, and so is BLAS. The limit
is the matrix's bytes over the rate at which this core copies them, which reads and writes; what it only reads goes faster, so
that rate is shown too. Recall is that of the best 10 by int8 among the best 10 by float32, of the vectors of a file ([n, D])
or of a mixture of Gaussians, which is harder than uniform ones and easier than some encoder's. The table stands for one product's
regions, on local disk and in the operating system's cache; its query is a vector, so no text tower is timed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, str(Path(__file__).parents[2]))

from gridscribe.client.objects import ObjectsBackend
from gridscribe.client.region_search import search, winners
from gridscribe.client.region_tables import Wanted
from gridscribe.client.search import Best, dots, scores, top_k
from gridscribe.client.vector_index import build_index
from gridscribe.quantise import Quantised, quantise
from gridscribe.store import open_store
from tests.embedded import aligned, wide_regions

TABLE = 200_000  # regions of the table that is queried


def seconds(work: Callable[[], Any], times: int = 5) -> float:
    """Least time of one call."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = rng.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def mixture(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """`count` vectors about 200 centres (the same for every seed), float32."""
    centres = np.random.default_rng(0).normal(size=(200, dim)).astype(np.float32)
    rng = np.random.default_rng([1, seed])
    return centres[rng.integers(0, 200, count)] + 0.7 * rng.normal(size=(count, dim)).astype(np.float32)


def bandwidth(values: np.ndarray) -> tuple[float, float]:
    """Bytes a second at which this core copies and reads `values`."""
    other = np.empty_like(values)
    copying = seconds(lambda: np.copyto(other, values))
    return values.nbytes / copying, values.nbytes / seconds(lambda: values.reshape(-1).view(np.int64).max())


def speed(count: int, dim: int) -> None:
    """The kernel beside the bandwidth, and beside other ways."""
    rng = np.random.default_rng(0)
    values = np.empty((count, dim), np.int8)
    for start in range(0, count, 1 << 16):  # unit vectors that are random: about 40 steps of deviation
        part = values[start : start + (1 << 16)]
        part[:] = np.clip(np.rint(rng.standard_normal(part.shape, np.float32) * 36), -127, 127)
    vectors = Quantised(values, np.full(count, np.float16(0.00123)))
    copied, read = bandwidth(values)
    print(f"{count:,} x {dim} int8: this core copies {copied / 1e9:.1f} GB/s, reads {read / 1e9:.1f} GB/s")
    limit = values.nbytes / copied
    for queries in (1, 4, 16):
        asked = unit(rng, queries, dim)
        took = seconds(partial(top_k, vectors, asked, 10), 3 if queries > 4 else 5)
        told = f"{values.nbytes / took / 1e9:.2f} GB/s, {limit / took:.0%} of copying" if queries == 1 else ""
        print(f"  best 10 of {queries:2} queries: {took * 1e3:.0f} ms, {took / queries * 1e3:.0f} ms a query; {told}")
    query = unit(rng, 1, dim)[0]
    few = values[: min(count, 100_000)]
    whole = count / len(few)
    steps = np.rint(query / np.abs(query).max() * 127).astype(np.int16)
    ways: dict[str, Callable[[], Any]] = {
        "blocks in cache, float32 (this)": lambda: dots(few, query),
        "the whole as float32": lambda: few.astype(np.float32) @ query,
        "einsum of int16 to int32": lambda: np.einsum("ij,j->i", few.astype(np.int16), steps, dtype=np.int32),
        "blocks, cast by pyarrow": lambda: [
            pc.cast(pa.array(few[k : k + 128].reshape(-1)), pa.float32()).to_numpy().reshape(-1, dim) @ query
            for k in range(0, len(few), 128)
        ],
        "float64, the definition": lambda: scores(vectors.take(slice(0, len(few))), query),
    }
    for name, work in ways.items():
        print(f"  products alone, {name}: {seconds(work, 3) * whole * 1e3:.0f} ms for all")


def recall(embeddings: np.ndarray, asked: int = 200) -> None:
    """How many of the best 10 by float32 int8 finds; queries are some of the vectors, themselves left out."""
    count = len(embeddings)
    exact = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    stored = quantise(embeddings)
    picked = np.random.default_rng(1).choice(count, min(asked, count // 2), replace=False)
    queries = exact[picked].astype(np.float32)
    rows, _ = top_k(stored, queries, 11)
    held, slip = [], 0.0
    for number, own in enumerate(picked.tolist()):
        truth = exact @ queries[number]
        truth[own] = -np.inf
        best = set(np.argpartition(-truth, 10)[:10].tolist())
        held.append(len(best & set([row for row in rows[number].tolist() if row != own][:10])) / 10)
        truth[own] = 1.0
        slip = max(slip, float(np.abs(scores(stored, queries[number]) - truth).max()))
    print(
        f"recall@10 of int8 on {count:,} x {embeddings.shape[1]}: {np.mean(held):.4f}; a score is off by at most {slip:.4f}"
    )


class Mixed:
    """Rows of `mixture`, others in each call."""

    def __init__(self) -> None:
        self._calls = 100

    def __call__(self, count: int, dim: int) -> np.ndarray:
        self._calls += 1
        return mixture(count, dim, self._calls)


def table(count: int, dim: int) -> None:
    """A query of a table of regions: all of it, a box of it, and by a local index; queries are other vectors of the mixture."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        name = wide_regions(store, count, dim, aligned(embed_dim=dim), vectors=Mixed())
        size = sum(path.stat().st_size for path in Path(folder).glob("products/*/regions/*.parquet"))
        index = ObjectsBackend(store).index(name)
        assert index.regions.tables
        query = unit(np.random.default_rng(2), 1, dim)[0]
        side = int(np.ceil(np.sqrt(count)))
        box = (15.0, 45.0, 15 + 1e-5 * side, 45 + 1e-5 * side / 50)

        def ask(bbox: Any) -> int:
            best = Best(20)
            search(store, index, Wanted.of(index.ids, bbox, None), query, best)
            return len(list(winners(store, index, best.hits())))

        assert ask(None) == ask(box) == 20
        everything, part = seconds(lambda: ask(None), 3), seconds(lambda: ask(box), 3)
        print(
            f"{count:,} regions in Parquet ({size / count:.0f} bytes each): best 20 with their rows {everything:.2f} s, "
            f"{count / everything:,.0f} regions/s; of a fiftieth, by a box {part * 1e3:.0f} ms"
        )
        os.environ["GRIDSCRIBE_CACHE"] = f"{folder}/cache"
        began = time.perf_counter()
        local = build_index(store, index, dim)
        built = time.perf_counter() - began
        queries = [*mixture(60, dim, seed=9)]
        shares, times = [], dict.fromkeys((True, False), 0.0)
        for asked in queries:
            found = {}
            for exact in (True, False):
                best = Best(10)
                began = time.perf_counter()
                vector = asked / np.linalg.norm(asked)
                local.search(store, index, Wanted.of(index.ids, None, None), vector, best, exact=exact)
                times[exact] += (time.perf_counter() - began) / len(queries) * 1e3
                found[exact] = {hit.region_id for hit in best.hits()}
            shares.append(len(found[True] & found[False]) / 10)
        print(
            f"  with a local index (made in {built:.0f} s, {len(local.centres)} cells): exact {times[True]:.0f} ms, "
            f"by cells {times[False]:.1f} ms with recall@10 {np.mean(shares):.3f}"
        )


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    width = int(sys.argv[2]) if len(sys.argv) > 2 else 512
    print(f"{Path(__file__).name}")
    speed(number, width)
    recall(np.load(sys.argv[3]).astype(np.float32) if len(sys.argv) > 3 else mixture(min(number, 100_000), width))
    table(min(number, TABLE), width)
