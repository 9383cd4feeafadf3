"""Swin as an encoder: MMSegmentation's own function, in every strategy, in every engine, and able to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.models import SwinTransformer

from gridscribe.errors import ModelError
from gridscribe.models.architecture import check_architecture, inference_architecture
from gridscribe.models.engines import EngineSpec, open_engine
from gridscribe.models.inference import Predictor
from gridscribe.models.package import build_network, load_package, save_package
from gridscribe.models.segmentor import build_segmentor
from gridscribe.models.swin import SwinEncoder
from gridscribe.models.weights import network_state
from gridscribe.pipelines.recipes import ENCODERS, config_path, widths_of, with_encoders
from tests.tiny import ARCHITECTURE, CLASSES

torch.set_num_threads(1)
SMALL: dict[str, Any] = {"embed_dims": 8, "depths": (2, 1, 2, 1), "num_heads": (1, 1, 2, 2)}
STRATEGIES = ("rgb", "early", "feature", "late", "timf", "cmx", "edft", "tokenfusion", "dformer")


def lively(module: torch.nn.Module, seed: int = 0) -> None:
    """No weight at its start, the tables of positions and the norms least of all."""
    torch.manual_seed(seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("size", [(224, 224), (72, 104), (61, 33), (9, 130)])
def test_swin_is_mmsegmentations_swin_at_any_size(size: tuple[int, int]) -> None:
    stock = SwinTransformer(**SMALL, drop_path_rate=0.0)
    lively(stock)
    ours = SwinEncoder(**SMALL)
    state = {k: v for k, v in stock.state_dict().items() if not k.endswith("relative_position_index")}
    ours.load_state_dict(state)  # strictly: the same names
    stock.eval()
    ours.eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        wanted = stock(x)
        for k, expected in enumerate(wanted):
            x = ours.stage(k, x)
            found = ours.output(k, x)
            assert found.shape[1] == ours.widths[k]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
            assert not torch.allclose(found, x, atol=0.1)  # what flows on is not what the head sees


def test_what_is_derived_is_not_stored() -> None:
    assert not [name for name in SwinEncoder(**SMALL).state_dict() if "index" in name]


@pytest.mark.parametrize("name", ["swin-t", "swin-s"])
def test_named_swins_have_the_papers_sizes(name: str) -> None:
    encoder = SwinEncoder(**{k: v for k, v in ENCODERS[name].items() if k != "type"})
    assert encoder.widths == widths_of(ENCODERS[name]) == (96, 192, 384, 768)
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    # the paper's 28 M and 50 M count the classifier (0.77 M), and not the three norms before the last
    assert millions == pytest.approx({"swin-t": 27.5, "swin-s": 48.8}[name], abs=0.1)


def small_swin(name: str, monkeypatch: pytest.MonkeyPatch, *others: str) -> Config:
    monkeypatch.setitem(ENCODERS, "swin-t", {"type": "SwinEncoder", **SMALL})
    config = Config.fromfile(str(config_path(name)))
    with_encoders(config, "swin-t", *others)
    return config


@pytest.mark.parametrize("name", STRATEGIES)
def test_swin_builds_and_learns_in_every_strategy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_swin(name, monkeypatch)
    check_architecture(inference_architecture(config.model.to_dict()), "test")
    torch.manual_seed(0)
    network = build_segmentor(config.model.to_dict())
    network.init_weights()
    raw = torch.rand(2, 4, 64, 48) * 200
    labels = torch.randint(0, 7, (2, 64, 48))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        logits = network.decode_head(network.backbone(network.data_preprocessor.normalise(raw)))
        loss = torch.nn.functional.cross_entropy(logits, labels[:, ::4, ::4])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    stream = network.backbone.encoder if name in ("rgb", "early") else network.backbone.rgb
    dead = [n for n, p in stream.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [n for n in dead if not n.endswith("qkv.bias")], dead


def test_swin_joins_another_kind_of_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_segmentor(small_swin("cmx", monkeypatch, "resnet18").model.to_dict()).eval()
    with torch.no_grad():
        found = Predictor(network)(torch.rand(1, 4, 64, 96) * 200)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 64, 96))


def test_openvino_agrees_with_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = 64  # maps of 16, 8, 4 and 2 pixels: none of whole windows of 7
    monkeypatch.setenv("GRIDSCRIBE_CACHE", str(tmp_path / "graphs"))
    encoder = {"type": "SwinEncoder", **{k: list(v) if k != "embed_dims" else v for k, v in SMALL.items()}}
    architecture = {**ARCHITECTURE, "backbone": {**ARCHITECTURE["backbone"], "rgb": encoder, "height": encoder}}
    architecture["decode_head"] = {**ARCHITECTURE["decode_head"], "in_channels": [8, 16, 32, 64]}
    torch.manual_seed(0)
    network = build_segmentor(architecture)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    facts: dict[str, Any] = {"gsd": (0.1, 0.5), "window": window, "stride": window, "patch": 4}
    save_package(
        tmp_path / "model", network_state(network), name="swin", description="random", architecture=architecture,
        classes=CLASSES, metrics={}, training={}, **facts,
    )  # fmt: skip
    package = load_package(tmp_path / "model")
    rng = np.random.default_rng(0)
    batch = rng.uniform(0, 255, (2, 4, window // 8, window // 8)).repeat(8, 2).repeat(8, 3).astype(np.float32)
    batch[:, 3] /= 20
    batch[:, 3, 8:20, :30] = np.nan
    with torch.no_grad():
        wanted = Predictor(build_network(package))(torch.from_numpy(batch)).numpy()
    assert len(np.unique(wanted.argmax(1))) > 1
    for name in ("torch", "openvino"):
        engine = open_engine(EngineSpec(name, "cpu", "float32", 2, window, 1), package)  # type: ignore[arg-type]
        found = engine.predict(batch)
        np.testing.assert_allclose(found, wanted, atol=2e-4, err_msg=name)
        assert (found.argmax(1) == wanted.argmax(1)).mean() >= 0.999, name


def test_packages_name_swin_within_bounds() -> None:
    architecture = {**ARCHITECTURE, "backbone": {"type": "SingleStream", "encoder": {"type": "SwinEncoder", **SMALL}}}
    check_architecture(architecture, "test")
    for key, value, message in (
        ("depths", (2, 2, 200, 2), "more than 128 layers"),
        ("window_size", 7, "not allowed"),
        ("pretrained", "http://127.0.0.1/x.pth", "not allowed"),
    ):
        architecture["backbone"]["encoder"] = {"type": "SwinEncoder", **SMALL, key: value}
        with pytest.raises(ModelError, match=message):
            check_architecture(architecture, "test")
