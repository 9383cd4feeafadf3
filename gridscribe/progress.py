"""Progress for people: a bar with rate and time left on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID

LINE_EVERY = 5.0  # seconds between lines where stderr is no terminal


class Reporter(Protocol):
    """Where a job tells how far it is."""

    def say(self, text: str) -> None:
        """One line."""

    def start(self, total: int, unit: str) -> None:
        """Work of `total` units begins."""

    def advance(self, done: int, note: str = "") -> None:
        """`done` units in all are finished."""

    def finish(self) -> None:
        """The work is over."""


class Quiet:
    """Says nothing (`--quiet`, and the library's own default)."""

    def say(self, text: str) -> None: ...
    def start(self, total: int, unit: str) -> None: ...
    def advance(self, done: int, note: str = "") -> None: ...
    def finish(self) -> None: ...


class Lines:
    """Plain lines on stderr."""

    def __init__(self) -> None:
        self._total, self._unit = 0, ""
        self._started = self._said = time.monotonic()

    def say(self, text: str) -> None:
        """See `Reporter.say`."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the place that prints

    def start(self, total: int, unit: str) -> None:
        """See `Reporter.start`."""
        self._total, self._unit = total, unit
        self._started = self._said = time.monotonic()

    def advance(self, done: int, note: str = "") -> None:
        """See `Reporter.advance`."""
        now = time.monotonic()
        if now - self._said < LINE_EVERY and done < self._total:
            return
        self._said = now
        rate = done / max(now - self._started, 1e-9)
        left = (self._total - done) / rate if rate else float("inf")
        share = done / max(self._total, 1)
        self.say(
            f"{share:4.0%}  {done:,}/{self._total:,} {self._unit}  {rate:,.1f}/s  {duration(left)} left  {note}".rstrip()
        )

    def finish(self) -> None:
        """See `Reporter.finish`."""


class Bar:
    """A bar on a terminal (rich)."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._task: TaskID | None = None
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """See `Reporter.say`."""
        self._progress.console.print(text, highlight=False, markup=False)

    def start(self, total: int, unit: str) -> None:
        """See `Reporter.start`."""
        self._started = time.monotonic()
        self._task = self._progress.add_task("", total=total, unit=unit, rate="", note="")
        self._progress.start()

    def advance(self, done: int, note: str = "") -> None:
        """See `Reporter.advance`."""
        if self._task is not None:
            rate = done / max(time.monotonic() - self._started, 1e-9)
            self._progress.update(self._task, completed=done, rate=f"{rate:,.1f}/s", note=note)

    def finish(self) -> None:
        """See `Reporter.finish`."""
        self._progress.stop()


def reporter(*, quiet: bool = False) -> Reporter:
    """The reporter for this process's stderr."""
    if quiet:
        return Quiet()
    return Bar() if sys.stderr.isatty() else Lines()


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    if seconds == float("inf"):
        return "?"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def byte_size(count: float) -> str:
    """`1.5 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
