"""What runs on the cluster: `python -m gridscribe.workers.submitted`, in the folder of a bundle (`submit.py`).

Exits as `gridscribe run` does: 0 done, 3 done with failures among the inputs, 1 stopped; the last line of the log is the result
as JSON.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from gridscribe.errors import GridscribeError
from gridscribe.progress import Lines
from gridscribe.workers.run import run_job
from gridscribe.workers.submit import read_request


def main() -> int:
    """Run the bundle in the working directory."""
    stop = threading.Event()

    def stopping(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):  # Ray stops a job with SIGTERM
        signal.signal(number, stopping)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    report = Lines()
    try:
        result = run_job(read_request(Path.cwd()), report, stop)
    except GridscribeError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    finally:
        report.finish()
    sys.stdout.write(json.dumps(result.to_json()) + "\n")
    return 1 if result.stopped else 3 if result.counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
