"""What a worker's process frees stays with it, so that the next window is not faulted in page by page."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from gridscribe.pipelines.memory import keep_freed_memory
assert not int(sys.argv[1]) or keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones((4, 4, 512, 512), np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(max(faults() for _ in range(5)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's allocator")
def test_a_second_array_of_the_size_of_the_first_takes_no_new_pages() -> None:
    def run(keep: int) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(keep)], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert run(keep=1) < 20
    assert run(keep=0) > 20  # if this fails, the setting is no longer needed
