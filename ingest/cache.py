"""Remote bytes fetched in blocks, kept for a while, and fetched ahead where they are read in sequence."""

from __future__ import annotations

from collections import OrderedDict

from gridscribe.ingest.bytesio import Ranges
from gridscribe.ingest.limits import Limits


class CachedRanges:
    """Ranges over other, slow ones. Holds at most `limits.cache_bytes` of them; safe for one thread at a time.

    A reader that goes on where it stopped gets more with every request, up to `limits.read_ahead`: an archive of small
    members costs a request for every few MiB. One that jumps gets single blocks.
    """

    def __init__(self, slow: Ranges, limits: Limits) -> None:
        self._slow, self._block = slow, limits.cache_block
        self._most_blocks = max(2, limits.cache_bytes // self._block)
        self._most_ahead = max(1, min(limits.read_ahead // self._block, self._most_blocks // 2))
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next, self._ahead = -1, 1
        self.name, self.size, self.etag = slow.name, slow.size, slow.etag

    @property
    def local(self) -> None:
        """Not local."""
        return None

    def fetch(self, start: int, length: int) -> bytes:
        """Bytes `[start, start + length)`, cut at the end of the file."""
        end = min(start + length, self.size)
        if start >= end:
            return b""
        first, last = start // self._block, (end - 1) // self._block
        if last - first + 1 > self._most_blocks // 2:
            return self._slow.fetch(start, end - start)  # would push out everything else
        index = first
        while index <= last:
            if index in self._blocks:
                self._blocks.move_to_end(index)
                index += 1
                continue
            stop = index + 1
            while stop <= last and stop not in self._blocks:
                stop += 1
            self._load(index, stop)
            index = stop
        data = b"".join(self._blocks[i] for i in range(first, last + 1))
        return data[start - first * self._block : end - first * self._block]

    def verify(self) -> None:
        """As what lies below."""
        self._slow.verify()

    def close(self) -> None:
        """Forget everything and close what lies below."""
        self._blocks.clear()
        self._slow.close()

    def _load(self, first: int, stop: int) -> None:
        """Fetch blocks `[first, stop)`, and more where the last fetch ended here."""
        self._ahead = min(self._ahead * 2, self._most_ahead) if first == self._next else 1
        stop = min(max(stop, first + self._ahead), -(-self.size // self._block))
        data = self._slow.fetch(first * self._block, (stop - first) * self._block)
        self._next = stop
        for i in range(first, stop):
            self._blocks[i] = data[(i - first) * self._block : (i - first + 1) * self._block]
            self._blocks.move_to_end(i)
        while len(self._blocks) > self._most_blocks:
            self._blocks.popitem(last=False)
