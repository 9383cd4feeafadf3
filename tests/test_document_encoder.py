"""Engines of the document encoder: agreement, patches that are never computed, and the classifier that says which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gridscribe.errors import EngineError, ModelError
from gridscribe.models.document.encoder import (
    CropEncoder,
    normalised_patches,
    open_page_encoder,
    patches_of,
    resolve_page_engine,
)
from gridscribe.models.document.package import DocumentPackage, load_document_model
from gridscribe.models.document.patch_classifier import blocks_of, dilated
from gridscribe.models.engines.openvino_engine import has_bfloat16
from gridscribe.models.pruning.simple import KeepAll
from gridscribe.models.pruning.text_prior import TextPrior
from gridscribe.pipelines.documents.cropping import cut_page, page_crops
from gridscribe.pipelines.documents.encoding import PageEmbedder, text_mask
from gridscribe.pipelines.stages import Deadline
from tests.tiny_document import letter, tiny_document


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> DocumentPackage:
    folder = tmp_path_factory.mktemp("document")
    tiny_document(folder, classifier=True)
    return load_document_model(folder)


@pytest.fixture(scope="module")
def engines(package: DocumentPackage) -> dict[str, CropEncoder]:
    wishes = {"torch": {"precision": "float32", "threads": 1}, "openvino": {"precision": "float32"}}
    return {
        name: open_page_encoder(resolve_page_engine(name, package, **wish), package) for name, wish in wishes.items()
    }  # type: ignore[arg-type]


def crop(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)


@pytest.mark.parametrize("share", [1.0, 0.4, 0.02, 0.0])
def test_engines_agree_on_whatever_is_kept(engines: dict[str, CropEncoder], share: float) -> None:
    kept = np.random.default_rng(1).random((8, 8)) < share
    found = {name: engine.encode(crop(), None if share == 1.0 else kept) for name, engine in engines.items()}
    assert found["torch"].shape == (16, 16, 16)
    np.testing.assert_allclose(found["openvino"], found["torch"], atol=2e-5)
    if share == 1.0:
        whole = np.ones((8, 8), np.bool_)
        np.testing.assert_array_equal(engines["openvino"].encode(crop(), whole), found["openvino"])
    else:
        fine = kept.repeat(2, axis=0).repeat(2, axis=1)
        assert (found["openvino"][~fine] == 0).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_crop_spoils_another(package: DocumentPackage, precision: str) -> None:
    """Crops of any number of patches in any order: each as by an engine that has seen no other. (A crop of one patch spoilt those
    that came after it, in the same stream of OpenVINO.)"""
    if precision == "bfloat16" and not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    spec = resolve_page_engine("openvino", package, precision=precision)
    counts = [1, 2, 3, 16, 25, 33, 64]
    kept = {count: (np.random.default_rng(count).permutation(64) < count).reshape(8, 8) for count in counts}
    wanted = {}
    for count in counts:
        fresh = open_page_encoder(spec, package)
        wanted[count] = fresh.encode(crop(), kept[count])
        fresh.close()
    for order in range(6):
        engine = open_page_encoder(spec, package)
        for count in np.random.default_rng(order).choice(counts, 24).tolist():
            np.testing.assert_array_equal(engine.encode(crop(), kept[count]), wanted[count], err_msg=f"{count} patches")
        engine.close()


@pytest.mark.parametrize("first", [1, 2, 16])
def test_no_number_of_blocks_spoils_another(package: DocumentPackage, first: int) -> None:
    spec = resolve_page_engine("openvino", package, precision="float32")
    blocks = blocks_of(crop(), 28)
    engine = open_page_encoder(spec, package)
    for _ in range(4):
        engine.text_logits(blocks[:first])
    other = open_page_encoder(resolve_page_engine("torch", package, precision="float32", threads=1), package)
    for count in (1, 2, 5, 16):
        for _ in range(3):
            np.testing.assert_allclose(engine.text_logits(blocks[:count]), other.text_logits(blocks[:count]), atol=1e-5)
    engine.close()


def test_a_dropped_patch_is_never_read(engines: dict[str, CropEncoder]) -> None:
    kept = np.random.default_rng(2).random((8, 8)) < 0.5
    other = crop(0)
    fine = kept.repeat(14, axis=0).repeat(14, axis=1)
    other[~fine] = crop(1)[~fine]
    for engine in engines.values():
        np.testing.assert_array_equal(engine.encode(crop(0), kept), engine.encode(other, kept))


def test_patches_are_the_networks_own(package: DocumentPackage) -> None:
    import torch

    from gridscribe.models.document.package import build_page_encoder

    network = build_page_encoder(package)
    pixels = torch.from_numpy(crop().transpose(2, 0, 1)[None].copy()).float()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) * 255 for v in (package.mean, package.std))
    wanted = network.patches((pixels - mean) / std)[0].numpy()
    np.testing.assert_allclose(normalised_patches(patches_of(crop(), 14), package), wanted, atol=1e-5)


def test_the_classifier_by_both_engines(
    engines: dict[str, CropEncoder], package: DocumentPackage, tmp_path: Path
) -> None:
    blocks = blocks_of(crop(), 28)
    found = {name: engine.text_logits(blocks) for name, engine in engines.items()}
    assert found["torch"].shape == (16,)
    np.testing.assert_allclose(found["openvino"], found["torch"], atol=1e-5)
    part = engines["openvino"].text_logits(blocks[3:7])
    np.testing.assert_array_equal(part, found["openvino"][3:7])  # each block by itself
    tiny_document(tmp_path / "plain")
    plain = load_document_model(tmp_path / "plain")
    assert not plain.classifies
    for name in ("torch", "openvino"):
        engine = open_page_encoder(resolve_page_engine(name, plain), plain)
        with pytest.raises(ValueError, match="has no patch classifier"):
            engine.text_logits(blocks)
        engine.close()
        with pytest.raises(EngineError, match="is closed"):
            engine.encode(crop())


def test_what_the_classifier_keeps_is_what_is_computed(
    engines: dict[str, CropEncoder], package: DocumentPackage
) -> None:
    """By the slow way: blocks of the whole page, dilated over the borders of crops, then each crop by itself."""
    page = np.asarray(letter("one line\nand another", (220, 224)))
    engine = engines["openvino"]
    crops = page_crops(224, 220, 112, 64)
    assert (crops.rows, crops.cols) == (2, 2)
    cut = cut_page(page, crops)
    whole = np.concatenate([np.concatenate(cut[:2], axis=1), np.concatenate(cut[2:], axis=1)])
    logits = engine.text_logits(blocks_of(whole, 28)).reshape(8, 8)
    assert 0 < (logits > 0).sum() < 64
    kept = dilated(logits > 0).repeat(2, axis=0).repeat(2, axis=1)
    embedder = PageEmbedder(package, engine, KeepAll(), "float16", 64, before=True)
    tokens = embedder.embed(page, "page", Deadline(60))
    fine = kept.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(tokens.grid.index, np.flatnonzero(fine))  # what is not computed is not a token
    assert (tokens.text[~fine] == 0).all()
    for number, part in enumerate(cut):
        r, c = divmod(number, 2)
        own = engine.encode(part, kept[8 * r : 8 * r + 8, 8 * c : 8 * c + 8])
        dense, held = tokens.grid.scatter()
        here = np.s_[16 * r : 16 * r + 16, 16 * c : 16 * c + 16]
        unit = own / np.maximum(np.linalg.norm(own, axis=2, keepdims=True), 1e-9)
        np.testing.assert_allclose(dense[here][held[here]], unit[held[here]], atol=1e-3)
    everything = PageEmbedder(package, engine, KeepAll(), "int8", 64).embed(page, "page", Deadline(60))
    assert len(everything.grid) == 32 * 32
    text = PageEmbedder(package, engine, TextPrior(), "int8", 64).embed(page, "page", Deadline(60))
    np.testing.assert_array_equal(text.grid.index, np.flatnonzero(everything.text.ravel() >= 0.5))


def test_a_text_mask_is_as_large_as_the_page() -> None:
    text = np.zeros((4, 6), np.float32)
    text[1:3, 2:4] = 1
    mask = text_mask(text, 40, 61)
    assert mask.shape == (40, 61)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[20, 30] == 255
    assert (mask[:8] == 0).all()
    assert not text_mask(np.zeros((2, 2), np.float32), 9, 9).any()


def test_shapes_and_packages_that_do_not_fit_are_named(engines: dict[str, CropEncoder], tmp_path: Path) -> None:
    for engine in engines.values():
        with pytest.raises(ValueError, match="a crop needs uint8"):
            engine.encode(crop()[:100])
        with pytest.raises(ValueError, match="kept patches need bool"):
            engine.encode(crop(), np.ones((7, 8), np.bool_))
    tiny_document(tmp_path / "m", classifier=True)
    path = tmp_path / "m" / "classifier.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="classifier"):
        load_document_model(tmp_path / "m")
