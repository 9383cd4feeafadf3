"""A service as a process: its socket, its log, its end."""

from __future__ import annotations

import json
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from gridscribe.errors import UsageError
from gridscribe.service.app import create_app
from gridscribe.service.protocol import BoundedProtocol
from gridscribe.service.settings import Settings

RESERVED = 256
"""Files and connections of the service's own."""
GRACE = 5
"""Seconds that questions in work have after the process is told to end."""


def serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer at `host:port` (0: any free port) until the process is told to end; `ready` is called with the address.

    Raises `UsageError` where the address cannot be had.
    """
    # The command line ends quietly when its output is no longer read; a service whose client has gone must not.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    app = create_app(settings)
    bound = _bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=True,
        timeout_graceful_shutdown=GRACE, timeout_keep_alive=30, http=BoundedProtocol, ws="none",
        limit_concurrency=_connections(),
    )  # fmt: skip
    _log()
    with bound:
        ready(f"http://{shown}:{bound.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[bound])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(2048)
    except OSError as error:
        raise UsageError(f"--host {host} --port {port}: {error.strerror or error}; choose another") from error
    return bound


def _connections() -> int:
    """How many connections may be open: what the process may open, less what files and storage need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(16, min(soft - RESERVED, 4096)) if soft != resource.RLIM_INFINITY else 4096


class _Line(logging.Formatter):
    """Messages of others as JSON lines; tracebacks in them."""

    def format(self, record: logging.LogRecord) -> str:
        told = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


def _log() -> None:
    """Lines of the service's own logger on stderr, as they are; of others warnings alone, as JSON too."""
    own, others = logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stderr)
    own.setFormatter(logging.Formatter("%(message)s"))
    others.setFormatter(_Line())
    log = logging.getLogger("gridscribe.service")
    log.addHandler(own)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger().addHandler(others)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.captureWarnings(True)
