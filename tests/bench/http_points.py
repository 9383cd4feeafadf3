"""Point queries over HTTP: this service beside TiTiler's point endpoint, on one mask, one process each, in one run.

    python tests/bench/http_points.py [--output OUTPUT] [--seconds 5]

Both answer over kept-open connections to one asking process: first one question after the other (the time of each), then eight
at once (their number). Rounds alternate between the two. TiTiler (`pip install titiler-core`, the `bench` extra) reads the very
COG that the answers of this service come from, with GDAL's caches as its documentation recommends, and tells one band's value;
this service tells class, confidence, height, region and where all that comes from. Then a batch of 100,000 points in one
request, as Arrow and as JSON. Without --output a scene is made and run first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import urllib3

from gridscribe import Client
from gridscribe.client.wire import ARROW, table_bytes, table_of

TITILER = """
import sys, uvicorn
from fastapi import FastAPI
from titiler.core.factory import TilerFactory
app = FastAPI()
app.include_router(TilerFactory().router)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": "TRUE", "VSI_CACHE_SIZE": "5000000", "GDAL_CACHEMAX": "200",
}  # fmt: skip
AT_ONCE = 8
POINTS = 100_000


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_for(url: str) -> None:
    pool = urllib3.PoolManager(retries=False)
    for _ in range(300):
        try:
            if pool.request("GET", url).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


async def question(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: bytes) -> bytes:
    """One request and its answer, parsed no more than is needed."""
    writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head[:200]
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def asked(port: int, targets: list[bytes], seconds: float, links: int) -> list[float]:
    """Seconds of each question of `links` connections, each asking one after the other until the time is over."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def one(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        k = first
        while (begun := time.perf_counter()) < end:
            await question(reader, writer, targets[k % len(targets)])
            taken.append(time.perf_counter() - begun)
            k += links
        writer.close()

    await asyncio.gather(*(one(k) for k in range(links)))
    return taken


def made_output(folder: Path) -> str:
    run = [sys.executable, "-m", "gridscribe"]
    subprocess.run(
        [*run, "scenes", str(folder / "scenes"), "--count", "1", "--seed", "5", "--size", "2048"], check=True
    )
    options = ["--executor", "local", "--cfg-options", "alignment=None"]
    subprocess.run(
        [*run, "run", "raster", "--input", str(folder / "scenes"), "--output", str(folder / "out"), *options],
        check=True,
    )
    return str(folder / "out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(given.output or made_output(Path(folder)), given.seconds, given.rounds)


def measure(output: str, seconds: float, rounds: int) -> None:
    index = Client(output)._backend.index()  # type: ignore[attr-defined]
    cog = str((Path(output) / index.keys["mask"][0]).resolve())
    west, south, east, north = index.footprint_bounds[0]
    rng = np.random.default_rng(0)
    inset = 0.2
    lons = rng.uniform(west + inset * (east - west), east - inset * (east - west), POINTS)
    lats = rng.uniform(south + inset * (north - south), north - inset * (north - south), POINTS)
    places = list(zip(lons[:2000].tolist(), lats[:2000].tolist(), strict=True))
    ports = {"gridscribe": free_port(), "titiler": free_port()}
    env = {**os.environ, **GDAL}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "gridscribe", "serve", output, "--port", str(ports["gridscribe"])],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ),
        subprocess.Popen([sys.executable, "-c", TITILER, str(ports["titiler"])], env=env),
    ]  # fmt: skip
    targets = {
        "gridscribe": [f"/v1/at?lon={lon}&lat={lat}".encode() for lon, lat in places],
        "titiler": [f"/point/{lon},{lat}?url={cog}".encode() for lon, lat in places],
    }
    try:
        wait_for(f"http://127.0.0.1:{ports['gridscribe']}/v1/at?lon={places[0][0]}&lat={places[0][1]}")
        wait_for(f"http://127.0.0.1:{ports['titiler']}/point/{places[0][0]},{places[0][1]}?url={cog}")
        agree(ports, targets)
        alone: dict[str, list[float]] = {name: [] for name in ports}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                alone[name] += asyncio.run(asked(port, targets[name], seconds / 2, 1))
                rates[name].append(len(asyncio.run(asked(port, targets[name], seconds, AT_ONCE))) / seconds)
        for name in ports:
            milliseconds = np.array(alone[name]) * 1000
            print(
                f"{name:<11} one by one: p50 {np.median(milliseconds):.2f} ms, p99 {np.percentile(milliseconds, 99):.2f} ms; "
                f"{AT_ONCE} at once: {np.median(rates[name]):.0f} requests/s"
            )
        ratio = np.median(np.array(rates["gridscribe"]) / np.array(rates["titiler"]))
        print(f"requests/s of gridscribe over titiler, median of {rounds} rounds: {ratio:.2f}")
        batch(ports["gridscribe"], lons, lats)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def agree(ports: dict[str, int], targets: dict[str, list[bytes]]) -> None:
    """Both must tell the same classes."""
    pool = urllib3.PoolManager(retries=False)
    for k in range(0, 2000, 20):
        ours, theirs = (
            json.loads(pool.request("GET", f"http://127.0.0.1:{ports[name]}{targets[name][k].decode()}").data)
            for name in ("gridscribe", "titiler")
        )
        if ours["pixels"][0]["class_id"] != theirs["values"][0]:
            raise SystemExit(f"{targets['gridscribe'][k]!r}: {ours['pixels'][0]['class_id']} and {theirs['values'][0]}")


def batch(port: int, lons: np.ndarray, lats: np.ndarray) -> None:
    import pyarrow as pa

    pool = urllib3.PoolManager(retries=False)
    url = f"http://127.0.0.1:{port}/v1/at"
    bodies = {
        ARROW: table_bytes(pa.table({"x": lons, "y": lats}), compressed=False),
        "application/json": json.dumps({"points": np.stack([lons, lats], axis=1).tolist()}).encode(),
    }
    for kind, body in bodies.items():
        taken = []
        for _ in range(7):
            begun = time.perf_counter()
            answer = pool.request("POST", url, body=body, headers={"Content-Type": kind, "Accept": kind})
            assert answer.status == 200, answer.data[:300]
            rows = table_of(answer.data).num_rows if kind == ARROW else json.loads(answer.data)["rows"]
            taken.append(time.perf_counter() - begun)
            assert rows == len(lons)
        print(f"{len(lons):,} points in one request, {kind}: {np.median(taken) * 1000:.0f} ms, read by the client")


if __name__ == "__main__":
    main()
