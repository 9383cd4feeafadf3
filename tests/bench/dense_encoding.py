"""Dense tokens of an image by a ViT-B/16 of random weights: windows a second beside the stock open_clip loop, and the pipeline.

    python tests/bench/dense_encoding.py [--side 1792] [--rounds 3] [--windows 16]

Peer: open_clip's own `VisionTransformer` with its tokens put out, one window after another, float32, torch's default threads.
Ours: the engine that a job takes on this machine. Efficiency: the engine alone on as many windows, warm, over the time from
opening an image to its reduced, quantised tokens (reading, blending, merging to a quarter). Rounds alternate; medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from gridscribe.ingest.discover import discover
from gridscribe.ingest.images import InputOptions
from gridscribe.ingest.raster import open_raster
from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.clip.architecture import check_config
from gridscribe.models.clip.encoder import DenseSpec, open_encoder, resolve_encoder
from gridscribe.models.clip.package import AlignmentPackage, assemble, load_alignment, write
from gridscribe.models.clip.shared_encoder import SharedEncoder
from gridscribe.models.clip.towers import build_image_tower, new_image_tower, new_text_tower
from gridscribe.models.engines import restart_with_malloc_environment
from gridscribe.models.pruning.ward import WardPooling
from gridscribe.models.weights import network_state
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.tokens.embedding import PartEmbedder, TokenPlan

SIDE, PATCH, DIM = 224, 16, 512
ARCHITECTURE = {
    "embed_dim": DIM,
    "quick_gelu": False,
    "vision_cfg": {"image_size": SIDE, "layers": 12, "width": 768, "head_width": 64, "patch_size": PATCH},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


def package(folder: Path) -> AlignmentPackage:
    """ViT-B/16 with random weights, as a package."""
    torch.manual_seed(0)
    architecture = check_config(ARCHITECTURE, "bench")
    made, described = assemble(
        network_state(new_image_tower(architecture)), network_state(new_text_tower(architecture)), name="bench",
        description="random", architecture=architecture, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), logit_scale=14.0, gsd=None,
        source={},
    )  # fmt: skip
    write(folder, made, described)
    return load_alignment(folder, towers=("image",))


def stock(towers: AlignmentPackage, windows: np.ndarray) -> float:
    """Windows a second of the plain loop."""
    visual = build_image_tower(towers)
    visual.output_tokens = True
    pixels = torch.from_numpy(windows) / 255
    with torch.inference_mode():
        visual(pixels[:1])
        started = time.perf_counter()
        for window in pixels:
            _, tokens = visual(window[None])
            _ = tokens @ visual.proj  # the tokens put out are not yet in the space of words
        return len(pixels) / (time.perf_counter() - started)


def engine_alone(spec: DenseSpec, towers: AlignmentPackage, windows: np.ndarray, count: int) -> float:
    """Windows a second of the engine, kept full, with nothing else to do."""
    encoder = SharedEncoder(open_encoder(spec, towers))
    try:
        encoder.warm_up()
        lists = [list(windows[k % len(windows)][None]) * spec.batch for k in range(-(-count // spec.batch))]
        started = time.perf_counter()
        for answer in [encoder.submit(some) for some in lists]:
            answer.result()
        return len(lists) * spec.batch / (time.perf_counter() - started)
    finally:
        encoder.close()


def pipeline(spec: DenseSpec, towers: AlignmentPackage, scene: Path) -> tuple[float, int]:
    """(seconds from opening the image to its tokens, windows)."""
    encoder = SharedEncoder(open_encoder(spec, towers))
    try:
        encoder.warm_up()
        (image,) = discover([str(scene)], InputOptions(), height_for=None).images
        plan = TokenPlan(SIDE, SIDE * 3 // 4 // PATCH * PATCH, PATCH, DIM, (1e-9, 1e9), False, WardPooling())
        started = time.perf_counter()
        with open_raster(image) as reader:
            found = PartEmbedder(reader, image.grid.window, image.gsd, plan).embed(encoder, Deadline(1e9))
        return time.perf_counter() - started, len(found.places)
    finally:
        encoder.close()


def main() -> None:
    """Run the rounds and print the table."""
    restart_with_malloc_environment()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--side", type=int, default=1792)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=16)
    options = parser.parse_args()
    windows = np.random.default_rng(0).uniform(0, 255, (options.windows, 3, SIDE, SIDE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        towers = package(Path(place) / "package")
        write_scenes(Path(place) / "scene", 1, 7, options.side, 0.2)
        spec = resolve_encoder("auto", towers)
        gains, efficiencies = [], []
        for number in range(options.rounds):
            plain = stock(towers, windows)
            seconds, count = pipeline(spec, towers, Path(place) / "scene")
            alone = engine_alone(spec, towers, windows, count)
            gains.append(alone / plain)
            efficiencies.append(count / alone / seconds)
            print(
                f"round {number + 1}: open_clip {plain:.2f}, {spec.name} {spec.precision} {alone:.2f} windows/s; "
                f"image of {count} windows {seconds:.1f} s, engine alone {count / alone:.1f} s",
                flush=True,
            )
    print(f"engine / open_clip loop        {statistics.median(gains):.2f}")
    print(f"engine alone / whole pipeline  {statistics.median(efficiencies):.2f}")


if __name__ == "__main__":
    main()
