"""The predicting stage: windows of the stream gathered into full batches, each answered by the engine, order kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.engines.base import Engine
from gridscribe.pipelines.reading import Broken, Closed, Event, Opened, Seen

HELD = 32  # events held back while a batch fills, so that a run of empty windows does not pile up


@dataclass(slots=True)
class Predicted:
    """A window with its answer: float32 [classes, window, window], or None where nothing was valid."""

    seen: Seen
    probabilities: NDArray[np.float32] | None


class SharedEngine:
    """One engine used by several items at once: one batch at a time, and the seconds it took in all."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.seconds = 0.0
        self.windows = 0
        self._lock = threading.Lock()

    def predict(self, windows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Answers of 1 to a batch of windows, float32 [n, classes, window, window]."""
        batch = windows[0][None] if len(windows) == 1 else np.stack(windows)
        with self._lock:
            started = time.perf_counter()
            answers = self.engine.predict(batch)
            self.seconds += time.perf_counter() - started
            self.windows += len(windows)
        return answers


def predict_stream(events: Iterable[Event], engine: SharedEngine) -> Iterator[Opened | Predicted | Closed | Broken]:
    """The same stream with answers in the place of pixels."""
    held: list[Event] = []
    waiting = 0
    for event in events:
        held.append(event)
        waiting += isinstance(event, Seen) and event.pixels is not None
        if waiting == engine.engine.spec.batch or len(held) >= HELD:
            yield from _answer(held, engine)
            held, waiting = [], 0
    yield from _answer(held, engine)


def _answer(held: list[Event], engine: SharedEngine) -> Iterator[Opened | Predicted | Closed | Broken]:
    windows = [event.pixels for event in held if isinstance(event, Seen) and event.pixels is not None]
    answers = iter(engine.predict(windows)) if windows else iter(())
    for event in held:
        if isinstance(event, Seen):
            found = next(answers) if event.pixels is not None else None
            event.pixels = None  # free it: the answer is seven times its size
            yield Predicted(event, found)
        else:
            yield event
