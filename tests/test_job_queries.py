"""Queries of what a real job stored: from rasters to matches, heatmaps and embeddings, with and without the text tower."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gridscribe import Client
from gridscribe.layout import concepts_key
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.text import TextEncoder
from gridscribe.store import open_store
from gridscribe.tokens import join
from gridscribe.workers.run import RunRequest, run_job
from tests.embedded import stored_rows
from tests.test_job_tokens import stored
from tests.tiny import tiny_package, write_pair
from tests.tiny_clip import tiny_alignment

TEMPLATES = ("a photo of {}", "{} from above")
BANK = "\n".join(
    [*(f"[template] {one}" for one in TEMPLATES), "roof; red roof", "wide lawn", "old tree; big tree", "pond"]
)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """(output, product, alignment package) of a job over one big and one small image, in items of 512 px."""
    made = tmp_path_factory.mktemp("queries")
    tiny_package(made / "masks")
    words = tiny_alignment(made / "words")
    (made / "bank.txt").write_text(BANK + "\n")
    write_pair(made / "tiles", "small", 90, 130, seed=1)
    write_pair(made / "tiles", "big", 700, 600, seed=9, origin=(600_000, 5_000_000), nodata_corner=70)
    options: dict[str, Any] = {
        "model": str(made / "masks"),
        "alignment": {"model": words.uri, "regions": "crop", "concepts": str(made / "bank.txt"), "labels": 2},
        "tokens": {"pruner": {"method": "ward", "block": 16}},
        "item_size": 512,
    }
    done = run_job(RunRequest("raster", (str(made / "tiles"),), str(made / "out"), executor="local", overrides=options))
    assert done.counts["done"] == 2
    return str(made / "out"), done.product, words.uri


def test_matches_of_a_jobs_regions(output: tuple[str, str, str]) -> None:
    where, product, words = output
    rows = {row["region_id"]: row for row in stored_rows(open_store(where), product)}
    query = TextEncoder(load_alignment(words)).embed(["swimming pool"], TEMPLATES)[0].astype(np.float64)
    wanted = sorted(
        (-float((np.array(row["embedding"], np.float64) * query).sum()) * row["scale"], name)
        for name, row in rows.items()
        if row["embedding"] is not None
    )
    assert len(wanted) > 20
    client = Client(where)
    found = list(client.match("swimming pool", top_k=15))
    assert [(-match.score, match.region_id) for match in found] == wanted[:15]
    assert all(len(match.labels) == 2 for match in found)
    first = found[0]
    assert first.geometry is not None
    place = first.geometry.representative_point()
    pixel = client.at(place.x, place.y, embedding=True)
    assert (pixel.region, pixel.labels, pixel.embedding_of) == (first.region_id, first.labels, "region")
    alike = [match.region_id for match in client.similar(place.x, place.y, top_k=5)]
    assert alike == [match.region_id for match in client.similar(region=first.region_id, top_k=5)]
    assert first.region_id not in alike


def test_heatmaps_of_a_jobs_tokens(output: tuple[str, str, str]) -> None:
    where, product, words = output
    query = TextEncoder(load_alignment(words)).embed(["pond"], TEMPLATES)[0]
    client = Client(where)
    for image, grid in stored(Path(where), product).items():
        plain, _ = join([grid]).scatter(grid.dense() @ query)
        array, transform, crs = client.heatmap("pond", image=image, bias=0)
        np.testing.assert_allclose(array, plain, atol=2e-6)
        assert crs is not None
        assert transform is not None
        biased = client.heatmap("pond", image=image)
        assert biased.array.shape == (grid.frame.grid_h, grid.frame.grid_w)
        assert np.array_equal(np.isnan(biased.array), np.isnan(plain))
        assert not np.allclose(biased.array, plain, equal_nan=True)


def test_without_torch_the_jobs_bank_answers(output: tuple[str, str, str]) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from gridscribe.cli import main\n"
        f"main(['match', {output[0]!r}, 'Red Roof', '--json', '--top-k', '4'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    value = json.loads(done.stdout)
    assert len(value["matches"]) == 4
    bank = pq.read_table(Path(output[0]) / concepts_key(output[1])).to_pylist()
    (vector,) = [np.array(row["embedding"], np.float64) for row in bank if "red roof" in row["synonyms"]]
    scores = {
        row["region_id"]: float(np.array(row["embedding"], np.float64) @ vector) * row["scale"]
        for row in stored_rows(open_store(output[0]), output[1])
        if row["embedding"] is not None
    }
    wanted = sorted(scores, key=lambda name: -scores[name])[:4]
    assert [match["region_id"] for match in value["matches"]] == wanted
