"""Training of document models: token-mask pairs against the slow way, both stages, the classifier, and that it is repeatable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gridscribe.cli import cli
from gridscribe.errors import InputError, UsageError
from gridscribe.ingest.paperwork import PageTruth, write_pages
from gridscribe.ingest.paperwork.truth import UNITS
from gridscribe.models.document.aligner import PageAligner
from gridscribe.models.document.characters import FIRST, IGNORED, PAPER, plain, shown_characters
from gridscribe.models.document.package import load_document_model
from gridscribe.models.document.patch_classifier import PatchClassifier, blocks_of, dilated
from gridscribe.models.document.spelling import token_ids
from gridscribe.models.engines import malloc_environment
from gridscribe.pipelines.documents.evaluation import examine, letters
from gridscribe.pipelines.documents.page_crops_data import CropPlan, PageCrops, collate_pages, crop_page, load_page
from gridscribe.pipelines.documents.patch_training import scores_of
from gridscribe.pipelines.train_documents import finished

SMALL = {
    "side": 112,
    "model.architecture.width": 16,
    "model.architecture.layers": 1,
    "model.architecture.heads": 2,
    "model.architecture.stem_width": 16,
    "model.architecture.head_width": 16,
    "model.architecture.embed_dim": 8,
    "model.buckets": 64,
    "train_dataloader.batch_size": 2,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "train_dataloader.dataset.side": 112,
    "train_dataloader.dataset.cells": 16,
    "train_dataloader.dataset.each": 2,
    "package.crop": 112,
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    write_pages(folder, 6, 11)
    return folder


def test_pairs_lie_where_the_truth_has_them(pages: Path) -> None:
    """Ids are of the page, masks within what any text covers, paper where nothing is, and all of it the same for a seed."""
    path = next(p for p in sorted(pages.glob("*_tokens.json")) if len(PageTruth.load(p).tokens) > 30)
    truth = PageTruth.load(path)
    page = load_page(pages, truth)
    plan = CropPlan(224, 32, 110.0)
    boxes = [(token.id, token.box) for token in truth.tokens]
    crop = crop_page(page, truth, plan, np.random.default_rng(0))
    assert crop.pixels.shape == (3, 224, 224)
    assert len(crop.tokens) == len(crop.masks) > 0
    assert set(crop.tokens.tolist()) <= {name for name, _ in boxes}
    assert (crop.covered.ravel()[crop.blank] == 0).all()
    assert (crop.characters.ravel()[crop.blank] == PAPER).all()
    assert ((crop.masks > 0).any(axis=0) <= (crop.covered > 0)).all()
    again = crop_page(page, truth, plan, np.random.default_rng(0))
    for name in ("pixels", "tokens", "masks", "blank", "characters"):
        np.testing.assert_array_equal(getattr(crop, name), getattr(again, name))
    dark = 255 - np.asarray(crop.pixels, float).mean(axis=0).reshape(32, 7, 32, 7).std(axis=(1, 3))
    covered = crop.covered == crop.covered.max()
    assert dark[covered].mean() < dark[crop.covered == 0].mean()  # text has more contrast than paper


def test_characters_share_a_token_from_left_to_right() -> None:
    (token,) = token_ids("iw")
    assert plain(token) == "iw"
    ring = np.array([[2.0, 3.0], [10.0, 3.0], [10.0, 5.0], [2.0, 5.0]])
    shown = shown_characters({0: (token, ring)}, 12)
    i, w = ord("i") - FIRST + 1, ord("w") - FIRST + 1
    assert shown[3, 2:10].tolist() == [i, i, w, w, w, w, w, w]  # half the usual width, and one and a half
    assert shown[4, 2:10].tolist() == shown[3, 2:10].tolist()
    assert (shown[:2] == IGNORED).all()
    assert (shown[6:] == IGNORED).all()
    turned = (ring - (6, 4)) @ np.array([[0, 1], [-1, 0]]) + (6, 6)  # a quarter: read downwards
    column = shown_characters({0: (token, turned)}, 12)
    assert column[2:10, 6].tolist() == [i, i, w, w, w, w, w, w]
    assert (shown_characters({}, 4) == IGNORED).all()


def test_both_stages_and_the_classifier_make_a_package(pages: Path, tmp_path: Path) -> None:
    options = [f"{key}={value}" for key, value in SMALL.items()]
    argv = ["--data", str(pages), "--steps", "4", "--threads", "1", "--seed", "3"]
    argv += [part for option in options for part in ("--cfg-options", option)]
    digests = []
    for name in ("a", "b"):
        told = CliRunner(env=malloc_environment()).invoke(
            cli,
            ["train", "documents/crops", *argv, "--work-dir", str(tmp_path / name), "--json"],
            catch_exceptions=False,
        )
        assert told.exit_code == 0, told.output
        digests.append(json.loads(told.stdout.strip().splitlines()[-1])["digest"])
    assert digests[0] == digests[1]  # the same seed, the same weights
    first = f"all={tmp_path / 'a' / 'package'}"
    second = ["train", "documents/pages", *argv, "--work-dir", str(tmp_path / "c"), "--pretrained", first]
    assert CliRunner(env=malloc_environment()).invoke(cli, second, catch_exceptions=False).exit_code == 0
    encoder = load_document_model(tmp_path / "c" / "package")
    assert encoder.source["training"]["initial_weights"]["digest"] == digests[0]
    scores = finished(encoder, pages, pages, tmp_path / "whole", 0.004)
    package = load_document_model(tmp_path / "whole")
    assert package.classifies
    assert set(scores) == {"average_precision", "recall", "kept", "text"}
    found = examine(package, pages, words=2)
    assert set(found) == {"all patches", "classifier before"}
    assert 0 <= found["all patches"]["place right"] <= 1
    for wrong in (["--kind", "scenes"], ["--pretrained", "rgb=x"]):
        told = CliRunner(env=malloc_environment()).invoke(
            cli, ["train", "documents/crops", *argv, "--work-dir", str(tmp_path / "d"), *wrong]
        )
        assert isinstance(told.exception, UsageError)


def test_the_loss_of_a_step_falls(pages: Path) -> None:
    torch.manual_seed(0)
    sizes = {"patch": 14, "stem_width": 16, "width": 16, "layers": 1, "heads": 2, "doublings": 1}
    architecture = {**sizes, "head_width": 16, "embed_dim": 8}
    weights = {"distance": 0.1, "similarity": 1.0, "sigmoid": 1.0, "characters": 1.0}
    aligner = PageAligner(architecture, (0.9,) * 3, (0.25,) * 3, weights, buckets=64)
    batch = collate_pages([PageCrops(str(pages), 112, 16, 110.0, 0, each=4)[0]])
    optimizer = torch.optim.AdamW(aligner.parameters(), lr=3e-3)
    course = []
    for _ in range(25):
        losses = aligner(**batch)
        assert set(losses) == {f"loss_{name}" for name in weights}
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()  # type: ignore[union-attr]
        optimizer.step()
        course.append(float(torch.as_tensor(total).detach()))
    assert course[-1] < 0.8 * course[0]
    with pytest.raises(UsageError, match="some of sigmoid"):
        PageAligner(architecture, (0.9,) * 3, (0.25,) * 3, {"distance": 1.0})


def test_data_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no generated pages"):
        PageCrops(str(tmp_path), 112, 16, 110.0)
    assert letters("Total: 1,234") == "total"
    assert UNITS == 16


# --- the patch classifier


def test_the_classifier_is_as_large_as_the_released_one() -> None:
    assert sum(parameter.numel() for parameter in PatchClassifier(28).parameters()) == 607_329


@pytest.mark.parametrize("seed", range(5))
def test_a_block_is_kept_with_its_neighbours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = rng.random((int(rng.integers(1, 7)), int(rng.integers(1, 9)))) < 0.2
    rows, cols = kept.shape
    wanted = np.array(
        [[kept[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].any() for c in range(cols)] for r in range(rows)]
    )
    np.testing.assert_array_equal(dilated(kept), wanted)
    assert dilated(np.ones((3, 4), bool)).all()
    assert not dilated(np.zeros((3, 4), bool)).any()


def test_blocks_are_squares_of_the_page() -> None:
    page = np.random.default_rng(0).integers(0, 256, (56, 84, 3), np.uint8)
    blocks = blocks_of(page, 28)
    for k, block in enumerate(blocks):
        r, c = divmod(k, 3)
        np.testing.assert_array_equal(block, page[28 * r : 28 * r + 28, 28 * c : 28 * c + 28].transpose(2, 0, 1))


def test_average_precision_by_hand() -> None:
    scores = scores_of(np.array([3.0, 2.0, 1.0, -1.0], np.float32), np.array([True, False, True, True]))
    assert scores.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert (scores.recall, scores.kept, scores.text) == (pytest.approx(2 / 3), 0.75, 0.75)
