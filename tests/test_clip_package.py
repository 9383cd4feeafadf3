"""CLIP files to packages: every layout gives the same towers, nothing is guessed, nothing is executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from open_clip.factory import load_checkpoint
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import save_file

from gridscribe.cli import cli
from gridscribe.errors import ModelError, UsageError
from gridscribe.models.clip.activation import _sign_test
from gridscribe.models.clip.architecture import check_config
from gridscribe.models.clip.converting import package_clip
from gridscribe.models.clip.inferring import infer_config
from gridscribe.models.clip.package import AlignmentPackage, load_alignment
from gridscribe.models.clip.probe import Probe, read_probe
from gridscribe.models.clip.towers import build_image_tower, build_text_tower
from tests.tiny_clip import TEXT, VISION, pictures, tiny_clip, write_config

torch.set_num_threads(1)
PHRASES = ["a swimming pool", "tennis court"]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_clip()


def normalised(count: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(pictures(count, seed=seed)).float() / 128 - 1


@torch.no_grad()
def assert_same(package: AlignmentPackage, model: Any, context: int = 77) -> None:
    """The package's towers answer as open_clip's whole model does."""
    pixels = normalised()
    tokens = SimpleTokenizer()(PHRASES, context_length=context)
    torch.testing.assert_close(build_image_tower(package)(pixels), model.encode_image(pixels), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(build_text_tower(package)(tokens), model.encode_text(tokens), atol=2e-5, rtol=1e-5)


def training_file(model: Any, path: Path) -> Path:
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {0: torch.ones(2)}}}, path)
    return path


def bare_file(model: Any, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def compiled_file(model: Any, path: Path) -> Path:
    torch.save({"state_dict": {f"module._orig_mod.{n}": t.half() for n, t in model.state_dict().items()}}, path)
    return path


def openai_state_file(model: Any, path: Path) -> Path:
    """What `torch.jit.load(...).state_dict()` gives of OpenAI's archives."""
    counts = {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    torch.save({**model.state_dict(), **counts}, path)
    return path


def safetensors_file(model: Any, path: Path) -> Path:
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path.with_suffix(".safetensors")
    )
    return path.with_suffix(".safetensors")


LAYOUTS = {
    training_file: "an open_clip training file",
    bare_file: "a bare state dict",
    compiled_file: "an open_clip training file",
    openai_state_file: "a bare state dict",
    safetensors_file: "safetensors",
}


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_gives_the_towers_of_open_clip(write: Any, model: Any, tmp_path: Path) -> None:
    file = write(model, tmp_path / "tiny.pt")
    package = package_clip(file, tmp_path / "package", quick_gelu=True, gsd=(0.3, 2))
    assert_same(package, model)
    assert package == load_alignment(tmp_path / "package")
    assert package.source["form"] == LAYOUTS[write]
    assert (package.name, package.gsd, package.quick_gelu) == ("tiny", (0.3, 2.0), True)
    assert (package.patch, package.window, package.embed_dim, package.context_length) == (8, 32, 24, 77)
    assert package.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)
    assert "assumed 64 wide" in package.source["heads"]
    assert str(tmp_path) not in (tmp_path / "package" / "model.json").read_text()


def test_towers_are_what_open_clip_itself_loads(model: Any, tmp_path: Path) -> None:
    other = tiny_clip(seed=5)
    load_checkpoint(other, str(training_file(model, tmp_path / "tiny.pt")))
    assert_same(package_clip(tmp_path / "tiny.pt", tmp_path / "package", quick_gelu=True), other)


@pytest.mark.parametrize("write", [training_file, bare_file, safetensors_file])
def test_custom_text_towers(write: Any, tmp_path: Path) -> None:
    model = tiny_clip(custom=True)
    package = package_clip(write(model, tmp_path / "custom.pt"), tmp_path / "package", quick_gelu=True)
    assert package.source["form"] == LAYOUTS[write] + " with its text tower under `text.`"
    assert_same(package, model)


def test_the_activation_is_obeyed(tmp_path: Path) -> None:
    model = tiny_clip(quick_gelu=False)
    file = bare_file(model, tmp_path / "tiny.pt")
    assert_same(package_clip(file, tmp_path / "plain", quick_gelu=False), model)
    quick = package_clip(file, tmp_path / "quick", quick_gelu=True)
    with pytest.raises(AssertionError):
        assert_same(quick, model)


@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_long_clip_is_folded_exactly(prefix: str, with_masks: bool, tmp_path: Path) -> None:
    """The reference adds both tables under masks, as LongCLIP's own forward does."""
    model = tiny_clip(text={"context_length": 248})
    state = dict(model.state_dict())
    first = (torch.arange(248) < 20).float()[:, None]
    one, two = state["positional_embedding"], torch.randn(248, 64).half().float()
    state["positional_embedding_res"] = two
    if with_masks:
        state |= {"mask1": first, "mask2": 1 - first}
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in state.items()}}, tmp_path / "long.pt")
    package = package_clip(tmp_path / "long.pt", tmp_path / "package", quick_gelu=True)
    with torch.no_grad():
        model.positional_embedding.copy_(one * first + two * (1 - first))
    assert package.context_length == 248
    assert_same(package, model, context=248)


def test_masks_that_part_elsewhere_are_refused(tmp_path: Path) -> None:
    state = dict(tiny_clip(text={"context_length": 248}).state_dict())
    first = (torch.arange(248) < 40).float()[:, None]
    state |= {"positional_embedding_res": torch.randn(248, 64), "mask1": first, "mask2": 1 - first}
    torch.save(state, tmp_path / "long.pt")
    with pytest.raises(ModelError, match="do not part the positions at row 20"):
        package_clip(tmp_path / "long.pt", tmp_path / "package", quick_gelu=True)


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.pt"])
def test_folders_with_a_config(name: str, tmp_path: Path) -> None:
    """Heads of another width, which no shape shows; `.pt` too, which open_clip itself passes over for random weights."""
    model = tiny_clip(vision={"head_width": 32})
    write_config(tmp_path / "hub", quick_gelu=True, head_width=32)
    if name.endswith("safetensors"):
        save_file(dict(model.state_dict()), tmp_path / "hub" / name)
    else:
        torch.save(model.state_dict(), tmp_path / "hub" / name)
    package = package_clip(tmp_path / "hub", tmp_path / "package")
    assert_same(package, model)
    assert package.architecture["vision_cfg"]["head_width"] == 32
    assert (package.mean, package.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert package.source["activation"] == "stated in open_clip_config.json"
    with pytest.raises(AssertionError):
        assert_same(package, tiny_clip())


def test_folders_without_weights_are_refused(tmp_path: Path) -> None:
    write_config(tmp_path / "hub", quick_gelu=True)
    with pytest.raises(ModelError, match=r"holds none of open_clip_model\.safetensors"):
        package_clip(tmp_path / "hub", tmp_path / "package")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ModelError, match=r"a folder needs open_clip_config\.json"):
        package_clip(tmp_path / "plain", tmp_path / "package")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_files_under_a_uri(kind: str, model: Any, tmp_path: Path) -> None:
    from gridscribe.store import open_store

    bucket = open_store(f"memory://clips-{kind}")
    torch.save(model.state_dict(), tmp_path / "tiny.pt")
    if kind == "file":
        bucket.put("models/tiny.pt", tmp_path / "tiny.pt")
        source = f"memory://clips-{kind}/models/tiny.pt"
    else:
        write_config(tmp_path / "hub", quick_gelu=True)
        bucket.put("models/tiny/open_clip_config.json", tmp_path / "hub" / "open_clip_config.json")
        bucket.put("models/tiny/model.pt", tmp_path / "tiny.pt")
        source = f"memory://clips-{kind}/models/tiny"
    assert_same(package_clip(source, tmp_path / "package", quick_gelu=True), model)
    with pytest.raises(ModelError, match="cannot be read"):
        package_clip(source + "-other", tmp_path / "other", quick_gelu=True)


def test_an_unstated_activation_is_refused_with_the_way_to_state_it(model: Any, tmp_path: Path) -> None:
    file = bare_file(model, tmp_path / "tiny.pt")
    with pytest.raises(ModelError, match=r"--quick-gelu .* or --no-quick-gelu, or .* --probe"):
        package_clip(file, tmp_path / "package")
    write_config(tmp_path / "hub", quick_gelu=None)
    bare_file(model, tmp_path / "hub" / "model.pt")
    with pytest.raises(ModelError, match="says nothing of its activation"):
        package_clip(tmp_path / "hub", tmp_path / "package")
    write_config(tmp_path / "hub", quick_gelu=True)
    with pytest.raises(UsageError, match="says quick_gelu=True, the argument says False"):
        package_clip(tmp_path / "hub", tmp_path / "package", quick_gelu=False)
    assert not (tmp_path / "package").exists()


TEXTS = ["water", "a road", "houses", "forest", "a farm field"]


def own_labels(model: Any, images: Any) -> list[int]:
    """The labels that `model` itself gives, by open_clip's own ways."""
    from gridscribe.models.clip.text import SATELLITE

    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
    tokens = SimpleTokenizer()([template.replace("{}", text) for text in TEXTS for template in SATELLITE])
    with torch.no_grad():
        seen = model.encode_image((torch.from_numpy(images).float() / 255 - mean) / std, normalize=True)
        said = model.encode_text(tokens, normalize=True).view(len(TEXTS), 2, -1).mean(1)
    found: list[int] = (seen @ torch.nn.functional.normalize(said, dim=-1).T).argmax(1).tolist()
    return found


def probe_set(truth: bool) -> Probe:
    """Images with the labels of the model of this activation: half of them such as the other one gets wrong."""
    images = pictures(1500, seed=3)
    right, wrong = (own_labels(tiny_clip(quick_gelu=quick), images) for quick in (truth, not truth))
    told = [k for k in range(len(images)) if right[k] != wrong[k]][:24]
    others = [k for k in range(len(images)) if right[k] == wrong[k]][: len(told)]
    assert len(told) > 8
    return Probe(images[told + others], [right[k] for k in told + others], TEXTS)


@pytest.mark.parametrize("truth", [True, False])
def test_labelled_images_decide_the_activation(truth: bool, tmp_path: Path) -> None:
    model = tiny_clip(quick_gelu=truth)
    probe = probe_set(truth)
    package = package_clip(bare_file(model, tmp_path / "tiny.pt"), tmp_path / "package", probe=lambda _: probe)
    assert package.quick_gelu is truth
    assert_same(package, model)
    found = load_alignment(tmp_path / "package").source["activation"]["probe"]
    right, wrong = ("accuracy_quick_gelu", "accuracy_gelu")[:: 1 if truth else -1]
    assert (found[right], found[wrong]) == (1.0, 0.5)
    assert found["margin"] == found["differing"] == found["images"] // 2
    assert found["chance"] == pytest.approx(2 * 0.5 ** found["differing"])
    with pytest.raises(UsageError, match="leave out the probe"):
        package_clip(tmp_path / "tiny.pt", tmp_path / "other", quick_gelu=True, probe=lambda _: probe)


def test_a_probe_that_cannot_tell_is_refused(model: Any, tmp_path: Path) -> None:
    probe = probe_set(True)
    rng = np.random.default_rng(0)
    wild = Probe(probe.images[:12], rng.integers(0, 5, 12).tolist(), probe.texts)
    file = bare_file(model, tmp_path / "tiny.pt")
    with pytest.raises(ModelError, match="12 images cannot tell QuickGELU from GELU"):
        package_clip(file, tmp_path / "package", probe=lambda _: wild)
    for bad, message in (
        (Probe(probe.images[:3], probe.labels[:3], probe.texts), "at least 8"),
        (Probe(probe.images[..., :16], probe.labels, probe.texts), r"uint8 \[N, 3, 32, 32\] is needed"),
        (Probe(probe.images, [*probe.labels[:-1], 7], probe.texts), "with 5 texts"),
    ):
        with pytest.raises(UsageError, match=message):
            package_clip(file, tmp_path / "package", probe=lambda _, bad=bad: bad)
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize(
    ("one", "other", "chance"), [(0, 0, 1), (1, 0, 1), (3, 3, 1), (7, 0, 2 / 128), (8, 1, 20 / 512), (1, 8, 20 / 512)]
)
def test_the_sign_test(one: int, other: int, chance: float) -> None:
    assert _sign_test(one, other) == pytest.approx(chance)


def test_a_folder_of_labelled_images(tmp_path: Path) -> None:
    for label, size in (("tennis_court", (40, 64)), ("water", (50, 32))):
        (tmp_path / label).mkdir()
        Image.new("RGB", size, (9, 8, 7)).save(tmp_path / label / "a.png")
    (tmp_path / "water" / "notes.txt").write_text("not an image")
    found = read_probe(tmp_path, 32)
    assert (found.texts, found.labels, found.images.shape) == (["tennis court", "water"], [0, 1], (2, 3, 32, 32))
    assert found.images[1, :, 5, 5].tolist() == [9, 8, 7]
    (tmp_path / "water" / "b.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"b\.png: cannot be read"):
        read_probe(tmp_path, 32)


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), str(path))


def test_files_that_are_refused_with_the_way_out(model: Any, tmp_path: Path) -> None:
    state, file = dict(model.state_dict()), tmp_path / "file.pt"
    marker = tmp_path / "owned"

    def hostile(where: str) -> Any:
        evil = Hostile(str(marker))
        return {"wrapped": {"state_dict": state, "args": evil}, "inside": {**state, "x": evil}, "alone": evil}[where]

    cases: list[tuple[Any, str]] = [
        (lambda: torchscript(file), r"TorchScript archive .* torch\.save\(\{'state_dict': torch\.jit\.load"),
        (lambda: torch.save(hostile("wrapped"), file), r"names posix\.mkdir, which is code.* save them: torch\.save"),
        (lambda: torch.save(hostile("inside"), file), r"not loaded: it names .*, which is code.* save them"),
        (lambda: torch.save(hostile("alone"), file), r"not loaded: it names .*, which is code.* save them"),
        (lambda: torch.save(model, file), r"not loaded: it names .*, which is code.* save them"),
        (lambda: torch.save({"vision_model.embeddings.x": torch.ones(2)}, file), "HF transformers"),
        (lambda: torch.save({"visual.trunk.blocks.0.x": torch.ones(2)}, file), "timm or EVA"),
        (lambda: torch.save({"visual.layer1.0.conv1.weight": torch.ones(2)}, file), "ResNet image tower"),
        (lambda: torch.save({"model": state}, file), "'model' is a dict, a tensor is needed"),
        (lambda: torch.save({"a": torch.ones(2)}, file), "lacks 'visual.conv1.weight' and holds a"),
        (lambda: torch.save({**state, "extra.head": torch.ones(2)}, file), "unexpected 'extra.head'"),
        (
            lambda: torch.save({n: t for n, t in state.items() if n != "visual.proj"}, file),
            "weight proj has shape None",
        ),
        (
            lambda: torch.save({n: t for n, t in state.items() if n != "visual.ln_post.bias"}, file),
            r"lacks 1 weights, such as 'ln_post\.bias'",
        ),
        (
            lambda: torch.save({**state, "visual.transformer.resblocks.0.ls_1.gamma": torch.ones(128)}, file),
            "unexpected 1 weights, such as 'transformer.resblocks.0.ls_1.gamma'",
        ),
        (lambda: torch.save({**state, "visual.proj": state["visual.proj"] * torch.nan}, file), "holds NaN"),
        (lambda: torch.save({**state, "logit_scale": torch.tensor(1e3)}, file), "logit_scale=1000.0"),
        (
            lambda: torch.save({**state, "token_embedding.weight": torch.ones(500, 64)}, file),
            "vocab_size=500: must be 49408",
        ),
        (lambda: file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (lambda: file.write_bytes(b""), "not loaded"),
        (lambda: file.write_bytes(b"\x10\0\0\0\0\0\0\0{damaged"), "not a whole safetensors file"),
    ]
    for write, message in cases:
        write()
        with pytest.raises(ModelError, match=message) as caught:
            package_clip(file, tmp_path / "package", quick_gelu=True)
        assert str(file) in str(caught.value)
        assert not marker.exists()
        assert not (tmp_path / "package").exists()
    with pytest.raises(ModelError, match="no such file"):
        package_clip(tmp_path / "absent.pt", tmp_path / "package", quick_gelu=True)


SHAPES = {
    "ViT-B-32": (768, 12, 32, 50, 512, 512, 12, 3072, 64),
    "ViT-L-14": (1024, 24, 14, 257, 768, 768, 12, 4096, 64),
    "ViT-H-14": (1280, 32, 14, 257, 1024, 1024, 24, 5120, 80),
    "ViT-g-14": (1408, 40, 14, 257, 1024, 1024, 24, 6144, 88),
}


@pytest.mark.parametrize("name", SHAPES)
def test_published_architectures_are_told_from_shapes(name: str) -> None:
    """Heads of ViT-H and ViT-g are 80 and 88 wide: no shape shows it, open_clip's table does."""
    import open_clip

    width, layers, patch, rows, embed, text, text_layers, mlp, head = SHAPES[name]
    image: dict[str, tuple[int, ...]] = {
        "conv1.weight": (width, 3, patch, patch),
        "positional_embedding": (rows, width),
        "proj": (width, embed),
        "ln_pre.weight": (width,),
    }
    image |= {f"transformer.resblocks.{k}.mlp.c_fc.weight": (mlp, width) for k in range(layers)}
    words: dict[str, tuple[int, ...]] = {"token_embedding.weight": (49408, text), "positional_embedding": (77, text)}
    words |= {f"transformer.resblocks.{k}.mlp.c_fc.weight": (4 * text, text) for k in range(text_layers)}
    config, how = infer_config(image, words, "test")
    assert how.startswith("open_clip's ViT")
    stated = check_config(open_clip.get_model_config(name), "test")
    found = check_config(config, "test")
    assert (
        int(width * found["vision_cfg"].pop("mlp_ratio")) == int(width * stated["vision_cfg"].pop("mlp_ratio")) == mlp
    )
    assert found == stated
    assert found["vision_cfg"]["head_width"] == head
    odd = {n: tuple(100 if d == width else d for d in s) for n, s in image.items()}
    with pytest.raises(ModelError, match=r"vision_cfg\.width=100 is no multiple of 64.*open_clip_config\.json"):
        infer_config(odd, words, "test")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("vision_cfg", "timm_model_name"), "eva02", "timm_model_name='eva02'.*open_clip's own ViT"),
        (("text_cfg", "hf_model_name"), "roberta-base", "hf_model_name='roberta-base'"),
        (("text_cfg", "pool_type"), "last", "pool_type='last'.*'argmax' here"),
        (("vision_cfg", "attentional_pool"), True, "attentional_pool=True"),
        (("vision_cfg", "layers"), [3, 4, 6, 3], r"layers=\[3, 4, 6, 3\]: must be a whole number in 1..64"),
        (("vision_cfg", "width"), 1 << 30, r"must be a whole number in 16\.\.2048"),
        (("vision_cfg", "width"), True, "must be a whole number"),
        (("vision_cfg", "head_width"), 48, "width=128 is no multiple of head_width=48"),
        (("vision_cfg", "mlp_ratio"), float("nan"), "mlp_ratio=nan"),
        (("vision_cfg", "own"), 1, "own=1: not a setting that is known"),
        (("multimodal_cfg",), {}, "multimodal_cfg={}: not a setting"),
        (("quick_gelu",), "yes", "quick_gelu='yes': must be true or false"),
        (("text_cfg",), None, "text_cfg=None: must be an object"),
        (("embed_dim",), 0, "embed_dim=0"),
    ],
)
def test_architectures_that_are_refused(path: tuple[str, ...], value: Any, message: str) -> None:
    config: dict[str, Any] = {"embed_dim": 24, "vision_cfg": dict(VISION), "text_cfg": dict(TEXT)}
    check_config(config, "here")
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ModelError, match=message) as caught:
        check_config(config, "here")
    assert str(caught.value).startswith("here: architecture")


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    package_clip(bare_file(model, tmp_path / "tiny.pt"), tmp_path / "package", quick_gelu=True)
    return tmp_path / "package"


def test_one_tower_is_read_without_the_other(folder: Path) -> None:
    whole = load_alignment(folder)
    (folder / "image.safetensors").unlink()
    text = load_alignment(folder, towers=("text",))
    assert text.digest == whole.digest
    assert text.image is None
    build_text_tower(text)
    with pytest.raises(ModelError, match="its image tower was not loaded"):
        build_image_tower(text)
    with pytest.raises(ModelError, match=r"image\.safetensors"):
        load_alignment(folder)


def test_a_client_reads_the_description_without_torch(folder: Path) -> None:
    code = f"""
import sys
from gridscribe.models.clip.package import load_alignment
load_alignment({str(folder)!r}, towers=("text",))
sys.exit(3 * any(name in sys.modules for name in ("torch", "open_clip")))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("format",), "gridscribe-model/1", "a model that aligns images with text has"),
        (("mlm:tasks",), ["semantic-segmentation"], "tasks"),
        (("mlm:input", 0, "bands"), ["blue", "green", "red"], "bands are"),
        (("gridscribe", "architecture", "quick_gelu"), None, "must state quick_gelu"),
        (("gridscribe", "architecture", "vision_cfg", "pool_type"), "tok", "must state quick_gelu and every number"),
        (("gridscribe", "architecture", "vision_cfg", "layers"), 3, "lacks"),
        (("gridscribe", "architecture", "vision_cfg", "layers"), 10**6, "must be a whole number"),
        (("gridscribe", "mean"), [1, 2], "three numbers"),
        (("gridscribe", "std"), [0, 1, 1], "three numbers"),
        (("gridscribe", "gsd"), [2, 1], "gsd"),
        (("gridscribe", "logit_scale"), 0, "logit_scale"),
        (("gridscribe", "weights", "text", "sha256"), "0" * 64, "damaged, or of another package"),
        (("gridscribe", "weights"), {}, "KeyError"),
    ],
)
def test_descriptions_that_are_refused(folder: Path, keys: tuple[Any, ...], value: Any, message: str) -> None:
    document = json.loads((folder / "model.json").read_text())
    part = document
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(ModelError, match=message):
        build_image_tower(load_alignment(folder))


def test_weights_are_those_that_the_digest_stands_for(folder: Path) -> None:
    first = load_alignment(folder)
    document = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(dict(reversed(document.items())), indent=7))
    assert load_alignment(folder).digest == first.digest
    data = bytearray((folder / "text.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "text.safetensors").write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"text\.safetensors has .* damaged, or of another package"):
        load_alignment(folder)


def test_nothing_is_written_over(folder: Path) -> None:
    before = (folder / "model.json").read_bytes()
    with pytest.raises(UsageError, match=r"holds a model\.json already"):
        package_clip(folder.parent / "tiny.pt", folder, quick_gelu=False)
    assert (folder / "model.json").read_bytes() == before


def test_the_command(model: Any, tmp_path: Path) -> None:
    file = bare_file(model, tmp_path / "tiny.pt")
    run = partial(CliRunner().invoke, cli)
    refused = run(["package-clip", str(file), "--to", str(tmp_path / "a")])
    assert isinstance(refused.exception, ModelError)
    done = run(["package-clip", str(file), "--to", str(tmp_path / "a"), "--quick-gelu", "--name", "mine", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["name"] == load_alignment(tmp_path / "a").name == "mine"
    assert facts["digest"] == load_alignment(tmp_path / "a").digest
    done = run(["package-clip", str(file), "--to", str(tmp_path / "b"), "--no-quick-gelu", "--gsd", "0.2", "1"])
    assert "GELU (stated when packaged)" in done.stdout
    assert load_alignment(tmp_path / "b").gsd == (0.2, 1.0)
