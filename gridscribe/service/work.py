"""Questions worked on by threads: quick ones are not kept waiting by long ones, and too many are refused instead of queued."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from gridscribe.errors import GridscribeError

T = TypeVar("T")
WAITING = 16
"""Questions that may wait for each thread."""


class BusyError(GridscribeError):
    """More is asked than can be answered; the question was not begun."""


def _answered(function: Callable[[], T]) -> T:
    try:
        return function()
    except StopIteration as error:  # which a future cannot hold: whoever waits for it would wait for ever
        raise RuntimeError("a question ended with StopIteration") from error


class Lane:
    """Some threads and those who wait for them."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads * (1 + WAITING)
        self._lock, self._held = threading.Lock(), 0

    @property
    def held(self) -> int:
        """Questions in work or waiting."""
        return self._held

    async def run(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """The answer of `function`, worked out in one of the threads. `BusyError` where too many wait already.

        A question that is given up while it waits is never begun; one that is in work goes on to its end, and holds its thread.
        """
        with self._lock:
            if self._held >= self._most:
                raise BusyError(f"{self._held} questions are being worked on: ask again in a second")
            self._held += 1
        future = self._pool.submit(_answered, partial(function, *args, **named))
        future.add_done_callback(self._left)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _left(self, _: Any) -> None:
        with self._lock:
            self._held -= 1
