"""Outlines of labelled areas as polygons whose edges run along pixel edges; all areas of an array at once.

`rasterio.features.shapes` makes a Python tuple of every corner, which costs more than the network does where areas are
small; here corners stay in arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from gridscribe.pipelines.regions.cells import components

RIGHT, DOWN, LEFT, UP = range(4)
ROWS_AT_ONCE = 512
"""Rows whose corners are looked for together."""

# At a corner one edge comes in and one goes out, with the area on the right hand (rows count downwards), so that outer
# rings are counter-clockwise in (column, row). A convex corner is a pixel of the area without its two neighbours around the
# vertex; a concave one is a pixel of something else whose two neighbours there are the area. Where two pixels of the area
# meet at the vertex alone, both others are concave corners: a 4-connected area that does so encloses one of them, and
# going round it separately makes it a hole that touches the ring at a point, which is valid; a ring that touches itself is not.
# (row, column) of the pixel among the four, whether it is of the area; the directions in which edges come in and go out.
_CORNERS = (
    (1, 1, True, UP, RIGHT),
    (1, 0, True, RIGHT, DOWN),
    (0, 0, True, DOWN, LEFT),
    (0, 1, True, LEFT, UP),
    (0, 1, False, DOWN, RIGHT),
    (1, 1, False, LEFT, DOWN),
    (1, 0, False, UP, LEFT),
    (0, 0, False, RIGHT, UP),
)


def outlines(labels: NDArray[np.int32], count: int) -> NDArray[Any]:
    """The polygon of each label 1..count of `labels`, [height, width]: shapely polygons [count], x = column, y = row.

    Each label must be one 4-connected area; 0 is none. Polygons are valid: outer rings counter-clockwise in (x, y), corners only.
    """
    if not count:
        return np.empty(0, object)
    label, y, x, incoming, outgoing = _corners(labels)
    following = _following(label, y, x, incoming, outgoing)
    place, starts = _in_order(following)
    label, y, x = label[place], y[place], x[place]

    # closed rings: each one's first corner once more at its end
    ends = np.append(starts[1:], len(place))
    lengths = ends - starts + 1
    source = np.arange(len(place) + len(starts)) - np.repeat(np.arange(len(starts)), lengths)
    close = np.cumsum(lengths) - 1
    source[close] = starts
    coordinates = np.stack([x[source], y[source]], axis=1).astype(np.float64)

    # the outer ring of an area turns counter-clockwise, its holes clockwise (twice the area: positive, negative)
    cross = np.zeros(len(source), np.int64)
    cross[:-1] = x[source[:-1]] * y[source[1:]] - x[source[1:]] * y[source[:-1]]
    cross[close] = 0
    inner = np.add.reduceat(cross, close - lengths + 1) < 0
    order = np.lexsort((np.arange(len(starts)), inner, label[starts]))
    return _polygons(coordinates, close - lengths + 1, lengths, order, label[starts][order], count)


def _corners(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], ...]:
    """Label, row, column and incoming and outgoing direction of every corner of every area, as columns of int64."""
    found: list[list[NDArray[np.int64]]] = [[] for _ in _CORNERS]
    for row in range(0, len(labels) + 1, ROWS_AT_ONCE):
        _corners_between(labels, row, min(row + ROWS_AT_ONCE, len(labels) + 1), found)
    return tuple(np.concatenate([part for kind in found for part in kind], axis=1))


def _corners_between(labels: NDArray[np.int32], row: int, row1: int, found: list[list[NDArray[np.int64]]]) -> None:
    """Appends the corners on the lines [row, row1) between rows to the list of their kind."""
    above, below = max(row - 1, 0), min(row1, len(labels))
    padded = np.pad(labels[above:below], ((int(row == 0), int(row1 > len(labels))), (1, 1)))
    around = {(r, c): padded[r : padded.shape[0] - 1 + r, c : padded.shape[1] - 1 + c] for r in (0, 1) for c in (0, 1)}
    rows_differ = (around[0, 0] != around[1, 0]) | (around[0, 1] != around[1, 1])
    columns_differ = (around[0, 0] != around[0, 1]) | (around[1, 0] != around[1, 1])
    y, x = np.nonzero(rows_differ & columns_differ)
    pixels = {where: values[y, x] for where, values in around.items()}
    for kind, (r, c, inside, incoming, outgoing) in enumerate(_CORNERS):
        here, beside, across, over = pixels[r, c], pixels[r, 1 - c], pixels[1 - r, c], pixels[1 - r, 1 - c]
        if inside:
            at = np.flatnonzero((here != 0) & (beside != here) & (across != here) & (over != here))
            label = here[at]
        else:
            at = np.flatnonzero((beside != 0) & (beside == across) & (here != beside))
            label = beside[at]
        columns = label, y[at] + row, x[at], np.full(len(at), incoming), np.full(len(at), outgoing)
        found[kind].append(np.stack([column.astype(np.int64) for column in columns]))


def _following(
    label: NDArray[np.int64],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    incoming: NDArray[np.int64],
    outgoing: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The corner that each corner's outgoing edge leads to.

    Edges of one area, direction and line do not touch, so that along the line the n-th beginning belongs to the n-th end.
    """
    following = np.empty(len(label), np.int64)
    tall, wide = int(y.max()) + 1, int(x.max()) + 1
    for pair, line, along in (((RIGHT, LEFT), y, x), ((DOWN, UP), x, y)):
        ends = []
        for direction in (outgoing, incoming):
            here = np.flatnonzero((direction == pair[0]) | (direction == pair[1]))
            key = (label[here] * 2 + (direction[here] == pair[0])) * (tall * wide)
            key += line[here] * (wide if line is y else tall) + along[here]
            ends.append(here[np.argsort(key)])
        following[ends[0]] = ends[1]
    return following


def _in_order(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(corners ring by ring in the order of each, where each ring begins there).

    A ring begins at its lowest corner in the given order; the others are ranked by their distance to it, by doubling.
    """
    corners = np.arange(len(following))
    count, ring = components(len(following), corners, following)
    first = np.empty(count, np.int64)
    first[ring[::-1]] = corners[::-1]
    distance = np.ones(len(following), np.int64)
    distance[first] = 0
    ahead = following.copy()
    ahead[first] = first
    active = np.flatnonzero(distance)
    while len(active):
        there = ahead[active]
        distance[active] += distance[there]
        ahead[active] = ahead[there]
        active = active[distance[there] > 0]
    lengths = np.bincount(ring, minlength=count)
    distance[first] = lengths  # the farthest: it comes first
    place = np.lexsort((-distance, ring))
    return place, np.cumsum(lengths) - lengths


def _polygons(
    coordinates: NDArray[np.float64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    order: NDArray[np.int64],
    label: NDArray[np.int64],
    count: int,
) -> NDArray[Any]:
    """Polygons of rings (`starts` and `lengths` in `coordinates`), taken in `order`, the outer one of each label first."""
    lengths = lengths[order]
    ring_offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = np.arange(ring_offsets[-1]) + np.repeat(starts[order] - ring_offsets[:-1], lengths)
    polygon_offsets = np.searchsorted(label, np.arange(1, count + 2))
    polygons: NDArray[Any] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coordinates[source], (ring_offsets, polygon_offsets)
    )
    return polygons
