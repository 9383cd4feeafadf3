"""Tokens of a raster job: what is stored is what the encoder gives, however the job was cut; every pixel leads to its token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gridscribe.commits import read_commits
from gridscribe.errors import InputError, UsageError
from gridscribe.gc import collect_garbage
from gridscribe.ingest.raster import open_raster
from gridscribe.layout import tokens_key
from gridscribe.models.clip.encoder import open_encoder
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.shared_encoder import SharedEncoder
from gridscribe.pipelines.alignment_options import TokenOptions
from gridscribe.pipelines.raster import RasterPipeline
from gridscribe.pipelines.stages import Deadline
from gridscribe.pipelines.tokens.embedding import PartEmbedder
from gridscribe.products import read_product
from gridscribe.progress import Quiet
from gridscribe.quantise import Quantised
from gridscribe.store import open_store
from gridscribe.tables import read_images
from gridscribe.token_reader import open_tokens, stream_tokens
from gridscribe.tokens import TokenGrid, join
from gridscribe.window_tables import read_windows
from gridscribe.workers.run import RunRequest, RunResult, plan_request, run_job
from tests.tiny import tiny_package, tree_bytes, write_pair
from tests.tiny_clip import tiny_alignment

SMALL = 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    tiny_package(folder / "masks")
    tiny_alignment(folder / "words")
    return {
        "model": str(folder / "masks"),
        "alignment": {"model": str(folder / "words"), "regions": None, "concepts": None},
    }


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    for k in range(SMALL):
        write_pair(folder, f"t{k}", 90 + 10 * k, 130, seed=k, origin=(500_000 + 100 * k, 5_000_000))
    write_pair(folder, "big", 1100, 700, seed=9, origin=(600_000, 5_000_000), nodata_corner=300)
    return folder


def request(
    tiles: Path, out: Path, models: dict[str, Any], overrides: dict[str, Any] | None = None, **more: Any
) -> RunRequest:
    merged = {**models, "regions": None, "tokens": {"pruner": {"method": "ward", "block": 16}}, **(overrides or {})}
    return RunRequest("raster", (str(tiles),), str(out), executor="local", overrides=merged, **more)


def run(*args: Any, **more: Any) -> RunResult:
    return run_job(request(*args, **more))


def stored(out: Path, product: str) -> dict[str, TokenGrid]:
    """The whole grid of every image, joined from its items."""
    store = open_store(out)
    parts: dict[str, list[TokenGrid]] = {}
    for commit in read_commits(store, product):
        if commit.regions:
            continue
        sizes = {record.key: record.size for record in commit.objects}
        (table,) = [key for key in sizes if "/images/" in key]
        rows = {(row.image, row.box): row for row in read_images(store.get(table), table)}
        for entry in commit.images:
            tokens, read = open_tokens(store, entry["tokens"], sizes[entry["tokens"]])
            (row,) = [row for (image, _), row in rows.items() if image == entry["image"]]
            assert (row.patch, row.n_total) == (8, row.rows * row.cols)
            parts.setdefault(row.image, []).append(tokens.grid(read, row))
    return {image: join(grids) for image, grids in parts.items()}


def windows_of(out: Path, product: str) -> dict[str, dict[tuple[int, int], Any]]:
    store = open_store(out)
    found: dict[str, dict[tuple[int, int], Any]] = {}
    for commit in read_commits(store, product):
        for key in {entry["windows"] for entry in commit.images}:
            for entry in read_windows(store.get(key), key):
                for place, vector in zip(entry.places, entry.vectors.dequantised(), strict=True):
                    assert found.setdefault(entry.image, {}).setdefault(place, vector) is vector, "a window comes twice"
    return found


def test_tokens_are_those_of_the_encoder_and_do_not_depend_on_items(
    tiles: Path, models: dict[str, Any], tmp_path: Path
) -> None:
    first = run(tiles, tmp_path / "whole", models)
    assert first.counts == {"images": 4, "done": 4, "failed": 0, "skipped": 0, "left": 0}
    found, windows = stored(tmp_path / "whole", first.product), windows_of(tmp_path / "whole", first.product)
    plan = plan_request(request(tiles, tmp_path / "whole", models), Quiet())
    assert plan.alignment is not None
    encoder = SharedEncoder(open_encoder(plan.alignment.encoder, load_alignment(models["alignment"]["model"])))
    for image in plan.images:
        with open_raster(image) as reader:
            made = PartEmbedder(reader, image.grid.window, image.gsd, plan.alignment.token_plan)
            wanted = made.embed(encoder, Deadline(100))
        assert found[image.image_id] == wanted.grid
        assert len(wanted.grid) <= wanted.grid.n_total // 4 + len(wanted.grid) // 16 + 1
        assert list(windows[image.image_id]) == list(wanted.places)
        np.testing.assert_array_equal(list(windows[image.image_id].values()), wanted.cls.dequantised())
    encoder.close()
    for size, workers in ((512, 1), (1024, 3)):
        out = tmp_path / str(size)
        assert run(tiles, out, models, {"item_size": size}, workers=workers).product == first.product
        assert stored(out, first.product) == found
        again = windows_of(out, first.product)
        assert {image: set(places) for image, places in again.items()} == {i: set(p) for i, p in windows.items()}
        for image, places in again.items():
            for place, vector in places.items():
                np.testing.assert_array_equal(vector, windows[image][place])


def test_every_pixel_leads_to_its_token(tiles: Path, models: dict[str, Any], tmp_path: Path) -> None:
    done = run(tiles, tmp_path, models, {"item_size": 512})
    store, checked = open_store(tmp_path), 0
    grids = stored(tmp_path, done.product)
    rng = np.random.default_rng(0)
    for commit in read_commits(store, done.product):
        sizes = {record.key: record.size for record in commit.objects}
        (table,) = [key for key in sizes if "/images/" in key]
        for row in read_images(store.get(table), table):
            tokens, read = open_tokens(
                store, tokens_key(done.product, commit.item), sizes[tokens_key(done.product, commit.item)]
            )
            for _ in range(10):
                down, across = (
                    int(rng.integers(row.box_row, row.box_row + row.box_height)),
                    int(rng.integers(row.box_col, row.box_col + row.box_width)),
                )
                at, vector = tokens.at_pixel(read, row, down, across)
                whole = grids[row.image].token_at(down, across)
                assert (at.status, at.index, at.source) == (whole.status, whole.index, whole.source)
                assert at.index == down // 8 * row.grid_w + across // 8
                if at.status == "dropped":
                    assert vector is None
                else:
                    assert isinstance(vector, Quantised)
                    assert isinstance(grids[row.image].vectors, Quantised)
                    assert vector == grids[row.image].vectors.take(slice(whole.slot, whole.slot + 1))
                checked += 1
    assert checked >= 80
    assert len({batch.image for batch in stream_tokens(store, read_commits(store, done.product))}) == 4


def test_the_product_tells_of_the_model_and_a_finished_job_writes_nothing(
    tiles: Path, models: dict[str, Any], tmp_path: Path
) -> None:
    plain = run(tiles, tmp_path, models, {"alignment": None})
    done = run(tiles, tmp_path, models)
    assert done.product != plain.product
    described = read_product(open_store(tmp_path), done.product)
    package = load_alignment(models["alignment"]["model"], towers=())
    assert [model["role"] for model in described["models"]] == ["segmentor", "alignment"]
    assert described["models"][1]["digest"] == package.digest
    known = described["settings"]["alignment"]
    assert (known["window"], known["stride"], known["patch"], known["embed_dim"]) == (32, 24, 8, 24)
    assert known["tokens"]["pruner"] == {"method": "ward", "keep": 0.25, "block": 16, "metric": "euclidean"}
    before = tree_bytes(tmp_path)
    assert run(tiles, tmp_path, models).nothing_to_do
    assert tree_bytes(tmp_path) == before
    assert collect_garbage(open_store(tmp_path)).kept == sum(
        "/commits/" not in k and "product.json" not in k for k in before if k.startswith("products/")
    )
    masks = {
        key.split("/masks/")[1]: data
        for key, data in before.items()
        if f"{plain.product}/masks/" in key and "confidence" not in key
    }
    for name, data in masks.items():
        if name.endswith(".tif"):
            assert len(data) == len(before[f"products/{done.product}/masks/{name}"])


def test_tokens_can_be_left_out_or_kept_whole(tiles: Path, models: dict[str, Any], tmp_path: Path) -> None:
    off = run(tiles, tmp_path, models, {"tokens": "off"})
    assert not list((tmp_path / "products" / off.product).glob("tokens/*"))
    whole = run(tiles, tmp_path, models, {"tokens": {"pruner": {"method": "all"}, "kind": "float16"}})
    for image, grid in stored(tmp_path, whole.product).items():
        assert grid.parent is None, image
        assert len(grid) > 0.7 * grid.n_total, image
    schema = pq.read_schema(next((tmp_path / "products" / whole.product / "tokens").glob("*.windows.parquet")))
    assert str(schema.field("embedding").type).startswith("fixed_size_list<element: halffloat")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"tokens": {"kind": "int4"}}, "tokens.kind='int4': allowed are int8, float16"),
        ({"tokens": {"pruner": {"method": "guess"}}}, "pruning method 'guess' is unknown"),
        ({"tokens": {"pruner": {"method": "pixelprune"}}}, "unknown|before"),
        ({"tokens": {"size": 3}}, "tokens: unknown key 'size'"),
        ({"alignment": {"regions": "all"}}, "alignment.regions='all': allowed are crop, inside, tokens, both"),
        ({"alignment": {"stride": 10}}, r"alignment.stride=10: must be a multiple of the patch \(8\)"),
        ({"alignment": {"window": 30}}, "window=30: must be a positive multiple"),
        ({"tokens": None, "alignment": {"regions": "tokens"}}, "alignment.regions='tokens' needs tokens"),
    ],
)
def test_options_are_checked(tiles: Path, models: dict[str, Any], tmp_path: Path, overrides: Any, said: str) -> None:
    merged = {**overrides}
    if "alignment" in merged:
        merged["alignment"] = {**models["alignment"], **merged["alignment"]}
    with pytest.raises(UsageError, match=said):
        run(tiles, tmp_path, models, merged)
    assert not list(tmp_path.iterdir())


def test_an_image_that_fails_when_it_is_read_again_fails_alone(
    tiles: Path, models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = PartEmbedder.embed

    def breaks(self: PartEmbedder, *args: Any) -> Any:
        if self._reader.grid.height == 100:  # t1
            raise InputError("t1_rgb.tif: block 3 cannot be read")
        return embed(self, *args)

    monkeypatch.setattr(PartEmbedder, "embed", breaks)
    done = run(tiles, tmp_path, models)
    assert (done.counts["done"], done.counts["failed"]) == (3, 1)
    assert "block 3" in json.dumps(done.failures)
    monkeypatch.undo()
    again = run(tiles, tmp_path, models, retry_failed=True)
    assert (again.counts["done"], again.computed) == (4, 1)


def test_a_worker_without_the_products_model_refuses(tiles: Path, models: dict[str, Any], tmp_path: Path) -> None:
    from gridscribe.errors import ModelError

    changing = tmp_path / "words"
    tiny_alignment(changing)
    plan = plan_request(
        request(tiles, tmp_path / "out", models, {"alignment": {**models["alignment"], "model": str(changing)}}),
        Quiet(),
    )
    described = json.loads((changing / "model.json").read_text())
    described["gridscribe"]["logit_scale"] += 1.0
    (changing / "model.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="is not the product's"):
        RasterPipeline(plan.spec(str(tmp_path / "out")))


def test_settings_without_a_method_are_those_of_the_default() -> None:
    """As one says `--cfg-options tokens.pruner.keep=0.1`."""
    assert TokenOptions({"keep": 0.1}).to_json() == TokenOptions({"method": "ward", "keep": 0.1}).to_json()
    assert TokenOptions({}).to_json() == TokenOptions().to_json()
