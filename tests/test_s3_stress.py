"""A job whose way to a real S3 server is bad (slow, cut off in mid-request, silent), or whose server has a full disk.

What ends well is byte-equal to an undisturbed run; what cannot end well says why, in bounded time, and goes on later.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gridscribe.errors import StoreError
from gridscribe.store import Store, open_store
from tests.s3server import S3Server, Weed
from tests.test_s3_outage import IMAGES, command, make_place, started
from tests.tiny import FileBytes


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("stress"))


@dataclass
class Road:
    """A way to a server for bytes: connections are delayed, cut or held as `cut` and `delay` say. Same seed, same draws."""

    target: tuple[str, int]
    cut: float = 0.0
    """Share of connections that end after some bytes, either way."""
    delay: float = 0.0
    """Seconds, at most, before each piece goes on."""
    silent: bool = False
    """Whether all is taken and nothing given back."""
    cuts: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def open(self) -> int:
        """Listen; the port."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        threading.Thread(target=self._accept, daemon=True).start()
        port: int = self._listener.getsockname()[1]
        return port

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        left = self.rng.randrange(200, 60_000) if self.rng.random() < self.cut else None
        try:
            far = socket.create_connection(self.target, timeout=30)
        except OSError:
            near.close()
            return
        lock, carried = threading.Lock(), [0]

        def one_way(source: socket.socket, sink: socket.socket, back: bool) -> None:
            with suppress(OSError):
                while data := source.recv(16_384):
                    time.sleep(self.rng.uniform(0, self.delay))
                    if back and self.silent:
                        continue
                    with lock:
                        carried[0] += len(data)
                        if left is not None and carried[0] > left:
                            self.cuts += 1
                            sink.sendall(data[: len(data) // 2])
                            break
                    sink.sendall(data)
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        there = threading.Thread(target=one_way, args=(near, far, False), daemon=True)
        there.start()
        one_way(far, near, True)
        there.join(5)
        near.close()
        far.close()


@contextmanager
def road(server: S3Server, **kind: object) -> Iterator[tuple[Road, dict[str, str]]]:
    """A bad way to a server, and the environment of who takes it."""
    target = urlsplit(server.endpoint)
    assert target.hostname is not None
    assert target.port is not None
    one = Road((target.hostname, target.port), **kind)  # type: ignore[arg-type]
    try:
        yield one, {**server.env(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{one.open()}"}
    finally:
        one.close()


def objects(store: Store) -> dict[str, FileBytes]:
    return {info.key: FileBytes(store.get(info.key)) for info in store.list("products")}


def test_a_slow_and_broken_way_costs_time_alone(place: Path, s3_env: S3Server, s3_uri: str) -> None:
    with road(s3_env, cut=0.5, delay=0.02) as (way, env):
        running = started(command(place, str(place / "in"), s3_uri), env)
        stdout, stderr = running.communicate(timeout=280)
    assert running.returncode == 0, stderr
    assert json.loads(stdout)["counts"]["done"] == IMAGES
    assert way.cuts >= 3
    plain = started(command(place, str(place / "in"), f"{s3_uri}-plain"), s3_env.env())
    _, told = plain.communicate(timeout=240)
    assert plain.returncode == 0, told
    assert objects(open_store(s3_uri)) == objects(open_store(f"{s3_uri}-plain"))


def test_a_server_that_does_not_answer_is_given_up_in_time(
    s3_env: S3Server, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with road(s3_env, silent=True) as (_, env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("gridscribe.backends.CONNECTIONS", {"timeout": "2s", "connect_timeout": "2s"})
        begun = time.monotonic()
        with pytest.raises(StoreError, match=r"did not answer in time.*run again") as caught:
            open_store(s3_uri).get("a")
        assert time.monotonic() - begun < 60
        assert s3_env.secret_key not in str(caught.value)


def test_a_full_disk_of_the_server_ends_the_job_with_its_reason_and_it_goes_on(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's data lies on a file system of a few megabytes that something else has filled."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    weed = Weed(small)
    try:
        server = weed.start()
        filler = small / "filler"
        _fill(filler)
        output = f"s3://{server.bucket}/out"
        begun = time.monotonic()
        running = started(command(place, str(place / "in"), output), server.env())
        _, stderr = running.communicate(timeout=280)
        assert running.returncode not in (0, 3)
        assert "Traceback" not in stderr
        assert f"s3://{server.bucket}/out" in stderr
        assert "run again" in stderr
        assert time.monotonic() - begun < 240
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        filler.unlink()
        weed.kill()
        server = weed.start()
        again = started(command(place, str(place / "in"), output), server.env())
        stdout, stderr = again.communicate(timeout=280)
        assert again.returncode == 0, stderr
        assert json.loads(stdout)["counts"]["done"] == IMAGES
    finally:
        weed.kill()
        subprocess.run(["umount", "-l", str(small)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb") as file, suppress(OSError):
        while True:
            file.write(b"x" * 65_536)
            file.flush()
