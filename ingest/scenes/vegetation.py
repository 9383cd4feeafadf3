"""Plants: a scene's kinds and colours of them, crowns stamped from prototypes, hedges."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import BRANCH, GAP, Canvas, Points, Tree, ring, strip
from .classes import BUILDING, LOW_VEGETATION, ROAD, TREE, TREE_HEIGHT, WATER
from .crowns import SEE_THROUGH, crown_scale, draw_crowns, place_crown
from .materials import leaves, pick, tinted
from .palettes import BARE_WOOD, BLOSSOM, NEEDLES, OLIVE, Color
from .seasons import SEASONS

TALLEST = 35.0  # metres


class Nursery:
    """A scene's crown prototypes, its colours of leaves and wood, and the shares of its kinds of trees."""

    def __init__(self, canvas: Canvas) -> None:
        rng = canvas.rng
        season = SEASONS[canvas.season]
        self.crowns = draw_crowns(rng)
        shade = float(np.clip(rng.normal(1.0, 0.18), 0.62, 1.5))
        grey = float(np.clip(rng.normal(0.12, 0.2), 0, 0.6))  # pulled towards grey-green, as haze and late summer do
        pale = np.array([rng.uniform(0.97, 1.05), 1.01, rng.uniform(0.86, 0.97)])

        def palette(colors: tuple[Color, ...], count: int, hue: float = 0.05) -> list[int]:
            numbers = []
            for _ in range(count):
                color = np.array(pick(rng, colors, 0.14, hue)) * shade
                color += grey * (color.mean() * pale - color)
                numbers.append(canvas.add(leaves(rng, tinted(rng, color.tolist(), 0.0, 0.0))))
            return numbers

        broad = [number for colors, count in season.foliage for number in palette(colors, count)]
        if canvas.season == "summer" and (rng.random() < 0.3 or canvas.dryness > 0.7):
            broad = broad[:7] + palette(OLIVE, 5)
        self.surfaces = {
            "round": [*broad, *palette(BLOSSOM, 1)],
            "clumpy": broad,
            "sprawling": broad,
            "thin": broad,
            "conifer": palette(NEEDLES, 6),
            "bare": palette(BARE_WOOD, 8, 0.02),
            "shrub": [*broad[::2], *palette(NEEDLES, 2), *palette(OLIVE, 2)],
        }
        self.hedges = [*broad[::3], *palette(NEEDLES, 3)]
        self.bare_share, self.thin_share, self.conifer_share = (
            low + (high - low) * float(rng.beta(1, 1.5)) for low, high in (season.bare, season.thin, season.conifers)
        )

    def kind(self, rng: np.random.Generator) -> str:
        """A kind of tree in this scene's proportions."""
        if rng.random() < self.conifer_share:
            return "conifer"
        if rng.random() < self.bare_share:
            return "bare"
        if rng.random() < self.thin_share:
            return "thin"
        return str(rng.choice(["round", "clumpy", "sprawling"], p=[0.4, 0.35, 0.25]))

    def tree(
        self,
        canvas: Canvas,
        x: float,
        y: float,
        radius: float | None = None,
        height: float | None = None,
        kind: str | None = None,
        *,
        named: bool = True,
    ) -> None:
        """Plans one tree; unless `kind` is given it does not grow out of houses, water or carriageways."""
        rng = canvas.rng
        if kind is None and canvas.label_at(x, y) in (BUILDING, WATER, ROAD):
            return
        kind = kind or self.kind(rng)
        radius = radius if radius is not None else float(np.clip(rng.lognormal(0.8, 0.5), 0.8, 7.5))
        if height is None:
            slender = rng.uniform(2.6, 5.5) if kind == "conifer" else rng.uniform(1.4, 3.2)
            height = float(np.clip(radius * slender, 1.6, TALLEST))
        surface = int(rng.choice(self.surfaces[kind]))
        words = {"conifer": "conifer", "bare": "leafless tree", "shrub": "shrub"}.get(kind, "deciduous tree")
        size = "small" if height < 5 else "tall" if height > 15 else "medium-sized"
        canvas.plant(Tree(x, y, radius, height, kind, surface, f"{size} {words}" if named else None))

    def shrub(self, canvas: Canvas, x: float, y: float) -> None:
        """Plans a shrub of 0.4-3 m; those of 1.5 m and more are labelled as trees."""
        rng = canvas.rng
        if canvas.label_at(x, y) in (BUILDING, WATER, ROAD):
            return
        height = float(rng.uniform(0.4, 3.0))
        radius = float(np.clip(height * rng.uniform(0.4, 1.0), 0.35, 2.2))
        kind = "bare" if rng.random() < 0.7 * self.bare_share else "shrub"
        canvas.plant(Tree(x, y, radius, height, kind, int(rng.choice(self.surfaces[kind])), None))


def grow(canvas: Canvas, nursery: Nursery) -> None:
    """Stamps every planned plant, the highest point winning; crowns hang over whatever is below them.

    Those that a river or pond has overtaken since they were planned are left out. See-through crowns come last: where
    there is no branch, the surface below them stays, under the height and the class of the crown.
    """
    wet = canvas.label == WATER
    for sheer in (False, True):
        if sheer:
            canvas.below = canvas.height.copy()
        for tree in canvas.trees:
            if (tree.kind in SEE_THROUGH) != sheer:
                continue
            row, col = int(tree.y / canvas.gsd), int(tree.x / canvas.gsd)
            if 0 <= row < canvas.shape[0] and 0 <= col < canvas.shape[1] and wet[row, col]:
                continue
            if tree.caption is not None:
                category = "tree" if tree.height >= TREE_HEIGHT else "shrub"
                canvas.record(category, tree.caption, ring(tree.x, tree.y, tree.radius, 12), tree.height)
            _stamp(canvas, nursery, tree)


def _stamp(canvas: Canvas, nursery: Nursery, tree: Tree) -> None:
    rng = canvas.rng
    crowns = nursery.crowns[tree.kind]
    crown = crowns[int(rng.integers(len(crowns)))]
    turn = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.82, 1.22))
    reach = tree.radius * 1.25
    col0, row0 = int((tree.x - reach) / canvas.gsd), int((tree.y - reach) / canvas.gsd)
    col1, row1 = int((tree.x + reach) / canvas.gsd) + 1, int((tree.y + reach) / canvas.gsd) + 1
    col0, row0 = max(col0, 0), max(row0, 0)
    col1, row1 = min(col1, canvas.shape[1]), min(row1, canvas.shape[0])
    if col1 <= col0 or row1 <= row0:
        return
    offset = (col0 + 0.5) - tree.x / canvas.gsd, (row0 + 0.5) - tree.y / canvas.gsd
    shape, cover = place_crown(crown, turn, offset, crown_scale(canvas.gsd, tree.radius), (col1 - col0, row1 - row0))
    z = shape * np.float32(tree.height)
    box = slice(row0, row1), slice(col0, col1)
    wins = (shape > 0.06) & (z > canvas.height[box])
    canvas.height[box][wins] = z[wins]
    label = canvas.label[box]
    label[wins] = np.where(z[wins] >= TREE_HEIGHT, TREE, LOW_VEGETATION)
    # A low skirt of a tall crown is still that tree.
    if z.size and z.max() > 2 * TREE_HEIGHT:
        label[wins] = TREE
    if cover is None:
        canvas.surface[box][wins] = tree.surface
        return
    seen = wins & (cover > 0.5 + 0.1 * canvas.noise.patch(rng, 0.0, cover.shape))
    canvas.surface[box][seen] = tree.surface
    canvas.sheer[box][wins] = GAP
    canvas.sheer[box][seen] = BRANCH


def hedge(canvas: Canvas, nursery: Nursery, line: Points, width: float, height: float) -> None:
    """A hedge along a line of canvas positions, now: clipped flat or ragged, with a gap here and there."""
    rng = canvas.rng
    polygon = strip(line, width * 1.3)
    patch = canvas.patch(polygon)
    if patch is None:
        return
    shape = patch.mask.shape
    near = cv2.distanceTransform(np.pad(patch.mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1] * np.float32(
        canvas.gsd
    )
    ragged = rng.uniform(0.05, 0.35)
    near = near + (ragged * 0.5 * width) * canvas.noise.patch(rng, 0.9, shape) - np.float32(0.15 * width)
    crown = patch.mask & (near > 0) & (canvas.reserved[patch.box] == 0)
    if rng.random() < 0.35:
        crown &= canvas.noise.patch(rng, 2.5, shape) > -1.2
    z = height * np.minimum(1.0, 0.55 + near / 0.9) * (1 + 0.5 * ragged * canvas.noise.patch(rng, 0.9, shape))
    z = np.clip(z, 0.3, 1.25 * height).astype(np.float32)
    wins = crown & (z > canvas.height[patch.box])
    canvas.height[patch.box][wins] = z[wins]
    canvas.surface[patch.box][wins] = int(rng.choice(nursery.hedges))
    canvas.label[patch.box][wins] = TREE if height >= TREE_HEIGHT else LOW_VEGETATION
    canvas.record("hedge", f"{'tall' if height >= TREE_HEIGHT else 'low'} hedge", strip(line, width), height)
