"""Jobs on object storage whose server is killed and comes back, is not there, or lets nobody in."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from gridscribe.errors import StoreError
from gridscribe.store import open_store
from tests.kills import start
from tests.s3server import SECRET_KEY, S3Server, Weed
from tests.tiny import MASKS_JOB, FileBytes, tiny_package, write_pair

IMAGES = 24


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("outage"))


def make_place(folder: Path) -> Path:
    tiny_package(folder / "model")
    for k in range(IMAGES):
        write_pair(folder / "in", f"t{k:02}", 150 + k, 250, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    return folder


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Weed, S3Server]]:
    made = Weed(tmp_path_factory.mktemp("weed"))
    try:
        yield made, made.start()
    finally:
        made.kill()


def command(place: Path, source: str, output: str) -> list[str]:
    options = (f"model={place / 'model'}", "bundle_pixels=20000", "item_size=512")
    return [
        *(sys.executable, "-m", "gridscribe", "run", MASKS_JOB, "--json", "--executor", "local"),
        *("--input", source, "--output", output),
        *(part for option in options for part in ("--cfg-options", option)),
    ]


def started(args: list[str], env: dict[str, str]):
    before = dict(os.environ)
    os.environ.update(env)
    try:
        return start(args)
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_a_server_that_is_killed_and_comes_back_costs_nothing(
    place: Path, weed: tuple[Weed, S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with -9 in mid-job, back some seconds later: the same run goes on, and every object is there, byte-equal."""
    process, server = weed
    for key, value in server.env().items():
        monkeypatch.setenv(key, value)
    bucket = S3Store(server.bucket, client_options={"allow_http": True}, virtual_hosted_style_request=False)
    for path in sorted((place / "in").iterdir()):
        obstore.put(bucket, f"in/{path.name}", path.read_bytes())
    output = f"s3://{server.bucket}/out"
    running = start(command(place, f"s3://{server.bucket}/in/", output))
    store = open_store(output)

    def commits() -> int:
        return sum("/commits/" in info.key for info in store.list("products"))

    end = time.monotonic() + 120
    while commits() < 5 and time.monotonic() < end and running.poll() is None:
        time.sleep(0.1)
    assert running.poll() is None, running.communicate()
    process.kill()
    time.sleep(3)
    process.start()
    stdout, stderr = running.communicate(timeout=240)
    assert running.returncode == 0, stderr
    assert json.loads(stdout)["counts"]["done"] == IMAGES
    plain = start(command(place, f"s3://{server.bucket}/in/", f"s3://{server.bucket}/plain"))
    _, told = plain.communicate(timeout=240)
    assert plain.returncode == 0, told
    found, wanted = (
        {info.key: FileBytes(one.get(info.key)) for info in one.list("products")}
        for one in (store, open_store(f"s3://{server.bucket}/plain"))
    )
    assert len(wanted) > 4 * IMAGES
    assert found == wanted


def test_a_job_ends_with_a_clear_error_where_storage_lets_nobody_in(place: Path, weed: tuple[Weed, S3Server]) -> None:
    _, server = weed
    env = server.env()
    wrong = "not-the-secret-of-this-server"
    for change, source, told in (
        ({"AWS_SECRET_ACCESS_KEY": wrong}, f"s3://{server.bucket}/out2", "credentials are wrong"),
        ({}, "s3://no-such-bucket/out", "the bucket does not exist"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, f"s3://{server.bucket}/out2", "the server cannot be reached"),
    ):
        begun = time.monotonic()
        running = started(command(place, str(place / "in"), source), {**env, **change})
        stdout, stderr = running.communicate(timeout=120)
        assert running.returncode not in (0, 3)
        assert told in stderr
        assert "Traceback" not in stderr
        assert wrong not in stdout + stderr
        assert SECRET_KEY not in stdout + stderr
        assert time.monotonic() - begun < 60  # one that never answered is not waited for


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weed = Weed(tmp_path)
    server = weed.start()
    for key, value in server.env().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("gridscribe.backends.Patience.seconds", 3.0)
    store = open_store(f"s3://{server.bucket}/out")
    store.put("a", b"1")
    weed.kill()
    begun = time.monotonic()
    with pytest.raises(StoreError, match="the server cannot be reached"):
        store.get("a")
    assert 3 < time.monotonic() - begun < 60
    weed.start()
    assert store.get("a") == b"1"
    weed.kill()
