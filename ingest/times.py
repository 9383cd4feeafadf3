"""Dates of images: ISO 8601 text in UTC from what a STAC item, a TIFF tag, a path or the user states. Never "now"."""

from __future__ import annotations

import re
from datetime import UTC, datetime


def iso(text: str) -> str | None:
    """Any ISO 8601 date or time as `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`; no zone counts as UTC; None where it is none."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return _utc(time)


def from_tiff_tag(raw: str) -> str | None:
    """The TIFF DateTime tag, `YYYY:MM:DD HH:MM:SS` (TIFF 6.0), taken as UTC; some writers put ISO 8601 there."""
    text = raw.strip("\0 ")
    try:
        return _utc(datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC))
    except ValueError:
        return iso(text)


def from_path(path: str, pattern: str) -> str | None:
    """The time that `pattern` (named groups year, month, day, hour, minute, second) finds in `path`, else None."""
    match = re.search(pattern, path)
    if match is None:
        return None
    parts = {key: int(value) for key, value in match.groupdict().items() if value}
    try:
        time = datetime(
            parts["year"],
            parts.get("month", 1),
            parts.get("day", 1),
            parts.get("hour", 0),
            parts.get("minute", 0),
            parts.get("second", 0),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return _utc(time)


def _utc(time: datetime) -> str:
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.isoformat().replace("+00:00", "Z")
