"""Predictions to look at: labelled images with their masks and the errors, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gridscribe.pipelines.datasets import IGNORE, LabelledImage
from gridscribe.pipelines.evaluation import Evaluator
from gridscribe.pipelines.picture import LEGEND, shade_height
from gridscribe.values import Window

ROWS = 4
EDGE = 512  # pixels a side shown of each image
GAP = 6
ERROR, UNKNOWN = (230, 30, 30), (255, 255, 255)


def draw_samples(evaluator: Evaluator, images: Sequence[LabelledImage], rows: int = ROWS) -> bytes:
    """PNG bytes: RGB | height | labels | mask | errors in red, of the middle of up to `rows` images spread over `images`."""
    chosen = [images[k] for k in np.unique(np.linspace(0, len(images) - 1, rows).astype(int))]
    colors = np.full((256, 3), UNKNOWN, np.uint8)
    colors[: len(chosen[0].legend.palette)] = chosen[0].legend.palette
    panels = [_panels(evaluator, image, colors) for image in chosen]
    height = sum(row[0].shape[0] + GAP for row in panels)
    width = max(sum(panel.shape[1] + GAP for panel in row) for row in panels) - GAP
    sheet = Image.new("RGB", (width, LEGEND + height + LEGEND), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    y = LEGEND
    for number, row in enumerate(panels):
        x = 0
        for panel, name in zip(row, ("RGB", "height", "labels", "mask", "errors"), strict=True):
            if number == 0:
                pen.text((x + 4, 4), name, fill="black", font=font)
            sheet.paste(Image.fromarray(panel), (x, y))
            x += panel.shape[1] + GAP
        y += row[0].shape[0] + GAP
    x = 4
    for name, color in zip(chosen[0].legend.classes, chosen[0].legend.palette, strict=True):
        pen.rectangle([x, y + 7, x + 16, y + 23], fill=color, outline="black")
        pen.text((x + 22, y + 4), name, fill="black", font=font)
        x += 44 + int(pen.textlength(name, font=font))
    out = BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _panels(evaluator: Evaluator, image: LabelledImage, colors: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    rows, cols = image.image.grid.shape
    edge_rows, edge_cols = min(EDGE, rows), min(EDGE, cols)
    box = Window((rows - edge_rows) // 2, (cols - edge_cols) // 2, edge_rows, edge_cols)
    scene, mask = image.read(box), evaluator.mask(image, box)
    grey = (0.6 * 255 + 0.4 * scene.rgb.mean(axis=0, keepdims=True)).astype(np.uint8)
    errors = np.moveaxis(grey, 0, -1).repeat(3, axis=2)
    errors[(mask != scene.labels) & (scene.labels != IGNORE)] = ERROR
    shaded = shade_height(scene.height.astype(np.float32))
    return [np.moveaxis(scene.rgb, 0, -1), shaded, colors[scene.labels], colors[mask], errors]
