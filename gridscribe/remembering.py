"""A store that asks for each object once."""

from __future__ import annotations

from pathlib import Path

from gridscribe.store import Store


class RememberingStore(Store):
    """A store whose `get` answers from memory what it was asked before.

    For those who look again and again at what is created once and never overwritten (plans, commits, failures, manifests): a
    second look costs the listings and what is new. Memory grows by the objects that were got, about a kilobyte for each image of
    a job. Listings, heads and ranges are asked anew.
    """

    def __init__(self, uri: str | Path) -> None:
        super().__init__(uri)
        self._got: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        if key not in self._got:
            self._got[key] = super().get(key)
        return self._got[key]
