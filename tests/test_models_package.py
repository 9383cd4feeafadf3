"""Model packages: what is written is what is read, and everything else is refused with its reason."""

from __future__ import annotations

import json
import os
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.numpy import load, save

from gridscribe.errors import ModelError
from gridscribe.models.architecture import check_architecture, inference_architecture
from gridscribe.models.package import build_network, load_package, shipped_packages, updated_package
from gridscribe.models.weights import load_checkpoint, network_state, read_checkpoint, write_weights
from tests.tiny import ARCHITECTURE, tiny_package

torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_package(tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder: Path, *keys: str, value: Any) -> None:
    """Set one entry of model.json, reached by `keys`; the last key may be absent so far."""
    document = json.loads((folder / "model.json").read_text())
    part = document
    for key in keys[:-1]:
        part = part[int(key)] if isinstance(part, list) else part[key]
    part[keys[-1]] = value
    (folder / "model.json").write_text(json.dumps(document))


def reweigh(folder: Path, change: Any) -> None:
    weights = load((folder / "model.safetensors").read_bytes())
    change(weights)
    (folder / "model.safetensors").write_bytes(save(weights))


def test_round_trip(tmp_path: Path) -> None:
    written = tiny_package(tmp_path / "model")
    read = load_package(tmp_path / "model")
    assert read == written
    assert (read.window, read.stride, read.patch, read.gsd) == (64, 48, 4, (0.1, 0.5))
    assert [c.name for c in read.classes] == ["other", "ground", "roof", "tree"]
    assert read.classes[2].color == (80, 175, 90)
    network, again = build_network(written), build_network(load_package(str(tmp_path / "model")))
    assert not network.training
    for (name, one), other in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_weights_are_stored_as_stated(folder: Path) -> None:
    weights = load((folder / "model.safetensors").read_bytes())
    assert {a.dtype for a in weights.values() if a.ndim > 1} == {np.dtype(np.float16)}
    assert {a.dtype for a in weights.values() if a.ndim <= 1} == {np.dtype(np.float32)}
    assert not any("num_batches_tracked" in name or "data_preprocessor" in name for name in weights)
    network = build_network(load_package(folder))
    for name, array in network_state(network).items():
        assert np.array_equal(array, weights[name].astype(np.float32)), name


def test_description_holds_the_fields_of_stac_mlm(folder: Path) -> None:
    document = json.loads((folder / "model.json").read_text())
    assert document["mlm:name"] == "tiny-0"
    assert document["mlm:tasks"] == ["semantic-segmentation"]
    (given,) = document["mlm:input"]
    assert given["bands"] == ["red", "green", "blue", "height"]
    assert given["input"]["shape"] == [-1, 4, 64, 64]
    assert given["value_scaling"][3] == {"type": "z-score", "mean": 4.0, "stddev": 5.0}
    (result,) = document["mlm:output"]
    assert result["classification:classes"][1] == {"value": 1, "name": "ground", "color_hint": "28D75A"}


def test_digest_follows_content_and_not_layout(folder: Path) -> None:
    first = load_package(folder)
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(dict(reversed(document.items())), indent=7))
    assert load_package(folder).digest == first.digest
    updated = updated_package(first, folder, metrics={"miou": 0.5})
    assert updated.metrics == {"miou": 0.5}
    assert load_package(folder) == updated
    assert updated.digest != first.digest
    reweigh(folder, lambda w: w.update({"decode_head.conv_seg.bias": w["decode_head.conv_seg.bias"] + 1}))
    assert load_package(folder).digest != updated.digest


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("format",), "gridscribe-model/9", "gridscribe-model/9"),
        (("mlm:input", "0", "bands"), ["red", "green", "blue"], "4 bands"),
        (("mlm:input", "0", "bands"), ["blue", "green", "red", "height"], "bands are"),
        (("mlm:tasks",), ["classification"], "classification"),
        (("mlm:tasks",), [], "IndexError"),
        (("gridscribe", "gsd"), [0.5, 0.1], "gsd"),
        (("gridscribe", "gsd"), [0, 0.1], "gsd"),
        (("gridscribe", "stride"), 50, "multiple of the patch"),
        (("gridscribe", "stride"), 128, "stride 128"),
        (("gridscribe", "window"), 1 << 20, "8192"),
        (("gridscribe", "window"), "big", "ValueError"),
        (("gridscribe",), {}, "KeyError"),
        (
            ("mlm:output", "0", "classification:classes"),
            [{"value": 0, "name": "a", "color_hint": "000000"}] * 4,
            "0, 1, 2",
        ),
        (
            ("mlm:output", "0", "classification:classes"),
            [{"value": k, "name": "a", "color_hint": "000000"} for k in range(3)],
            "4 outputs, the package names 3",
        ),
        (("mlm:output", "0", "classification:classes", "0"), {"value": 0, "name": "a", "color_hint": "red"}, "RRGGBB"),
        (
            ("gridscribe", "optional_bands"),
            ["nir"],
            "optional_bands names 'nir'; a model can do without 'height' alone",
        ),
        (("gridscribe", "optional_bands"), ["red"], "optional_bands names 'red'"),
        (("gridscribe", "optional_bands"), [["height"]], "optional_bands names"),
        (("gridscribe", "optional_bands"), "height", "optional_bands is 'height'; it must be a list"),
        (("gridscribe", "optional_bands"), None, "optional_bands is None; it must be a list"),
        (("gridscribe", "optional_bands"), ["height", "height"], "it must be a list with, at most, 'height'"),
        (("gridscribe", "architecture", "type"), "Sequential", "Sequential"),
        (("gridscribe", "architecture", "backbone", "type"), "ResNet", "TwoStreams, SingleStream"),
        (("gridscribe", "architecture", "backbone", "type"), "mmpretrain.ViT", "mmpretrain.ViT"),
        (("gridscribe", "architecture", "backbone", "init_cfg"), {"type": "Pretrained", "checkpoint": "x"}, "init_cfg"),
        (("gridscribe", "architecture", "backbone", "rgb", "with_cp"), True, "with_cp=True: not allowed"),
        (("gridscribe", "architecture", "pretrained"), "http://127.0.0.1/x.pth", "pretrained"),
        (("gridscribe", "architecture", "backbone", "fusion"), "BottleneckFusion", "fusion.type"),
        (("gridscribe", "architecture", "backbone", "rgb", "embed_dims"), 10**9, "at most 4096"),
        (("gridscribe", "architecture", "backbone", "rgb", "embed_dims"), float("nan"), "at most 4096"),
        (("gridscribe", "architecture", "backbone", "height", "num_layers"), [4096, 1, 1, 1], "layers in all"),
        (("gridscribe", "architecture", "backbone", "rgb", "num_heads"), [1] * 17, "17 entries"),
        (("gridscribe", "architecture", "data_preprocessor", "use"), ["__import__"], "__import__"),
        (("gridscribe", "architecture", "decode_head", "num_classes"), "4", "only the words"),
        (("gridscribe", "architecture", "decode_head", "norm_cfg"), {"type": "SyncBN"}, "SyncBN"),
    ],
)
def test_descriptions_that_are_refused(folder: Path, keys: tuple[str, ...], value: Any, message: str) -> None:
    if keys[-1].isdigit():
        document = json.loads((folder / "model.json").read_text())
        document["mlm:output"][0]["classification:classes"][0] = value
        (folder / "model.json").write_text(json.dumps(document))
    else:
        rewrite(folder, *keys, value=value)
    with pytest.raises(ModelError, match=message.replace("(", r"\(")) as caught:
        load_package(folder)
    assert str(folder) in str(caught.value)


def test_optional_bands_are_stated_only_where_there_are_some(folder: Path, tmp_path: Path) -> None:
    """So that packages from before the field keep their digest."""
    assert "optional_bands" not in json.loads((folder / "model.json").read_text())["gridscribe"]
    assert load_package(folder).optional_bands == ()
    written = tiny_package(tmp_path / "free", optional_bands=("height",))
    assert load_package(tmp_path / "free").optional_bands == ("height",)
    assert updated_package(written, tmp_path / "free", metrics={"miou": 0.5}).optional_bands == ("height",)
    assert written.digest != load_package(folder).digest


@pytest.mark.parametrize("part", ["backbone", "data_preprocessor"])
def test_a_network_that_sees_height_alone_cannot_do_without_it(folder: Path, part: str) -> None:
    rewrite(folder, "gridscribe", "optional_bands", value=["height"])
    if part == "backbone":
        encoder = ARCHITECTURE["backbone"]["rgb"]  # type: ignore[index]
        rewrite(folder, "gridscribe", "architecture", part, value={"type": "SingleStream", "encoder": encoder})
        load_package(folder)
    rewrite(folder, "gridscribe", "architecture", part, "use", value=["height"])
    with pytest.raises(ModelError, match="optional_bands names 'height', and the network looks at nothing else"):
        load_package(folder)


def test_no_module_is_imported_and_no_network_built_for_a_refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gridscribe.models.segmentor as segmentor

    monkeypatch.setattr(segmentor.MODELS, "build", lambda *_: pytest.fail("built"))
    rewrite(folder, "gridscribe", "architecture", "backbone", "type", value="os.system")
    with pytest.raises(ModelError, match=r"os\.system"):
        load_package(folder)


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors"])
def test_both_files_are_needed(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=missing):
        load_package(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_damaged_descriptions_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json is not"):
        load_package(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    good = (folder / "model.safetensors").read_bytes()
    for damaged in (b"", good[:100], good[:-1], b"\xff" * 64, pickle.dumps({"a": 1})):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(ModelError, match="not a safetensors file"):
            load_package(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    def poison(weights: dict[str, np.ndarray]) -> None:
        weights["decode_head.conv_seg.weight"][0, 3] = value

    reweigh(folder, poison)
    with pytest.raises(ModelError, match=r"conv_seg\.weight holds NaN or infinity"):
        load_package(folder)


def test_weights_of_other_types_are_refused(folder: Path) -> None:
    reweigh(folder, lambda w: w.update(extra=np.zeros(3, np.int32)))
    with pytest.raises(ModelError, match="extra is int32"):
        load_package(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("decode_head.conv_seg.weight"), r"lacks 1 weights, such as 'decode_head\.conv_seg\.weight'"),
        (lambda w: w.update({"other": np.zeros(3, np.float32)}), "unexpected 1 weights, such as 'other'"),
        (
            lambda w: w.update({"decode_head.conv_seg.bias": np.zeros(5, np.float32)}),
            r"conv_seg\.bias has shape \(5,\), the architecture needs \(4,\)",
        ),
    ],
)
def test_weights_must_fit_the_architecture(folder: Path, change: Any, message: str) -> None:
    reweigh(folder, change)
    package = load_package(folder)
    with pytest.raises(ModelError, match=message):
        build_network(package)


def test_weights_that_float16_cannot_hold_are_not_written() -> None:
    with pytest.raises(ModelError, match="weight a cannot be stored"):
        write_weights({"a": np.full((2, 2), 1e6, np.float32)})
    with pytest.raises(ModelError, match="weight a cannot be stored"):
        write_weights({"a": np.array([np.nan], np.float32)})


def test_unknown_names_list_the_shipped_models() -> None:
    with pytest.raises(ModelError, match=r"nosuchmodel.*neither a shipped model"):
        load_package("nosuchmodel")
    for name in shipped_packages():
        assert load_package(name).name == name


def test_packages_load_from_object_storage(folder: Path) -> None:
    from gridscribe.store import open_store

    store = open_store("memory://packages-test")
    for name in ("model.json", "model.safetensors"):
        store.put(name, (folder / name).read_bytes())
    found = load_package("memory://packages-test")
    assert found.digest == load_package(folder).digest
    with pytest.raises(ModelError, match=r"model\.json"):
        load_package("memory://packages-test-elsewhere")


def test_training_configs_become_package_architectures() -> None:
    model = deepcopy(ARCHITECTURE)
    model["test_cfg"] = {"mode": "whole"}
    model["decode_head"]["loss_decode"] = {"type": "CrossEntropyLoss"}
    model["backbone"]["rgb"]["num_heads"] = (1, 1, 2, 2)
    found = inference_architecture(model)
    assert found == ARCHITECTURE
    check_architecture(found, "test")


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


class Reaching:
    """Unpickling this would reach through an allowed class to anything."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (HistoryBuffer, "__subclasses__")


def test_checkpoints_are_read_as_data_only(folder: Path, tmp_path: Path) -> None:
    package = load_package(folder)
    network = build_network(package)
    state = network.state_dict()
    log = HistoryBuffer([0.5], [1])  # as MMEngine's Runner saves them
    for content in ({"state_dict": state, "meta": {"iter": 3}, "message_hub": {"loss": log}}, dict(state)):
        torch.save(content, tmp_path / "good.pth")
        other = build_network(tiny_package(tmp_path / "other", seed=1))
        load_checkpoint(other, tmp_path / "good.pth")
        for (name, one), two in zip(state.items(), other.state_dict().values(), strict=True):
            assert torch.equal(one, two), name
    for hostile in (Hostile(str(tmp_path / "owned")), Reaching()):
        torch.save({"state_dict": state, "meta": hostile}, tmp_path / "bad.pth")
        with pytest.raises(ModelError, match=r"bad\.pth: not loaded"):
            read_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "owned").exists()
    torch.save({"state_dict": {}}, tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="lacks"):
        load_checkpoint(network, tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="not loaded"):
        read_checkpoint(tmp_path / "absent.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "good.pth").read_bytes()[:2000])
    with pytest.raises(ModelError, match="not loaded"):
        read_checkpoint(tmp_path / "cut.pth")
