"""Opening documents and rendering their pages, in the process that is called to do it; see `reader` for the one that calls.

PDF by PDFium, pictures by Pillow. Everything becomes upright RGB on white at the resolution asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gridscribe.errors import InputError, RefusedError, UnreadableError
from gridscribe.ingest.pages.values import A4_SIDE, DPI_STATED, POINTS, Looked, PageOptions, PageShape

Pixels = NDArray[np.uint8]
PICTURES = ("TIFF", "PNG", "JPEG", "WEBP", "MPO")
ORIENTATION = 274
TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
WIDE = {"I;16", "I;16B", "I;16L", "I"}
"""Pillow's modes of grey with more than 8 bits."""


def is_pdf(path: str) -> bool:
    """Whether the header stands in the first KiB, where readers look for it."""
    with Path(path).open("rb") as file:
        return b"%PDF-" in file.read(1024)


def look(path: str, options: PageOptions) -> Looked:
    """What the file holds.

    Raises UnreadableError for one that is damaged, encrypted or no document, RefusedError for one with too many pages or whose
    pages are a program's (XFA).
    """
    return _look_pdf(path, options) if is_pdf(path) else _look_picture(path, options)


def render(path: str, page: int, options: PageOptions) -> Pixels:
    """A page as uint8 [height, width, 3]. Raises UnreadableError where it is damaged, RefusedError where it is too large."""
    return _render_pdf(path, page, options) if is_pdf(path) else _render_picture(path, page, options)


def _look_pdf(path: str, options: PageOptions) -> Looked:
    with _pdf(path) as document:
        count = len(document)
        if count == 0:
            raise UnreadableError("a PDF without pages")
        _check_count(count, options)
        shapes: list[PageShape | str] = []
        for number in range(count):
            try:
                width, height = document.get_page_size(number)
            except Exception as error:  # noqa: BLE001 - a page's fault is told, whatever the library calls it
                shapes.append(f"the page cannot be read: {error}")
                continue
            if not (width > 0 and height > 0):
                shapes.append(f"the page is {width:g} x {height:g} points")
                continue
            shapes.append(PageShape(width, height))
        return Looked("pdf", tuple(shapes))


def _render_pdf(path: str, page: int, options: PageOptions) -> Pixels:
    with _pdf(path) as document:
        width, height = document.get_page_size(page)
        rows, cols = PageShape(width, height).pixels(options.dpi)
        _check_raster(rows, cols, options)
        if document.get_formtype():
            document.init_forms()  # without it the values of fields are not drawn
        try:
            opened = document[page]
            bitmap = opened.render(scale=options.dpi / POINTS, rev_byteorder=True, may_draw_forms=True)
        except Exception as error:
            raise UnreadableError(f"the page cannot be rendered: {error}") from error
        pixels: Pixels = np.array(bitmap.to_numpy()[..., :3] if bitmap.n_channels >= 3 else bitmap.to_numpy())
        if pixels.ndim == 2 or pixels.shape[2] == 1:
            pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
        return _fit(pixels, rows, cols)


@contextmanager
def _pdf(path: str) -> Iterator[Any]:
    import pypdfium2
    import pypdfium2.raw as raw

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        text = str(error)
        if "password" in text.lower() or "security" in text.lower():
            raise UnreadableError("encrypted: it opens with a password only; save it without") from error
        raise UnreadableError(f"damaged, without pages, or no PDF: {text}") from error
    try:
        if document.get_formtype() == raw.FORMTYPE_XFA_FULL:
            raise RefusedError("a form that a program fills (XFA) and no pages: print it to PDF, and give that")
        yield document
    finally:
        document.close()


def _look_picture(path: str, options: PageOptions) -> Looked:
    shapes: list[PageShape | str] = []
    with _picture(path) as image:
        many = image.format == "TIFF"  # elsewhere further frames are animation or previews
        number = 0
        while True:
            try:
                image.seek(number)
                shapes.append(_shape(image))
            except EOFError:
                break
            except Exception as error:
                if number == 0:
                    raise UnreadableError(f"damaged: {error}") from error
                shapes.append(f"the frame cannot be read, nor can what follows it: {error}")
                break
            number += 1
            _check_count(number, options)
            if not many:
                break
    return Looked("image", tuple(shapes))


def _shape(image: Image.Image) -> PageShape:
    turn = _orientation(image)
    width, height = image.size
    if image.format == "TIFF" and turn in TURNED:
        width, height = (
            height,
            width,
        )  # Pillow tells the size of an upright TIFF, and stated resolutions are of the stored one
    across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
    low, high = DPI_STATED
    flags = []
    if not (low <= across <= high and low <= down <= high):
        across = down = max(width, height) * POINTS / A4_SIDE
        flags.append("dpi-assumed")
    wide, tall = width * POINTS / across, height * POINTS / down
    if turn != 1:
        flags.append("rotated")
    if turn in TURNED:
        wide, tall = tall, wide
    return PageShape(wide, tall, tuple(sorted(flags)))


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8; nothing is decoded for it, as Pillow would do to find what a PNG holds after its pixels."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    turn = image.getexif().get(ORIENTATION, 1)
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _render_picture(path: str, page: int, options: PageOptions) -> Pixels:
    with _picture(path) as image:
        try:
            image.seek(page)
            shape = _shape(image)
            rows, cols = shape.pixels(options.dpi)
            _check_raster(rows, cols, options)
            _check_source(image, options)
            image.load()
            upright = ImageOps.exif_transpose(image)
            colours = _on_white(upright)
        except InputError:
            raise
        except EOFError as error:
            raise UnreadableError(f"it has no frame {page}") from error
        except Exception as error:
            raise UnreadableError(f"damaged: {error}") from error
    if colours.size != (cols, rows):
        colours = colours.resize((cols, rows), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.array(colours)


@contextmanager
def _picture(path: str) -> Iterator[Image.Image]:
    Image.MAX_IMAGE_PIXELS = (
        None  # sizes are checked here, before anything is decoded, with an error that says what to do
    )
    try:
        image = Image.open(path)
    except UnidentifiedImageError as error:
        raise UnreadableError("no PDF, TIFF, PNG, JPEG or WebP, whatever its name says") from error
    except Exception as error:
        raise UnreadableError(f"damaged: {error}") from error
    try:
        if image.format not in PICTURES:
            raise UnreadableError(f"{image.format} is not read: PDF, TIFF, PNG, JPEG and WebP are")
        yield image
    finally:
        image.close()


def _on_white(image: Image.Image) -> Image.Image:
    """Any mode as RGB, what is transparent over white; 16 bits become 8 by their upper half. Raises RefusedError for floats."""
    if image.mode in WIDE:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise RefusedError(f"grey values from {values.min()} to {values.max()}: 0 to 65535 are read")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise RefusedError("samples are floating-point numbers: a picture of a page has whole ones")
    if image.mode in ("RGBA", "LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        seen = image.convert("RGBA")
        paper = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, seen).convert("RGB")
    return image.convert("RGB")


def _fit(pixels: Pixels, rows: int, cols: int) -> Pixels:
    """The raster at its planned size: a library may round a side up where we do not."""
    if pixels.shape[:2] == (rows, cols):
        return np.ascontiguousarray(pixels)
    out = np.full((rows, cols, 3), 255, np.uint8)
    height, width = min(rows, pixels.shape[0]), min(cols, pixels.shape[1])
    out[:height, :width] = pixels[:height, :width]
    return out


def _check_count(count: int, options: PageOptions) -> None:
    if count > options.max_pages:
        raise RefusedError(f"more than {options.max_pages:,} pages (limit max_pages): split it, or raise the limit")


def _check_source(image: Image.Image, options: PageOptions) -> None:
    if image.width * image.height > options.max_source_pixels:
        raise RefusedError(
            f"the picture has {image.width:,} x {image.height:,} px (limit max_source_pixels: "
            f"{options.max_source_pixels:,}): store it smaller"
        )


def _check_raster(rows: int, cols: int, options: PageOptions) -> None:
    if rows * cols > options.max_pixels:
        raise RefusedError(
            f"the page is {cols:,} x {rows:,} px at {options.dpi:g} dots per inch (limit max_pixels: {options.max_pixels:,}): "
            "lower dpi, or raise the limit"
        )
