"""The predicting stage: windows of the stream gathered into full batches, each answered by the engine, order kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.engines import SharedEngine
from gridscribe.pipelines.reading import Broken, Closed, Event, Opened, Seen

HELD = 32  # events held back while a batch fills, so that a run of empty windows does not pile up


@dataclass(slots=True)
class Predicted:
    """A window with its answer: float32 [classes, window, window], or None where nothing was valid."""

    seen: Seen
    probabilities: NDArray[np.float32] | None


def predict_stream(events: Iterable[Event], engine: SharedEngine) -> Iterator[Opened | Predicted | Closed | Broken]:
    """The same stream with answers in the place of pixels."""
    groups: deque[_Group] = deque()
    calls = 0  # groups that the engine has to answer
    group = _Group()
    for event in events:
        group.events.append(event)
        if isinstance(event, Seen) and event.pixels is not None:
            group.windows.append(event.pixels)
        if len(group.windows) == engine.spec.batch or len(group.events) >= HELD:
            calls += group.ask(engine)
            groups.append(group)
            group = _Group()
        while groups and (calls > engine.depth or groups[0].answers is None):
            calls -= groups[0].answers is not None
            yield from groups.popleft().answered()
    group.ask(engine)
    for last in (*groups, group):
        yield from last.answered()


@dataclass(slots=True)
class _Group:
    """Consecutive events that hold one call's worth of windows, or none at all."""

    events: list[Event] = field(default_factory=list)
    windows: list[NDArray[np.float32]] = field(default_factory=list)
    answers: Future[NDArray[np.float32]] | None = None

    def ask(self, engine: SharedEngine) -> bool:
        if self.windows:
            self.answers = engine.submit(self.windows)
        return self.answers is not None

    def answered(self) -> Iterator[Opened | Predicted | Closed | Broken]:
        answers = iter(self.answers.result()) if self.answers is not None else iter(())
        for event in self.events:
            if isinstance(event, Seen):
                found = next(answers) if event.pixels is not None else None
                event.pixels = None  # free it: the answer is seven times its size
                yield Predicted(event, found)
            else:
                yield event
