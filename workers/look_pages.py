"""Pictures of pages: their document read again, answers drawn over them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gridscribe.client.page_search import PageMatch
from gridscribe.errors import QueryError
from gridscribe.ingest.pages.reader import PageReader, local_copy
from gridscribe.ingest.pages.values import PageImage, PageOptions
from gridscribe.manifest import list_jobs, read_plan_items
from gridscribe.store import Store, open_store
from gridscribe.workers.look import plan_of

BEST, OTHER = "#ff2bd6", "#ffa200"
LEGEND = 26


def page_picture(output: str, matches: Sequence[PageMatch], title: str) -> bytes:
    """PNG bytes of the best match's page with that match and others of the page framed. `matches` are best first, at least one.

    Raises `QueryError` where no plan tells where the document lay, `InputError` where it cannot be read any more.
    """
    best = matches[0]
    page, options = planned_page(open_store(output), best.product, best.document, best.page)
    with PageReader(options) as reader, local_copy(page.file, options) as path:
        pixels = reader.render(path, page.page)
    sheet = Image.new("RGB", (page.width, page.height + LEGEND), "white")
    sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (0, LEGEND))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    here = [
        (rank, one) for rank, one in enumerate(matches, 1) if (one.document, one.page) == (best.document, best.page)
    ]
    for rank, match in reversed(here):
        x0, y0, x1, y1 = match.box_px
        colour, wide = (BEST, 3) if match is best else (OTHER, 2)
        pen.rectangle((x0 - 3, y0 + LEGEND - 3, x1 + 3, y1 + LEGEND + 3), outline=colour, width=wide)
        pen.text((x1 + 6, y0 + LEGEND - 4), f"{rank}  {match.score:.2f}", fill=colour, font=font)
    pen.text(
        (4, 4), f"{title}   {best.document}, page {best.page + 1}", fill="black", font=ImageFont.load_default(size=16)
    )
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def planned_page(store: Store, product: str, document: str, number: int) -> tuple[PageImage, PageOptions]:
    """Where a page's document lay, and how it was read; `QueryError` where no plan tells."""
    for job in list_jobs(store):
        plan = plan_of(store, job, product)
        if plan is None:
            continue
        for parts in read_plan_items(store, plan).column("parts").to_pylist():
            for data in json.loads(parts):
                page = PageImage.from_json(data)
                if (page.document, page.page) == (document, number):
                    return page, PageOptions(**plan.details["options"])
    raise QueryError(f"no plan under {store.uri} tells where document {document} lay: its page cannot be drawn")
