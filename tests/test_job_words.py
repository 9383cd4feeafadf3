"""A raster job whose classes are only named: masks are those of the words, whatever the items; what it was is in the product."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from gridscribe import Client
from gridscribe.errors import ModelError, UsageError
from gridscribe.models.clip.concepts import read_concepts
from gridscribe.models.clip.encoder import open_encoder, resolve_encoder
from gridscribe.models.clip.open_vocabulary import OpenVocabularyEngine, open_vocabulary
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.text import TextEncoder
from gridscribe.pipelines.alignment.calibration import ClassOffsets
from gridscribe.pipelines.blend import taper
from gridscribe.pipelines.lattice import Lattice, reflect
from gridscribe.products import read_product
from gridscribe.store import open_store
from gridscribe.workers.run import RunRequest, RunResult, run_job
from tests.tiny import tree_bytes, write_pair
from tests.tiny_clip import tiny_alignment

WORDS = "water; pool\nred roof; tiles\ngrass\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    tiny_alignment(folder / "align")
    (folder / "mine.txt").write_text(WORDS)
    write_pair(folder / "tiles", "a", 150, 130, seed=1, origin=(500_000, 5_000_000))
    write_pair(folder / "tiles", "b", 1100, 600, seed=2, origin=(510_000, 5_000_000))
    return folder


def run(place: Path, out: Path, vocabulary: dict[str, Any] | None = None, **overrides: Any) -> RunResult:
    words = {"model": str(place / "align"), "classes": str(place / "mine.txt"), **(vocabulary or {})}
    merged = {"vocabulary": words, "alignment": None, **overrides}
    return run_job(RunRequest("raster", (str(place / "tiles"),), str(out), executor="local", overrides=merged))


def mask_of(out: Path, image: str) -> np.ndarray:
    (path,) = out.glob(f"products/*/masks/{image}.tif")
    with rasterio.open(path) as file:
        return file.read(1)


def test_masks_are_those_of_the_words(place: Path, tmp_path: Path) -> None:
    """Window by window with the engine itself, blended the slow way."""
    found = run(place, tmp_path / "out")
    assert found.counts["done"] == 2
    package = load_alignment(place / "align")
    spec = resolve_encoder("auto", package)
    bank = read_concepts(place / "mine.txt")
    words = open_vocabulary(bank, TextEncoder(package), name="x", scale=package.logit_scale)
    with rasterio.open(place / "tiles" / "a_rgb.tif") as file:
        rgb = file.read().astype(np.float32)
    lattice = Lattice(*rgb.shape[1:], 32, 16)
    engine = OpenVocabularyEngine(open_encoder(spec, package), words)
    weight = np.outer(taper(32, 16), taper(32, 16))
    total = np.zeros((3, rgb.shape[1] + 32, rgb.shape[2] + 32))
    for k_row in range(lattice.rows.count):
        for k_col in range(lattice.cols.count):
            rows = reflect(k_row * 16, 32, rgb.shape[1])
            cols = reflect(k_col * 16, 32, rgb.shape[2])
            window = np.zeros((1, 4, 32, 32), np.float32)
            window[0, :3] = rgb[:, rows[:, None], cols]
            part = total[:, k_row * 16 : k_row * 16 + 32, k_col * 16 : k_col * 16 + 32]
            part += weight * engine.predict(window)[0]
    engine.close()
    wanted = total[:, : rgb.shape[1], : rgb.shape[2]].argmax(axis=0)
    image = next(p.name[:-4] for p in (tmp_path / "out").glob("products/*/masks/a*.tif") if p.name.count(".") == 1)
    np.testing.assert_array_equal(mask_of(tmp_path / "out", image), wanted)

    told = read_product(open_store(tmp_path / "out"), found.product)
    assert [one["name"] for one in told["classes"]] == ["water", "red roof", "grass"]
    assert told["models"] == [
        {"role": "segmentor", "name": "align-0, mine", "uri": str(place / "align"), "digest": package.digest}
    ]
    assert told["settings"]["vocabulary"]["classes"] == bank.digest
    pixel = Client(tmp_path / "out").at_pixel(image, 5, 7)
    assert pixel.class_name == ["water", "red roof", "grass"][wanted[5, 7]]


def test_items_change_nothing_and_again_is_nothing(place: Path, tmp_path: Path) -> None:
    run(place, tmp_path / "one")
    run(place, tmp_path / "cut", item_size=512)
    (b,) = {p.name for p in (tmp_path / "one").glob("products/*/masks/b*.tif") if p.name.count(".") == 1}
    with rasterio.open(next((tmp_path / "one").glob(f"products/*/masks/{b}"))) as whole:
        wanted = whole.read(1)
    with rasterio.open(next((tmp_path / "cut").glob(f"products/*/masks/{b[:-4]}.vrt"))) as joined:
        np.testing.assert_array_equal(joined.read(1), wanted)
    before = tree_bytes(tmp_path / "one" / "products")
    run(place, tmp_path / "one")
    assert tree_bytes(tmp_path / "one" / "products") == before


def test_offsets_are_those_of_the_model_and_the_classes(place: Path, tmp_path: Path) -> None:
    package, bank = load_alignment(place / "align"), read_concepts(place / "mine.txt")
    fitted = ClassOffsets(
        package.digest, bank.digest, "segearth", 32, 0.3, 40.0, {"water": 9.0, "red roof": 0.0, "grass": 0.0}, {}
    )
    path = tmp_path / "offsets.json"
    path.write_text(json.dumps(fitted.to_json()))
    plain = run(place, tmp_path / "plain")
    moved = run(place, tmp_path / "moved", {"offsets": str(path)})
    assert moved.product != plain.product
    for mask in (tmp_path / "moved").glob("products/*/masks/*.tif"):
        if mask.name.count(".") == 1:
            with rasterio.open(mask) as file:
                assert set(np.unique(file.read(1))) <= {0, 255}  # raised so far, water is everywhere
    path.write_text(json.dumps({**fitted.to_json(), "model": "0" * 64}))
    with pytest.raises(UsageError, match="was fitted for model="):
        run(place, tmp_path / "wrong", {"offsets": str(path)})


def test_what_cannot_be_is_refused(place: Path, tmp_path: Path) -> None:
    for vocabulary, message in (
        ({"classes": "nowhere"}, "nowhere"),
        ({"variant": "plain"}, "variant='plain'"),
        ({"model": str(tmp_path / "none")}, "none"),
        ({"words": 3}, "unknown key 'words'"),
    ):
        with pytest.raises((UsageError, ModelError), match=message):
            run(place, tmp_path / "out", vocabulary)
    with pytest.raises(UsageError, match=r"stride=12: must be a multiple of the patch \(8\)"):
        run(place, tmp_path / "out", stride=12)
