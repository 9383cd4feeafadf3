"""What a search finds, one after the other: `Matches` and `PageMatches`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gridscribe.client.found import Match
from gridscribe.client.page_search import PageMatch

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa
    from matplotlib.axes import Axes

M = TypeVar("M", Match, PageMatch)


class Found(Iterator[M]):
    """Matches, best first: an iterator that reads each when it is asked for, and keeps those that it has given.

    What asks for all (`load`, `to_...`, `plot`) has all, whether some were iterated over before or not, and does not move the
    iterator. Where the search failed, whoever asks for more meets its error again, so that what was read is not taken for all.
    """

    def __init__(self, source: Iterator[M], title: str) -> None:
        """`title`: what was asked, for people."""
        self._source: Iterator[M] = source
        self._title = title
        self._read: list[M] = []
        self._given = 0
        self._complete = False
        self._error: Exception | None = None

    def __next__(self) -> M:
        if self._given == len(self._read) and not self._read_one():
            raise StopIteration
        self._given += 1
        return self._read[self._given - 1]

    def load(self) -> Self:
        """Read all that is left, and return itself: the last line of a notebook's cell then shows them."""
        while self._read_one():
            pass
        return self

    def _all(self) -> list[M]:
        self.load()
        return self._read

    def _read_one(self) -> bool:
        """Whether there was another."""
        if self._error is not None:
            raise self._error
        if not self._complete:
            try:
                self._read.append(next(self._source))
            except StopIteration:
                self._complete = True
            except Exception as error:
                self._error = error  # an iterator that has raised says that it is at its end
                raise
        return not self._complete

    def __repr__(self) -> str:
        """What was asked, and how many were read."""
        return f"<{type(self).__name__} {self._title}: {len(self._read)} read{', all' if self._complete else ''}>"

    def _repr_html_(self) -> str:
        """A table of those that were read; reads none."""
        from gridscribe.client.shown import matches_html

        return matches_html(self._title, self._read, complete=self._complete)


class Matches(Found[Match]):
    """Regions that were found: an iterator of `Match`, see `Found`."""

    def to_arrow(self) -> pa.Table:
        """A row per match, best first: the columns of the regions table but `value` and the vectors, and what else a match tells.

        `score` and `query` are after `region_id`; `product`, `model`, `alignment`, `source` and `datetime` come last. Geometries
        are WKB, with GeoParquet's metadata.
        """
        from gridscribe.client.match_tables import matches_table

        return matches_table(self._all())

    def to_geodataframe(self) -> geopandas.GeoDataFrame:
        """A row per match, best first, in EPSG:4326; see `geodataframe`. `QueryError` where geopandas is not installed."""
        from gridscribe.client.frames import geodataframe

        return geodataframe(self.to_arrow())

    def to_geojson(self) -> dict[str, Any]:
        """A FeatureCollection, as `gridscribe match --geojson` writes it: null geometries where there is no place on Earth."""
        return {"type": "FeatureCollection", "features": [match.to_feature() for match in self._all()]}

    def plot(self, ax: Axes | None = None) -> Axes:
        """The outlines in longitude and latitude, in the colours of their scores, the first ten with their rank.

        Those without a place on Earth are not drawn, and the title counts them; where none has one and all are of one image, all
        are drawn in its pixels. `QueryError` where they are of several.
        """
        from gridscribe.client.drawn import matches_axes

        return matches_axes(self._all(), ax)


class PageMatches(Found[PageMatch]):
    """Places on pages that were found: an iterator of `PageMatch`, see `Found`."""

    def to_arrow(self) -> pa.Table:
        """A row per match, best first: the fields of `PageMatch`, boxes as structs of x0, y0, x1, y1."""
        from gridscribe.client.match_tables import page_matches_table

        return page_matches_table(self._all())
