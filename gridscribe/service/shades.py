"""From values to colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rio_tiler.colormap import cmap
from rio_tiler.models import ImageData

from gridscribe.service.products import classes_of
from gridscribe.service.state import State

SCALES = {"confidence": "cividis", "height": "viridis", "heatmap": "inferno"}
"""Colours from low to high; all three can be told apart by the colour-blind."""


@dataclass(frozen=True, slots=True)
class Shade:
    """How one layer is coloured."""

    colors: Any
    """RGBA by value; None: the values are colours."""
    low: float | None = None
    high: float | None = None
    """Values that have the first and the last colour; None: values are indices of colours."""

    @classmethod
    def of(cls, state: State, layer: str, product: str, metres: float, heat: tuple[float, float]) -> Shade:
        """That of a layer: classes have their colours; confidence goes from 0 to 1, height from 0 to `metres`, heat as `heat`."""
        if layer == "source":
            return cls(None)
        if layer == "mask":
            return cls({one["id"]: (*one["color"], 255) for one in classes_of(state, product)})
        low, high = {"confidence": (0.0, 254.0), "height": (0.0, 100 * metres), "heatmap": heat}[layer]
        return cls(cmap.get(SCALES[layer]), low, high)


def rendered(values: NDArray[Any], there: NDArray[np.bool_], shade: Shade) -> bytes:
    """PNG bytes of values [bands, h, w]; transparent where nothing is `there`."""
    if shade.low is not None and shade.high is not None:
        span = max(shade.high - shade.low, 1e-9)
        with np.errstate(invalid="ignore"):
            scaled = np.clip((values.astype(np.float32) - shade.low) * (255.0 / span), 0, 255)
        values = np.nan_to_num(scaled).astype(np.uint8)
    masked = np.ma.MaskedArray(values, mask=np.broadcast_to(~there, values.shape))
    png: bytes = ImageData(masked).render(img_format="PNG", colormap=shade.colors)
    return png
