"""`datetime=` of a query: an instant, a day, a month, a year, or an interval of them, as STAC writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from gridscribe.errors import QueryError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

When = str | date | datetime | None
"""`2021`, `2021-06`, `2021-06-14`, `2021-06-14T10:30:00Z`, or `START/END` of these with `..` for open."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Microseconds since 1970 UTC, `[start, stop)`; None is open."""

    start: int | None
    stop: int | None
    text: str
    """As it was asked."""


def parse_datetime(value: When) -> Interval | None:
    """The interval that `datetime=` means; None for None.

    `2021`, `2021-06` and `2021-06-14` (and a `date`) mean all of that year, month or day in UTC; `2021-06-14T10:30:00Z`
    (and a `datetime`; one without a zone is UTC) that instant; `A/B` everything from the beginning of A to the end of B,
    where `..` is open. `QueryError` for anything else.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else value.isoformat()
    first, slash, last = text.partition("/")
    if not slash:
        return Interval(*_span(text, text), text)
    start = None if first in ("", "..") else _span(first, text)[0]
    stop = None if last in ("", "..") else _span(last, text)[1]
    if (start is None and stop is None) or (start is not None and stop is not None and start >= stop):
        raise QueryError(f"datetime={text!r} holds no time: expected START/END with END not before START")
    return Interval(start, stop, text)


def microseconds(value: datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime, or of one without a zone read as UTC."""
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return (aware - EPOCH) // _MICROSECOND


def _span(text: str, whole: str) -> tuple[int, int]:
    """First microsecond, and the one after the last, of a year, month, day or instant."""
    try:
        if match := re.fullmatch(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", text):
            year, month, day = (int(part) if part else 0 for part in match.groups())
            begin = datetime(year, month or 1, day or 1, tzinfo=UTC)
            if day:
                end = begin + timedelta(days=1)
            elif month:
                end = datetime(begin.year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
            else:
                end = datetime(begin.year + 1, 1, 1, tzinfo=UTC)
            return microseconds(begin), microseconds(end)
        instant = microseconds(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise QueryError(
            f"datetime={whole!r} is not understood: expected 2021, 2021-06, 2021-06-14, 2021-06-14T10:30:00Z, or START/END"
        ) from error
    return instant, instant + 1
