"""Packages that some answers need and gridscribe does without."""

from __future__ import annotations

import importlib
from typing import Any

from gridscribe.errors import QueryError


def needed(package: str, what: str) -> Any:
    """The module; `QueryError`, which says how to install it, where it is not installed. `what` is what needs it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is there, and misses something of its own
            raise
        raise QueryError(f"{what} needs {package}, which is not installed: `pip install {package}`") from error
