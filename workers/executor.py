"""What a driver needs of the place where items are worked on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gridscribe.pipelines.receipts import Receipt
from gridscribe.pipelines.work import Work


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt at an item: a receipt, or the error that ended the attempt.

    `lost` says that the worker died or was ended with the item in hand, so that another attempt elsewhere is sensible.
    """

    item: Work
    receipt: Receipt | None = None
    error: BaseException | None = None
    lost: bool = False


class Executor(Protocol):
    """Runs items, a bounded number at once."""

    def ready(self) -> None:
        """Return when every worker's engine stands; raises what kept it from standing."""

    def takes(self, *, alone: bool) -> bool:
        """Whether `submit` has a place now."""

    def submit(self, item: Work, *, alone: bool) -> None:
        """Take an item. With `alone`, nothing else runs beside it in its process (a suspect in a worker's death)."""

    def wait(self, timeout: float) -> list[Outcome]:
        """Finished attempts, at most `timeout` seconds later; empty where there are none."""

    def close(self) -> None:
        """Stop: what is in flight is given up, nothing of it is committed half. Returns when all workers have ended."""
