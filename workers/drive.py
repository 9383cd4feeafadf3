"""Driving items through an executor: bounded in flight, lost ones tried elsewhere, bundles taken apart around a failure."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gridscribe.errors import GridscribeError, InputError
from gridscribe.pipelines.stages import CancelledError
from gridscribe.pipelines.work import Work
from gridscribe.workers.executor import Executor, Outcome

POLL = 0.25  # seconds between looks at the stop request


@dataclass(frozen=True, slots=True)
class Failure:
    """One part that failed for good (in this run)."""

    item: str
    attempt: int
    record: dict[str, Any]
    """`{"item", "image", "source", "box", "error", "message"}`."""


@dataclass(slots=True)
class Tally:
    """What a run did."""

    items: int = 0
    """Items finished: committed, or with all their parts accounted for."""
    images: int = 0
    """Parts committed."""
    pixels: int = 0
    """Pixels of finished items."""
    windows: int = 0
    retried: int = 0
    """Attempts beyond the first."""
    failures: list[Failure] = field(default_factory=list)
    stopped: bool = False
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Task:
    item: Work
    attempt: int = 1

    @property
    def suspect(self) -> bool:
        return self.attempt > 1


def drive(
    items: Iterable[Work],
    executor: Executor,
    *,
    attempts: int,
    stop: threading.Event,
    on_done: Callable[[Tally], object],
    on_failure: Callable[[Failure], object],
) -> Tally:
    """Run every item, calling `on_done` after each attempt and `on_failure` for each failed part; returns when all are
    accounted for, or `stop` is set and what was in flight has been given up.

    An item whose worker died is tried again, alone in its process, up to `attempts` times; a bundle is first taken
    apart, so that one poisonous image cannot take its neighbours down with it. Whatever is not an input's fault and not a
    worker's death (a store that fails, a bug) ends the run: it is raised, and a new run goes on where this one stopped.
    """
    tally = Tally()
    waiting = deque(_Task(item) for item in items)
    flying: dict[str, _Task] = {}
    while waiting or flying:
        if stop.is_set():
            tally.stopped = True
            break
        while waiting and executor.takes(alone=waiting[0].suspect):
            task = waiting.popleft()
            flying[task.item.id] = task
            tally.retried += task.suspect
            executor.submit(task.item, alone=task.suspect)
        for outcome in executor.wait(POLL):
            task = flying.pop(outcome.item.id)
            again = _settle(task, outcome, attempts, tally, on_failure)
            if again:
                waiting.extendleft(reversed(again))
            else:
                tally.items += 1
                tally.pixels += task.item.pixels
            on_done(tally)
    return tally


def _settle(
    task: _Task, outcome: Outcome, attempts: int, tally: Tally, on_failure: Callable[[Failure], object]
) -> list[_Task]:
    """Account for one attempt; returns what has to be tried (again)."""
    if outcome.receipt is not None:
        receipt = outcome.receipt
        tally.images += receipt.images
        tally.windows += receipt.windows
        for name, seconds in receipt.seconds.items():
            tally.seconds[name] = tally.seconds.get(name, 0.0) + seconds
        _fail(task, list(receipt.failed), tally, on_failure)
        return []
    error = outcome.error
    if error is None:
        raise AssertionError("an outcome has a receipt or an error")
    if outcome.lost and len(task.item.parts) == 1 and task.attempt < attempts:
        return [_Task(task.item, task.attempt + 1)]
    if (outcome.lost or isinstance(error, InputError)) and len(task.item.parts) > 1:
        return [_Task(single, max(2, task.attempt)) for single in task.item.singles()]
    if isinstance(error, InputError) and not isinstance(error, CancelledError):
        _fail(task, [_record(part, error) for part in task.item.singles()], tally, on_failure)
        return []
    raise error


def _fail(task: _Task, records: list[dict[str, Any]], tally: Tally, on_failure: Callable[[Failure], object]) -> None:
    for record in records:
        failure = Failure(record["item"], task.attempt, record)
        tally.failures.append(failure)
        on_failure(failure)


def _record(single: Work, error: GridscribeError) -> dict[str, Any]:
    (part,) = single.parts
    return {
        "item": single.id,
        "image": part.image.image_id,
        "source": part.image.source,
        "box": part.box.to_list(),
        "error": type(error).__name__,
        "message": str(error),
    }
