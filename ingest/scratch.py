"""Scratch: the one place on disk that ingest writes to, bounded, and removed when it is no longer needed.

Files there have names of our own, never those of archive members. The folder is locked while its process lives; one left
behind by a process that was killed is removed by the next process that needs scratch.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from gridscribe.errors import RefusedError
from gridscribe.ingest.limits import MIB

_PREFIX = "gridscribe-scratch-"
_LOCK = "in-use"


class Scratch:
    """Bounded files of one process. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._lock_file: int | None = None
        self._count = 0
        self._used = 0
        self.make_room: Callable[[], bool] = lambda: False
        """Called where space is short: frees something that is kept only in case it is needed again."""

    @property
    def used(self) -> int:
        """Bytes reserved."""
        return self._used

    def new_file(self) -> Path:
        """A path in scratch that nothing else uses; the file is not made yet."""
        with self._lock:
            if self._folder is None:
                _remove_abandoned()
                self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
                self._lock_file = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                atexit.register(self.remove)
            self._count += 1
            return self._folder / str(self._count)

    def reserve(self, length: int, limit: int, name: str) -> None:
        """Count `length` bytes more. Raises RefusedError where that would exceed `limit`."""
        while True:
            with self._lock:
                if self._used + length <= limit:
                    self._used += length
                    return
            if not self.make_room():
                raise RefusedError(
                    f"{name}: unpacking it takes {length / MIB:,.0f} MiB of scratch beside the {self._used / MIB:,.0f} in "
                    f"use (limit max_scratch: {limit / MIB:,.0f} MiB): repack the archive as plain tar, which is read in "
                    "place"
                )

    def release(self, length: int) -> None:
        """Count `length` bytes less."""
        with self._lock:
            self._used -= length

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        with self._lock:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None


SCRATCH = Scratch()
"""This process's scratch."""


def _remove_abandoned() -> None:
    """Delete scratch folders of this user whose process has ended: their lock can be taken."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # being made, or gone already
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # in use
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
