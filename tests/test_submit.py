"""Jobs submitted to a running Ray cluster: what travels, what is one submission, stopping and going on, a lost node, tokens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gridscribe
from gridscribe.errors import GridscribeError, UsageError
from gridscribe.workers.run import RunRequest, run_job
from gridscribe.workers.submit import Submission, read_request, submit, write_bundle
from tests.kills import commits, descendants
from tests.ray_cluster import RayCluster
from tests.tiny import MASKS_JOB, tiny_package, tree_bytes, write_pair

MANY = 160  # so many that a job is still at work when it is stopped
SECRET = "a-secret-that-is-nowhere"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("submit")
    tiny_package(folder / "model")
    for k in range(24):
        write_pair(folder / "in", f"t{k:02}", 200 + k, 250, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    for k in range(MANY):
        write_pair(folder / "many", f"t{k:03}", 220, 260, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    made = RayCluster(2)
    yield made
    made.close()


CALL = """
import json, sys
from dataclasses import asdict
from gridscribe.errors import GridscribeError
from gridscribe.workers import submit as module
from gridscribe.workers.running import RunRequest
name, given, options = json.loads(sys.argv[1])
try:
    found = getattr(module, name)(RunRequest(**given) if isinstance(given, dict) else given, **options)
except GridscribeError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(json.dumps(asdict(found)))
"""


def call(cluster: RayCluster, name: str, given: RunRequest | str, **options: Any) -> Submission:
    """A function of `workers.submit` in a process of its own, as Ray reads tokens once a process."""
    plain = given if isinstance(given, str) else {**_plain(given), "inputs": list(given.inputs)}
    argv = [sys.executable, "-c", CALL, json.dumps([name, plain, {"address": cluster.address, **options}])]
    env = {**os.environ, **cluster.env}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=env)
    if done.returncode:
        raise GridscribeError(done.stderr)
    return Submission(**json.loads(done.stdout.splitlines()[-1]))


def command(cluster: RayCluster, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gridscribe", *argv, "--address", cluster.address], capture_output=True, text=True, check=False,
        timeout=300, env={**os.environ, **cluster.env, **env},
    )  # fmt: skip


def ask(place: Path, out: str, workers: int = 1, **options: Any) -> RunRequest:
    overrides = {"model": str(place / "model"), "bundle_pixels": 20_000, "regions": None, **options}
    source = place / ("many" if out.startswith(("cut", "lost")) else "in")
    return RunRequest(MASKS_JOB, (str(source),), str(place / out), workers=workers, overrides=overrides)


def wait_for(place: Path, out: str, count: int, limit: float = 120) -> None:
    end = time.monotonic() + limit
    while len(commits(place / out)) < count and time.monotonic() < end:
        time.sleep(0.05)
    assert len(commits(place / out)) >= count


def test_a_bundle_holds_all_that_the_job_needs(place: Path, tmp_path: Path) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
    name, again = (write_bundle(ask(place, "out"), tmp_path / folder) for folder in "ab")
    other = write_bundle(ask(place, "other"), tmp_path / "c")
    assert gridscribe.submit is submit
    assert name == again != other
    assert name.startswith("gridscribe-")
    values = json.loads((tmp_path / "a" / "job.json").read_text())
    assert (tmp_path / "a" / values["model"] / "model.json").read_bytes() == (
        place / "model" / "model.json"
    ).read_bytes()
    assert str(place / "model") not in (tmp_path / "a" / "job.json").read_text()
    request = read_request(tmp_path / "a")
    assert (request.inputs, request.output, request.workers) == ((str(place / "in"),), str(place / "out"), 1)
    told = json.loads((tmp_path / "a" / "request.json").read_text())
    (tmp_path / "a" / "request.json").write_text(json.dumps({**told, "version": "0.0.1"}))
    with pytest.raises(UsageError, match=r"submitted by gridscribe 0\.0\.1"):
        read_request(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"inputs": ("tiles",)}, "tiles: a job elsewhere needs a URI"), ({"output": "out"}, "out: a job elsewhere needs a URI"),
        ({"overrides": {"model": "./nothing"}}, "no folder with a model.json"), ({"overrides": {"stride": -1}}, "stride"),
        ({"job": "nothing"}, "neither a .py or .json config file"),
    ],
)  # fmt: skip
def test_what_cannot_travel_is_said_before_anything_is_sent(
    place: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        write_bundle(replace(ask(place, "out"), **change), tmp_path)


def test_no_cluster_and_no_address_are_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="give --address"):
        submit(ask(place, "out"))
    with pytest.raises(GridscribeError, match="cannot reach a Ray cluster at http"):
        submit(ask(place, "out"), "http://127.0.0.1:9")


def test_a_submitted_job_writes_what_a_local_one_does(place: Path, cluster: RayCluster) -> None:
    options = (f"model={place / 'model'}", "bundle_pixels=20000", "regions=None")
    argv = [
        "submit", MASKS_JOB, "--input", str(place / "in"), "--output", str(place / "sent"), "--wait", "--json",
        *(part for option in options for part in ("--cfg-options", option)),
    ]  # fmt: skip
    done = command(cluster, *argv, AWS_SECRET_ACCESS_KEY=SECRET)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["status"], found["exit_code"], found["created"]) == ("SUCCEEDED", 0, True)
    assert "images" in done.stderr  # its log
    assert SECRET not in done.stdout + done.stderr
    run_job(_local(ask(place, "here")))
    here, sent = tree_bytes(place / "here"), tree_bytes(place / "sent")
    assert len(sent) > 24
    assert _objects(here) == _objects(sent)
    for data in tree_bytes(place / "sent", ".").values():
        assert SECRET.encode() not in data
    again = json.loads(command(cluster, *argv, AWS_SECRET_ACCESS_KEY=SECRET).stdout)
    assert (again["id"], again["created"], again["status"]) == (found["id"], False, "SUCCEEDED")
    more = call(cluster, "submit", ask(place, "sent"), again=True)
    assert more.created
    assert more.id == f"{found['id']}-2"
    assert call(cluster, "wait", more.id, timeout=120).exit_code == 0
    assert tree_bytes(place / "sent") == sent


def _objects(tree: dict[str, bytes]) -> dict[str, bytes]:
    """Less the product's description, which tells where the model lay."""
    return {name: data for name, data in tree.items() if not name.endswith("product.json")}


def _local(request: RunRequest) -> RunRequest:
    return replace(request, executor="local")


def test_a_cancelled_job_goes_on_when_it_is_submitted_again(place: Path, cluster: RayCluster) -> None:
    first = call(cluster, "submit", ask(place, "cut"))
    wait_for(place, "cut", 3)
    done = command(cluster, "cancel", first.id)
    assert done.stdout.split()[0] == first.id, done.stderr
    assert call(cluster, "state", first.id).status in ("STOPPED", "FAILED")
    left = commits(place / "cut")
    assert 3 <= len(left) < MANY
    stamps = {path: path.stat().st_mtime_ns for path in (place / "cut").glob("products/*/commits/*.json")}
    second = call(cluster, "submit", ask(place, "cut"))
    assert second.id == f"{first.id}-2"
    assert call(cluster, "submit", ask(place, "cut")).created is False  # while it runs it is the same
    assert call(cluster, "wait", second.id, timeout=180).exit_code == 0
    for path, stamp in stamps.items():
        assert path.stat().st_mtime_ns == stamp
    run_job(_local(ask(place, "cut-here")))
    assert _objects(tree_bytes(place / "cut")) == _objects(tree_bytes(place / "cut-here"))
    assert call(cluster, "cancel", second.id).status == "SUCCEEDED"
    with pytest.raises(GridscribeError, match="is not known to the cluster"):
        call(cluster, "cancel", "gridscribe-nothing")


def _plain(request: RunRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__dataclass_fields__}


def test_a_lost_node_loses_nothing(place: Path, cluster: RayCluster) -> None:
    node = cluster.add(1)
    end = time.monotonic() + 60
    while len(cluster.nodes_alive()) < 2 and time.monotonic() < end:
        time.sleep(0.3)
    assert len(cluster.nodes_alive()) == 2
    sent = call(cluster, "submit", ask(place, "lost", workers=3))
    wait_for(place, "lost", 2)
    assert any("PipelineWorker" in _title(pid) for pid in descendants(node.pid)), "no worker on the second node"
    cluster.kill(node)
    found = call(cluster, "wait", sent.id, timeout=240)
    assert (found.status, found.exit_code) == ("SUCCEEDED", 0)
    run_job(_local(ask(place, "lost-here")))
    assert _objects(tree_bytes(place / "lost")) == _objects(tree_bytes(place / "lost-here"))


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_wrong_token_is_refused_and_named(cluster: RayCluster) -> None:
    done = command(
        cluster, "submit", "raster", "--input", "s3://in/a", "--output", "s3://out/b", RAY_AUTH_TOKEN="wrong" * 9
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert cluster.env["RAY_AUTH_TOKEN"] not in done.stderr + done.stdout
    assert "cannot reach a Ray cluster" in done.stderr or "the cluster refused" in done.stderr
