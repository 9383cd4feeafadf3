"""A Ray cluster of raylets on this machine, with token authentication, on the loopback alone."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.kills import descendants


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RayCluster:
    """A head with `cpus` cores; `add` gives it further nodes. `env` is what a client's process needs."""

    def __init__(self, cpus: int = 2) -> None:
        self.port, self.dashboard = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.dashboard}"
        self.env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(24), "RAY_USAGE_STATS_ENABLED": "0"}
        self._folder = tempfile.TemporaryDirectory(
            prefix="gs-ray-", ignore_cleanup_errors=True
        )  # sockets need short paths
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._start(
            ["--head", f"--port={self.port}", "--include-dashboard=true", "--dashboard-host=127.0.0.1",
             f"--dashboard-port={self.dashboard}", f"--temp-dir={self._folder.name}"], cpus,
        )  # fmt: skip
        self._wait()

    def add(self, cpus: int = 1) -> subprocess.Popen[bytes]:
        """Another node; returns its `ray start`."""
        return self._start([f"--address=127.0.0.1:{self.port}"], cpus)

    def _start(self, options: list[str], cpus: int) -> subprocess.Popen[bytes]:
        log = Path(self._folder.name) / f"node{len(self.nodes)}.log"
        with log.open("wb") as out:
            node = subprocess.Popen(
                [str(Path(sys.executable).parent / "ray"), "start", *options, f"--num-cpus={cpus}", "--node-ip-address=127.0.0.1",
                 "--object-store-memory=100000000", "--disable-usage-stats", "--block"],
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **self.env},
            )  # fmt: skip
        self.nodes.append(node)
        return node

    def _wait(self, limit: float = 90) -> None:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(self._request("/api/version"), timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
        raise RuntimeError(
            "the Ray head did not come up: " + (Path(self._folder.name) / "node0.log").read_text()[-2000:]
        )

    def nodes_alive(self) -> list[str]:
        """Ids of the nodes that the head takes to be alive."""
        with urllib.request.urlopen(self._request("/nodes?view=summary"), timeout=10) as answer:
            summary = json.load(answer)["data"]["summary"]
        return [one["raylet"]["nodeId"] for one in summary if one["raylet"].get("state") == "ALIVE"]

    def _request(self, path: str) -> urllib.request.Request:
        return urllib.request.Request(
            self.address + path, headers={"Authorization": f"Bearer {self.env['RAY_AUTH_TOKEN']}"}
        )

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """-9 for a node and all that it started."""
        for pid in [*descendants(node.pid), node.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        node.wait()

    def close(self) -> None:
        """End every node."""
        for node in reversed(self.nodes):
            if node.poll() is None:
                self.kill(node)
        self._folder.cleanup()
