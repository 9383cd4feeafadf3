"""A service as a process: its socket, its log, its end."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from gridscribe.errors import UsageError
from gridscribe.service.app import create_app
from gridscribe.service.settings import Settings

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
        timeout_graceful_shutdown=GRACE, timeout_keep_alive=30, h11_max_incomplete_event_size=64 << 10, ws="none",
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


def _log() -> None:
    """Lines of the service's own logger on stderr, as they are; of others, warnings alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("gridscribe.service")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
