"""Items of a documents job: pages that are read, encoded and committed together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gridscribe.commits import Commit
from gridscribe.ingest.pages.values import PageImage
from gridscribe.values import Window

BUNDLE_PIXELS = 64 * 1024 * 1024
PAGES_ITEM = "pages-"


@dataclass(frozen=True, slots=True)
class PagePart:
    """A page."""

    image: PageImage

    @property
    def box(self) -> Window:
        """All of it."""
        return self.image.window


@dataclass(frozen=True, slots=True)
class PageItem:
    """One or more pages that are committed together. Its id is a digest of their ids and sizes."""

    parts: tuple[PagePart, ...]

    @property
    def id(self) -> str:
        """`pages-` and 16 hex digits; the same for the same pages, wherever and whenever."""
        names = [[part.image.image_id, part.box.to_list()] for part in self.parts]
        return f"{PAGES_ITEM}{hashlib.sha256(json.dumps(names, separators=(',', ':')).encode()).hexdigest()[:16]}"

    @property
    def pixels(self) -> int:
        """Pixels in all parts."""
        return sum(part.box.area for part in self.parts)

    def singles(self) -> list[PageItem]:
        """One item per page: how a bundle is taken apart when one of its pages fails."""
        return [PageItem((part,)) for part in self.parts]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain data."""
        return [part.image.to_json() for part in self.parts]


def page_items(pages: Sequence[PageImage], most: int) -> list[PageItem]:
    """Items of at most `most` pages, and of about `BUNDLE_PIXELS`, in order. The same pages always give the same items."""
    items: list[PageItem] = []
    bundle: list[PagePart] = []
    pixels = 0
    for page in pages:
        if bundle and (len(bundle) == most or pixels + page.window.area > BUNDLE_PIXELS):
            items.append(PageItem(tuple(bundle)))
            bundle, pixels = [], 0
        bundle.append(PagePart(page))
        pixels += page.window.area
    if bundle:
        items.append(PageItem(tuple(bundle)))
    return items


def committed_pages(commits: Iterable[Commit]) -> dict[tuple[str, int], str]:
    """(document, page) -> the item that it is committed under; of several, the least id."""
    found: dict[tuple[str, int], str] = {}
    for commit in sorted(commits, key=lambda commit: commit.item):
        for entry in commit.images:
            found.setdefault((entry["image"], int(entry["page"])), commit.item)
    return found


def remaining_pages(
    items: Sequence[PageItem], done: Collection[tuple[str, int]], failed: Collection[str] = frozenset()
) -> list[PageItem]:
    """The items still to do, given which pages are committed and which single items (ids) have failed before.

    A bundle of which only some pages are left is taken apart, so that nothing committed is computed again.
    """
    left: list[PageItem] = []
    for item in items:
        due = [
            single
            for single in item.singles()
            for part in single.parts
            if single.id not in failed and (part.image.document, part.image.page) not in done
        ]
        left.extend([item] if len(due) == len(item.parts) else due)
    return left
