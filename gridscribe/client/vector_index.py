"""A disposable index of a product's region vectors: a local copy, grouped into cells about centres (IVF), made from the tables.

Decoding a million vectors from Parquet takes many times as long as comparing them. The index keeps them as they are compared,
mapped from disk and not in memory, with what a question needs to filter them by. A search compares every vector (and finds what a
scan of the tables finds, bit for bit), or only those of the cells whose centres are nearest to the query: most of the best, in a
fraction of the time (Jegou et al. 2011, section IV; without residuals, and scores are exact). Centres are spherical k-means.

It lies under `cache_root() / "vectors"`, named by the digest of the tables that it was made from: what was committed never
changes, so it is never out of date, and may be deleted at any time.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridscribe.canonical import canonical_json, sha256
from gridscribe.client.cells_of_vectors import centres_of, nearest
from gridscribe.client.index import ImageIndex
from gridscribe.client.region_search import geometries, vectors_of
from gridscribe.client.region_tables import CORNERS, Wanted, open_regions
from gridscribe.client.search import AT_ONCE, Best, Float32, Place, Rows, contenders, dots, doubt, scores
from gridscribe.errors import QueryError
from gridscribe.quantise import Quantised
from gridscribe.regions import region_id
from gridscribe.store import Store

VERSION = 1
FACTS = np.dtype(
    [("image", "<i4"), ("value", "<i8"), ("class_id", "u1"), ("table", "<i4"), ("group", "<i4"), ("row", "<i4")]
    + [(corner, "<f8") for corner in CORNERS]
)
COLUMNS = ("image", "value", "class_id", "bbox", "embedding", "scale")
PROBED = 16
"""One cell in so many is looked into, and at least `LEAST`."""
LEAST = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class VectorIndex:
    """An index, its files mapped. Safe to use from many threads."""

    values: NDArray[np.int8]
    """[n, D], by cell, within a cell in the order of tables and rows."""
    scale: NDArray[np.float16]
    facts: NDArray[Any]
    """`FACTS`, [n]; corners are NaN where a region has no place on Earth."""
    centres: Float32
    """[cells, D], unit vectors."""
    starts: Rows
    """[cells + 1]: where each cell begins."""
    images: tuple[str, ...]

    def search(
        self, store: Store, index: ImageIndex, wanted: Wanted, query: Float32, best: Best, *, exact: bool
    ) -> None:
        """Add to `best` the regions that are wanted: all of them, or those of the cells nearest to the query.

        Not `exact`, it goes on beyond these cells until it has met as many wanted regions as are asked for.
        """
        allowed = np.array([image in wanted.images for image in self.images], np.bool_)
        classes = [number for number, name in index.product.classes.items() if name == wanted.class_name]
        order = np.argsort(-(self.centres @ query), kind="stable")
        probes = len(order) if exact else max(LEAST, len(order) // PROBED)
        met = 0
        for number, part in enumerate(self._all() if exact else (self._cell(cell) for cell in order.tolist())):
            if not exact and number >= probes and (met >= best.room or best.full):
                break
            facts = self.facts[part]
            keep = allowed[facts["image"]]
            if wanted.class_name is not None:
                keep &= np.isin(facts["class_id"], classes)
            unsure = np.zeros(len(facts), np.bool_)
            if wanted.boxes is not None:
                near, inside = wanted.bounded(*(facts[corner] for corner in CORNERS))
                keep &= near
                unsure = ~inside
            rows = np.flatnonzero(keep)
            met += len(rows) - int(unsure[rows].sum())  # of the others a geometry may tell that they are not
            if len(rows):
                best.add(list(self._hits(store, index, wanted, part.start, rows, unsure[rows], query, best)))

    def _hits(
        self, store: Store, index: ImageIndex, wanted: Wanted, start: int, rows: Rows, unsure: NDArray[np.bool_],
        query: Float32, best: Best,
    ) -> Iterator[tuple[float, str, Place]]:  # fmt: skip
        """Those of some rows (counted from `start`) that may be among the best."""
        at = rows + start
        whole = slice(at[0], at[-1] + 1) if at[-1] - at[0] + 1 == len(at) else at  # a slice copies nothing
        vectors = Quantised(np.asarray(self.values[whole]), np.asarray(self.scale[whole]))
        rough, slack, bar = dots(vectors.values, query) * vectors.scale.astype(np.float32), doubt(vectors), best.bar
        within = rough + slack >= bar
        asked = np.flatnonzero(within & unsure)
        if len(asked):
            places = [self._place(row) for row in at[asked].tolist()]
            shapes = geometries(store, index, places)
            within[asked] = wanted.meets(np.array([shapes[place] for place in places], object))
        kept = np.flatnonzero(within)
        kept = kept[contenders(rough[kept], slack[kept], best.room, bar)]
        exact = scores(vectors.take(kept), query)
        for score, row in zip(exact.tolist(), at[kept].tolist(), strict=True):
            fact = self.facts[row]
            yield score, region_id(self.images[int(fact["image"])], int(fact["value"])), self._place(row)

    def _all(self) -> Iterator[slice]:
        for start in range(0, len(self.values), AT_ONCE):
            yield slice(start, min(start + AT_ONCE, len(self.values)))

    def _cell(self, cell: int) -> slice:
        return slice(int(self.starts[cell]), int(self.starts[cell + 1]))

    def _place(self, row: int) -> Place:
        fact = self.facts[row]
        return Place(int(fact["table"]), int(fact["group"]), int(fact["row"]))


def index_folder(index: ImageIndex, dim: int) -> Path:
    """Where the index of what is committed lies, or would."""
    from gridscribe.models.engines.graph_cache import cache_root

    tables = [[table.record.sha256, sorted(table.images)] for table in index.regions.tables]
    return cache_root() / "vectors" / sha256(canonical_json([VERSION, index.product.id, dim, tables]))[:32]


def open_index(index: ImageIndex, dim: int) -> VectorIndex | None:
    """The index of what is committed, if there is one that is whole."""
    folder = index_folder(index, dim)
    try:
        told = json.loads((folder / "index.json").read_text())
        count, cells = int(told["count"]), int(told["cells"])
        found = VectorIndex(
            values=_mapped(folder / "values", np.dtype(np.int8), (count, dim)),
            scale=_mapped(folder / "scale", np.dtype("<f2"), (count,)),
            facts=_mapped(folder / "facts", FACTS, (count,)),
            centres=np.fromfile(folder / "centres", "<f4").reshape(cells, dim),
            starts=np.fromfile(folder / "starts", "<i8").reshape(cells + 1),
            images=tuple(told["images"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("the index of vectors in %s is damaged and not used: %s", folder, error)
        return None
    return found


def build_index(store: Store, index: ImageIndex, dim: int) -> VectorIndex:
    """Make the index of what is committed, or open the one that is there.

    Reads every table once. Memory holds a row group and a sample of the vectors, the disk for a while two copies of all.
    Processes may race: each makes its own, and the first to be done is kept. Raises `QueryError` where no region is embedded.
    """
    if (there := open_index(index, dim)) is not None:
        return there
    folder = index_folder(index, dim)
    logger.info("making the index of vectors of product %s in %s", index.product.id, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    mine = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        count, images = _copy(store, index, dim, mine)
        if count == 0:
            raise QueryError(f"regions of product {index.product.id} have no embeddings: there is nothing to index")
        cells = _group(mine, count, dim)
        told = {"count": count, "cells": cells, "images": images}
        (mine / "index.json").write_text(json.dumps(told))
        if folder.exists() and open_index(index, dim) is None:
            shutil.rmtree(folder)  # damaged
        try:
            mine.rename(folder)
        except OSError:
            logger.debug("another process made %s first", folder)
    finally:
        shutil.rmtree(mine, ignore_errors=True)
    made = open_index(index, dim)
    if made is None:
        raise QueryError(
            f"the index in {folder} vanished while it was made: set GRIDSCRIBE_CACHE to a folder of your own"
        )
    return made


def _copy(store: Store, index: ImageIndex, dim: int, folder: Path) -> tuple[int, list[str]]:
    """(embedded regions, images): the vectors of all tables one after another, into files whose names begin with `raw-`."""
    count, codes = 0, dict[str, int]()
    with (folder / "raw-values").open("wb") as values, (folder / "raw-scale").open("wb") as scale, (
        folder / "raw-facts"
    ).open("wb") as facts:  # fmt: skip
        for number, table in enumerate(index.regions.tables):
            wanted = Wanted(table.images)
            with open_regions(store, table.record) as file:
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group, columns=list(COLUMNS), use_threads=False)
                    embedded, vectors = vectors_of(rows, dim, table.record.key)
                    keep = embedded & wanted.named(rows)
                    some = vectors.take(keep[embedded])
                    values.write(np.ascontiguousarray(some.values).tobytes())
                    scale.write(some.scale.astype("<f2").tobytes())
                    facts.write(_facts(rows, np.flatnonzero(keep), number, group, codes).tobytes())
                    count += len(some)
    return count, list(codes)


def _facts(rows: Any, kept: Rows, table: int, group: int, codes: dict[str, int]) -> NDArray[Any]:
    import pyarrow.compute as pc

    some = rows.take(kept)
    out = np.zeros(len(kept), FACTS)
    names = some["image"].combine_chunks().dictionary_encode()
    own = np.array([codes.setdefault(name, len(codes)) for name in names.dictionary.to_pylist()], np.int32)
    out["image"] = own[names.indices.to_numpy()] if len(kept) else 0
    out["value"], out["class_id"] = some["value"].to_numpy(), some["class_id"].to_numpy()
    out["table"], out["group"], out["row"] = table, group, kept
    for corner in CORNERS:
        bounds = pc.struct_field(some["bbox"].combine_chunks(), corner)
        out[corner] = pc.fill_null(bounds, np.nan).to_numpy(zero_copy_only=False)
    return out


def _group(folder: Path, count: int, dim: int) -> int:
    """Put the copied vectors into the order of cells; how many cells there are."""
    kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        "values": (np.dtype(np.int8), (count, dim)),
        "scale": (np.dtype("<f2"), (count,)),
        "facts": (FACTS, (count,)),
    }
    raw = {name: _mapped(folder / f"raw-{name}", kind, shape) for name, (kind, shape) in kinds.items()}
    centres = centres_of(Quantised(raw["values"], raw["scale"]))
    cell = np.empty(count, np.int32)
    for start in range(0, count, AT_ONCE):
        cell[start : start + AT_ONCE] = nearest(raw["values"][start : start + AT_ONCE], centres)
    order = np.argsort(cell, kind="stable")
    for name in kinds:
        with (folder / name).open("wb") as file:
            for start in range(0, count, AT_ONCE):
                file.write(np.ascontiguousarray(raw[name][order[start : start + AT_ONCE]]).tobytes())
    centres.astype("<f4").tofile(folder / "centres")
    np.searchsorted(cell[order], np.arange(len(centres) + 1)).astype("<i8").tofile(folder / "starts")
    raw.clear()
    for name in kinds:
        (folder / f"raw-{name}").unlink()
    return len(centres)


def _mapped(path: Path, kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    wanted = int(np.prod(shape)) * kind.itemsize
    if path.stat().st_size != wanted:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, {wanted} are expected")
    return np.memmap(path, kind, "r", shape=shape)
