"""Every error that gridscribe raises on purpose.

One base class, one short class per condition. A message says what was met, its value, what is allowed and what to do
about it. `GridscribeError` means "the program understood the problem"; anything else that escapes is a bug.
"""

from __future__ import annotations


class GridscribeError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(GridscribeError):
    """An argument, option or config value cannot be used (exit status 2)."""


class InputError(GridscribeError):
    """One input cannot be processed. It is accounted as failed; the job goes on without it."""


class UnreadableError(InputError):
    """The bytes are damaged, cut short, or not of the format that their name promises."""


class UnpairedError(InputError):
    """An RGB raster has no height beside it, or a height has no RGB."""


class RefusedError(InputError):
    """The input is understood and deliberately not opened: a path that escapes, a link, a bomb, a size over a limit."""


class ChangedError(InputError):
    """The source's size or etag is not the one that was planned."""


class ItemTimeoutError(InputError):
    """An item took longer than its time limit."""


class WorkerDiedError(InputError):
    """The process that worked on an item ended without an answer, as often as retries are allowed."""


class ModelError(GridscribeError):
    """A model package or checkpoint cannot be loaded, or does not fit the job."""


class EngineError(ModelError):
    """This process cannot give the engine that the product names."""


class StoreError(GridscribeError):
    """Object storage refused or failed a request, after retries."""


class AlreadyExistsError(StoreError):
    """A create-only put met an existing object."""


class MissingObjectError(StoreError):
    """The object is not there."""


class LayoutError(GridscribeError):
    """What lies under an output URI is not what gridscribe writes."""


class QueryError(GridscribeError):
    """A question cannot be answered as put (unknown image, no product chosen, unknown CRS ...)."""
