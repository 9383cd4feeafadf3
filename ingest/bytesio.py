"""Bytes by range: local files, parts of other ranges, and any of them as a seekable read-only file."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Protocol

from gridscribe.errors import ChangedError, GridscribeError, UnreadableError


class Ranges(Protocol):
    """A file whose bytes are fetched by range. For one thread at a time."""

    name: str
    """What a message shows."""
    size: int
    etag: str | None
    """Version of the object that the bytes are part of."""

    @property
    def local(self) -> tuple[str, int, int] | None:
        """(path, first byte, size) where the bytes lie unpacked in a local file."""
        ...

    def fetch(self, start: int, length: int) -> bytes:
        """Bytes `[start, start + length)`, cut at the end of the file. Raises InputError or StoreError, naming it."""
        ...

    def verify(self) -> None:
        """Raise ChangedError where the file is known to have changed since it was opened."""
        ...

    def close(self) -> None:
        """Let go of it; closing again does nothing."""
        ...


def local_version(path: str) -> tuple[int, str]:
    """(bytes, version) of a local file; the version changes when the file is written."""
    try:
        stat = Path(path).stat()
    except OSError as exc:
        raise UnreadableError(f"{path}: cannot be read: {exc.strerror}") from exc
    return stat.st_size, f"{stat.st_mtime_ns}-{stat.st_size}"


class LocalRanges:
    """A local file."""

    def __init__(self, path: str, name: str | None = None) -> None:
        self.name = name or path
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise UnreadableError(f"{self.name}: cannot be read: {exc.strerror}") from exc
        stat = os.fstat(self._fd)
        self.size = stat.st_size
        self.etag: str | None = f"{stat.st_mtime_ns}-{stat.st_size}"

    @property
    def local(self) -> tuple[str, int, int] | None:
        """The file itself."""
        return self._path, 0, self.size

    def fetch(self, start: int, length: int) -> bytes:
        """Bytes `[start, start + length)`, cut at the end of the file."""
        try:
            data = os.pread(self._fd, length, start)
            # one call gives at most 2 GiB, and signals cut it short
            while data and len(data) < min(length, self.size - start):
                more = os.pread(self._fd, length - len(data), start + len(data))
                if not more:
                    break
                data += more
        except OSError as exc:
            raise UnreadableError(f"{self.name}: reading byte {start:,} failed: {exc.strerror}") from exc
        return data

    def verify(self) -> None:
        """Compare the file at this path with what was opened."""
        check_unchanged(self.name, (self.size, self.etag), local_version(self._path))

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PartRanges:
    """A part of other ranges: a member that lies unpacked in an archive. `owned`: closing it closes the whole."""

    def __init__(self, whole: Ranges, offset: int, size: int, name: str, *, owned: bool = False) -> None:
        if offset < 0 or size < 0 or offset + size > whole.size:
            if owned:
                whole.close()
            raise UnreadableError(
                f"{name}: cut short: it should reach to byte {offset + size:,} of an archive of {whole.size:,}"
            )
        self._whole, self._offset, self._owned = whole, offset, owned
        self.name, self.size, self.etag = name, size, whole.etag

    @property
    def local(self) -> tuple[str, int, int] | None:
        """The part's place in the file of the whole."""
        whole = self._whole.local
        return (whole[0], whole[1] + self._offset, self.size) if whole else None

    def fetch(self, start: int, length: int) -> bytes:
        """Bytes `[start, start + length)` of the part, cut at its end."""
        length = min(length, self.size - start)
        return self._whole.fetch(self._offset + start, length) if length > 0 else b""

    def verify(self) -> None:
        """As the whole."""
        self._whole.verify()

    def close(self) -> None:
        """Close the whole where it is owned."""
        if self._owned:
            self._whole.close()


class RangeFile(io.RawIOBase):
    """Ranges as a seekable, read-only binary file, for readers that take Python files.

    `quiet` is for callers written in C that cannot pass an exception on: reading then ends as if the file did, and the
    exception waits in `error`.
    """

    def __init__(self, ranges: Ranges, *, quiet: bool = False) -> None:
        super().__init__()
        self._ranges, self._position, self._quiet = ranges, 0, quiet
        self.error: GridscribeError | None = None

    @property
    def name(self) -> str:
        """The ranges' name."""
        return self._ranges.name

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; returns the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ranges.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, f"seek to byte {base + offset} of {self.name}")  # as files of the system do
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """The next `size` bytes, or all that are left."""
        left = max(0, self._ranges.size - self._position)
        size = left if size is None or size < 0 else min(size, left)
        if not size:
            return b""
        try:
            data = self._ranges.fetch(self._position, size)
        except GridscribeError as exc:
            if not self._quiet:
                raise
            self.error = exc
            return b""
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        """All that are left."""
        return self.read()

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with the next bytes; returns how many."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def check_unchanged(name: str, planned: tuple[int | None, str | None], now: tuple[int | None, str | None]) -> None:
    """Raise ChangedError where size or version of a source are not the planned ones; None is not compared."""
    for what, before, after in zip(("size", "version"), planned, now, strict=True):
        if before is not None and after is not None and before != after:
            raise ChangedError(f"{name}: its {what} is {after}, it was {before} at planning: run the job again")
