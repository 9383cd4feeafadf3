"""An engine kept busy: calls queued for it by any thread, as many in progress as it can make use of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridscribe.models.engines.base import BANDS, Engine, EngineSpec
from gridscribe.models.engines.batching import in_batches

Answer = TypeVar("Answer")


class Calls(Generic[Answer]):
    """Calls of one function of a batch, queued by any thread. A call waits for its turn; none waits for another's answer."""

    def __init__(self, call: Callable[[NDArray[np.float32]], Answer], parallel: int) -> None:
        """`parallel` is how many may be in progress at once."""
        self._call = call
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="gridscribe-engine")
        self.depth = parallel + 1
        """Calls to have under way so that it never waits for the next one."""

    def submit(self, windows: list[NDArray[np.float32]]) -> Future[Answer]:
        """Queue a call with at least one window, stacked."""
        batch = windows[0][None] if len(windows) == 1 else np.stack(windows)
        return self._pool.submit(self._call, batch)

    def close(self) -> None:
        """Drop what has not begun and wait for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class SharedEngine:
    """One engine used by several items at once; see `Calls`."""

    def __init__(self, engine: Engine) -> None:
        """Takes the engine over: `close` closes it."""
        self._engine = engine
        self._calls = Calls(engine.predict, engine.parallel)
        self.depth = self._calls.depth
        """Calls to have under way so that the engine never waits for the next one."""

    @property
    def spec(self) -> EngineSpec:
        """What the engine is."""
        return self._engine.spec

    @property
    def batch(self) -> int:
        """Most windows of a call."""
        return self.spec.batch

    @property
    def num_classes(self) -> int:
        """Classes of an answer."""
        return self._engine.num_classes

    def warm_up(self) -> None:
        """Answer a few empty windows, so that buffers are made and kernels chosen before the first one that counts."""
        empty = np.zeros((BANDS, self.spec.window, self.spec.window), np.float32)
        for _ in self.stream([empty] * (self.depth * self.spec.batch)):
            pass

    def submit(self, windows: list[NDArray[np.float32]]) -> Future[NDArray[np.float32]]:
        """Queue 1 to `spec.batch` windows, float32 [4, window, window]; the answer is that of `Engine.predict`."""
        return self._calls.submit(windows)

    def stream(self, windows: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Answers to `windows` one by one, float32 [classes, window, window], in their order."""
        for _, answer in in_batches(((None, window) for window in windows), self, iter):
            if answer is not None:
                yield answer

    def close(self) -> None:
        """Drop what has not begun, wait for what has, free the engine."""
        self._calls.close()
        self._engine.close()

    def __enter__(self) -> SharedEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
