"""The allocator of a worker's process."""

from __future__ import annotations

import ctypes
import sys

# <malloc.h> of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST = 64 << 20  # bytes: far above the arrays of a window, and what is freed beyond it goes back


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next window; False where the C library has no such setting.

    Arrays of a window are megabytes, above which glibc gives memory back to the system at once and faults it in again page
    by page: reading the windows of a 4096 px image took 2.2 s of processor time, and 0.6 s of it was work. The process
    holds at most what it needed at its peak.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    wanted = ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _LARGEST))
    return all(mallopt(name, value) for name, value in wanted)


def give_back_free_memory() -> None:
    """Return to the system what lies free: what arrays of different shapes leave between them adds up, in items of one process,
    and in rows of regions of one image (250 MB of 32768 px wide ones)."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)
