"""Words to pixels on held-out scenes: masks from points and regions beside thresholded heat maps.

    python tests/bench/text_to_mask.py [--alignment PACKAGE] [--scenes 12]

For every category that covers at least `LEAST` pixels of a scene, its name is asked and the IoU with the pixels of the scene's
own objects taken; what is printed is the mean over all of these questions. "default" is what `Client.segment` answers with
unless told otherwise. The thresholds of the other two heat maps are the best of `LEVELS` on other scenes: one for all phrases (of
the map between its least and greatest value; its level is printed, and is the default's), or one for each phrase (of cosines).
Masks of regions have no threshold that is fitted here.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize

from gridscribe import Client
from gridscribe.client import Prototypes
from gridscribe.client.segmenting import heat_at
from gridscribe.ingest.scenes import write_scenes
from gridscribe.pipelines.alignment.objects import outlines_of
from gridscribe.pipelines.alignment.scene_objects import read_scenes
from gridscribe.values import Window
from gridscribe.workers.run import RunRequest, run_job

LEAST = 200
LEVELS = np.linspace(0.02, 0.98, 49)
Bools = NDArray[np.bool_]


def truths(rgb: Path) -> dict[str, Bools]:
    """The pixels of each category of a scene."""
    (scene,) = [one for one in read_scenes(rgb.parent) if one.path == rgb]
    with rasterio.open(rgb) as file:
        shape = file.shape
    shapes: dict[str, list[Any]] = defaultdict(list)
    for region, outline in zip(scene.regions, outlines_of(rgb), strict=True):
        shapes[region.category].append(outline)
    found = {name: rasterize(some, shape).astype(np.bool_) for name, some in sorted(shapes.items())}
    return {name: mask for name, mask in found.items() if mask.sum() >= LEAST}


def iou(mask: Bools, truth: Bools) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


def heats(client: Client, image: str, phrase: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The heat map of a phrase on pixels."""
    heat = client.heatmap(phrase, image=image)
    return heat_at(heat, Window(0, 0, *shape))


def job(scenes: Path, out: Path, alignment: str) -> Client:
    """The masks, tokens and regions of a folder of scenes."""
    run_job(
        RunRequest("raster", (str(scenes),), str(out), executor="local", overrides={"alignment": {"model": alignment}})
    )
    return Client(out)


def questions(client: Client, scenes: Path) -> list[tuple[str, str, Bools]]:
    """(image, phrase, truth) for every scene."""
    images = {row["image"] for row in client.regions().select(["image"]).to_pylist()}
    asked = []
    for rgb in sorted(scenes.glob("*_rgb.tif")):
        (image,) = [name for name in images if name.startswith(rgb.name.removesuffix("_rgb.tif"))]
        asked += [(image, name, truth) for name, truth in truths(rgb).items()]
    return asked


def main() -> None:
    """Ask, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--alignment", default="align")
    parser.add_argument("--scenes", type=int, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        fitted, held = Path(place) / "fitted", Path(place) / "held"
        write_scenes(fitted, options.scenes, 1001, 768, 0.2)
        write_scenes(held, options.scenes, 2002, 768, 0.2)
        client = job(fitted, Path(place) / "fitted-out", options.alignment)
        relative = np.zeros(len(LEVELS))
        cosines: dict[str, list[tuple[NDArray[np.float32], Bools]]] = defaultdict(list)
        asked = questions(client, fitted)
        for image, phrase, truth in asked:
            heat = heats(client, image, phrase, truth.shape)
            low, high = heat.min(), heat.max()
            relative += [iou(heat >= low + level * (high - low), truth) for level in LEVELS]
            cosines[phrase].append((heat, truth))
        level = float(LEVELS[relative.argmax()])
        cuts = {}
        for phrase, pairs in cosines.items():
            values = np.quantile(np.concatenate([heat.ravel()[::7] for heat, _ in pairs]), LEVELS)
            scores = [np.mean([iou(heat >= value, truth) for heat, truth in pairs]) for value in values]
            cuts[phrase] = values[int(np.argmax(scores))]

        client = job(held, Path(place) / "held-out", options.alignment)
        memory = Prototypes()
        rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for image, phrase, truth in questions(client, held):
            heat = heats(client, image, phrase, truth.shape)
            low, high = heat.min(), heat.max()
            default = client.segment(phrase, image=image)
            plain = client.segment(phrase, image=image, method="regions")
            held_regions = client.segment(phrase, image=image, method="regions", memory=memory)
            rows[phrase].append(
                (
                    iou(default.array, truth),
                    iou(heat >= low + level * (high - low), truth),
                    iou(heat >= cuts[phrase], truth) if phrase in cuts else 0.0,
                    iou(first_pass(client, image, plain.first, truth.shape), truth),
                    iou(plain.array, truth),
                    iou(held_regions.array, truth),
                )
            )
    print(f"level {level:.2f}")
    head = ("default", "heat map", "own threshold", "first pass", "second pass", "with memory")
    print(f"{'':20} n  " + "  ".join(f"{name:>13}" for name in head))
    for phrase, found in rows.items():
        print(f"{phrase:20} {len(found):2} " + "  ".join(f"{value:13.3f}" for value in np.mean(found, axis=0)))
    every = np.mean([row for found in rows.values() for row in found], axis=0)
    print(f"{'all questions':20} {sum(map(len, rows.values())):2} " + "  ".join(f"{value:13.3f}" for value in every))
    each = np.mean([np.mean(found, axis=0) for found in rows.values()], axis=0)
    print(f"{'mean of phrases':20}    " + "  ".join(f"{value:13.3f}" for value in each))


def first_pass(client: Client, image: str, regions: tuple[str, ...], shape: tuple[int, int]) -> Bools:
    """The pixels of some regions, by their outlines."""
    outlines = [client.region(name).geometry_px for name in regions]
    return rasterize(outlines, shape).astype(np.bool_) if outlines else np.zeros(shape, np.bool_)


if __name__ == "__main__":
    main()
