"""CLIP's byte-pair vocabulary, which towers of words, the space of document tokens and the truth of generated pages share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def byte_pairs() -> Any:
    """open_clip's `SimpleTokenizer`, made once; its vocabulary comes with the wheel, nothing is fetched. Loads torch."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()
