"""Adaptive latents: passes, codes, halting, the shortest that will do, their table, and a job that stores them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gridscribe import Client
from gridscribe.errors import LayoutError, QueryError, UsageError
from gridscribe.ingest.paperwork import write_pages
from gridscribe.latent_tables import CropLatents, read_latents, write_latents
from gridscribe.models.document.encoder import open_page_encoder, resolve_page_engine
from gridscribe.models.document.latents import AdaptiveLatents, LatentSettings, pooled, shortest
from gridscribe.models.document.package import build_latents, load_document_model
from gridscribe.models.weights import network_state
from gridscribe.pipelines.documents.cropping import cut_page, page_crops
from gridscribe.pipelines.documents.latent_training import examine_latents, train_latents, with_latents
from gridscribe.workers.run import RunRequest, run_job
from tests.tiny import tree_bytes
from tests.tiny_document import letter, tiny_document

SMALL = LatentSettings(dim=6, side=4, width=16, layers=1, heads=2, step=2, passes=4, codes=32, code_dim=4)


def tokens(count: int = 12, seed: int = 0) -> torch.Tensor:
    """Crops of two smooth patterns and their mixtures: few numbers tell them."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(2, 16, 6)) * 0.2
    return torch.from_numpy(np.einsum("bk,knd->bnd", rng.random((count, 2)).round(1), basis).astype(np.float32))


@pytest.fixture(scope="module")
def trained() -> AdaptiveLatents:
    return train_latents(tokens(), SMALL, steps=250, seed=1)


@torch.no_grad()
def test_every_pass_adds_latents_and_the_decoder_needs_their_codes_alone(trained: AdaptiveLatents) -> None:
    given = tokens(3, 5)
    found = list(trained.passes(given))
    assert [one.codes.shape for one in found] == [(3, 2), (3, 4), (3, 6), (3, 8)]
    for one in found:
        assert 0 <= int(one.codes.min()) <= int(one.codes.max()) < 32
        torch.testing.assert_close(trained.from_codes(one.codes), one.rebuilt, atol=1e-5, rtol=1e-4)
    alone = [list(trained.passes(given[k : k + 1]))[-1] for k in range(3)]  # no crop sees another
    torch.testing.assert_close(torch.cat([one.rebuilt for one in alone]), found[-1].rebuilt, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_codes_are_the_nearest_of_the_codebook(trained: AdaptiveLatents) -> None:
    latents = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    codes, quantised, _ = trained.quantised(latents)
    down = torch.nn.functional.normalize(trained.down(latents)[0], dim=1)
    book = torch.nn.functional.normalize(trained.codebook, dim=1)
    for k in range(5):
        distances = ((book - down[k]) ** 2).sum(dim=1)
        assert int(codes[0, k]) == int(distances.argmin())
        torch.testing.assert_close(quantised[0, k], book[codes[0, k]])


@torch.no_grad()
def test_a_token_that_is_told_well_takes_no_more_part() -> None:
    network = AdaptiveLatents(replace(SMALL, passes=3, halt=0.2))
    given = tokens(1, 3)
    first, second, third = network.eval().passes(given)
    assert not first.halted.any()
    well = (first.rebuilt - given).abs().mean(dim=2) < 0.2
    assert 0 < int(well.sum()) <= 16
    assert (second.halted == well).all()
    assert (third.halted >= second.halted).all()


def test_training_makes_latents_tell_tokens(trained: AdaptiveLatents) -> None:
    given = tokens(12)
    untrained = examine_latents(AdaptiveLatents(SMALL).eval(), given)
    found = examine_latents(trained, given)
    assert found[-1] < 0.6 * untrained[-1]
    again = train_latents(tokens(), SMALL, steps=3, seed=1), train_latents(tokens(), SMALL, steps=3, seed=1)
    for one, other in zip(*(network_state(network).values() for network in again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_package_is_given_latents(tmp_path: Path) -> None:
    tiny_document(tmp_path / "plain", classifier=True)
    write_pages(tmp_path / "pages", 2, 1)
    plain = load_document_model(tmp_path / "plain")
    errors = with_latents(plain, tmp_path / "pages", tmp_path / "pages", tmp_path / "out", steps=2, crops=2)
    made = load_document_model(tmp_path / "out")
    assert made.latent_settings is not None
    assert made.classifies
    assert (made.page, made.tokens, made.classifier) == (plain.page, plain.tokens, plain.classifier)
    assert len(errors) == build_latents(made).settings.passes


def test_the_shortest_that_will_do(trained: AdaptiveLatents) -> None:
    one = tokens(1, 9)[0].numpy()
    with torch.inference_mode():
        every = [
            (p.codes[0].numpy(), float((p.rebuilt[0] - tokens(1, 9)[0]).abs().mean()))
            for p in trained.passes(tokens(1, 9))
        ]
    for threshold in [0.0, 10.0, *(error + 1e-6 for _, error in every)]:
        codes, error = shortest(trained, one, threshold)
        wanted = next((p for p in every if p[1] < threshold), every[-1])
        np.testing.assert_array_equal(codes, wanted[0])
        assert error == pytest.approx(wanted[1])
        assert codes.dtype == np.uint16


def test_tokens_are_means_of_unit_vectors() -> None:
    vectors = np.random.default_rng(0).normal(size=(8, 8, 5)).astype(np.float32)
    vectors[0, 0] = 0
    found = pooled(vectors, 4)
    for row in range(4):
        for col in range(4):
            part = vectors[2 * row : 2 * row + 2, 2 * col : 2 * col + 2].reshape(4, 5)
            unit = [v / max(np.linalg.norm(v), 1e-9) for v in part]
            np.testing.assert_allclose(found[row * 4 + col], np.mean(unit, axis=0), atol=1e-6)
    with pytest.raises(UsageError, match="do not divide"):
        pooled(vectors, 3)


def test_sizes_that_cannot_be_are_named() -> None:
    with pytest.raises(UsageError, match="width 10 must be a multiple of heads 4"):
        LatentSettings(dim=3, width=10)
    with pytest.raises(UsageError, match="passes is 0"):
        LatentSettings(dim=3, passes=0)
    with pytest.raises(UsageError, match="have no 'depth'"):
        LatentSettings.from_json({"dim": 3, "depth": 3})
    assert LatentSettings.from_json(SMALL.to_json()) == SMALL


def test_the_table_gives_back_what_it_was_given() -> None:
    entries = [
        CropLatents("b", 1, 0, 1, np.array([5, 65535], np.uint16), 0.25),
        CropLatents("a", 0, 1, 0, np.array([7], np.uint16), 0.5),
    ]
    data = write_latents(entries)
    assert data == write_latents(entries[::-1])
    found = read_latents(data, "key")
    assert [(one.image, one.page, one.row, one.col, one.codes.tolist(), one.error) for one in found] == [
        ("a", 0, 1, 0, [7], 0.5), ("b", 1, 0, 1, [5, 65535], 0.25),
    ]  # fmt: skip
    assert [one.image for one in read_latents(data, "key", "b", 1)] == ["b"]
    assert read_latents(write_latents([]), "key") == []
    with pytest.raises(LayoutError, match="is not"):
        read_latents(b"no table", "key")


def test_a_job_stores_latents_beside_its_tokens(tmp_path: Path) -> None:
    torch.manual_seed(3)
    settings = LatentSettings(dim=16, side=4, width=16, layers=1, heads=2, step=2, passes=3, codes=32, code_dim=4)
    tiny_document(tmp_path / "model", latents=settings)
    tiny_document(tmp_path / "plain-model")
    docs = tmp_path / "docs"
    docs.mkdir()
    for k in range(3):
        letter(f"page {k}", (220, 160)).save(docs / f"d{k}.png", dpi=(72, 72))

    def run(out: str, model: str = "model", **options: object) -> str:
        overrides = {"model": str(tmp_path / model), "inputs": {"dpi": 72.0}, **options}
        done = run_job(
            RunRequest("documents", (str(docs),), str(tmp_path / out), executor="local", overrides=overrides)
        )
        assert done.counts["done"] == 3
        return done.product

    torch_engine = {"name": "torch", "precision": "float32", "threads": 1}
    run("out", latents=0.0, engine=torch_engine)
    run("again", latents=0.0, engine=torch_engine)
    run("without", engine=torch_engine)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "again")
    package = load_document_model(tmp_path / "model")
    network = build_latents(package)
    encoder = open_page_encoder(resolve_page_engine("torch", package, precision="float32", threads=1), package)
    page = np.asarray(letter("page 1", (220, 160)))
    crops = page_crops(160, 220, 112, 64)
    stored = Client(tmp_path / "out").page("d1", 0).latents()
    assert [(one.row, one.col) for one in stored] == [divmod(k, crops.cols) for k in range(crops.rows * crops.cols)]
    for one, cut in zip(stored, cut_page(page, crops), strict=True):
        codes, error = shortest(network, pooled(encoder.encode(cut), 4), 0.0)
        np.testing.assert_array_equal(one.codes, codes)
        assert one.error == pytest.approx(error)
        assert len(codes) == 6
    run("early", latents=100.0)
    assert {len(one.codes) for one in Client(tmp_path / "early").page("d1", 0).latents()} == {2}
    with pytest.raises(QueryError, match="stores no latents"):
        Client(tmp_path / "without").page("d1", 0).latents()
    with pytest.raises(UsageError, match="has no adaptive latents"):
        run("none", model="plain-model", latents=0.1)
