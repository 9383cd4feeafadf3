"""Real kills: the driver's whole process group or a Ray worker ended with -9 at some moment, then the same command again.

Afterwards every object must be there, byte-equal to an undisturbed run, and nothing committed may have been computed twice.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from gridscribe import Client
from tests.kills import commits, finish, kill_all, start, wait_for_commits, workers_of
from tests.serving import serve
from tests.tiny import MASKS_JOB, tiny_package, tree_bytes, write_pair
from tests.tiny_clip import tiny_alignment

MASKS = 30  # commits of masks: 24 small images, and six boxes of the wide one; 25 of regions come after them
OPTIONS = ["--cfg-options", "bundle_pixels=20000", "--cfg-options", "item_size=512"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    tiny_package(folder / "model")
    tiny_alignment(folder / "align")
    for k in range(24):
        write_pair(folder / "in", f"t{k:02}", 100 + k, 150, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    write_pair(folder / "in", "wide", 700, 1100, seed=99, origin=(700_000, 5_000_000))
    return folder


def command(place: Path, out: Path, executor: str, workers: int, words: bool = False) -> list[str]:
    """With `words` regions are embedded and tokens stored too."""
    align = (f"alignment.model={place / 'align'}", "alignment.concepts=None", "tokens.pruner.block=16") if words else ()
    return [
        *(sys.executable, "-m", "gridscribe", "run", "raster" if words else MASKS_JOB, "--json"),
        *("--input", str(place / "in"), "--output", str(out), "--executor", executor, "--workers", str(workers)),
        *OPTIONS,
        *(part for option in (f"model={place / 'model'}", *align) for part in ("--cfg-options", option)),
    ]


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> dict[str, bytes]:
    result = finish(command(place, place / "plain", "local", 1))
    assert result["counts"] == {"images": 25, "done": 25, "skipped": 0, "failed": 0, "left": 0}
    assert (result["computed"], result["regions"]) == (MASKS, 25)
    return tree_bytes(place / "plain")


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.soak), 2])
def test_ray_gives_the_same_bytes(place: Path, undisturbed: dict[str, bytes], workers: int) -> None:
    out = place / f"ray{workers}"
    finish(command(place, out, "ray", workers))
    assert tree_bytes(out) == undisturbed


def test_a_killed_worker_is_replaced_within_the_run(place: Path, undisturbed: dict[str, bytes]) -> None:
    out = place / "worker-killed"
    process = start(command(place, out, "ray", 2))
    wait_for_commits(out, 3, process)
    victims = workers_of(process.pid)
    assert victims, "no Ray worker found to kill"
    os.kill(victims[0], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["counts"]["done"] == 25
    assert tree_bytes(out) == undisturbed


@pytest.mark.parametrize(
    ("executor", "after"),
    [
        ("local", 4),
        ("ray", 35),
        *(
            pytest.param(executor, after, marks=pytest.mark.soak)
            for executor, after in (("local", 0), ("ray", 2), ("local", MASKS), ("local", 40))
        ),
    ],
)
def test_a_killed_driver_is_resumed(place: Path, undisturbed: dict[str, bytes], executor: str, after: int) -> None:
    check_driver_kill(place, undisturbed, place / f"driver-{executor}-{after}", executor, after, 0.0)


def check_driver_kill(
    place: Path,
    undisturbed: dict[str, bytes],
    out: Path,
    executor: str,
    after: int,
    delay: float,
    *,
    words: bool = False,
) -> None:
    process = start(command(place, out, executor, 1, words))
    wait_for_commits(out, after, process)
    time.sleep(delay)
    kill_all(process)
    assert len(commits(out)) < MASKS + 25
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("products/*/commits/*.json")}
    result = finish(command(place, out, executor, 1, words))
    assert result["counts"]["done"] == 25  # type: ignore[index]
    assert tree_bytes(out) == undisturbed
    for path, stamp in stamps.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.name} was written again"
    assert finish(command(place, out, executor, 1, words))["nothing_to_do"]


def test_ctrl_c_stops_cleanly_and_resumes(place: Path, undisturbed: dict[str, bytes]) -> None:
    out = place / "ctrl-c"
    process = start(command(place, out, "ray", 1))
    wait_for_commits(out, 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the driver and all that it started
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr
    assert json.loads(stdout)["stopped"]
    finish(command(place, out, "ray", 1))
    assert tree_bytes(out) == undisturbed


def test_a_service_that_is_killed_during_a_job_costs_it_nothing(place: Path, undisturbed: dict[str, bytes]) -> None:
    """Asked all the time while a job writes, killed with -9, started again: it tells of what is committed by then, and of all
    in the end; the job's objects are those of an undisturbed run."""
    out = place / "served"
    process = start(command(place, out, "local", 1))
    wait_for_commits(out, 2, process)
    with serve(str(out), "--refresh", "0.2") as first:
        port = int(first.url.rpartition(":")[2])
        client = Client(first.url)
        assert client.at_pixel("t00", 5, 5).status == "ok"
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with serve(str(out), "--refresh", "0.2", port=port):
        assert client.at_pixel("t00", 5, 5).status == "ok"
        _, stderr = process.communicate(timeout=240)
        assert process.returncode == 0, stderr
        client.refresh()
        for name in [f"t{k:02}" for k in range(24)]:
            found = client.at_pixel(name, 5, 5)
            assert found == Client(out).at_pixel(name, 5, 5)
            assert found.status == "ok"
    assert tree_bytes(out) == undisturbed


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(24))
def test_kills_at_random_moments(place: Path, undisturbed: dict[str, bytes], number: int) -> None:
    rng = random.Random(number)
    executor = rng.choice(["local", "ray"])
    after, delay = rng.randrange(MASKS + 20), rng.uniform(0, 0.1)
    check_driver_kill(place, undisturbed, place / f"soak-{number}", executor, after, delay)


@pytest.fixture(scope="module")
def undisturbed_words(place: Path) -> dict[str, bytes]:
    result = finish(command(place, place / "plain-words", "local", 1, words=True))
    assert (result["computed"], result["regions"]) == (MASKS, 25)
    found = tree_bytes(place / "plain-words")
    assert any("/tokens/" in name for name in found)
    return found


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(8))
def test_kills_at_random_moments_with_embeddings(place: Path, undisturbed_words: dict[str, bytes], number: int) -> None:
    """Tokens, vectors and labels of regions too."""
    rng = random.Random(100 + number)
    executor, after = ("ray", "local")[number % 2], rng.randrange(MASKS + 20)
    out = place / f"words-{number}"
    check_driver_kill(place, undisturbed_words, out, executor, after, rng.uniform(0, 0.2), words=True)
