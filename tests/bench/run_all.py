"""Every benchmark, one after another. Each prints its own table; see the top of each file for what is compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHES = (
    "engine_peak.py",
    "whole_job.py",
    "small_images.py",
    "at_many.py",
    "overlap.py",
    "missing_height.py",
    "dense_encoding.py",
    "page_encoding.py",
    "token_store.py",
    "vector_search.py",
    "training_throughput.py",
    "http_points.py",
)

if __name__ == "__main__":
    for name in BENCHES:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).parent / name)], check=True)
