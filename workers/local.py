"""The in-process executor: the same code as a Ray worker runs, in threads of this process, with no start-up cost."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor

from gridscribe.pipelines.memory import give_back_free_memory, keep_freed_memory
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.work import JobSpec, Work
from gridscribe.workers.executor import Outcome

OVERLAP = 2  # items in hand: one is read, encoded or put while another is predicted


class LocalExecutor:
    """One engine with all cores; `workers` items in hand (at least two, so that input and output overlap prediction).

    A thread cannot be ended from outside: time limits hold between windows, and a death takes the job with it (run it
    again and it goes on). Use the Ray executor where inputs may crash or hang a library.
    """

    def __init__(self, spec: JobSpec, workers: int = 1) -> None:
        keep_freed_memory()
        self._spec = spec
        self._pipeline = spec.open()
        self._places = max(OVERLAP, workers)
        self._pool = ThreadPoolExecutor(self._places, thread_name_prefix="gridscribe-item")
        self._done: queue.Queue[Outcome] = queue.Queue()
        self._deadlines: dict[str, Deadline] = {}

    def ready(self) -> None:
        """See `Executor.ready`: the engine stood when this was made."""

    def takes(self, *, alone: bool) -> bool:  # noqa: ARG002 - nothing dies alone in one process
        """See `Executor.takes`."""
        return len(self._deadlines) < self._places

    def submit(self, item: Work, *, alone: bool) -> None:  # noqa: ARG002
        """See `Executor.submit`."""
        deadline = Deadline(self._spec.time_limit)

        def work() -> None:
            try:
                outcome = Outcome(item, self._pipeline.process(item, deadline))
            except Exception as error:  # noqa: BLE001 - the driver decides what an error means
                outcome = Outcome(item, error=error)
            give_back_free_memory()
            del self._deadlines[item.id]
            self._done.put(outcome)

        self._deadlines[item.id] = deadline
        self._pool.submit(work)

    def wait(self, timeout: float) -> list[Outcome]:
        """See `Executor.wait`."""
        try:
            found = [self._done.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._done.empty():
            found.append(self._done.get_nowait())
        return found

    def close(self) -> None:
        """See `Executor.close`."""
        for deadline in list(self._deadlines.values()):
            deadline.cancelled.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pipeline.close()
