"""Windows of a stream asked of an engine in full batches, so many under way that it never waits; the stream's order is kept.

One way for all who ask: masks, dense tokens, vectors of regions, examinations. Some members of a stream have no window to ask
about (what lies empty, or the marks between images), and pass through at their place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Member = TypeVar("Member")
Row = TypeVar("Row")
Answer = TypeVar("Answer")

HELD = 32
"""Members held back while a batch fills, so that a run of those without a window does not pile up."""


class Queued(Protocol[Answer]):
    """What answers batches of windows later; see `shared.Calls`."""

    @property
    def batch(self) -> int:
        """Most windows of a call."""
        ...

    @property
    def depth(self) -> int:
        """Calls to have under way so that it never waits for the next one."""
        ...

    def submit(self, windows: list[Float32]) -> Future[Answer]:
        """The answer to 1 to `batch` windows, once it is there."""
        ...


def in_batches(
    stream: Iterable[tuple[Member, Float32 | None]], engine: Queued[Answer], rows: Callable[[Answer], Iterable[Row]]
) -> Iterator[tuple[Member, Row | None]]:
    """Each member of `stream` with the answer to its window, or None where it has none; in order.

    `rows` takes the answer to a batch apart, window by window.
    """
    groups: deque[_Group[Member, Answer]] = deque()
    calls = 0  # groups that the engine has to answer
    group: _Group[Member, Answer] = _Group()
    for member, window in stream:
        group.members.append((member, window is not None))
        if window is not None:
            group.windows.append(window)
        if len(group.windows) == engine.batch or len(group.members) >= HELD:
            calls += group.ask(engine)
            groups.append(group)
            group = _Group()
        while groups and (calls > engine.depth or groups[0].answer is None):
            calls -= groups[0].answer is not None
            yield from groups.popleft().answered(rows)
    group.ask(engine)
    for last in (*groups, group):
        yield from last.answered(rows)


@dataclass(slots=True)
class _Group(Generic[Member, Answer]):
    """Consecutive members that hold one call's worth of windows, or none at all."""

    members: list[tuple[Member, bool]] = field(default_factory=list)
    windows: list[Float32] = field(default_factory=list)
    answer: Future[Answer] | None = None

    def ask(self, engine: Queued[Answer]) -> bool:
        if self.windows:
            self.answer = engine.submit(self.windows)
            self.windows = []
        return self.answer is not None

    def answered(self, rows: Callable[[Answer], Iterable[Row]]) -> Iterator[tuple[Member, Row | None]]:
        found = iter(rows(self.answer.result()) if self.answer is not None else ())
        for member, asked in self.members:
            yield member, next(found) if asked else None
