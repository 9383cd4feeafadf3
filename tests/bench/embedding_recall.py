"""Recall of int8 vectors on the shipped alignment model's own embeddings: objects of generated scenes, float32 beside int8.

    python tests/bench/embedding_recall.py [--alignment align] [--scenes 48]

Crops of all objects of held-out scenes are embedded as `gridscribe evaluate` does it; recall as in `vector_search.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.clip.encoder import open_encoder, resolve_encoder
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.shared_encoder import SharedEncoder
from gridscribe.pipelines.alignment.embedding import class_vectors
from gridscribe.pipelines.alignment.objects import read_objects
from tests.bench.vector_search import recall


def embeddings(alignment: str, scenes: int) -> np.ndarray:
    """Unit vectors float32 [objects, D] of the objects of `scenes` scenes."""
    package = load_alignment(alignment, towers=("image",))
    spec = resolve_encoder("auto", package)
    encoder = SharedEncoder(open_encoder(spec, package))
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), scenes, 3003, 768, 0.2)
            objects = read_objects(Path(folder))
            return class_vectors(encoder, objects.crops(spec.window), len(objects), "objects")
    finally:
        encoder.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--alignment", default="align")
    parser.add_argument("--scenes", type=int, default=48)
    options = parser.parse_args()
    recall(embeddings(options.alignment, options.scenes), asked=1000)
