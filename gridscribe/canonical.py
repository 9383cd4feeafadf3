"""One spelling for each value: JSON whose bytes are equal exactly when the values are, and SHA-256 digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON of `value` with sorted keys, no spaces, no NaN or infinity, and one newline at the end.

    Two values give the same bytes exactly when they are equal as JSON, so bytes and digests can be compared. Floats are
    written in Python's shortest form that reads back to the same double. Raises `ValueError` for NaN and infinities
    (JSON has none: write None) and `TypeError` for what is not plain data.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def sha256(data: bytes | Path) -> str:
    """Lower-case hex SHA-256 of bytes, or of a file's content read in pieces of 1 MiB."""
    if not isinstance(data, Path):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256()
    with data.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
