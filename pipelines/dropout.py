"""What a network learnt to do without: which bands its package may call optional."""

from __future__ import annotations

from typing import Any

from gridscribe.models.architecture import modalities

ENOUGH_DROPPED = 0.1
"""Share of training crops without height from which on a network that looks at height is said to do without.

The shipped model was trained with 0.04, and that is not enough: on six generated scenes (`gridscribe scenes --count 6 --seed
4711`) its mIoU falls from 0.705 to 0.450 when height is taken away, building from 0.85 to 0.19, as if it had never learnt houses
from RGB. With 0.1 more than half of all batches of eight (0.57) hold a crop without height, with 0.04 a quarter (0.28).
Whether a network survives is for its scores to say; this only keeps one from claiming it that has hardly been asked.
"""


def optional_bands(architecture: dict[str, Any], drop_height: float) -> tuple[str, ...]:
    """`("height",)` for a network that does not look at height, or that was trained without it often enough; else `()`.

    `architecture` as packages hold it; `drop_height` is the share of training crops without height.
    """
    seen = modalities(architecture)
    if "rgb" in seen and ("height" not in seen or drop_height >= ENOUGH_DROPPED):
        return ("height",)
    return ()
