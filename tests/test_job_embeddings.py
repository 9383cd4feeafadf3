"""Vectors and labels of regions in a raster job: equal to a slow reference, the same however a job was cut, read by anyone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from PIL import Image

from gridscribe.errors import LayoutError, UsageError
from gridscribe.gc import collect_garbage
from gridscribe.layout import concepts_key
from gridscribe.models.clip.encoder import open_encoder
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.text import TextEncoder
from gridscribe.pipelines.concept_bank import Concepts
from gridscribe.pipelines.region_crops import cut, shrunk, square_around
from gridscribe.pipelines.regions.embedding import top_labels
from gridscribe.progress import Quiet
from gridscribe.quantise import quantise
from gridscribe.store import open_store
from gridscribe.values import Window
from gridscribe.workers.run import RunRequest, RunResult, plan_request, run_job
from tests.test_job_tokens import stored
from tests.tiny import tiny_package, tree_bytes, write_pair
from tests.tiny_clip import tiny_alignment

BANK = "[template] a photo of {}\nroof; red roof\nwide lawn\nold tree; big tree\npond\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("embeddings")
    tiny_package(made / "masks")
    tiny_alignment(made / "words")
    (made / "bank.txt").write_text(BANK)
    for k in range(2):
        write_pair(made / "tiles", f"t{k}", 90 + 10 * k, 130, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    write_pair(made / "tiles", "big", 1100, 700, seed=9, origin=(600_000, 5_000_000), nodata_corner=70)
    return made


def request(
    folder: Path, out: Path, look: str | None = "crop", overrides: dict[str, Any] | None = None, **more: Any
) -> RunRequest:
    alignment = {"model": str(folder / "words"), "regions": look, "concepts": str(folder / "bank.txt"), "labels": 3}
    options = dict(overrides or {})
    alignment |= options.pop("alignment", {})
    merged = {
        "model": str(folder / "masks"),
        "alignment": alignment,
        "tokens": {"pruner": {"method": "ward", "block": 16}},
        **options,
    }
    return RunRequest("raster", (str(folder / "tiles"),), str(out), executor="local", overrides=merged, **more)


def run(*args: Any, **more: Any) -> RunResult:
    return run_job(request(*args, **more))


def rows_of(out: Path, product: str) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(path) for path in sorted((out / "products" / product / "regions").glob("*.parquet"))
    )


def vectors_of(table: pa.Table) -> np.ndarray:
    values = np.array(table["embedding"].to_pylist(), np.float32)
    return values * table["scale"].to_numpy()[:, None].astype(np.float32)


def pixels_of(out: Path, product: str, image: str) -> np.ndarray:
    with rasterio.open(out / "products" / product / "regions" / f"{image}.regions.tif") as file:
        found: np.ndarray = file.read(1)
    return found


def rgb_of(folder: Path, image: str) -> np.ndarray:
    with rasterio.open(folder / "tiles" / f"{image.rsplit('-', 1)[0]}_rgb.tif") as file:
        found: np.ndarray = file.read()
    return found


def test_a_regions_vector_is_that_of_the_square_around_it(folder: Path, tmp_path: Path) -> None:
    done = run(folder, tmp_path)
    table = rows_of(tmp_path, done.product)
    assert table["embedding"].null_count == table["scale"].null_count == 0
    found = vectors_of(table)
    package = load_alignment(folder / "words")
    encoder = open_encoder(plan_request(request(folder, tmp_path), Quiet()).alignment.encoder, package)  # type: ignore[union-attr]
    rng = np.random.default_rng(0)
    for number in rng.permutation(len(table))[:60].tolist():
        row = table.slice(number, 1).to_pylist()[0]
        where = np.argwhere(pixels_of(tmp_path, done.product, row["image"]) == row["value"])
        (top, left), (bottom, right) = where.min(0), where.max(0) + 1
        side = max(32, round(max(bottom - top, right - left) * 1.2))
        row0, col0 = top + (bottom - top - side) // 2, left + (right - left - side) // 2
        rgb = rgb_of(folder, row["image"])
        rows, cols = (
            np.clip(np.arange(a, a + side), 0, n - 1) for a, n in zip((row0, col0), rgb.shape[1:], strict=True)
        )
        square = Image.fromarray(np.ascontiguousarray(rgb[:, rows[:, None], cols].transpose(1, 2, 0)))
        small = np.asarray(square.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        cls, _ = encoder.encode(small[None].astype(np.float32))
        np.testing.assert_array_equal(found[number], quantise(cls).dequantised()[0])
    assert len(np.unique(found.round(3), axis=0)) > len(found) // 2


def test_pooled_vectors_are_means_of_the_tokens_under_the_pixels(folder: Path, tmp_path: Path) -> None:
    done = run(folder, tmp_path, "tokens", {"item_size": 512})
    table, grids = rows_of(tmp_path, done.product), stored(tmp_path, done.product)
    found = vectors_of(table)
    rng = np.random.default_rng(1)
    for number in rng.permutation(len(table))[:40].tolist():
        row = table.slice(number, 1).to_pylist()[0]
        grid = grids[row["image"]]
        total = np.zeros(24)
        for down, across in np.argwhere(pixels_of(tmp_path, done.product, row["image"]) == row["value"]):
            at = grid.token_at(int(down), int(across))
            if at.slot is not None:
                total += grid.dense()[at.slot]
        cosine = total @ found[number] / np.linalg.norm(total) / np.linalg.norm(found[number])
        assert cosine > 0.999, (number, row["area_px"], cosine)


def test_inside_is_the_square_and_its_tokens_under_the_pixels(folder: Path, tmp_path: Path) -> None:
    crop, inside = (run(folder, tmp_path / look, look) for look in ("crop", "inside"))
    assert crop.product != inside.product
    table = rows_of(tmp_path / "inside", inside.product)
    found, classes = vectors_of(table), vectors_of(rows_of(tmp_path / "crop", crop.product))
    package = load_alignment(folder / "words")
    planned = plan_request(request(folder, tmp_path), Quiet())
    encoder = open_encoder(planned.alignment.encoder, package)  # type: ignore[union-attr]
    rng = np.random.default_rng(2)
    for number in rng.permutation(len(table))[:40].tolist():
        row = table.slice(number, 1).to_pylist()[0]
        where = np.argwhere(pixels_of(tmp_path / "inside", inside.product, row["image"]) == row["value"])
        (top, left), (bottom, right) = where.min(0), where.max(0) + 1
        square = square_around(Window(int(top), int(left), int(bottom - top), int(right - left)))
        _, tokens = encoder.encode(shrunk(cut(rgb_of(folder, row["image"]), square), 32)[None].astype(np.float32))
        total = np.zeros(24)
        for down, across in where:  # 4 x 4 tokens of the square, whatever its size
            cell = tokens[0, (down - square.row) * 4 // square.height, (across - square.col) * 4 // square.width]
            total += cell / np.linalg.norm(cell)
        wanted = classes[number] / np.linalg.norm(classes[number]) + total / np.linalg.norm(total)
        cosine = wanted @ found[number] / np.linalg.norm(wanted) / np.linalg.norm(found[number])
        assert cosine > 0.999, (number, row["area_px"], cosine)
    different = (classes * found).sum(1) / np.linalg.norm(classes, axis=1) / np.linalg.norm(found, axis=1)
    assert different.min() < 0.99


def test_both_is_the_mean_of_the_two(folder: Path, tmp_path: Path) -> None:
    crop, tokens, both = (run(folder, tmp_path / look, look) for look in ("crop", "tokens", "both"))
    assert len({crop.product, tokens.product, both.product}) == 3
    parts = [vectors_of(rows_of(tmp_path / look, one.product)) for look, one in (("crop", crop), ("tokens", tokens))]
    mean = sum(part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts)
    found = vectors_of(rows_of(tmp_path / "both", both.product))
    cosine = (mean * found).sum(1) / np.linalg.norm(mean, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.999


def test_embeddings_do_not_depend_on_item_size_workers_or_the_executor(folder: Path, tmp_path: Path) -> None:
    for look in ("crop", "inside", "tokens"):
        first = run(folder, tmp_path / f"{look}-a", look)
        second = run(folder, tmp_path / f"{look}-b", look, {"item_size": 512}, workers=3)
        assert first.product == second.product
        one, other = (
            {
                key: data
                for key, data in tree_bytes(tmp_path / f"{look}-{name}").items()
                if "/regions" in key or "concepts" in key
            }
            for name in ("a", "b")
        )
        assert one == other
        assert any(key.endswith(".parquet") and "/regions/" in key for key in one)


def test_labels_are_the_best_concepts_with_their_probabilities(folder: Path, tmp_path: Path) -> None:
    done = run(folder, tmp_path)
    table = rows_of(tmp_path, done.product)
    text = TextEncoder(load_alignment(folder / "words"))
    concepts = []
    for words in (["roof", "red roof"], ["wide lawn"], ["old tree", "big tree"], ["pond"]):
        mean = text.embed(words, ["a photo of {}"]).mean(0)
        concepts.append(mean / np.linalg.norm(mean))
    names = ["roof", "wide lawn", "old tree", "pond"]
    scale = load_alignment(folder / "words").logit_scale
    for vector, labels in zip(vectors_of(table), table["labels"].to_pylist(), strict=True):
        cosine = np.array(concepts) @ (vector / np.linalg.norm(vector))
        odds = np.exp(scale * (cosine - cosine.max()))
        wanted = dict(zip(names, odds / odds.sum(), strict=True))
        assert len(labels) == 3
        assert [label["score"] for label in labels] == sorted((label["score"] for label in labels), reverse=True)
        for label in labels:
            assert label["score"] == pytest.approx(wanted[label["text"]], abs=0.01)
        assert max(wanted.values()) - wanted[labels[0]["text"]] < 0.01
    bank = pq.read_table(tmp_path / concepts_key(done.product))
    assert bank["name"].to_pylist() == names
    assert bank["synonyms"].to_pylist() == [["red roof"], [], ["big tree"], []]


def test_a_finished_job_writes_nothing_and_gc_keeps_the_bank(folder: Path, tmp_path: Path) -> None:
    done = run(folder, tmp_path)
    before = tree_bytes(tmp_path)
    assert run(folder, tmp_path).nothing_to_do
    assert tree_bytes(tmp_path) == before
    collect_garbage(open_store(tmp_path))
    assert tree_bytes(tmp_path) == before
    other = folder / "other.txt"
    other.write_text(BANK + "car\n")
    assert run(folder, tmp_path, "crop", {"alignment": {"concepts": str(other)}}).product != done.product
    spaced = folder / "spaced.txt"
    spaced.write_text("# the same bank\n" + BANK.replace("; ", " ;"))
    assert run(folder, tmp_path, "crop", {"alignment": {"concepts": str(spaced)}}).nothing_to_do


def test_regions_come_later_to_a_job_without_them(folder: Path, tmp_path: Path) -> None:
    without = run(folder, tmp_path, "crop", {"regions": None})
    later = run(folder, tmp_path)
    assert later.product == without.product
    assert (later.computed, later.regions) == (0, 3)


def test_another_bank_under_the_products_name_is_refused(folder: Path, tmp_path: Path) -> None:
    done = run(folder, tmp_path, "crop", {"regions": None})
    path = tmp_path / concepts_key(done.product)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"digest": b"0" * 64}), path)
    with pytest.raises(LayoutError, match="is the concept bank 0000000000000000"):
        run(folder, tmp_path)


def test_vectors_without_labels_and_regions_without_vectors(folder: Path, tmp_path: Path) -> None:
    plain = run(folder, tmp_path, "crop", {"alignment": {"concepts": None}})
    table = rows_of(tmp_path, plain.product)
    assert (table["labels"].null_count, table["embedding"].null_count) == (len(table), 0)
    none = run(folder, tmp_path, None)
    table = rows_of(tmp_path, none.product)
    assert table["labels"].null_count == table["embedding"].null_count == len(table)


def test_labels_of_known_vectors() -> None:
    concepts = Concepts(("east", "north", "also east"), np.array([[1, 0], [0, 1], [1, 0]], np.float16))
    chosen, scores = top_labels(quantise(np.array([[2.0, 0.0], [1.0, 1.0]], np.float32)), concepts, np.log(3), 5)
    assert chosen.tolist() == [[0, 2, 1], [0, 1, 2]]
    np.testing.assert_allclose(scores, [[3 / 7, 3 / 7, 1 / 7], [1 / 3, 1 / 3, 1 / 3]], atol=1e-4)


@pytest.mark.parametrize(
    ("text", "said"), [("", "names no concept"), ("a\n\nA\n", "line 3"), ("[template] x\na\n", "must hold {} once")]
)
def test_a_bad_bank_is_refused_before_anything_is_written(folder: Path, tmp_path: Path, text: str, said: str) -> None:
    bank = tmp_path / "bank.txt"
    bank.write_text(text)
    with pytest.raises(UsageError, match=said):
        run(folder, tmp_path / "out", "crop", {"alignment": {"concepts": str(bank)}})
    assert not (tmp_path / "out").exists()
