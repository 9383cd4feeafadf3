"""Every pruning method on the same crops of pages: what of the text is kept, whether words are still found, what it costs.

    python tests/bench/pruning.py [--model pages] [--crops 16] [--words 5] [--seen PAGES] [--out docs/pruning-benchmark] [PDF ...]

On crops of generated documents that no model of ours was trained on, and on crops of the pages of PDFs whose own text layer is
the truth. A crop is encoded as a job does it (torch, float32, one thread, so that methods which look between layers run too); its
tokens are stored as int8, and words are looked for as the client does. `--seen` (as often as needed) is a folder of training
pages (`gridscribe pages`): words that stand in none of them are scored apart. OUT.md and OUT.json are written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gridscribe.ingest.paperwork import PageTruth, write_pages
from gridscribe.models.document.encoder import LookingEncoder, looks_inside, open_page_encoder, resolve_page_engine
from gridscribe.models.document.package import DocumentPackage, gram_vectors, load_document_model
from gridscribe.models.document.patch_classifier import blocks_of, dilated
from gridscribe.models.document.spelling import BACKGROUND, token_vectors
from gridscribe.models.pruning import METHODS, Candidates, Pruner, pruner_from_json
from gridscribe.models.pruning.skip import SkipTokens
from gridscribe.pipelines.documents.cropping import cut_page, page_crops
from gridscribe.pipelines.documents.evaluation import (
    LETTERS,
    KnownPage,
    best_page,
    generated_pages,
    letters,
    pdf_pages,
    right_place,
)
from gridscribe.quantise import quantise
from gridscribe.token_tables import TokenEntry, write_tokens
from gridscribe.tokens import TokenFrame, TokenGrid

Bools = NDArray[np.bool_]
Float32 = NDArray[np.float32]
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SIGNALS = ("attention", "shallow", "transition", "keys", "sensitivity")
HELD_OUT = 4004
TAUS = (0, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224)
ALPHAS = (-0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Crop:
    """A crop of a page, what stands on it, and what the encoder says of it when nothing is pruned."""

    pixels: NDArray[np.uint8]
    page: KnownPage
    words: tuple[str, ...]
    """Those that are asked for."""
    text: Bools
    """[cells]: text by the truth."""
    vectors: Float32
    """[cells, D]."""
    signals: dict[str, Float32]
    probability: Float32
    """[cells]: of text, by the encoder."""
    logits: Float32
    """[blocks]: of text, by the patch classifier."""
    key: str


@dataclass(frozen=True, eq=False)
class Run:
    """A method at a setting, on every crop of a set."""

    grids: list[TokenGrid]
    seconds: list[float]


def best_crop(page: KnownPage, side: int) -> tuple[NDArray[np.uint8], KnownPage] | None:
    """The crop of a page's grid that holds most whole words of `LETTERS` letters, with those; None where none holds eight."""
    height, width = page.pixels.shape[:2]
    crops = page_crops(height, width, side, 64)
    found = []
    for number, pixels in enumerate(cut_page(page.pixels, crops)):
        row, col = divmod(number, crops.cols)
        words = []
        for text, (x0, y0, x1, y1) in page.words:
            a, b, c, d = x0 * crops.cols - col, y0 * crops.rows - row, x1 * crops.cols - col, y1 * crops.rows - row
            if a >= 0 and b >= 0 and c <= 1 and d <= 1:
                words.append((text, (a, b, c, d)))
        found.append((sum(len(text) >= LETTERS for text, _ in words), -number, pixels, tuple(words)))
    count, _, pixels, words_there = max(found, key=lambda one: one[:2])
    return (pixels, KnownPage(pixels, words_there)) if count >= 8 else None


def crops_of(
    pages: Iterator[KnownPage], package: DocumentPackage, encoder: LookingEncoder, most: int, words: int, name: str
) -> list[Crop]:
    """Up to `most` crops, one of a page, with everything that any method asks for."""
    (paper,) = token_vectors(gram_vectors(package), [BACKGROUND])
    paper /= np.linalg.norm(paper)
    arch, rng, made = package.architecture, np.random.default_rng(0), list[Crop]()
    cells = package.crop // arch.cell
    for page in pages:
        cut = best_crop(page, package.crop)
        if cut is None:
            continue
        pixels, known = cut
        key = f"{name}-{len(made)}"
        vectors, signals = encoder.look(pixels, None, SIGNALS, key)
        flat = vectors.reshape(-1, arch.embed_dim)
        logit = flat @ paper / np.linalg.norm(flat, axis=1) * package.scale + package.bias
        asked = sorted({text for text, _ in known.words if len(text) >= LETTERS})
        chosen = tuple(rng.choice(asked, min(words, len(asked)), replace=False).tolist())
        made.append(
            Crop(
                pixels,
                known,
                chosen,
                _covered(known, cells),
                flat,
                {name: values.reshape(cells * cells, *values.shape[2:]) for name, values in signals.items()},
                (1 / (1 + np.exp(logit))).astype(np.float32),
                encoder.text_logits(blocks_of(pixels, 2 * arch.patch)),
                key,
            )
        )
        if len(made) == most:
            break
    return made


def _covered(page: KnownPage, cells: int) -> Bools:
    """[cells * cells]: those whose middle lies in a word's box."""
    out = np.zeros((cells, cells), np.bool_)
    for _, (x0, y0, x1, y1) in page.words:
        row0, row1, col0, col1 = (round(v * cells) for v in (y0, y1, x0, x1))
        out[row0 : max(row1, row0 + 1), col0 : max(col1, col0 + 1)] = True
    return out.ravel()


class Bench:
    """Methods on a set of crops."""

    def __init__(self, package: DocumentPackage, encoder: LookingEncoder, crops: list[Crop]) -> None:
        self.package, self.encoder, self.crops = package, encoder, crops
        self.side = package.crop // package.architecture.cell
        self.patches = package.crop // package.patch
        self.frame = TokenFrame(self.side, self.side, package.architecture.cell)
        self.grams = gram_vectors(package)

    def after(self, pruner: Pruner) -> Run:
        """A method on the finished vectors; its time is the encoder's and its own."""
        grids, seconds, inside = [], [], looks_inside(pruner)
        for crop in self.crops:
            significance = crop.signals.get(pruner.signal, crop.probability)
            candidates = Candidates(
                self.frame, vectors=crop.vectors, significance=significance, digest=crop.key, keys=crop.signals["keys"],
                shallow=crop.signals["shallow"],
            )  # fmt: skip
            started = time.perf_counter()
            if inside:
                self.encoder.look(crop.pixels, None, inside, crop.key)
            else:
                self.encoder.encode(crop.pixels)
            chosen = pruner.select(candidates)
            seconds.append(time.perf_counter() - started)
            grids.append(chosen.tokens(crop.vectors))
        return Run(grids, seconds)

    def before(self, choose: Callable[[Crop], Bools]) -> Run:
        """What `choose` keeps, bool [g, g], is computed, all of it is stored; its time is the choice's and the encoder's."""
        grids, seconds = [], []
        fine = self.side // self.patches
        for crop in self.crops:
            started = time.perf_counter()
            kept = choose(crop)
            vectors = self.encoder.encode(crop.pixels, kept)
            seconds.append(time.perf_counter() - started)
            cells = kept.repeat(fine, axis=0).repeat(fine, axis=1).ravel()
            flat = vectors.reshape(self.frame.cells, -1)
            grids.append(TokenGrid(self.frame, self.frame.indices()[cells], None, flat[cells]))
        return Run(grids, seconds)

    def within(self, pruner: SkipTokens) -> Run:
        """Layers that patches pass by; the whole grid is stored."""
        grids, seconds = [], []
        for crop in self.crops:
            started = time.perf_counter()
            vectors = self.encoder.skip(crop.pixels, None, pruner)
            seconds.append(time.perf_counter() - started)
            grids.append(TokenGrid(self.frame, self.frame.indices(), None, vectors.reshape(self.frame.cells, -1)))
        return Run(grids, seconds)

    def pixels(self, pruner: Pruner) -> Callable[[Crop], Bools]:
        """The patches that a method keeps by their pixels, or by lot."""
        frame = TokenFrame(self.patches, self.patches, self.package.patch)

        def choose(crop: Crop) -> Bools:
            out = np.zeros(frame.cells, np.bool_)
            out[pruner.select(Candidates(frame, pixels=crop.pixels, digest=crop.key)).grid.index] = True
            return out.reshape(frame.grid_h, frame.grid_w)

        return choose

    def classifier(self, threshold: float) -> Callable[[Crop], Bools]:
        """The patches that the classifier keeps at a logit, dilated as published; logits are worked out anew, for their time."""

        def choose(crop: Crop) -> Bools:
            logits = self.encoder.text_logits(blocks_of(crop.pixels, 2 * self.package.patch))
            kept = dilated((logits > threshold).reshape(self.patches // 2, -1))
            return kept.repeat(2, axis=0).repeat(2, axis=1)

        return choose

    def scores(self, run: Run, seen: frozenset[str] | None) -> dict[str, Any]:
        """The row of a run; words are asked of every crop of the set."""
        grids = [grid.with_vectors(quantise(grid.dense(), "int8")) for grid in run.grids]
        holders: dict[str, set[int]] = {}
        for number, crop in enumerate(self.crops):
            for written, _ in crop.page.words:
                holders.setdefault(written, set()).add(number)
        places: dict[bool, list[bool]] = {True: [], False: []}
        firsts: list[bool] = []
        for number, crop in enumerate(self.crops):
            for word in crop.words:
                known = seen is None or word in seen
                places[known].append(right_place(grids[number], self.grams, word, crop.page))
                if len(holders[word]) == 1:
                    firsts.append(best_page(grids, self.grams, word) == number)
        text = sum(int(crop.text.sum()) for crop in self.crops)
        kept = sum(int(crop.text[grid.index].sum()) for crop, grid in zip(self.crops, grids, strict=True))
        stands = sum(int(crop.text[grid.source_map >= 0].sum()) for crop, grid in zip(self.crops, grids, strict=True))
        dim = self.package.architecture.embed_dim
        stored = [len(write_tokens([TokenEntry("page", 0, grid)], dim)) for grid in grids]
        maps = [0 if grid.parent is None else grid.parent.nbytes for grid in grids]
        return {
            "kept": round(float(np.mean([len(grid) / grid.n_total for grid in grids])), 3),
            "text kept": round(kept / max(1, text), 3),
            "text with a vector": round(stands / max(1, text), 3),
            "place right": _share(places[True] + places[False]),
            "place right, unseen words": _share(places[False]) if seen is not None else None,
            "crop first": _share(firsts),
            "words": [len(places[True]) + len(places[False]), len(places[False]), len(firsts)],
            "ms": round(statistics.median(run.seconds) * 1e3, 1),
            "bytes": round(statistics.fmean(stored) + statistics.fmean(maps)),
        }


def _share(found: list[bool]) -> float | None:
    return round(float(np.mean(found)), 3) if found else None


def nearest(options: list[tuple[float, Any]], ratio: float) -> Any:
    """The setting whose kept share is nearest to a ratio."""
    return min(options, key=lambda one: abs(one[0] - ratio))[1]


def runs(bench: Bench) -> Iterator[tuple[str, float | None, dict[str, Any], Run]]:
    """(method, ratio asked for or None, settings, run) of everything that is compared."""
    yield "all", None, {}, bench.after(pruner_from_json({"method": "all"}))
    crops, package = bench.crops, bench.package
    probability = np.concatenate([crop.probability for crop in crops])
    logits = np.concatenate([crop.logits for crop in crops])
    levels = np.quantile(logits, np.linspace(0, 1, 60))

    def share(choose: Callable[[Crop], Bools]) -> float:
        return float(np.mean([choose(crop).mean() for crop in crops]))

    def dilated_share(level: float) -> float:
        grid = bench.patches // 2
        return float(np.mean([dilated((crop.logits > level).reshape(grid, grid)).mean() for crop in crops]))

    by_level = [(dilated_share(float(level)), float(level)) for level in levels]
    by_tau = [(share(bench.pixels(pruner_from_json({"method": "pixelprune", "tau": tau}))), tau) for tau in TAUS]
    by_alpha: list[tuple[float, float]] = []
    for alpha in ALPHAS:
        found = bench.after(pruner_from_json({"method": "correlation", "alpha": alpha}))
        by_alpha.append((float(np.mean([len(grid) / grid.n_total for grid in found.grids])), alpha))
    for ratio in RATIOS:
        level, tau, alpha = nearest(by_level, ratio), nearest(by_tau, ratio), nearest(by_alpha, ratio)
        yield "classifier", ratio, {"logit": round(level, 3)}, bench.before(bench.classifier(level))
        yield (
            "pixelprune",
            ratio,
            {"tau": tau},
            bench.before(bench.pixels(pruner_from_json({"method": "pixelprune", "tau": tau}))),
        )
        lot = pruner_from_json({"method": "random", "keep": ratio, "placement": "before"})
        yield "random, before", ratio, {"keep": ratio}, bench.before(bench.pixels(lot))
        skip = SkipTokens(keep=ratio, first=1, last=package.architecture.layers)
        yield "skip", ratio, {"keep": ratio, "first": 1, "last": skip.last}, bench.within(skip)
        threshold = float(np.quantile(probability, 1 - ratio))
        settings: list[dict[str, Any]] = [
            {"method": "text-prior", "threshold": threshold},
            {"method": "flexible", "side": max(1, round(32 * ratio**0.5))},
            {"method": "correlation", "alpha": alpha},
            *(
                {"method": name, "keep": ratio}
                for name in (
                    "random",
                    "ward",
                    "bipartite",
                    "pooling",
                    "script",
                    "pagerank",
                    "zeroth-order",
                    "pyramid",
                    "transition",
                )
            ),
        ]
        for one in settings:
            yield (
                one["method"],
                ratio,
                {k: v for k, v in one.items() if k != "method"},
                bench.after(pruner_from_json(one)),
            )
    yield "core", None, {}, bench.after(pruner_from_json({"method": "core"}))
    yield "duplicates", None, {}, bench.before(bench.pixels(pruner_from_json({"method": "duplicates"})))
    yield (
        "nodata",
        None,
        {"nodata": 255.0},
        bench.before(bench.pixels(pruner_from_json({"method": "nodata", "nodata": 255.0}))),
    )


def seen_words(folders: list[Path]) -> frozenset[str]:
    """The words that stand on generated pages, letters alone."""
    found: set[str] = set()
    for path in chain.from_iterable(sorted(folder.glob("*_tokens.json")) for folder in folders):
        found |= {letters(word.text) for word in PageTruth.load(path).words}
    return frozenset(found)


COLUMNS = (
    "kept",
    "text kept",
    "text with a vector",
    "place right",
    "place right, unseen words",
    "crop first",
    "ms",
    "bytes",
)


def report(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """The page that is read: a table for each set and ratio, then what methods are and what differs from their papers."""
    out = [
        "# Pruning methods on pages",
        "",
        "Written by `python tests/bench/pruning.py`; see its first lines for how. " + facts["about"],
        "",
    ]
    for name in facts["sets"]:
        here = [row for row in rows if row["set"] == name]
        out += [f"## {name}", ""]
        for ratio in (*RATIOS, None):
            some = [row for row in here if row["ratio"] == ratio]
            some.sort(key=lambda row: -(row["place right"] or 0))
            out += [f"### Keep ratio {ratio}" if ratio is not None else "### Methods without a ratio", ""]
            out += ["| method | placement | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]
            for row in some:
                values = [
                    "-" if row[key] is None else f"{row[key]:,}" if key == "bytes" else str(row[key]) for key in COLUMNS
                ]
                out.append(f"| {row['method']} | {row['placement']} | " + " | ".join(values) + " |")
            out.append("")
    out += ["## The methods", "", "| method | source | fidelity | what differs |", "|---|---|---|---|"]
    for name, method in METHODS.items():
        out.append(f"| {name} | {method.source or 'ours'} | {method.fidelity} | {method.differs} |")
    return "\n".join(out) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="pages")
    parser.add_argument("--crops", type=int, default=16)
    parser.add_argument("--words", type=int, default=5)
    parser.add_argument("--seen", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("docs/pruning-benchmark"))
    parser.add_argument("pdfs", nargs="*", type=Path)
    options = parser.parse_args()
    package = load_document_model(options.model)
    spec = resolve_page_engine("torch", package, precision="float32", threads=1, inside=True)
    encoder = cast("LookingEncoder", open_page_encoder(spec, package))
    seen = seen_words(options.seen) if options.seen else None
    sets: dict[str, list[Crop]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_pages(Path(folder), options.crops * 2, HELD_OUT, "standard", "vocabulary")
        pages = generated_pages(Path(folder), package.dpi)
        sets["Generated pages"] = crops_of(pages, package, encoder, options.crops, options.words, "generated")
    if options.pdfs:
        pages = pdf_pages(options.pdfs, package.dpi)
        sets["Real pages"] = crops_of(pages, package, encoder, options.crops, options.words, "real")
    rows: list[dict[str, Any]] = []
    for name, crops in sets.items():
        bench = Bench(package, encoder, crops)
        encoder.encode(crops[0].pixels)  # the first run of a shape pays for it
        for method, ratio, settings, run in runs(bench):
            cls = METHODS.get(method.split(",")[0])
            placement = (
                "before"
                if method in ("classifier", "pixelprune", "random, before", "duplicates", "nodata")
                else "after"
            )
            row = {
                "set": name, "method": method, "ratio": ratio, "placement": "within" if method == "skip" else placement,
                "fidelity": cls.fidelity if cls else "as published", "settings": settings, **bench.scores(run, seen),
            }  # fmt: skip
            rows.append(row)
            print(
                {
                    key: row[key]
                    for key in ("set", "method", "ratio", "kept", "text kept", "place right", "crop first", "ms")
                },
                flush=True,
            )
    facts = {
        "model": package.digest,
        "engine": f"{spec.name} {spec.precision}",
        "sets": {name: len(crops) for name, crops in sets.items()},
        "about": (
            f"Model `{package.name}` ({package.digest[:12]}), {spec.name} {spec.precision}, one thread, crops of {package.crop} "
            "px; "
            + ", ".join(f"{len(crops)} crops of {name.lower()}" for name, crops in sets.items())
            + f"; {'words that training pages hold count as seen' if seen is not None else 'seen words were not told apart'}."
        ),
    }
    options.out.with_suffix(".json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(report(rows, facts))


if __name__ == "__main__":
    main()
