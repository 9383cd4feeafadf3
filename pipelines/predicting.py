"""The predicting stage: windows of the stream gathered into full batches, each answered by the engine, order kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.engines import SharedEngine
from gridscribe.models.engines.batching import in_batches
from gridscribe.pipelines.reading import Broken, Closed, Event, Opened, Seen


@dataclass(slots=True)
class Predicted:
    """A window with its answer: float32 [classes, window, window], or None where nothing was valid."""

    seen: Seen
    probabilities: NDArray[np.float32] | None


def predict_stream(events: Iterable[Event], engine: SharedEngine) -> Iterator[Opened | Predicted | Closed | Broken]:
    """The same stream with answers in the place of pixels."""
    asked = ((event, event.pixels if isinstance(event, Seen) else None) for event in events)
    for event, found in in_batches(asked, engine, iter):
        if isinstance(event, Seen):
            event.pixels = None  # free it: the answer is seven times its size
            yield Predicted(event, found)
        else:
            yield event
