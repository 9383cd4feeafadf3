"""Pictures for a report: samples of images with their masks, and of pages with the text that was found."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from gridscribe.errors import GridscribeError
from gridscribe.ingest.pages.reader import PageReader, local_copy
from gridscribe.ingest.pages.values import PageImage, PageOptions
from gridscribe.report.facts import Facts
from gridscribe.report.markup import without_secrets
from gridscribe.report.page import Sample
from gridscribe.report.tally import Chosen
from gridscribe.store import Store, open_store
from gridscribe.tables import read_table
from gridscribe.workers.look import picture
from gridscribe.workers.look_pages import planned_page

SIZE = 384
"""Pixels a side of each panel of an image, at full resolution, from its middle."""
PAGE = 560
"""Pixels of the longer side of a page."""
INK = (214, 30, 140)
"""Colour of text that was found."""


def draw_samples(facts: Facts) -> list[Sample]:
    """A picture of each of the report's samples; where the input is gone or cannot be read, the sample says why instead."""
    store = open_store(facts.output)
    if facts.documents:
        return list(_pages(store, facts))
    return list(_images(store, facts))


def _images(store: Store, facts: Facts) -> Iterator[Sample]:
    for chosen in facts.tally.samples:
        source = _source(store, chosen)
        shows = "Colours, height, mask over colours and mask, side by side"
        try:
            png = picture(facts.output, image=chosen.name, size=SIZE, product=facts.product["product"])
        except GridscribeError as error:
            yield Sample(chosen.name, source, shows, missing=without_secrets(str(error)))
        else:
            yield Sample(chosen.name, source, shows, png)


def _pages(store: Store, facts: Facts) -> Iterator[Sample]:
    for chosen in facts.tally.samples:
        source = _source(store, chosen)
        document, number = str(chosen.entry["image"]), int(chosen.entry["page"])
        title = f"{document}, page {number + 1}"
        try:
            page, options = planned_page(store, facts.product["product"], document, number)
            png, shows = _sheet(store, page, options, chosen.entry.get("text"))
        except GridscribeError as error:
            yield Sample(title, source, "A page", missing=without_secrets(str(error)))
        else:
            yield Sample(title, source, shows, png)


def _sheet(store: Store, page: PageImage, options: PageOptions, text: str | None) -> tuple[bytes, str]:
    """(PNG of the page, and beside it where the product has a text mask that text in colour; what it shows)."""
    with PageReader(options) as reader, local_copy(page.file, options) as path:
        pixels = Image.fromarray(np.ascontiguousarray(reader.render(path, page.page)))
    panels = [pixels]
    if text is not None:
        found = np.asarray(Image.open(io.BytesIO(store.get(text))).convert("L")) > 0
        tinted = np.asarray(pixels).copy()
        tinted[found] = tinted[found] // 2 + np.array(INK, np.uint8) // 2
        panels.append(Image.fromarray(tinted))
    for panel in panels:
        panel.thumbnail((PAGE, PAGE))
    sheet = Image.new("RGB", (sum(panel.width for panel in panels) + 12 * (len(panels) - 1), panels[0].height), "white")
    for k, panel in enumerate(panels):
        sheet.paste(panel, (k * (panel.width + 12), 0))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    beside = "" if text is None else ", and beside it the same with the text that was found in colour"
    return out.getvalue(), f"A page{beside}"


def _source(store: Store, chosen: Chosen) -> str:
    """Where it came from, as its row of the images table says."""
    rows = read_table(store.get(chosen.table), chosen.table, ["image", "page", "source"]).to_pylist()
    page = int(chosen.entry.get("page", 0))
    return next(str(row["source"]) for row in rows if (row["image"], row["page"]) == (chosen.entry["image"], page))
