"""What configs of all kinds of jobs share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gridscribe.errors import UsageError


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Which engine to ask for; `None` lets the engine's own measured default stand."""

    name: str = "auto"
    precision: str | None = None
    batch: int | None = None
    threads: int | None = None


def checked(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """`cls(**values)` with a message that names the key and what is allowed."""
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"{where}: unknown key {unknown[0]!r}; allowed: {', '.join(sorted(known))}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error
