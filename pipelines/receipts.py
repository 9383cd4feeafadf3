"""What is known of an item after an attempt at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one item: its commits and the inputs that failed. No pixels.

    `failed` holds `{"item", "image", "source", "box", "error", "message"}` for each part that could not be processed,
    `item` being the id of that part as an item of its own.
    """

    item: str
    commits: tuple[str, ...] = ()
    images: int = 0
    windows: int = 0
    failed: tuple[dict[str, Any], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
