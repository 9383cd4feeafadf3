"""Plants: crowns stamped from a bank of prototypes, hedges, woods, orchards."""

from __future__ import annotations

from math import cos, sin

import cv2
import numpy as np

from .canvas import Canvas, Frame, Points, Tree, blob, ring, strip
from .classes import BUILDING, LOW_VEGETATION, ROAD, TREE, TREE_HEIGHT, WATER
from .materials import leaves, pick, tinted
from .noise import FloatArray, value_noise
from .palettes import AUTUMN, BARE_WOOD, BLOSSOM, LEAVES, NEEDLES, OLIVE, Color

KINDS = ("round", "clumpy", "conifer", "bare", "shrub")
_EDGE = 72  # pixels of a prototype's side
_PER_KIND = 6


class Nursery:
    """Crown prototypes (relative height 0..1, 0 outside, float32 [72, 72]) and a scene's leaf colours."""

    def __init__(self, canvas: Canvas) -> None:
        rng = canvas.rng
        self.shapes = {kind: [_prototype(rng, kind) for _ in range(_PER_KIND)] for kind in KINDS}
        shade = float(np.clip(rng.normal(1.0, 0.18), 0.62, 1.5))
        grey = float(np.clip(rng.normal(0.12, 0.2), 0, 0.6))  # pulled towards grey-green, as haze and late summer do
        autumn = canvas.season == "autumn"

        def palette(colors: tuple[Color, ...], count: int) -> list[int]:
            numbers = []
            for _ in range(count):
                color = np.array(pick(rng, colors, 0.14, 0.05)) * shade
                color += grey * (color.mean() * np.array([0.98, 1.02, 0.96]) - color)
                numbers.append(canvas.add(leaves(rng, tinted(rng, color.tolist(), 0.0, 0.0))))
            return numbers

        broad = palette(LEAVES, 12)
        if autumn:
            broad = broad[:5] + palette(AUTUMN, 7)
        if rng.random() < 0.3 or canvas.dryness > 0.7:
            broad = broad[:7] + palette(OLIVE, 5)
        self.surfaces = {
            "round": [*broad, *palette(BLOSSOM, 1)],
            "clumpy": broad,
            "conifer": palette(NEEDLES, 6),
            "bare": palette(BARE_WOOD, 6),
            "shrub": [*broad[:6], *palette(NEEDLES, 2), *palette(OLIVE, 2)],
        }
        self.hedges = [*broad[:4], *palette(NEEDLES, 3)]
        self.bare_share = (
            float(rng.uniform(0.5, 0.9)) if canvas.season == "winter" else float(rng.choice([0.0, 0.03, 0.15]))
        )
        self.conifer_share = float(rng.beta(1, 3))

    def kind(self, rng: np.random.Generator) -> str:
        """A kind of tree in this scene's proportions."""
        if rng.random() < self.conifer_share:
            return "conifer"
        if rng.random() < self.bare_share:
            return "bare"
        return "round" if rng.random() < 0.5 else "clumpy"

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
            height = float(np.clip(radius * slender, 1.6, 30))
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
        canvas.plant(Tree(x, y, radius, height, "shrub", int(rng.choice(self.surfaces["shrub"])), None))


def _prototype(rng: np.random.Generator, kind: str) -> FloatArray:
    axis = (np.arange(_EDGE, dtype=np.float32) + 0.5) / (_EDGE / 2) - 1
    x, y = np.meshgrid(axis, axis)
    r = np.sqrt(x * x + y * y)
    theta = np.arctan2(y, x)
    edge = np.full_like(r, 0.8)
    rough = {"round": 0.05, "clumpy": 0.1, "conifer": 0.05, "bare": 0.12, "shrub": 0.09}[kind]
    for wave in range(2, 11):
        edge += np.float32(rough * rng.standard_normal() / wave**0.35) * np.cos(
            wave * theta + np.float32(rng.uniform(0, 6.3))
        )
    relative = r / np.clip(edge, 0.35, 1.0)
    inside = relative < 1
    noise = value_noise(rng, r.shape, 5.0)
    if kind == "conifer":
        ribs = 0.12 * np.cos(theta * float(rng.integers(7, 12)) + 5 * r)
        z = 1.0 - (0.78 + ribs) * relative + 0.03 * noise
    elif kind in ("clumpy", "bare"):
        z = np.full_like(r, 0.3)
        for _ in range(int(rng.integers(9, 20))):
            cx, cy = rng.normal(0, 0.34, 2)
            size = rng.uniform(0.22, 0.45)
            top = rng.uniform(0.72, 1.0) - 0.35 * float(np.hypot(cx, cy))
            lump = 1 - ((x - cx) ** 2 + (y - cy) ** 2) / size**2
            z = np.maximum(z, top - 0.3 * (1 - np.sqrt(np.maximum(lump, 0))) - 2 * (lump < 0))
        z += 0.04 * noise
        if kind == "bare":
            twigs = np.cos(theta * float(rng.integers(9, 17)) + 3 * noise) + 0.8 * value_noise(rng, r.shape, 2.0)
            inside &= (twigs > -0.35) | (relative < 0.15)
    else:
        base = 0.35 if kind == "round" else 0.55
        z = base + (1 - base) * np.sqrt(np.maximum(1 - relative**2, 0)) + 0.06 * noise
    ragged = relative + 0.1 * value_noise(rng, r.shape, 6.0) + 0.06 * value_noise(rng, r.shape, 3.0)
    inside &= ragged < 1
    return np.where(inside, np.clip(z, 0.08, 1.0), 0).astype(np.float32)


def grow(canvas: Canvas, nursery: Nursery) -> None:
    """Stamps every planned plant, the highest point winning; crowns hang over whatever is below them.

    Those that a river or pond has overtaken since they were planned are left out.
    """
    rng = canvas.rng
    wet = canvas.label == WATER
    for tree in canvas.trees:
        row, col = int(tree.y / canvas.gsd), int(tree.x / canvas.gsd)
        if 0 <= row < canvas.shape[0] and 0 <= col < canvas.shape[1] and wet[row, col]:
            continue
        if tree.caption is not None:
            category = "tree" if tree.height >= TREE_HEIGHT else "shrub"
            canvas.record(category, tree.caption, ring(tree.x, tree.y, tree.radius, 12), tree.height)
        prototypes = nursery.shapes[tree.kind]
        shape = prototypes[int(rng.integers(len(prototypes)))]
        angle = rng.uniform(0, 2 * np.pi)
        stretch = rng.uniform(0.85, 1.18)
        reach = tree.radius * 1.2
        col0, row0 = int((tree.x - reach) / canvas.gsd), int((tree.y - reach) / canvas.gsd)
        col1, row1 = int((tree.x + reach) / canvas.gsd) + 1, int((tree.y + reach) / canvas.gsd) + 1
        col0, row0 = max(col0, 0), max(row0, 0)
        col1, row1 = min(col1, canvas.shape[1]), min(row1, canvas.shape[0])
        if col1 <= col0 or row1 <= row0:
            continue
        # Prototype pixel of a canvas pixel: turned by `angle`, stretched, `radius` metres to 0.8 of half its side.
        scale = canvas.gsd / tree.radius * 0.8 * _EDGE / 2
        c, s = cos(angle) * scale, sin(angle) * scale
        x0, y0 = (col0 + 0.5) - tree.x / canvas.gsd, (row0 + 0.5) - tree.y / canvas.gsd
        matrix = np.array(
            [
                [c * stretch, s * stretch, (c * x0 + s * y0) * stretch + _EDGE / 2 - 0.5],
                [-s / stretch, c / stretch, (c * y0 - s * x0) / stretch + _EDGE / 2 - 0.5],
            ]
        )
        crown = cv2.warpAffine(
            shape, matrix, (col1 - col0, row1 - row0), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=0.0
        )
        z = np.asarray(crown, dtype=np.float32) * np.float32(tree.height)
        box = slice(row0, row1), slice(col0, col1)
        _cover(canvas, box, z, z > 0.06 * tree.height, tree.surface)


def _cover(canvas: Canvas, box: tuple[slice, slice], z: FloatArray, crown: np.ndarray, surface: int) -> None:
    """Writes a canopy where it is the highest thing."""
    wins = crown & (z > canvas.height[box])
    canvas.height[box][wins] = z[wins]
    canvas.surface[box][wins] = surface
    label = canvas.label[box]
    label[wins] = np.where(z[wins] >= TREE_HEIGHT, TREE, LOW_VEGETATION)
    # A low skirt of a tall crown is still that tree.
    if z.size and z.max() > 2 * TREE_HEIGHT:
        label[wins] = TREE


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


def wood(canvas: Canvas, nursery: Nursery, outline: Points, spacing: float, *, low: bool = False) -> None:
    """Trees all over the polygon, about `spacing` metres apart; `low` makes it scrub of 1-4 m."""
    rng = canvas.rng
    patch = canvas.patch(outline)
    if patch is None:
        return
    conifers = rng.random() < 0.35
    even = rng.uniform(0.15, 0.5)
    mean = float(rng.uniform(7, 19))
    margin = int(6 / canvas.gsd)
    ys = np.arange(patch.rows.start - margin, patch.rows.stop + margin, spacing / canvas.gsd)
    xs = np.arange(patch.cols.start - margin, patch.cols.stop + margin, spacing / canvas.gsd)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2) * canvas.gsd
    points = points + rng.uniform(-0.45, 0.45, points.shape) * spacing
    for x, y in points:
        row, col = int(y / canvas.gsd) - patch.rows.start, int(x / canvas.gsd) - patch.cols.start
        inside = 0 <= row < patch.mask.shape[0] and 0 <= col < patch.mask.shape[1]
        if not inside or not patch.mask[row, col] or rng.random() < 0.12:
            continue
        kind = "conifer" if conifers and rng.random() < 0.85 else nursery.kind(rng)
        radius = spacing * rng.uniform(0.5, 0.85)
        height = rng.uniform(1.0, 4.0) if low else max(2.5, mean * (1 + even * rng.standard_normal()))
        nursery.tree(canvas, float(x), float(y), radius, float(min(height, 30)), "shrub" if low else kind, named=False)
    canvas.record(
        "scrub" if low else "wood", "scrub" if low else "conifer wood" if conifers else "deciduous wood", outline
    )


def orchard(canvas: Canvas, nursery: Nursery, frame: Frame, length: float, width: float) -> None:
    """Trees or vines of one kind in rows along u, filling the box centred on `frame`."""
    rng = canvas.rng
    vines = rng.random() < 0.35
    row_gap, step = (rng.uniform(1.8, 2.6), 1.0) if vines else (rng.uniform(4, 7), rng.uniform(3, 6))
    height = float(rng.uniform(0.9, 1.8) if vines else rng.uniform(2, 6))
    radius = float(rng.uniform(0.4, 0.6) if vines else min(step, row_gap) * rng.uniform(0.28, 0.5))
    kind = "shrub" if vines else "round"
    surfaces = nursery.surfaces[kind]
    surface = int(rng.choice(surfaces))
    for v in np.arange(-width / 2 + row_gap / 2, width / 2, row_gap):
        us = np.arange(-length / 2 + step / 2, length / 2, step)
        for x, y in frame.place(np.stack([us, np.full_like(us, v)], axis=1)):
            if rng.random() > 0.06:
                scale = rng.uniform(0.8, 1.15)
                canvas.plant(Tree(float(x), float(y), radius * scale, height * scale, kind, surface, None))
    canvas.record(
        "vineyard" if vines else "orchard",
        "vineyard" if vines else "orchard in rows",
        frame.rect(-length / 2, -width / 2, length / 2, width / 2),
        height,
    )


def patchy_scrub(canvas: Canvas, nursery: Nursery, x: float, y: float, radius: float) -> None:
    """A clump of shrubs with an irregular outline."""
    wood(canvas, nursery, blob(canvas.rng, x, y, radius, 0.3, 20), 1.7, low=True)
