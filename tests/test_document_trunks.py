"""Another library's transformer as the blocks of a page encoder: whole, with patches left out, from a checkpoint, on engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from gridscribe.errors import ModelError, UsageError
from gridscribe.ingest.paperwork import write_pages
from gridscribe.models.document.architecture import PageArchitecture
from gridscribe.models.document.encoder import open_page_encoder, resolve_page_engine
from gridscribe.models.document.network import PageEncoder
from gridscribe.models.document.package import assemble, load_document_model, write
from gridscribe.models.document.trunks import load_trunk
from gridscribe.models.weights import network_state
from gridscribe.pipelines.documents.training import train_documents

TIMM = PageArchitecture(patch=16, width=192, doublings=1, embed_dim=16, trunk="timm/vit_tiny_patch16_224", table=7)
CLIP = PageArchitecture(patch=32, width=512, doublings=1, embed_dim=16, trunk="open_clip/ViT-M-32-alt", table=4)


@pytest.fixture(scope="module", params=["timm", "open_clip"])
def encoder(request: pytest.FixtureRequest) -> PageEncoder:
    torch.manual_seed(0)
    return PageEncoder(TIMM if request.param == "timm" else CLIP).eval()


def page(encoder: PageEncoder, seed: int = 0) -> torch.Tensor:
    side = encoder.arch.patch * encoder.arch.table
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def every(encoder: PageEncoder) -> torch.Tensor:
    side = torch.arange(encoder.arch.table)
    return torch.cartesian_prod(side, side)[None]


@torch.no_grad()
def test_all_patches_give_what_the_library_gives(encoder: PageEncoder) -> None:
    assert encoder.trunk is not None
    pixels, model = page(encoder), encoder.trunk.model
    found = encoder.tokens(encoder.patches(pixels), every(encoder))
    if encoder.arch.trunk.startswith("timm"):
        wanted = model.forward_features(pixels)
    else:
        wanted = model.ln_post(model.transformer(model._embeds(pixels)))
    torch.testing.assert_close(found, wanted[:, 1:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_left_out_patches_are_those_that_nothing_attends_to(encoder: PageEncoder) -> None:
    patches, full = encoder.patches(page(encoder)), every(encoder)
    kept = torch.rand(1, full.shape[1], generator=torch.Generator().manual_seed(1)) < 0.4
    at = kept[0].nonzero()[:, 0]
    some = encoder.tokens(patches[:, at], full[:, at])
    masked = encoder.tokens(patches, full, kept)[:, at]
    torch.testing.assert_close(some, masked, atol=1e-5, rtol=1e-4)
    renumbered = encoder.tokens(patches[:, at], full[:, : len(at)])
    assert (renumbered - some).abs().max() > 1e-2


@torch.no_grad()
def test_pages_of_a_batch_do_not_meet(encoder: PageEncoder) -> None:
    pixels = torch.cat([page(encoder, 1), page(encoder, 2)])
    grid = encoder.arch.table
    kept = (
        torch.rand(2, grid, grid, generator=torch.Generator().manual_seed(2)) < torch.tensor([0.7, 0.2])[:, None, None]
    )
    both = encoder(pixels, kept)
    for k in range(2):
        torch.testing.assert_close(both[k], encoder(pixels[k : k + 1], kept[k : k + 1])[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_weights_from_timms_own_file_of_another_size(tmp_path: Path) -> None:
    torch.manual_seed(5)
    other = timm.create_model("vit_tiny_patch16_224", pretrained=False)  # 14 x 14 positions, and a head
    save_file({name: value.contiguous() for name, value in other.state_dict().items()}, tmp_path / "vit.safetensors")
    encoder = PageEncoder(TIMM)
    assert encoder.trunk is not None
    load_trunk(encoder.trunk, str(tmp_path / "vit.safetensors"))
    own = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=112)
    state = timm.models.vision_transformer.checkpoint_filter_fn(dict(other.state_dict()), own)  # timm's own resampling
    own.load_state_dict(state, strict=False)
    pixels = page(encoder)
    found = encoder.eval().tokens(encoder.patches(pixels), every(encoder))
    torch.testing.assert_close(found, own.eval().forward_features(pixels)[:, 1:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_weights_from_an_open_clip_model(tmp_path: Path) -> None:
    torch.manual_seed(6)
    whole = open_clip.create_model("ViT-M-32-alt", pretrained=None, force_image_size=128)
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in whole.state_dict().items()}}, tmp_path / "clip.pt"
    )
    encoder = PageEncoder(CLIP).eval()
    assert encoder.trunk is not None
    load_trunk(encoder.trunk, str(tmp_path / "clip.pt"))
    pixels, tower = page(encoder), whole.visual.eval()
    wanted = tower.ln_post(tower.transformer(tower._embeds(pixels)))[:, 1:]
    torch.testing.assert_close(encoder.tokens(encoder.patches(pixels), every(encoder)), wanted, atol=1e-5, rtol=1e-4)
    other = PageEncoder(TIMM)
    assert other.trunk is not None
    with pytest.raises(ModelError, match="lacks '"):
        load_trunk(other.trunk, str(tmp_path / "clip.pt"))


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"trunk": "timm/vit_tiny_patch16_224"}, "needs a table"), ({"table": 4}, "nothing else has one"),
        ({"trunk": "hub/vit", "table": 4}, "allowed are timm/NAME and open_clip/NAME"),
        ({"trunk": "timm/vit_none", "table": 4}, "no model of that name"),
        ({"trunk": "timm/resnet18", "table": 4}, "is no VisionTransformer"),
        ({"trunk": "open_clip/none", "table": 4}, "no configuration of that name"),
        ({"trunk": "open_clip/RN50", "table": 4}, "RN50"), ({"trunk": "timm/vit_small_patch16_224", "table": 4}, "width 384"),
    ],
)  # fmt: skip
def test_trunks_that_cannot_be_are_named(sizes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        PageEncoder(PageArchitecture(patch=16, width=192, **sizes))


def test_a_package_with_a_trunk_runs_on_both_engines(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = PageEncoder(TIMM)
    common: dict[str, Any] = {
        "name": "trunk", "description": "random", "architecture": TIMM, "dpi": 72.0, "mean": (0.5,) * 3, "std": (0.5,) * 3,
        "scale": 10.0, "bias": 2.0, "source": {},
    }  # fmt: skip
    grams = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    package, described = assemble(network_state(network), grams, crop=112, **common)
    write(tmp_path / "package", package, described)
    loaded = load_document_model(tmp_path / "package")
    assert loaded.architecture.trunk == TIMM.trunk
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    kept = np.random.default_rng(1).random((7, 7)) < 0.5
    found = []
    for name in ("torch", "openvino"):
        engine = open_page_encoder(resolve_page_engine(name, loaded, precision="float32", threads=1), loaded)
        found.append([engine.encode(crop), engine.encode(crop, kept)])
        engine.close()
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=5e-5)
    with pytest.raises(UsageError, match="cannot be looked into"):
        resolve_page_engine("auto", loaded, inside=True)
    with pytest.raises(ModelError, match="table of 7 positions"):
        assemble(network_state(network), grams, crop=128, **common)


def test_training_begins_from_a_trunk_of_a_config(tmp_path: Path) -> None:
    torch.manual_seed(7)
    other = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    save_file({name: value.contiguous() for name, value in other.state_dict().items()}, tmp_path / "vit.safetensors")
    write_pages(tmp_path / "pages", 2, 1)
    (tmp_path / "mine.py").write_text(
        f"""_base_ = ["{Path(__file__).parents[1] / "configs" / "documents" / "crops.py"}"]
model = dict(
    architecture=dict(
        _delete_=True, patch=16, width=192, doublings=1, head_width=12, embed_dim=16, trunk="timm/vit_tiny_patch16_224", table=7
    ),
    trunk_weights="{tmp_path / "vit.safetensors"}",
    buckets=300,
)
train_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False, dataset=dict(side=112, cells=14, each=2))
package = dict(name="mine", crop=112)
"""
    )
    package = train_documents(
        tmp_path / "mine.py", tmp_path / "work", data=tmp_path / "pages", steps=2, seed=0, threads=1
    )
    assert package.architecture.trunk == "timm/vit_tiny_patch16_224"
    assert load_document_model(tmp_path / "work" / "package").digest == package.digest
