"""Documents as files: page images, text masks and page truths in a folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from gridscribe.errors import UsageError

from .fonts import FontSource
from .render import Document, Page, check_sources, generate_document
from .words import WordSource

SUFFIXES = "_text.png", "_tokens.json"


def write_pages(
    folder: Path,
    count: int,
    seed: int,
    fonts: FontSource = "shipped",
    words: WordSource = "stems",
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Writes documents 0..count-1 of a seed into a folder: the files of `document_files` for each.

    The same arguments write the same bytes, however many `workers` (processes) share the work, and document k is the same
    for every count. `progress` is called with (documents done, count) after each. Returns the files written, in order.
    Raises UsageError unless count >= 1, workers >= 1 and `fonts` and `words` are known.
    """
    if count < 1 or workers < 1:
        raise UsageError(f"--count and --workers must be at least 1, got {count} and {workers}")
    check_sources(fonts, words)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for done, paths in enumerate(_each(partial(_write, folder, seed, fonts, words), count, workers), 1):
        written += paths
        if progress is not None:
            progress(done, count)
    return written


def _each(task: Callable[[int], list[Path]], count: int, workers: int) -> Iterator[list[Path]]:
    if workers == 1 or count == 1:
        yield from map(task, range(count))
        return
    with ProcessPoolExecutor(min(workers, count), mp_context=get_context("spawn")) as pool:
        yield from pool.map(task, range(count), chunksize=4)


def _write(folder: Path, seed: int, fonts: FontSource, words: WordSource, index: int) -> list[Path]:
    paths = []
    for name, data in document_files(generate_document(seed, index, fonts, words)).items():
        path = folder / name
        path.write_bytes(data)
        paths.append(path)
    return paths


def document_files(document: Document) -> dict[str, bytes]:
    """A document's files by name.

    `<id>_pNNN.png` or `.jpg` for each page, or one `<id>.tif` of a frame per page; and for each page `<id>_pNNN_text.png`
    (uint8, 1 where text is, as large as the page) and `<id>_pNNN_tokens.json` (`PageTruth`). Images state their resolution.
    """
    files: dict[str, bytes] = {}
    if document.container == "tiff":
        files[f"{document.id}.tif"] = _tiff(document.pages)
    for number, page in enumerate(document.pages):
        stem = f"{document.id}_p{number:03d}"
        if document.container == "tiff":
            truth = replace(page.truth, image=f"{document.id}.tif", frame=number)
        else:
            name = f"{stem}.{'png' if document.container == 'png' else 'jpg'}"
            files[name] = _single(page, document.container)
            truth = replace(page.truth, image=name)
        files[f"{stem}_text.png"] = _png(Image.fromarray(truth.text_mask().astype(np.uint8)))
        files[f"{stem}_tokens.json"] = truth.to_bytes()
    return files


def _picture(page: Page) -> Image.Image:
    picture = Image.fromarray(page.scan.pixels)
    return picture.convert("1") if page.scan.bilevel else picture


def _single(page: Page, container: str) -> bytes:
    dpi = (page.truth.dpi, page.truth.dpi)
    if container == "png":
        return _png(_picture(page), dpi)
    data = io.BytesIO()
    picture = Image.fromarray(page.scan.pixels)
    picture.save(data, "JPEG", quality=40 + (page.truth.width * 7 + page.truth.height) % 55, dpi=dpi)
    return data.getvalue()


def _png(picture: Image.Image, dpi: tuple[float, float] | None = None) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=4, **({"dpi": dpi} if dpi else {}))
    return data.getvalue()


def _tiff(pages: tuple[Page, ...]) -> bytes:
    """Frames compressed each in a way that its pixels have: CCITT group 4 for two levels, else deflate."""
    data = io.BytesIO()
    every = all(page.scan.bilevel for page in pages)
    first, *rest = [_picture(page) for page in pages]
    first.save(
        data,
        "TIFF",
        save_all=True,
        append_images=rest,
        compression="group4" if every else "tiff_adobe_deflate",
        dpi=(pages[0].truth.dpi, pages[0].truth.dpi),
    )
    return data.getvalue()
