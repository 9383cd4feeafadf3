"""The whole raster job beside MMSegmentation's own sliding window, on the same weights, image, window and stride.

    python tests/bench/whole_job.py [--size 4096] [--rounds 3] [--model scenes]

Each round runs, each in a process of its own and one after another:

- `mmseg`: MMSegmentation's `mode="slide"`, torch float32, class GeoTIFF written with rasterio, allocator as it comes;
- `forward`: the float32 torch forward of the same windows alone, with an allocator that keeps memory (named below);
- `job`: `gridscribe run raster --executor local --cfg-options regions=None alignment=None` (masks alone, as the others
  give): planning, reading, predicting, three COGs, commit, manifest, catalogue.

Wall time is from the image being opened to the last output being closed, without imports and without loading the model,
which are stated apart. Ratios are taken within a round; the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

KEEP = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "8589934592"}


def make_image(folder: Path, size: int) -> None:
    """A generated scene of `size` px as an RGB and a height GeoTIFF."""
    from gridscribe.ingest.scenes import write_scenes

    write_scenes(folder, 1, 4096, size, 0.2)
    for path in [*folder.glob("*_labels.tif"), *folder.glob("*.geojson")]:
        path.unlink()


def read_image(folder: Path) -> tuple[Any, np.ndarray]:
    """(profile, float32 [4, H, W] with NaN where height is missing), as a user would read a pair."""
    (rgb_path,), (height_path,) = folder.glob("*_rgb.tif"), folder.glob("*_ndsm.tif")
    with rasterio.open(rgb_path) as rgb, rasterio.open(height_path) as height:
        metres = height.read(1, out_shape=rgb.shape, masked=True).astype(np.float32).filled(np.nan)
        return rgb.profile, np.concatenate([rgb.read().astype(np.float32), metres[None]])


def mmseg_slide(folder: Path, model: str, out: Path) -> dict[str, float]:
    """MMSegmentation as its users run it."""
    import time

    import torch
    from mmseg.structures import SegDataSample

    from gridscribe.models.package import build_network, load_package

    package = load_package(model)
    network: Any = build_network(package, plain=True)
    size, stride = package.window, package.stride
    from mmengine.config import ConfigDict

    network.test_cfg = ConfigDict(mode="slide", crop_size=(size, size), stride=(stride, stride))
    started = time.perf_counter()
    profile, image = read_image(folder)
    shape = image.shape[1:]
    sample = SegDataSample(metainfo={"img_shape": shape, "ori_shape": shape, "pad_shape": shape})
    with torch.no_grad():
        found = network.test_step({"inputs": [torch.from_numpy(image)], "data_samples": [sample]})
    mask = found[0].pred_sem_seg.data[0].numpy().astype(np.uint8)
    profile.update(count=1, dtype="uint8", compress="deflate", nodata=255)
    with rasterio.open(out / "mask.tif", "w", **profile) as file:
        file.write(mask, 1)
    return {"wall": time.perf_counter() - started}


def forward_alone(folder: Path, model: str, out: Path) -> dict[str, float]:
    """The float32 torch forward of the windows alone, two at a time."""
    import time

    import torch

    from gridscribe.models.package import build_network, load_package
    from gridscribe.pipelines.lattice import Lattice
    from gridscribe.values import Window

    package = load_package(model)
    network: Any = build_network(package, plain=True)
    _, image = read_image(folder)
    height, width = image.shape[1:]
    lattice = Lattice(height, width, package.window, package.stride)
    windows = [lattice.at(*k) for k in lattice.meeting(Window(0, 0, height, width))]
    crops = torch.zeros(2, 4, package.window, package.window)
    seconds = 0.0
    with torch.no_grad():
        for first in range(0, len(windows), 2):
            for slot, window in zip(crops, windows[first : first + 2], strict=False):
                part = image[(slice(None), *window.slices())]
                slot[:, : part.shape[1], : part.shape[2]] = torch.from_numpy(part)
            started = time.perf_counter()
            data = network.data_preprocessor({"inputs": list(crops), "data_samples": None})["inputs"]
            network.decode_head(network.backbone(data))
            seconds += time.perf_counter() - started
    return {"wall": seconds, "windows": len(windows)}


def whole_job(folder: Path, model: str, out: Path) -> dict[str, float]:
    """Our job, and then the same windows through the engine alone, warm, in the same process."""
    import time

    from gridscribe.models.engines import SharedEngine, open_engine, resolve_engine
    from gridscribe.models.package import load_package
    from gridscribe.pipelines.lattice import Lattice, reflect
    from gridscribe.values import Window
    from gridscribe.workers.run import RunRequest, run_job

    masks_alone = {"model": model, "regions": None, "alignment": None}
    request = RunRequest("raster", (str(folder),), str(out), executor="local", overrides=masks_alone)
    result = run_job(request)
    package = load_package(model)
    spec = resolve_engine("auto", package)
    _, image = read_image(folder)
    rows, cols = image.shape[1:]
    lattice = Lattice(rows, cols, spec.window, package.stride)
    places = [lattice.at(*k) for k in lattice.meeting(Window(0, 0, rows, cols))]
    windows = [image[:, reflect(p.row, p.height, rows)[:, None], reflect(p.col, p.width, cols)] for p in places]
    with SharedEngine(open_engine(spec, package)) as engine:
        engine.warm_up()
        started = time.perf_counter()
        for _ in engine.stream(windows):
            pass
        alone = time.perf_counter() - started
    return {
        "wall": result.seconds["total"] - result.seconds["start"],
        "start": result.seconds["start"],
        "work": result.seconds["work"],
        "record": result.seconds["record"],
        "windows": result.windows,
        "engine": alone,
        "precision": spec.precision,  # type: ignore[dict-item]
    }


STEPS = {"mmseg": mmseg_slide, "forward": forward_alone, "job": whole_job}


def in_a_process(step: str, folder: Path, model: str, out: Path) -> dict[str, Any]:
    """One measurement in a fresh process, with the allocator that belongs to it."""
    environment = {**os.environ, **(KEEP if step == "forward" else {})}
    args = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--model", model, "--out", str(out)]
    done = subprocess.run(args, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def agreement(a: Path, b: Path, stop: int | None = None) -> float:
    """Share of pixels with the same class, of all rows and columns or of those before `stop`."""
    with rasterio.open(a) as one, rasterio.open(b) as other:
        return float((one.read(1)[:stop, :stop] == other.read(1)[:stop, :stop]).mean())


def shared_lattice(size: int, model: str) -> int:
    """Up to which row and column both see the same windows: `slide` shifts its last one back to fit, the job reflects."""
    from gridscribe.models.package import load_package
    from gridscribe.pipelines.lattice import Axis

    package = load_package(model)
    axis = Axis(size, package.window, package.stride)
    last = (axis.count - 1) * package.stride
    return size if last + package.window == size else min(last, size - package.window)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="scenes")
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options.folder, options.model, options.out)))
        return
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        make_image(root / "in", options.size)
        rounds = []
        for number in range(options.rounds):
            found = {}
            for step in STEPS:
                out = root / f"{step}{number}"
                out.mkdir()
                found[step] = in_a_process(step, root / "in", options.model, out)
            rounds.append(found)
            print(f"round {number + 1}: " + ", ".join(f"{s} {v['wall']:.1f} s" for s, v in found.items()), flush=True)
        (ours,) = (root / "job0").glob("products/*/masks/*-????????.tif")
        same = agreement(root / "mmseg0" / "mask.tif", ours)
        stop = shared_lattice(options.size, options.model)
        same_inside = agreement(root / "mmseg0" / "mask.tif", ours, stop)
    job = rounds[0]["job"]

    def median(ratio: Any) -> float:
        return statistics.median(ratio(found) for found in rounds)

    print(f"image {options.size} x {options.size}, {job['windows']} windows, engine OpenVINO {job['precision']}")
    print(f"mmseg slide / job            {median(lambda r: r['mmseg']['wall'] / r['job']['wall']):6.2f}")
    print(f"float32 torch forward / job  {median(lambda r: r['forward']['wall'] / r['job']['wall']):6.2f}   ({KEEP})")
    share = median(lambda r: r["job"]["engine"] / (r["job"]["work"] + r["job"]["record"]))
    print(f"engine alone / first read to catalogue written  {share:6.2f}")
    print(
        f"pixels equal to mmseg        {same:8.4%}   (in rows and columns before {stop}, where windows agree: {same_inside:.4%})"
    )
    print(
        f"job: {median(lambda r: r['job']['wall']):.1f} s, and {median(lambda r: r['job']['start']):.1f} s of start-up"
    )


if __name__ == "__main__":
    main()
