"""A real service of an output, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Served:
    """A service that runs."""

    url: str
    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)


@contextmanager
def serve(output: str, *options: str, token: str | None = None, port: int = 0) -> Iterator[Served]:
    """`gridscribe serve OUTPUT` in a process, ended afterwards."""
    env = {name: value for name, value in os.environ.items() if name != "GRIDSCRIBE_TOKEN"}
    env |= {"PYTHONFAULTHANDLER": "1"} | ({} if token is None else {"GRIDSCRIBE_TOKEN": token})
    command = [sys.executable, "-m", "gridscribe", "serve", output, "--port", str(port), "--timeout", "240", *options]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    errors = process.stderr
    served = Served("", process)
    reader = threading.Thread(target=lambda: served.log.extend(errors), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        assert " at http://" in line, f"{line!r}, {served.log}"
        served.url = line.rpartition(" at ")[2].strip()
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)
        reader.join(10)
        process.stdout.close()
        process.stderr.close()
