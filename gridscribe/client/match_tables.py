"""Matches as Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gridscribe.client.found import Match
from gridscribe.client.page_search import PageMatch
from gridscribe.regions import regions_schema
from gridscribe.tables import geo_metadata

if TYPE_CHECKING:
    import pyarrow as pa

LEFT_OUT = ("value", "embedding", "scale")
"""Columns of the regions table that a match does not tell."""


def matches_schema() -> pa.Schema:
    """See `Matches.to_arrow`."""
    import pyarrow as pa

    def need(name: str) -> pa.Field:
        return pa.field(name, pa.string(), nullable=False)

    regions = [column for column in regions_schema() if column.name not in LEFT_OUT]
    columns = [
        regions[0],
        pa.field("score", pa.float64(), nullable=False),
        need("query"),
        *regions[1:],
        need("product"),
        need("model"),
        pa.field("alignment", pa.string()),
        need("source"),
        pa.field("datetime", pa.timestamp("us", tz="UTC")),
    ]
    return pa.schema(columns, metadata=geo_metadata("geometry", covering="bbox", pixels="geometry_px"))


def matches_table(matches: Sequence[Match]) -> pa.Table:
    """A row per match, in order."""
    import pyarrow as pa

    schema = matches_schema()
    return pa.Table.from_pylist([_row(match, schema.names) for match in matches], schema)


def page_matches_schema() -> pa.Schema:
    """See `PageMatches.to_arrow`."""
    import pyarrow as pa

    box = pa.struct([pa.field(corner, pa.float64(), nullable=False) for corner in ("x0", "y0", "x1", "y1")])
    kinds = {"score": pa.float64(), "document": pa.string(), "page": pa.int32(), "source": pa.string(), "box": box}
    kinds |= {"box_px": box, "product": pa.string(), "model": pa.string()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])


def page_matches_table(matches: Sequence[PageMatch]) -> pa.Table:
    """A row per match, in order; see `PageMatches.to_arrow`."""
    import pyarrow as pa

    schema = page_matches_schema()
    rows = [{name: getattr(match, name) for name in schema.names} for match in matches]
    for row in rows:
        row.update({name: dict(zip(("x0", "y0", "x1", "y1"), row[name], strict=True)) for name in ("box", "box_px")})
    return pa.Table.from_pylist(rows, schema)


def _row(match: Match, names: Sequence[str]) -> dict[str, Any]:
    import shapely

    row = {name: getattr(match, name) for name in names}
    row["labels"] = [label._asdict() for label in match.labels]
    row["geometry_px"] = shapely.to_wkb(match.geometry_px, byte_order=1)
    if match.geometry is None:
        return row
    row["geometry"] = shapely.to_wkb(match.geometry, byte_order=1)
    corners = ("xmin", "ymin", "xmax", "ymax")  # not `Match.bbox`, which may cross the antimeridian
    return row | {"bbox": dict(zip(corners, match.geometry.bounds, strict=True))}
