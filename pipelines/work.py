"""What a job's pipeline is to those who drive it: items of work, and what a worker makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gridscribe.pipelines.receipts import Receipt
from gridscribe.pipelines.stages import Deadline


class Work(Protocol):
    """What a worker takes: the unit of commit. Each of `parts` has an `image` (with `image_id` and `source`) and a `box`."""

    @property
    def id(self) -> str:
        """A digest of what is to be worked on."""
        ...

    @property
    def pixels(self) -> int:
        """In all parts."""
        ...

    @property
    def parts(self) -> Sequence[Any]:
        """What is committed together."""
        ...

    def singles(self) -> Sequence[Work]:
        """One item per part: how a bundle is taken apart."""
        ...


class Pipeline(Protocol):
    """An opened pipeline; `process` may be called from several threads at once."""

    def process(self, item: Any, deadline: Deadline) -> Receipt:
        """Work on an item of this pipeline's kind and commit it."""
        ...

    def close(self) -> None:
        """Release engines."""
        ...


class JobSpec(Protocol):
    """Everything a worker needs to build a pipeline; plain data, safe to send to another process."""

    @property
    def product(self) -> str:
        """The id of the product that is committed to."""
        ...

    @property
    def time_limit(self) -> float:
        """Seconds an item may take."""
        ...

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the worker's process must start with."""
        ...

    def open(self, cores: int | None = None) -> Pipeline:
        """The pipeline, with as many cores (all, if not given)."""
        ...
