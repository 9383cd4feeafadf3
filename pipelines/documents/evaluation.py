"""Examination of a document package: are words found at their places, and on their pages; is text told from paper?

On generated pages truth is the generator's. Words are single words of letters; a place is right where its middle lies in the
box of a word that contains the one that was asked for (half a line more counts). A page is right where no other has the word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gridscribe.errors import InputError
from gridscribe.ingest.paperwork import PageTruth
from gridscribe.models.document.encoder import CropEncoder, open_page_encoder, resolve_page_engine
from gridscribe.models.document.package import DocumentPackage, gram_vectors
from gridscribe.models.document.spelling import spelling, token_ids, token_vectors
from gridscribe.models.pruning.text_prior import TextPrior
from gridscribe.page_scores import NONE, best_places, place_scores
from gridscribe.pipelines.documents.encoding import PageEmbedder, PageTokens
from gridscribe.pipelines.documents.page_crops_data import load_page
from gridscribe.pipelines.stages import Deadline
from gridscribe.progress import Quiet, Reporter
from gridscribe.tokens import TokenGrid

Float32 = NDArray[np.float32]
LETTERS = 4  # of a word, at least
AROUND = 1.5  # cells about a word's box that still count as it


@dataclass(frozen=True, slots=True, eq=False)
class KnownPage:
    """A page, and the words that stand on it."""

    pixels: NDArray[np.uint8]
    words: tuple[tuple[str, tuple[float, float, float, float]], ...]
    """(letters alone, small; x0, y0, x1, y1 as shares of the page's width and height) of each word."""
    text: NDArray[np.bool_] | None = None
    """Where text is, [height, width] of `pixels`; None where it is not known."""


def generated_pages(folder: Path, dpi: float) -> Iterator[KnownPage]:
    """The pages that `gridscribe pages` left in `folder`, at `dpi`. InputError where there are none."""
    paths = sorted(folder.glob("*_tokens.json"))
    if not paths:
        raise InputError(f"{folder}: holds no generated pages (*_tokens.json)")
    for path in paths:
        truth = PageTruth.load(path)
        picture = load_page(folder, truth)
        width, height = (max(1, round(side * dpi / truth.dpi)) for side in picture.size)
        size = width, height
        words = []
        for number, word in enumerate(truth.words):
            box = truth.words_box([number])
            if box is not None:
                x0, y0, x1, y1 = box
                shares = (x0 / truth.width, y0 / truth.height, x1 / truth.width, y1 / truth.height)
                words.append((letters(word.text), shares))
        mask = Image.fromarray(truth.text_mask()).resize(size, Image.Resampling.NEAREST)
        yield KnownPage(np.asarray(picture.resize(size, Image.Resampling.LANCZOS)), tuple(words), np.asarray(mask))


def pdf_pages(files: Sequence[Path], dpi: float) -> Iterator[KnownPage]:
    """The pages of PDFs with the words of their own text layer; pages without a word are left out."""
    import pypdfium2

    for file in files:
        document = pypdfium2.PdfDocument(str(file))
        try:
            for page in document:
                width, height = page.get_size()
                layer = page.get_textpage()
                text = layer.get_text_range()
                words = []
                for match in re.finditer(r"\S+", text):
                    boxes = [layer.get_charbox(k) for k in range(match.start(), match.end())]
                    left, bottom, right, top = np.array(boxes).T
                    shares = (
                        left.min() / width,
                        1 - top.max() / height,
                        right.max() / width,
                        1 - bottom.min() / height,
                    )
                    words.append((letters(match.group()), tuple(float(v) for v in shares)))
                if words:
                    pixels = page.render(scale=dpi / 72, rev_byteorder=True).to_numpy()[..., :3]
                    yield KnownPage(np.ascontiguousarray(pixels), tuple(words))  # type: ignore[arg-type]
        finally:
            document.close()


def letters(text: str) -> str:
    """The letters of a text, small."""
    return re.sub(r"[^a-z]", "", text.lower())


def examine(
    package: DocumentPackage,
    held_out: Path,
    *,
    engine: str = "auto",
    words: int = 8,
    seed: int = 0,
    report: Reporter | None = None,
) -> dict[str, Any]:
    """The scores of a package on generated pages, `words` drawn from each: with and without pruning before the encoder."""
    pages = list(generated_pages(held_out, package.dpi))
    return dict(_examined(package, pages, engine, words, seed, report or Quiet()))


def examine_pdfs(
    package: DocumentPackage, files: Sequence[Path], *, engine: str = "auto", words: int = 20, seed: int = 0
) -> dict[str, Any]:
    """The same on the pages of PDFs that have a text layer."""
    pages = list(pdf_pages(files, package.dpi))
    return dict(_examined(package, pages, engine, words, seed, Quiet()))


def _examined(
    package: DocumentPackage, pages: list[KnownPage], engine: str, words: int, seed: int, report: Reporter
) -> Iterator[tuple[str, dict[str, Any]]]:
    encoder = open_page_encoder(resolve_page_engine(engine, package), package)
    try:
        for name, before in (("all patches", False), ("classifier before", True)):
            if not before or package.classifies:
                yield name, _scores(package, encoder, pages, words, seed, report, before=before)
    finally:
        encoder.close()


def _scores(
    package: DocumentPackage,
    encoder: CropEncoder,
    pages: list[KnownPage],
    words: int,
    seed: int,
    report: Reporter,
    *,
    before: bool,
) -> dict[str, Any]:
    embedder = PageEmbedder(package, encoder, TextPrior(), "int8", 64, before=before)
    grams = gram_vectors(package)
    report.start(len(pages), "pages")
    seen: list[PageTokens] = []
    for number, page in enumerate(pages, 1):
        seen.append(embedder.embed(page.pixels, str(number), Deadline(3600)))
        report.advance(number)
    report.finish()
    holders: dict[str, set[int]] = {}
    for number, page in enumerate(pages):
        for text, _ in page.words:
            holders.setdefault(text, set()).add(number)
    rng = np.random.default_rng(seed)
    places: list[bool] = []
    firsts: list[bool] = []
    for number, page in enumerate(pages):
        known = sorted({text for text, _ in page.words if len(text) >= LETTERS})
        for word in rng.choice(known, min(words, len(known)), replace=False).tolist() if known else ():
            places.append(right_place(seen[number].grid, grams, word, page))
            if len(holders[word]) == 1 and len(pages) > 1:
                firsts.append(best_page([tokens.grid for tokens in seen], grams, word) == number)
    found = {
        "pages": len(pages),
        "words asked": len(places),
        "place right": float(np.mean(places)) if places else None,
        "words of one page": len(firsts),
        "page recall@1": float(np.mean(firsts)) if firsts else None,
        "tokens kept": float(np.mean([len(tokens.grid) / tokens.grid.n_total for tokens in seen])),
    }
    masks = [(tokens, page) for tokens, page in zip(seen, pages, strict=True) if page.text is not None]
    return found | ({"text mask": _mask_scores(masks)} if masks else {})


def similarities(tokens: TokenGrid, grams: Float32, word: str) -> tuple[Float32, list[int]]:
    """What `page_scores` takes of a word: cosines [n, grid_h, grid_w] of its tokens with a page's cells, and their lengths.

    As the client has it: a cell that another absorbed has that one's vector.
    """
    ids = token_ids(word)
    vectors = token_vectors(grams, ids)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    frame = tokens.frame
    cosines = np.concatenate([vectors @ tokens.dense().T, np.full((len(ids), 1), NONE)], axis=1).astype(np.float32)
    lengths = [len(spelling(one).removesuffix("</w>")) for one in ids]
    return cosines[:, tokens.source_map].reshape(len(ids), frame.grid_h, frame.grid_w), lengths


def right_place(tokens: TokenGrid, grams: Float32, word: str, page: KnownPage) -> bool:
    """Whether the best place for a word lies on one that contains it."""
    found = best_places(*similarities(tokens, grams, word), 1)
    if not found:
        return False
    frame = tokens.frame
    down, across = (found[0].row0 + found[0].row1) / 2, (found[0].col0 + found[0].col1) / 2
    for text, (x0, y0, x1, y1) in page.words:
        inside = x0 * frame.grid_w - AROUND <= across <= x1 * frame.grid_w + AROUND
        if word in text and inside and y0 * frame.grid_h - AROUND <= down <= y1 * frame.grid_h + AROUND:
            return True
    return False


def best_page(seen: Sequence[TokenGrid], grams: Float32, word: str) -> int:
    """The number of the page on which a word has the best place."""
    return int(np.argmax([place_scores(*similarities(tokens, grams, word)).max() for tokens in seen]))


def _mask_scores(masks: list[tuple[PageTokens, KnownPage]]) -> dict[str, float]:
    from gridscribe.pipelines.documents.encoding import text_mask

    both = either = text = found = 0
    for tokens, page in masks:
        assert page.text is not None
        mask = text_mask(tokens.text, *page.text.shape) > 0
        both, either = both + int((mask & page.text).sum()), either + int((mask | page.text).sum())
        text, found = text + int(page.text.sum()), found + int(mask.sum())
    return {"iou": both / max(1, either), "recall": both / max(1, text), "precision": both / max(1, found)}
