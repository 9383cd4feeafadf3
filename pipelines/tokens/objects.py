"""The tokens of an item's images as the objects that are stored of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gridscribe.layout import tokens_key, windows_key
from gridscribe.pipelines.tokens.embedding import PartTokens, TokenPlan
from gridscribe.token_tables import TokenEntry, write_tokens
from gridscribe.window_tables import WindowEntry, write_windows

TOKEN_KEYS = {"tokens": tokens_key, "windows": windows_key}
"""What a commit calls the tables of an item's tokens, and their keys by product and item."""


def token_objects(
    product: str, item: str, images: Mapping[str, PartTokens], plan: TokenPlan
) -> dict[str, bytes | Path]:
    """The tables of an item by key, of the tokens of its `images`: the tokens, and the windows that they come from."""
    tokens = [TokenEntry(image, 0, part.grid) for image, part in images.items()]
    windows = [WindowEntry(image, 0, part.places, part.cls) for image, part in images.items()]
    return {
        tokens_key(product, item): write_tokens(tokens, plan.dim, plan.kind),
        windows_key(product, item): write_windows(windows, plan.dim, plan.kind),
    }
