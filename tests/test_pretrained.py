"""Weights of others: every layout computes here what it computes at its publisher's, and what does not fit is named."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from mmengine.logging import HistoryBuffer
from mmseg.models import MixVisionTransformer, SwinTransformer
from safetensors.torch import save_file
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from torch import Tensor, nn

from gridscribe.errors import ModelError, UsageError
from gridscribe.models.checkpoint_file import read_checkpoint_file
from gridscribe.models.pretrained import load_pretrained
from gridscribe.models.pretrained_report import Report
from gridscribe.models.segmentor import build_segmentor
from tests.tiny import ARCHITECTURE

torch.set_num_threads(1)
DEPTHS, HEADS, RATIOS = (1, 2, 1, 1), (1, 1, 2, 2), (8, 4, 2, 1)
MIT: dict[str, Any] = {
    "type": "MiTEncoder",
    "embed_dims": 8,
    "num_layers": DEPTHS,
    "num_heads": HEADS,
    "sr_ratios": RATIOS,
}
SWIN: dict[str, Any] = {"type": "SwinEncoder", "embed_dims": 8, "depths": (2, 2, 2, 1), "num_heads": (1, 1, 2, 2)}
RESNET: dict[str, Any] = {"type": "ResNetEncoder", "depth": 18}
WIDTHS = {"MiTEncoder": [8, 8, 16, 16], "SwinEncoder": [8, 16, 32, 64], "ResNetEncoder": [64, 128, 256, 512]}
State = dict[str, Tensor]


def two_streams(rgb: dict[str, Any], height: dict[str, Any] | None = None, **options: Any) -> Any:
    """A segmentor whose streams are joined by the cheapest fusion."""
    backbone = {
        "type": "TwoStreams",
        "rgb": rgb,
        "height": height or rgb,
        "fusion": {"type": "FeatureFusion", "mode": "concat"},
        **options,
    }
    return network(backbone, WIDTHS[rgb["type"]])


def single(encoder: dict[str, Any], *use: str) -> Any:
    return network({"type": "SingleStream", "encoder": encoder, "use": use}, WIDTHS[encoder["type"]])


def network(backbone: dict[str, Any], widths: list[int], classes: int = 4) -> Any:
    torch.manual_seed(9)
    head = {**ARCHITECTURE["decode_head"], "in_channels": widths, "num_classes": classes}
    return build_segmentor({**ARCHITECTURE, "backbone": backbone, "decode_head": head}).eval()


def lively(module: nn.Module, seed: int = 0) -> Any:
    """No weight and no statistic at its start."""
    torch.manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            torch.nn.init.normal_(tensor, mean=1.0 if name.endswith("running_var") else 0.0, std=0.2)
            if name.endswith("running_var"):
                tensor.abs_()
    module.eval()
    return module


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def load(into: Any, **files: Path) -> tuple[Report, ...]:
    return load_pretrained(into, {key: read_checkpoint_file(path) for key, path in files.items()})


def maps_of(encoder: Any, x: Tensor, outputs: bool = False) -> list[Tensor]:
    found = []
    with torch.no_grad():
        for k in range(4):
            x = encoder.stage(k, x)
            found.append(encoder.output(k, x) if outputs else x)
    return found


def assert_equal(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-4)


# --- MiT ---


class NvidiaMiT(nn.Module):
    """SegFormer's encoder with NVIDIA's names, written down slowly from the paper (section 3.1) and those names."""

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for k, (depth, heads, ratio) in enumerate(zip(DEPTHS, HEADS, RATIOS, strict=True)):
            width, size, stride = 8 * heads, 7 if k == 0 else 3, 4 if k == 0 else 2
            embed = nn.Module()
            embed.proj = nn.Conv2d(before, width, size, stride, size // 2)
            embed.norm = nn.LayerNorm(width)
            setattr(self, f"patch_embed{k + 1}", embed)
            setattr(self, f"block{k + 1}", nn.ModuleList(self.block(width, ratio) for _ in range(depth)))
            setattr(self, f"norm{k + 1}", nn.LayerNorm(width, eps=1e-6))
            before = width
        self.head = nn.Linear(before, 10)

    @staticmethod
    def block(width: int, ratio: int) -> nn.Module:
        block, attention, feed, depthwise = nn.Module(), nn.Module(), nn.Module(), nn.Module()
        block.norm1, block.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        attention.q, attention.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        attention.proj = nn.Linear(width, width)
        if ratio > 1:
            attention.sr, attention.norm = nn.Conv2d(width, width, ratio, ratio), nn.LayerNorm(width)
        feed.fc1, feed.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        depthwise.dwconv = nn.Conv2d(4 * width, 4 * width, 3, 1, 1, groups=4 * width)
        feed.dwconv = depthwise
        block.attn, block.mlp = attention, feed
        return block

    def maps(self, x: Tensor) -> list[Tensor]:
        found = []
        for k, heads in enumerate(HEADS):
            embed = getattr(self, f"patch_embed{k + 1}")
            x = embed.proj(x)
            rows, cols = x.shape[2:]
            x = embed.norm(x.flatten(2).mT)
            for block in getattr(self, f"block{k + 1}"):
                normed, attention = block.norm1(x), block.attn
                context = normed
                if hasattr(attention, "sr"):
                    context = attention.norm(attention.sr(normed.mT.unflatten(2, (rows, cols))).flatten(2).mT)
                query = attention.q(normed).unflatten(2, (heads, -1)).transpose(1, 2)
                key, value = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in attention.kv(context).chunk(2, -1))
                weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
                x = x + attention.proj((weights @ value).transpose(1, 2).flatten(2))
                feed = block.mlp
                wide = feed.dwconv.dwconv(feed.fc1(block.norm2(x)).mT.unflatten(2, (rows, cols))).flatten(2).mT
                x = x + feed.fc2(nn.functional.gelu(wide))
            x = getattr(self, f"norm{k + 1}")(x).mT.unflatten(2, (rows, cols))
            found.append(x)
        return found


def hugging_face(nvidia: State) -> State:
    """The same weights as `SegformerForImageClassification` has them."""
    found = {}
    for name, tensor in nvidia.items():
        kind, _, rest = name.partition(".")
        stage = int(kind[-1]) - 1 if kind[-1].isdigit() else -1
        if kind.startswith("patch_embed"):
            new = f"segformer.encoder.patch_embeddings.{stage}.{rest.replace('norm', 'layer_norm')}"
        elif kind.startswith("norm"):
            new = f"segformer.encoder.layer_norm.{stage}.{rest}"
        elif kind.startswith("block"):
            rest = rest.replace(".norm", ".layer_norm_") if ".attn." not in rest else rest
            rest = rest.replace("mlp.fc", "mlp.dense").replace("attn.proj", "attention.output.dense")
            rest = rest.replace("attn.norm", "attention.self.layer_norm").replace("attn.", "attention.self.")
            rest = rest.replace("self.q.", "self.query.")
            new = f"segformer.encoder.block.{stage}.{rest}"
        else:
            new = name.replace("head", "classifier")
        if ".self.kv." in new:
            half = len(tensor) // 2
            found[new.replace("kv", "key")], found[new.replace("kv", "value")] = tensor[:half], tensor[half:]
        else:
            found[new] = tensor
    return found


@pytest.mark.parametrize("layout", ["nvidia", "hugging face"])
def test_nvidias_and_hugging_faces_mit_compute_here_what_they_compute_there(layout: str, tmp_path: Path) -> None:
    theirs = lively(NvidiaMiT())
    state = theirs.state_dict()
    names = state if layout == "nvidia" else hugging_face(state)
    if layout == "hugging face":
        assert "segformer.encoder.block.0.0.attention.self.layer_norm.weight" in names
        save_file({k: v.contiguous() for k, v in names.items()}, tmp_path / "model.safetensors")
        path = tmp_path / "model.safetensors"
    else:
        path = save(dict(names), tmp_path / "mit.pth")
    ours = two_streams(MIT)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    (report,) = load(ours, rgb=path)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert_equal(maps_of(ours.backbone.rgb, x), theirs.maps(x))
    assert not report.missing
    assert not report.unexpected
    assert not report.adapted
    assert [name for name in report.unused if "head" in name or "classifier" in name] == list(report.unused)
    assert len(report.unused) == 2
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, before[name]) != name.startswith("backbone.rgb."), name


def test_mmsegmentations_mit(tmp_path: Path) -> None:
    options = {"embed_dims": 8, "num_layers": DEPTHS, "num_heads": HEADS, "sr_ratios": RATIOS}
    theirs = lively(MixVisionTransformer(num_stages=4, **options))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = list(theirs(x))
    for wrap in (
        lambda s: s,
        lambda s: {"state_dict": {f"backbone.{k}": v for k, v in s.items()}},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}, "epoch": 3},
        lambda s: {"model_state": s, "optimizer": {"state": {}, "param_groups": []}},
        lambda s: {"model": {"state_dict": {k: v.half() for k, v in s.items()}}},
    ):
        ours = single(MIT, "rgb")
        content = wrap(theirs.state_dict())
        (report,) = load(ours, rgb=save(content, tmp_path / "x.pth"))
        half = next(iter(content.values())) if "model" in content else {}
        if "state_dict" not in half:  # half precision is near, not equal
            assert_equal(maps_of(ours.backbone.encoder, x), wanted)
        assert len(report.matched) == len(theirs.state_dict())
        assert report.layout == "MMSegmentation's MiT"


# --- Swin ---


def timm_swin() -> Any:
    return lively(
        TimmSwin(img_size=224, embed_dim=8, depths=SWIN["depths"], num_heads=SWIN["num_heads"], num_classes=5)
    )


def microsoft(timm: State) -> State:
    """Names of Microsoft's repository: a stage ends with its merging; tables of places and masks are stored."""
    found = {}
    for name, tensor in timm.items():
        new = re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name)
        found[new.replace("head.fc", "head")] = tensor
        if name.endswith("relative_position_bias_table"):
            stem = name.removesuffix("attn.relative_position_bias_table")
            found[f"{stem}attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
            if ".blocks.1." in name:
                found[f"{stem}attn_mask"] = torch.zeros(4, 49, 49)
    return found


@pytest.mark.parametrize("layout", ["timm", "microsoft"])
def test_timms_and_microsofts_swin_compute_here_what_they_compute_there(layout: str, tmp_path: Path) -> None:
    theirs = timm_swin()
    state = dict(theirs.state_dict())
    content = state if layout == "timm" else {"model": microsoft(state)}
    ours = two_streams(SWIN)
    (report,) = load(ours, rgb=save(content, tmp_path / "swin.pth"))
    assert layout in report.layout.lower()
    x = torch.randn(1, 3, 224, 224)  # sides that need no padding anywhere: timm pads otherwise than MMSegmentation
    wanted = []
    with torch.no_grad():
        y = theirs.patch_embed(x)
        for layer in theirs.layers:
            y = layer(y)
            wanted.append(y.permute(0, 3, 1, 2))
    assert_equal(maps_of(ours.backbone.rgb, x), wanted)
    norms = {f"backbone.rgb.norm{k}.{part}" for k in range(4) for part in ("weight", "bias")}
    assert set(report.missing) == norms
    assert not report.unexpected
    assert {"head", "norm"} <= {name.split(".")[0] for name in report.unused}


def test_mmsegmentations_swin(tmp_path: Path) -> None:
    theirs = lively(SwinTransformer(embed_dims=8, depths=SWIN["depths"], num_heads=SWIN["num_heads"]))
    ours = single(SWIN, "rgb")
    (report,) = load(ours, rgb=save({"state_dict": theirs.state_dict()}, tmp_path / "swin.pth"))
    x = torch.randn(1, 3, 72, 40)
    with torch.no_grad():
        assert_equal(maps_of(ours.backbone.encoder, x, outputs=True), list(theirs(x)))
    assert not report.missing
    assert all(name.endswith("relative_position_index") for name in report.unused)


# --- ResNet ---


def test_torchvisions_resnet(tmp_path: Path) -> None:
    theirs = lively(torchvision.models.resnet18(weights=None))
    ours = single(RESNET, "rgb")
    (report,) = load(ours, rgb=save(theirs.state_dict(), tmp_path / "resnet18.pth"))
    x = torch.randn(1, 3, 64, 64)
    wanted = []
    with torch.no_grad():
        y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            y = layer(y)
            wanted.append(y)
    assert_equal(maps_of(ours.backbone.encoder, x), wanted)
    assert {"fc.weight", "fc.bias"} == {name for name in report.unused if "num_batches" not in name}


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (
            18,
            34,
            r"does not fit the rgb encoder of this network, ResNetEncoder of depth 34: 80 weights missing: layer1\.2",
        ),
        (34, 18, r"depth 18: 80 more than the encoder has: layer1\.2\.bn1\.bias"),
        (50, 18, r"of another shape: layer1\.0\.conv1\.weight is \(64, 64, 1, 1\) in the file, \(64, 64, 3, 3\) here"),
    ],
)
def test_another_depth_is_named_and_changes_nothing(theirs: int, ours: int, message: str, tmp_path: Path) -> None:
    file = save(getattr(torchvision.models, f"resnet{theirs}")(weights=None).state_dict(), tmp_path / "resnet.pth")
    network = single({"type": "ResNetEncoder", "depth": ours}, "rgb")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ModelError, match=message):
        load(network, rgb=file)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# --- what does not fit ---


def mit_state(**options: Any) -> State:
    given = {"embed_dims": 8, "num_layers": DEPTHS, "num_heads": HEADS, "sr_ratios": RATIOS, **options}
    return lively(MixVisionTransformer(num_stages=4, **given)).state_dict()


def without_stage(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith("layers.2.")}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: without_stage(mit_state()), r"24 weights missing: layers\.2\.0\.projection\.weight, .* and 19 more"),
        (lambda: mit_state(num_layers=(1, 3, 1, 1)), r"18 more than the encoder has: layers\.1\.1\.2\."),
        (
            lambda: mit_state(embed_dims=16),
            r"of another shape: layers\.0\.0\.projection\.weight is \(16, 3, 7, 7\) in the file, \(8, 3, 7, 7\) here",
        ),
        (lambda: {**mit_state(), "layers.0.2.weight": torch.full((8,), torch.nan)}, r"layers\.0\.2\.weight holds NaN"),
        (lambda: mit_state(in_channels=4), r"is \(8, 4, 7, 7\) in the file, \(8, 3, 7, 7\) here"),
        (lambda: timm_swin().state_dict(), r"holds timm's Swin; the rgb encoder of this network is MiTEncoder"),
        (
            lambda: {"a": torch.zeros(3)},
            r"the encoder's own names does not fit .*, MiTEncoder of widths \(8, 8, 16, 16\)",
        ),
        (dict, "holds no weights"),
        (lambda: {"state_dict": {"a": 1}, "meta": {}}, "holds no weights, .* it holds meta, state_dict"),
    ],
)
def test_what_does_not_fit_is_named_with_shapes(state: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(two_streams(MIT), rgb=save(state(), tmp_path / "file.pth"))
    assert "file.pth" in str(caught.value)


def test_targets_that_are_not_there(tmp_path: Path) -> None:
    file = save(mit_state(), tmp_path / "x.pth")
    other = save(lively(MixVisionTransformer(embed_dims=8, num_stages=4, num_layers=DEPTHS, num_heads=HEADS), 5).state_dict(),
                 tmp_path / "y.pth")  # fmt: skip
    shared = two_streams(MIT, share=True, fusion={"type": "TokenExchange"})
    pyramid = two_streams(MIT, {"type": "HeightPyramid"}, fusion={"type": "GeometryAttention"})
    for network, files, message in (
        (single(MIT, "rgb"), {"height": file}, "does not see height"),
        (single(MIT, "rgb", "height"), {"rgb": file, "height": file}, "one encoder; give one"),
        (two_streams(MIT), {"all": file, "rgb": file}, "both fill the RGB stream"),
        (two_streams(MIT), {"depth": file}, "must be one of rgb, height, all"),
        (pyramid, {"height": file}, "HeightPyramid, has no weights"),
        (shared, {"rgb": file, "height": other}, "share their weights"),
    ):
        with pytest.raises(UsageError, match=message):
            load(network, **files)
    with pytest.raises(ModelError, match="not a whole segmentor"):
        load(two_streams(MIT), all=file)
    reports = load(shared, rgb=file, height=file)
    assert "share these weights" in reports[0].text()


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_files_with_code_in_them_are_refused_and_not_run(tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    save({"state_dict": mit_state(), "meta": Hostile(owned)}, tmp_path / "in-meta.pth")
    save({"state_dict": {**mit_state(), "layers.0.2.weight": Hostile(owned)}}, tmp_path / "in-state.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Hostile(owned)))
    (tmp_path / "renamed.safetensors").write_bytes((tmp_path / "pickle.pth").read_bytes())
    torch.save(two_streams(MIT), tmp_path / "module.pth")
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pth"))
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("weights.npy", b"0")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "text.pth").write_text("version https://git-lfs.github.com/spec/v1")
    for name, message in {
        "in-meta.pth": "holds more than weights",
        "in-state.pth": "holds more than weights",
        "pickle.pth": "holds more than weights",
        "renamed.safetensors": "not a safetensors file",
        "module.pth": "holds more than weights",
        "script.pth": r"a TorchScript archive, a program; save .* its state_dict\(\)",
        "other.pth": r"not one that torch\.save wrote; it holds weights\.npy",
        "arrays.npz": r"not one that torch\.save wrote",
        "text.pth": "not loaded",
        "absent.pth": "no such file",
    }.items():
        with pytest.raises(ModelError, match=message) as caught:
            read_checkpoint_file(tmp_path / name)
        assert name in str(caught.value)
    assert not owned.exists()
    with pytest.raises(FileExistsError):  # the payload would work, were it run
        pickle.loads(pickle.dumps(Hostile(tmp_path)))


# --- first layers for other channels ---


def test_the_first_layer_of_the_height_stream_answers_as_to_a_grey_image(tmp_path: Path) -> None:
    theirs = lively(MixVisionTransformer(embed_dims=8, num_stages=4, num_layers=DEPTHS, num_heads=HEADS))
    ours = two_streams(MIT)
    (report,) = load(ours, height=save(theirs.state_dict(), tmp_path / "x.pth"))
    height = torch.randn(1, 1, 64, 64)
    for validity in (1.0, -1.0):
        given = torch.cat([height, torch.full_like(height, validity)], 1)
        with torch.no_grad():
            assert_equal(maps_of(ours.backbone.height, given), list(theirs(height.expand(1, 3, -1, -1))))
    (adapted,) = report.adapted
    assert adapted.name == "backbone.height.layers.0.0.projection.weight"
    assert adapted.how == (
        "3 input channels to 2: height takes its sum over R, G and B; validity of height takes zeros"
    )
    assert adapted.name not in report.matched
    assert adapted.how in report.text()


@pytest.mark.parametrize("kind", ["MiTEncoder", "ResNetEncoder", "SwinEncoder"])
def test_the_first_layer_of_early_fusion_keeps_what_rgb_had(kind: str, tmp_path: Path) -> None:
    encoder = {"MiTEncoder": MIT, "ResNetEncoder": RESNET, "SwinEncoder": SWIN}[kind]
    rgb_alone, ours = lively(single(encoder, "rgb")), single(encoder, "rgb", "height")
    state = {k.removeprefix("backbone.encoder."): v for k, v in rgb_alone.state_dict().items() if "encoder" in k}
    (report,) = load(ours, rgb=save(state, tmp_path / "x.pth"))
    assert len(report.adapted) == 1
    assert "3 input channels to 5: R, G and B as they are; height takes its mean" in report.adapted[0].how
    x = torch.randn(1, 5, 64, 64)
    x[:, 4] = 1
    x[:, 3] = 0  # height at its mean: the encoder of RGB alone
    with torch.no_grad():
        assert_equal(list(ours.backbone(x)), list(rgb_alone.backbone(x)))
    # with height as lively as a colour, the first layer's answers are as large as before, within the bound
    name = report.adapted[0].name
    kernel, wide = state[name.removeprefix("backbone.encoder.")], ours.state_dict()[name]
    grey = torch.randn(8, 1, 64, 64)
    before = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), kernel)
    five = torch.cat([grey.expand(-1, 3, -1, -1), torch.randn_like(grey), torch.ones_like(grey)], 1)
    after = nn.functional.conv2d(five, wide)
    assert (after.var() / before.var()).item() == pytest.approx(1 + 1 / 9, abs=0.03)
    assert after.mean().item() == pytest.approx(before.mean().item(), abs=0.05 * before.std().item())


# --- whole segmentors ---

CONFIG = """
norm_cfg = dict(requires_grad=True, type='BN')
data_preprocessor = dict(
    bgr_to_rgb={bgr_to_rgb},
    mean=[123.675, 116.28, 103.53],
    pad_val=0, std=[58.395, 57.12, 57.375], type='SegDataPreProcessor')
model = dict(
    backbone=dict(type='MixVisionTransformer'),
    data_preprocessor=dict(
        bgr_to_rgb={bgr_to_rgb},
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], type='SegDataPreProcessor'))
x = __import__('os').mkdir({owned!r})
"""


def runner_file(path: Path, state: Mapping[str, Tensor], config: str = "") -> Path:
    """A checkpoint as MMEngine's Runner writes it."""
    log = HistoryBuffer(np.array([0.5, 0.4]), np.array([1, 1]))
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
    meta = {"epoch": 0, "iter": 3, "cfg": config, "seed": 0, "dataset_meta": {"classes": ("a", "b")}}
    hub = {"log_scalars": {"train/loss": log}, "runtime_info": {"iter": 3}, "resumed_keys": {}}
    return save({"meta": meta, "state_dict": state, "message_hub": hub, "optimizer": optimizer}, path)


def stock_segmentor(classes: int, channels: int = 16) -> Any:
    """MMSegmentation's own, of RGB alone."""
    encoder = {"embed_dims": 8, "num_layers": DEPTHS, "num_heads": HEADS, "sr_ratios": RATIOS}
    head = {**ARCHITECTURE["decode_head"], "type": "SegformerHead", "num_classes": classes, "channels": channels}
    backbone = {"type": "MixVisionTransformer", "num_stages": 4, **encoder}
    return lively(build_segmentor({"type": "EncoderDecoder", "backbone": backbone, "decode_head": head}), seed=3)


def test_a_whole_segmentor_of_mmsegmentations_computes_here_what_it_computes_there(tmp_path: Path) -> None:
    theirs = stock_segmentor(4)
    file = runner_file(tmp_path / "segformer.pth", theirs.state_dict(), CONFIG.format(bgr_to_rgb=True, owned="x"))
    ours = single(MIT, "rgb")
    (report,) = load(ours, all=file)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = theirs.decode_head(theirs.backbone(x))
        found = ours.decode_head(ours.backbone(torch.cat([x, x], 1)[:, :5]))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert report.into == "all"
    assert not report.missing
    assert not report.notes


def test_a_class_layer_of_another_count_is_left_and_told(tmp_path: Path) -> None:
    theirs = stock_segmentor(150)
    ours = two_streams(MIT)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    (report,) = load(ours, all=runner_file(tmp_path / "ade.pth", theirs.state_dict()))
    assert {one.name: (one.found, one.wanted) for one in report.mismatched} == {
        "decode_head.conv_seg.weight": ((150, 16, 1, 1), (4, 16, 1, 1)),
        "decode_head.conv_seg.bias": ((150,), (4,)),
    }
    after = ours.state_dict()
    for name, tensor in theirs.state_dict().items():
        here = name.replace("backbone.", "backbone.rgb.")
        if "conv_seg" not in name and "num_batches" not in name:
            assert torch.equal(after[here], tensor), name
            assert here in report.matched
    for name in before:
        if "conv_seg" in name or name.startswith(("backbone.height", "backbone.fusions")):
            assert torch.equal(after[name], before[name]), name
    assert report.notes == ("the file has nothing for backbone.fusions, backbone.height",)
    text = report.text()
    assert "decode_head.conv_seg.weight is (150, 16, 1, 1) in the file, (4, 16, 1, 1) here" in text
    assert json.loads(json.dumps(report.to_json()))["mismatched"][0]["found"] == [150, 16, 1, 1]
    assert json.loads(json.dumps(report.summary()))["matched"] == len(report.matched)


def test_another_head_is_left_and_told(tmp_path: Path) -> None:
    theirs = stock_segmentor(4, channels=32)
    (report,) = load(two_streams(MIT), all=runner_file(tmp_path / "x.pth", theirs.state_dict()))
    assert {one.name.split(".")[1] for one in report.mismatched} >= {"convs", "fusion_conv", "conv_seg"}
    assert not [name for name in report.matched if name.startswith("decode_head.convs")]


def test_late_fusion_takes_the_head_as_rgbs(tmp_path: Path) -> None:
    theirs = stock_segmentor(4)
    head = {**ARCHITECTURE["decode_head"], "in_channels": WIDTHS["MiTEncoder"]}
    late = {"type": "LateFusionHead", "heads": [head, head], "num_classes": 4, "align_corners": False}
    backbone = {"type": "TwoStreams", "rgb": MIT, "height": MIT}
    ours = build_segmentor({**ARCHITECTURE, "backbone": backbone, "decode_head": late}).eval()
    (report,) = load(ours, all=runner_file(tmp_path / "x.pth", theirs.state_dict()))
    state = ours.state_dict()
    assert torch.equal(state["decode_head.heads.0.conv_seg.bias"], theirs.state_dict()["decode_head.conv_seg.bias"])
    assert report.notes == ("the file has nothing for backbone.height, decode_head.heads.1",)


def test_gridscribes_own_checkpoints(tmp_path: Path) -> None:
    whole = lively(two_streams(MIT), seed=4)
    file = runner_file(tmp_path / "own.pth", whole.state_dict())
    ours = network({"type": "TwoStreams", "rgb": MIT, "height": MIT, "fusion": {"type": "FeatureFusion", "mode": "concat"}},
                   WIDTHS["MiTEncoder"], classes=9)  # fmt: skip
    (report,) = load(ours, all=file)
    assert [one.name for one in report.mismatched] == ["decode_head.conv_seg.weight", "decode_head.conv_seg.bias"]
    state = ours.state_dict()
    left = [name for name, tensor in whole.state_dict().items() if not torch.equal(state[name], tensor)]
    assert set(left) <= {"decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}
    # one stream of it
    ours = single(MIT, "height")
    load(ours, height=file)
    wanted = whole.backbone.height.state_dict()
    assert all(torch.equal(t, wanted[name]) for name, t in ours.backbone.encoder.state_dict().items())
    with pytest.raises(ModelError, match=r"does not fit this network: .* weights missing: backbone\.encoder\.layers"):
        load(single(MIT, "rgb"), all=file)


@pytest.mark.parametrize("target", ["rgb", "height", "all"])
def test_every_name_stands_in_one_list(target: str, tmp_path: Path) -> None:
    theirs = {
        **stock_segmentor(150).state_dict(),
        "auxiliary_head.conv.weight": torch.zeros(3),
        "backbone.extra": torch.ones(2),
    }
    ours = two_streams(MIT)
    (report,) = load(ours, **{target: runner_file(tmp_path / "x.pth", theirs)})
    lists = (report.matched, tuple(one.name for one in report.adapted), report.missing, report.unexpected,
             tuple(one.name for one in report.mismatched), report.unused)  # fmt: skip
    names = [name for one in lists for name in one]
    assert len(names) == len(set(names)) == len(theirs)
    assert "extra" in report.unexpected
    assert "auxiliary_head.conv.weight" in report.unused


def test_what_the_file_says_of_its_inputs_is_parsed_and_never_run(tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    state = {"a": torch.zeros(2)}
    config = CONFIG.format(bgr_to_rgb=True, owned=str(owned))
    file = read_checkpoint_file(runner_file(tmp_path / "x.pth", state, config))
    assert file.preprocessor is not None
    assert file.preprocessor["mean"] == [123.675, 116.28, 103.53]
    assert file.preprocessor["bgr_to_rgb"] is True
    assert not owned.exists()
    old = "img_norm_cfg = dict(\n    mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)\n"
    save({"meta": {"config": old}, "state_dict": state}, tmp_path / "old.pth")
    assert read_checkpoint_file(tmp_path / "old.pth").preprocessor == {
        "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0], "to_rgb": True,
    }  # fmt: skip
    for text in (
        "",
        "model = dict(",
        "(" * 5000,
        "data_preprocessor = dict(mean=open('x'), std=[1])",
        "data_preprocessor = 3",
    ):
        assert read_checkpoint_file(runner_file(tmp_path / "y.pth", state, text)).preprocessor is None


def test_importing_the_command_line_stays_light() -> None:
    check = "import gridscribe.cli.package, gridscribe.cli.train, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
