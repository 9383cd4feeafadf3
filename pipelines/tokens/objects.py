"""The tokens of an item's images as the objects that are stored of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gridscribe.layout import tokens_key, windows_key
from gridscribe.pipelines.tokens.embedding import PartTokens, TokenPlan
from gridscribe.token_tables import TokenEntry, write_tokens
from gridscribe.window_tables import WindowEntry, write_windows

TOKEN_KEYS = {"tokens": tokens_key, "windows": windows_key}
"""What a commit calls the tables of an item's tokens, and their keys by product and item."""


@dataclass(frozen=True, slots=True)
class TokenPart:
    """The tokens of one image, as far as one item holds them."""

    image: str
    tokens: PartTokens


def token_objects(product: str, item: str, parts: Sequence[TokenPart], plan: TokenPlan) -> dict[str, bytes | Path]:
    """The tables of an item by key: its tokens, and the windows that they come from."""
    tokens = [TokenEntry(part.image, 0, part.tokens.grid) for part in parts]
    windows = [WindowEntry(part.image, 0, part.tokens.places, part.tokens.cls) for part in parts]
    return {
        tokens_key(product, item): write_tokens(tokens, plan.dim, plan.kind),
        windows_key(product, item): write_windows(windows, plan.dim, plan.kind),
    }
