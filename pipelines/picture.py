"""A picture to look at: RGB, height and mask of one image side by side, with the legend of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP = 12
LEGEND = 30
MASK_OPACITY = 0.6


def draw_picture(
    rgb: NDArray[np.uint8],
    height: NDArray[np.float32],
    mask: NDArray[np.uint8],
    classes: Sequence[tuple[int, str, tuple[int, int, int]]],
    title: str,
) -> bytes:
    """PNG bytes: RGB [3, h, w] | height [h, w] in metres | mask [h, w] over the RGB | mask, and the legend below."""
    colors = np.full((256, 3), 255, np.uint8)
    for value, _, color in classes:
        colors[value] = color
    photo = np.moveaxis(rgb, 0, -1)
    painted = colors[mask]
    over = photo * (1 - MASK_OPACITY) + painted * MASK_OPACITY
    over[mask == 255] = photo[mask == 255]
    panels = [photo, shade_height(height), over.astype(np.uint8), painted]
    h, w = mask.shape
    sheet = Image.new("RGB", (len(panels) * (w + GAP) - GAP, h + 2 * LEGEND), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    names = ["RGB", f"height, {_range(height)}", "mask over RGB", "mask"]
    for k, (panel, name) in enumerate(zip(panels, names, strict=True)):
        x = k * (w + GAP)
        sheet.paste(Image.fromarray(panel), (x, LEGEND))
        pen.text((x + 4, 4), f"{name}   {title}" if k == 0 else name, fill="black", font=font)
    x = 4
    present = set(np.unique(mask).tolist())
    for value, name, color in classes:
        if value in present:
            pen.rectangle([x, h + LEGEND + 7, x + 16, h + LEGEND + 23], fill=color, outline="black")
            pen.text((x + 22, h + LEGEND + 4), name, fill="black", font=font)
            x += 44 + int(pen.textlength(name, font=font))
    out = BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def shade_height(height: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Heights [h, w] as a grey-to-yellow ramp from the ground to the 99th percentile; missing ones are blue."""
    known = np.isfinite(height)
    top = max(3.0, float(np.percentile(height[known], 99))) if known.any() else 3.0
    t = np.clip(np.nan_to_num(height) / top, 0, 1)[..., None]
    low, high = np.array([20, 20, 30]), np.array([255, 240, 160])
    shaded = (low + t**0.7 * (high - low)).astype(np.uint8)
    shaded[~known] = (40, 60, 160)
    return shaded


def _range(height: NDArray[np.float32]) -> str:
    known = height[np.isfinite(height)]
    return f"{known.min():.1f} to {known.max():.1f} m" if known.size else "none"
