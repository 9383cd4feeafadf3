"""Answers kept for the next who asks: as many as fit, those asked last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """Values by key, `most` bytes of them in all, oldest use out first. Safe to use from many threads."""

    def __init__(self, most: int, size: Callable[[V], int]) -> None:
        self._most, self._measure, self._size = most, size, 0
        self._lock, self._held = threading.Lock(), OrderedDict[Hashable, V]()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of `key`, made where it is not kept. Two who ask at once may both make it."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        value = make()
        with self._lock:
            if key not in self._held:
                self._held[key] = value
                self._size += self._measure(value)
            while self._size > self._most and len(self._held) > 1:
                self._size -= self._measure(self._held.popitem(last=False)[1])
        return value
