"""Running the stages of a pipeline beside each other: a generator moved to a thread, with a bounded queue between."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from gridscribe.errors import GridscribeError, ItemTimeoutError

T = TypeVar("T")


class CancelledError(GridscribeError):
    """Work was stopped on request; nothing of it was committed."""


@dataclass
class Deadline:
    """When an item must be done, and whether anyone still wants it. Checked between windows."""

    seconds: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise `ItemTimeoutError` past the limit and `CancelledError` after a stop was asked for."""
        if self.cancelled.is_set():
            raise CancelledError("stopped on request")
        if time.monotonic() - self.started > self.seconds:
            raise ItemTimeoutError(
                f"item took longer than its limit of {self.seconds:g} s; raise time_limit or lower item_size"
            )


_END = object()


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Iterate `items` in a thread of its own, at most `depth` finished ones waiting.

    Order is kept, an exception of `items` is raised here at its place, and closing this generator ends the thread before
    it returns (so files that `items` holds open are closed).
    """
    waiting: queue.Queue[object] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    failure: list[BaseException] = []

    def put(value: object) -> bool:
        while not stop.is_set():
            try:
                waiting.put(value, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put(item):
                    break
        except BaseException as error:  # noqa: BLE001 - carried over to the consumer, whatever it is
            failure.append(error)
        finally:
            close: Callable[[], None] | None = getattr(iterator, "close", None)
            if close is not None:
                close()
            put(_END)

    thread = threading.Thread(target=run, name="gridscribe-ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        stop.set()
        thread.join()
