"""Ray Core actors: one model each, items in, receipts out. No pixel crosses Ray's object store."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayActorError, RayTaskError

from gridscribe.errors import EngineError, GridscribeError, ItemTimeoutError, UsageError, WorkerDiedError
from gridscribe.pipelines.memory import give_back_free_memory, keep_freed_memory
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.work import JobSpec, Work
from gridscribe.workers.executor import Outcome, Receipt
from gridscribe.workers.local import OVERLAP
from gridscribe.workers.metrics import JobMetrics

OBJECT_STORE_BYTES = 128 * 1024 * 1024  # receipts only
START_LIMIT = 300.0  # seconds for the workers' engines to stand
GRACE = 15.0  # seconds past the time limit before a worker that does not answer is ended


class PipelineWorker:
    """The actor. Its engine is made once; it works on up to `OVERLAP` items at a time, in threads."""

    def __init__(self, spec: JobSpec, cores: int) -> None:
        keep_freed_memory()
        self._spec = spec
        self._pipeline = spec.open(cores)

    def ready(self) -> int:
        """The process id, once the engine stands."""
        return os.getpid()

    def process(self, item: Work) -> Receipt:
        """Work on one item."""
        try:
            return self._pipeline.process(item, Deadline(self._spec.time_limit))
        finally:
            give_back_free_memory()


@dataclass(slots=True, eq=False)
class _Worker:
    actor: Any
    starting: Any
    """Its first answer, that its engine stands; None once it was heard."""
    hired: float
    load: int = 0
    exclusive: bool = False

    def takes(self, *, alone: bool) -> bool:
        return not self.exclusive and self.load < (1 if alone else OVERLAP)


@dataclass(frozen=True, slots=True)
class _InFlight:
    item: Work
    worker: _Worker
    started: float


class RayExecutor:
    """`workers` actors on an embedded Ray, or on the cluster at `address`.

    An actor that dies is replaced; what it had in hand comes back as lost. One that is replaced gets items when it stands, and
    not before: where the node that it was on is lost, there may be no place for it, and the others go on without it. An item
    past its time limit that does not stop by itself is ended with its actor.
    """

    def __init__(self, spec: JobSpec, workers: int = 1, address: str | None = None, num_gpus: float = 0.0) -> None:
        if workers < 1:
            raise UsageError(f"workers={workers}: must be at least 1")
        self._spec = spec
        self._own_cluster = not ray.is_initialized()
        if self._own_cluster:
            _connect(address)
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._cores = max(1, cpus // workers)
        self._options: dict[str, Any] = {
            "num_cpus": self._cores if workers <= cpus else cpus / workers,
            "num_gpus": num_gpus,
            "max_restarts": 0,  # replaced by us: a restarted actor would run its lost items again unasked
            "max_concurrency": OVERLAP + 1,
            "runtime_env": {"env_vars": spec.environment},
        }
        self._workers = [self._hire() for _ in range(workers)]
        self._flight: dict[Any, _InFlight] = {}
        self._metrics = JobMetrics(spec.product)

    def _hire(self) -> _Worker:
        actor = ray.remote(PipelineWorker).options(**self._options).remote(self._spec, self._cores)
        return _Worker(actor, actor.ready.remote(), time.monotonic())

    def ready(self) -> None:
        """See `Executor.ready`."""
        try:
            ray.get([worker.starting for worker in self._workers], timeout=START_LIMIT)
            for worker in self._workers:
                worker.starting = None
        except RayTaskError as error:
            raise _cause(error) from error
        except ActorDiedError as error:
            raise EngineError(f"a worker could not start: {_reason(error)}") from error
        except GetTimeoutError as error:
            raise self._no_place() from error

    def _no_place(self) -> GridscribeError:
        return GridscribeError(
            f"no worker stood after {START_LIMIT:g} s: the cluster has {ray.cluster_resources()}, a worker needs "
            f"{self._options['num_cpus']} CPU and {self._options['num_gpus']} GPU; lower --workers"
        )

    def takes(self, *, alone: bool) -> bool:
        """See `Executor.takes`."""
        self._hear()
        return any(worker.starting is None and worker.takes(alone=alone) for worker in self._workers)

    def submit(self, item: Work, *, alone: bool) -> None:
        """See `Executor.submit`."""
        able = (w for w in self._workers if w.starting is None and w.takes(alone=alone))
        worker = min(able, key=lambda w: w.load)
        worker.load += 1
        worker.exclusive = alone
        self._flight[worker.actor.process.remote(item)] = _InFlight(item, worker, time.monotonic())

    def wait(self, timeout: float) -> list[Outcome]:
        """See `Executor.wait`."""
        if not self._flight:
            self._await_a_worker(timeout)
            return []
        done, _ = ray.wait(list(self._flight), num_returns=1, timeout=timeout)
        if done:
            done, _ = ray.wait(list(self._flight), num_returns=len(self._flight), timeout=0)
        outcomes = [self._collect(reference) for reference in done] + self._end_overdue()
        for outcome in outcomes:
            self._metrics.count(outcome)
        return outcomes

    def _hear(self) -> None:
        """Which of the replaced workers stand by now; one that died before it stood is replaced once more."""
        waiting = [worker for worker in self._workers if worker.starting is not None]
        if not waiting:
            return
        heard, _ = ray.wait([worker.starting for worker in waiting], num_returns=len(waiting), timeout=0)
        for worker in waiting:
            if worker.starting not in heard:
                continue
            try:
                ray.get(worker.starting)
                worker.starting = None
            except RayTaskError as error:
                raise _cause(error) from error
            except RayActorError as error:
                if time.monotonic() - worker.hired > START_LIMIT:
                    raise EngineError(f"a worker could not start: {_reason(error)}") from error
                number = self._workers.index(worker)
                self._workers[number] = replace(self._hire(), hired=worker.hired)

    def _await_a_worker(self, timeout: float) -> None:
        """Where nothing is in hand because no worker stands: wait for one, but not for ever."""
        waiting = [worker for worker in self._workers if worker.starting is not None]
        if len(waiting) < len(self._workers):
            return
        if time.monotonic() - min(worker.hired for worker in waiting) > START_LIMIT:
            raise self._no_place()
        ray.wait([worker.starting for worker in waiting], num_returns=1, timeout=timeout)

    def _land(self, reference: Any) -> _InFlight:
        flight = self._flight.pop(reference)
        flight.worker.load -= 1
        flight.worker.exclusive = False
        return flight

    def _collect(self, reference: Any) -> Outcome:
        flight = self._land(reference)
        try:
            return Outcome(flight.item, ray.get(reference))
        except RayTaskError as error:
            return Outcome(flight.item, error=_cause(error))
        except RayActorError as error:
            self._replace(flight.worker)
            return Outcome(flight.item, error=WorkerDiedError(f"worker process ended: {_reason(error)}"), lost=True)

    def _replace(self, worker: _Worker) -> None:
        """Hire a new actor in the place of a dead one; once, however many items it had in hand."""
        if worker in self._workers:
            self._workers[self._workers.index(worker)] = self._hire()

    def _end_overdue(self) -> list[Outcome]:
        limit = self._spec.time_limit + GRACE
        now = time.monotonic()
        outcomes = []
        for reference in [r for r, flight in self._flight.items() if now - flight.started > limit]:
            flight = self._land(reference)
            ray.kill(flight.worker.actor)
            self._replace(flight.worker)
            message = (
                f"no answer {limit:g} s after its start, and its worker was ended; raise time_limit or lower item_size"
            )
            outcomes.append(Outcome(flight.item, error=ItemTimeoutError(message)))
        return outcomes

    def close(self) -> None:
        """See `Executor.close`."""
        for worker in self._workers:
            ray.kill(worker.actor)
        if self._own_cluster:
            ray.shutdown()


def _cause(error: RayTaskError) -> BaseException:
    """What was raised in the worker."""
    return error.cause if isinstance(error.cause, BaseException) else error


def _reason(error: RayActorError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _connect(address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Says at every start that token authentication is on, as we want it to be.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level="warning")
        else:
            ray.init(
                num_cpus=os.cpu_count(),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="warning",
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise GridscribeError(f"cannot start or reach Ray at {address or 'this machine'}: {error}") from error
