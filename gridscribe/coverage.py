"""Which pixels of which images are committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gridscribe.commits import Commit
from gridscribe.layout import page_image
from gridscribe.values import Window


class Coverage:
    """Which pixels of which images are committed under a product: the union of committed boxes."""

    def __init__(self) -> None:
        self._boxes: dict[str, set[Window]] = {}

    def add(self, image: str, box: Window) -> None:
        """One committed box."""
        self._boxes.setdefault(image, set()).add(box)

    def pixels(self, image: str, box: Window) -> int:
        """Committed pixels of `box`; where committed boxes overlap, an estimate that is never more than the box."""
        return min(box.area, sum(have.intersection(box).area for have in self._boxes.get(image, ())))

    def boxes(self, image: str) -> list[Window]:
        """Committed boxes of an image, row-major."""
        return sorted(self._boxes.get(image, ()))

    def covers(self, image: str, box: Window) -> bool:
        """Whether every pixel of `box` is committed."""
        boxes = self._boxes.get(image, set())
        if box in boxes or any(have.contains(box) for have in boxes):
            return True
        meeting = [have.intersection(box) for have in boxes]
        meeting = [have for have in meeting if have]
        if sum(have.area for have in meeting) < box.area:
            return False
        import numpy as np

        rows = sorted({edge for have in meeting for edge in (have.row, have.row1)} | {box.row, box.row1})
        cols = sorted({edge for have in meeting for edge in (have.col, have.col1)} | {box.col, box.col1})
        cells = np.zeros((len(rows) - 1, len(cols) - 1), np.bool_)
        for have in meeting:
            cells[rows.index(have.row) : rows.index(have.row1), cols.index(have.col) : cols.index(have.col1)] = True
        return bool(cells.all())


class RegionCoverage:
    """Of which boxes of which images the regions are committed under a product."""

    def __init__(self, commits: Iterable[Commit]) -> None:
        self._boxes: dict[str, list[Window]] = {}
        for commit in commits:
            for entry in commit.regions:
                self._boxes.setdefault(entry["image"], []).append(Window(*entry["window"]))

    def covers(self, image: str, box: Window) -> bool:
        """Whether one committed box holds all of `box`: what boxes beside each other have cut apart is not the same."""
        return any(have.contains(box) for have in self._boxes.get(image, ()))


def image_of(entry: Mapping[str, Any]) -> str:
    """What an entry of a commit's images is called: an image's id, or a page's."""
    return page_image(entry["image"], int(entry["page"])) if "page" in entry else str(entry["image"])


def coverage_of(commits: Iterable[Commit]) -> Coverage:
    """Which pixels of which images the commits hold."""
    coverage = Coverage()
    for commit in commits:
        for image in commit.images:
            coverage.add(image_of(image), Window(*image["window"]))
    return coverage
