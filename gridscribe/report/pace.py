"""How fast commits came: stretches of work, and within them equal bins of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridscribe.report.tally import Landing

IDLE = timedelta(hours=1)
"""Longer without a commit is a pause, and no slow work."""
BINS = 60
PER_BIN = 3
"""Commits that a bin holds on average at least: fewer bins are made of few commits, whose size a bin would show, not a rate."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Work without a pause."""

    start: datetime
    end: datetime
    amounts: tuple[float, ...]
    """What came in each of so many equal bins of the time between."""

    @property
    def minutes(self) -> float:
        """Of each bin."""
        return (self.end - self.start).total_seconds() / 60 / len(self.amounts)

    @property
    def rates(self) -> list[float]:
        """Of each bin, a minute."""
        return [amount / self.minutes for amount in self.amounts]


@dataclass(frozen=True, slots=True)
class Pace:
    """All stretches of one kind of work."""

    stretches: tuple[Stretch, ...]
    commits: int
    """Commits in them."""
    untimed: int
    """Commits that no stretch counts: nothing tells when work on them began."""

    @property
    def mean(self) -> float | None:
        """What came a minute of work; None where nothing is timed."""
        minutes = sum(stretch.minutes * len(stretch.amounts) for stretch in self.stretches)
        return sum(sum(stretch.amounts) for stretch in self.stretches) / minutes if minutes else None


def pace_of(landings: Iterable[Landing], begun: Iterable[datetime]) -> Pace:
    """The pace of commits. `begun` are moments at which work may have begun, such as when a job was planned.

    A stretch begins at the last such moment before its first commit, or with that commit, which then is not counted: what was
    worked on in no known time has no rate.
    """
    ordered = sorted(landings, key=lambda landing: landing.time)
    moments = sorted(begun)
    runs: list[list[Landing]] = []
    for landing in ordered:
        if runs and landing.time - runs[-1][-1].time <= IDLE:
            runs[-1].append(landing)
        else:
            runs.append([landing])
    timed = [_timed(run, moments) for run in runs]
    kept = [(start, run) for start, run in timed if run and run[-1].time > start]
    count = sum(len(run) for _, run in kept)
    seconds = sum((run[-1].time - start).total_seconds() for start, run in kept)
    bins = max(1, min(BINS, count // PER_BIN))
    stretches = []
    for start, run in kept:
        share = (run[-1].time - start).total_seconds() / seconds
        stretches.append(_binned(start, run, max(1, round(bins * share))))
    return Pace(tuple(stretches), count, len(ordered) - count)


def _timed(run: Sequence[Landing], moments: Sequence[datetime]) -> tuple[datetime, Sequence[Landing]]:
    first = run[0].time
    near = [moment for moment in moments if first - IDLE <= moment < first]
    return (near[-1], run) if near else (first, run[1:])


def _binned(start: datetime, run: Sequence[Landing], bins: int) -> Stretch:
    end = run[-1].time
    span = (end - start).total_seconds()
    amounts = [0.0] * bins
    for landing in run:
        amounts[min(bins - 1, int((landing.time - start).total_seconds() / span * bins))] += landing.amount
    return Stretch(start, end, tuple(amounts))
