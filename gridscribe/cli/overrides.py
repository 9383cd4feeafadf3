"""`--cfg-options key=value`."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from gridscribe.errors import UsageError


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Dotted keys with Python values (a value that is no Python literal is a string). Raises UsageError without a `=`."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--cfg-options {pair!r}: expected key=value, such as model=my-model")
        try:
            values[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[key] = text
    return values
