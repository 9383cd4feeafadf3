"""What all routes of a service share."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gridscribe.client import Client
from gridscribe.client.objects import ObjectsBackend
from gridscribe.errors import GridscribeError
from gridscribe.service.metrics import Metrics
from gridscribe.service.settings import Settings
from gridscribe.service.work import Lane
from gridscribe.store import Store, open_store

T = TypeVar("T")
log = logging.getLogger("gridscribe.service")


class Freshness:
    """Looks now and then for what was committed since, beside the questions and never in their way."""

    def __init__(self, look: Callable[[], None], seconds: float) -> None:
        self._look, self._seconds = look, seconds
        self._lock, self._at = threading.Lock(), time.monotonic()

    def touch(self) -> None:
        """Begin to look anew, where it was long ago and nobody does; returns at once."""
        if time.monotonic() - self._at < self._seconds or not self._lock.acquire(blocking=False):
            return
        threading.Thread(target=self._run, name="refresh", daemon=True).start()

    def _run(self) -> None:
        try:
            self._look()
        except GridscribeError as error:  # what was known stays, and who asks for more is told by an error of its own
            log.warning(json.dumps({"refresh": "failed", "error": type(error).__name__}))
        finally:
            self._at = time.monotonic()
            self._lock.release()


@dataclass(frozen=True)
class State:
    """One service at work."""

    settings: Settings
    store: Store
    backend: ObjectsBackend
    client: Client
    metrics: Metrics
    fresh: Freshness
    quick: Lane
    """Pixels, pages, lists."""
    slow: Lane
    """Searches, masks, tiles."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What routes keep for themselves, such as plans of jobs."""

    async def ask(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """A question that is answered in little time."""
        self.fresh.touch()
        return await self.quick.run(function, *args, **named)

    async def work(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """A question that may read and compute much."""
        self.fresh.touch()
        return await self.slow.run(function, *args, **named)


def open_state(settings: Settings) -> State:
    """The state of a service that begins. Nothing is read yet; `UsageError` for a URI that is none."""
    store = open_store(settings.output)
    backend = ObjectsBackend(store, alignment=settings.alignment, max_pixels=settings.max_pixels)
    metrics = Metrics()
    quick, slow = Lane(settings.threads, "quick"), Lane(settings.threads, "slow")
    metrics.watch("gridscribe_cached_bytes", "Bytes of decoded blocks in memory.", lambda: backend.tiles.cached_bytes)
    metrics.watch("gridscribe_questions_quick", "Quick questions in work or waiting.", lambda: quick.held)
    metrics.watch("gridscribe_questions_slow", "Slow questions in work or waiting.", lambda: slow.held)
    fresh = Freshness(backend.reload, settings.refresh)
    return State(settings, store, backend, Client(backend), metrics, fresh, quick, slow)
