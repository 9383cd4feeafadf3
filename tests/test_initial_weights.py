"""Training that begins with weights of others, and checkpoints turned into packages, from end to end."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmseg.models import MixVisionTransformer

from gridscribe.cli import cli
from gridscribe.errors import ModelError, UsageError
from gridscribe.models.inference import Predictor
from gridscribe.models.package import build_network, load_package
from gridscribe.models.weights import read_checkpoint
from gridscribe.pipelines.checkpoint_package import package_checkpoint
from gridscribe.pipelines.initial_weights import IMAGENET, RECORD, InitialWeights, parse_pretrained
from gridscribe.pipelines.training import load_config, train
from tests.test_pretrained import CONFIG, lively, runner_file, save, stock_segmentor
from tests.test_training import TINY, blocks, write_scene

torch.set_num_threads(1)
MIT: dict[str, Any] = {"embed_dims": 8, "num_layers": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
OPTIONS = {**TINY, "default_hooks.checkpoint.interval": 2}
OWN = {"mean": (112.0, 112.0, 104.0), "std": (52.0, 50.0, 49.0)}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scene(folder, "a", blocks(1))
    return folder


@pytest.fixture(scope="module")
def mit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = lively(MixVisionTransformer(num_stages=4, **MIT), seed=7)
    return save({"state_dict": encoder.state_dict()}, tmp_path_factory.mktemp("files") / "mit_b0.pth")


@HOOKS.register_module(force=True)
class Witness(Hook):
    """Keeps the weights that a run's first step starts from, and stops it the hard way."""

    begun: dict[str, torch.Tensor]

    def __init__(self, stop_after: int = 0) -> None:
        self.stop_after = stop_after

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.iter == 0:
            Witness.begun = {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
        if self.stop_after and runner.iter == self.stop_after:
            raise KeyboardInterrupt


def run(scenes: Path, work_dir: Path, name: str = "scenes", stop_after: int = 0, **options: Any) -> Any:
    given = {
        **OPTIONS,
        "custom_hooks": [{"type": "Witness", "stop_after": stop_after}],
        **options.pop("cfg_options", {}),
    }
    return train(name, work_dir, data=scenes, steps=4, threads=1, cfg_options=given, **options)


def test_training_begins_with_the_checkpoint_and_the_package_says_so(scenes: Path, mit: Path, tmp_path: Path) -> None:
    package = run(scenes, tmp_path, pretrained={"rgb": mit, "height": mit})
    theirs = read_checkpoint(mit)["state_dict"]
    for name, tensor in theirs.items():
        assert torch.equal(Witness.begun[f"backbone.rgb.{name}"], tensor), name
        if "0.0.projection.weight" not in name:
            assert torch.equal(Witness.begun[f"backbone.height.{name}"], tensor), name
    moved = build_network(package).state_dict()["backbone.rgb.layers.0.0.projection.weight"]
    assert not torch.equal(moved, theirs["layers.0.0.projection.weight"].half().float())  # and went on from there
    stored = load_package(tmp_path / "package")
    first, second = stored.training["initial_weights"]
    assert (first["into"], second["into"]) == ("rgb", "height")
    assert first["file"] == second["file"] == "mit_b0.pth"
    assert first["sha256"] == second["sha256"]
    assert first["matched"] == len(theirs)
    assert list(second["adapted"]) == ["backbone.height.layers.0.0.projection.weight"]
    assert str(mit.parent) not in (tmp_path / "package" / "model.json").read_text()
    # the weights were made for ImageNet's normalisation, and the network keeps it
    assert stored.architecture["data_preprocessor"]["mean"] == IMAGENET["mean"]
    assert stored.architecture["data_preprocessor"]["std"] == IMAGENET["std"]
    assert "instead of the config's mean [112.0, 112.0, 104.0]" in first["notes"][-1]
    log = "\n".join(path.read_text() for path in tmp_path.glob("*/*.log"))
    assert "checkpoint mit_b0.pth into rgb (MMSegmentation's MiT)" in log
    assert "validity of height takes zeros" in log


def test_without_checkpoints_weights_are_random(scenes: Path, tmp_path: Path) -> None:
    package = run(scenes, tmp_path)
    assert package.training["initial_weights"] == "random"
    assert package.architecture["data_preprocessor"]["mean"] == list(OWN["mean"])
    assert not (tmp_path / RECORD).exists()


def test_a_run_that_goes_on_keeps_what_it_began_with(scenes: Path, mit: Path, tmp_path: Path) -> None:
    whole = run(scenes, tmp_path / "whole", pretrained={"rgb": mit})
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        run(scenes, cut, stop_after=3, pretrained={"rgb": mit})
    other = save(lively(MixVisionTransformer(num_stages=4, **MIT), seed=8).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"began with rgb=mit_b0\.pth weights and goes on from its last checkpoint"):
        run(scenes, cut, pretrained={"rgb": other})
    Witness.begun = {}
    resumed = run(scenes, cut)  # whether or not the checkpoint is named again
    assert not Witness.begun
    assert resumed.weights == whole.weights
    assert resumed.training == whole.training
    assert resumed.digest == whole.digest
    assert run(scenes, cut, pretrained={"rgb": mit}).digest == whole.digest
    random = tmp_path / "random"
    run(scenes, random)
    with pytest.raises(UsageError, match="began with random weights"):
        run(scenes, random, pretrained={"rgb": mit})


def test_a_checkpoint_that_does_not_fit_stops_training_before_it_starts(scenes: Path, tmp_path: Path) -> None:
    deeper = MixVisionTransformer(num_stages=4, **{**MIT, "num_layers": (1, 1, 2, 1)})
    file = save(deeper.state_dict(), tmp_path / "deeper.pth")
    with pytest.raises(ModelError, match=r"deeper\.pth.*more than the encoder has: layers\.2\.1\.1"):
        run(scenes, tmp_path / "work", pretrained={"rgb": file})
    assert not list((tmp_path / "work").glob("*.pth"))
    assert not (tmp_path / "work" / RECORD).exists()


# --- normalisation ---


def config(tmp_path: Path, name: str = "timf", **overrides: Any) -> Any:
    return load_config(name, data=tmp_path, work_dir=tmp_path / "work", cfg_options=overrides)


def normalised(config: Any) -> dict[str, tuple[float, ...]]:
    return {key: tuple(config.model.data_preprocessor[key]) for key in OWN}


def test_normalisation_goes_with_the_weights_that_see_rgb(mit: Path, tmp_path: Path) -> None:
    imagenet = {key: tuple(value) for key, value in IMAGENET.items()}
    for name, into, wanted in (
        ("timf", "rgb", imagenet),
        ("timf", "height", OWN),
        ("early", "height", imagenet),
        ("rgb", "rgb", imagenet),
        ("height", "height", OWN),
    ):
        made = config(tmp_path, name)
        InitialWeights({into: mit}, made)
        assert normalised(made) == wanted, (name, into)
    # what the file itself says comes before what is usual
    state = read_checkpoint(mit)["state_dict"]
    text = CONFIG.format(bgr_to_rgb=True, owned="x").replace("123.675", "99.5")
    made = config(tmp_path)
    InitialWeights({"rgb": runner_file(tmp_path / "said.pth", state, text)}, made)
    assert normalised(made)["mean"] == (99.5, 116.28, 103.53)
    # gridscribe's own weights saw what their config said, which is this one's unless the file tells
    made = config(tmp_path)
    own = {f"backbone.encoder.{name}": tensor for name, tensor in state.items()}
    InitialWeights({"rgb": save(own, tmp_path / "own.pth")}, made)
    assert normalised(made) == OWN
    # and what a person asks for stays
    asked = {"model.data_preprocessor.mean": (1.0, 2.0, 3.0)}
    made = config(tmp_path, **asked)
    InitialWeights({"rgb": mit}, made, asked)
    assert normalised(made)["mean"] == (1.0, 2.0, 3.0)


def test_weights_for_bgr_are_refused(mit: Path, tmp_path: Path) -> None:
    text = CONFIG.format(bgr_to_rgb=False, owned="x")
    file = runner_file(tmp_path / "caffe.pth", read_checkpoint(mit)["state_dict"], text)
    with pytest.raises(ModelError, match=r"caffe\.pth: trained on channels in the order B, G, R"):
        InitialWeights({"rgb": file}, config(tmp_path))


@pytest.mark.parametrize("pairs", [["rgb"], ["rgb="], ["depth=x.pth"], ["=x.pth"], ["rgb=a.pth", "rgb=b.pth"]])
def test_options_that_name_no_target_are_usage_errors(pairs: list[str]) -> None:
    with pytest.raises(UsageError, match="--pretrained"):
        parse_pretrained(pairs)
    assert parse_pretrained(["rgb=a=b.pth", "height=c"]) == {"rgb": Path("a=b.pth"), "height": Path("c")}


# --- packages ---


def arguments(options: dict[str, Any]) -> list[str]:
    return [part for key, value in options.items() for part in ("--cfg-options", f"{key}={value!r}")]


def test_a_runners_checkpoint_becomes_the_package_that_training_made(
    scenes: Path, mit: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def package(*more: str) -> str:
        """What the command prints, run in this process."""
        capfd.readouterr()
        given = ["package", "timf", str(checkpoint), "--to", str(tmp_path / "model"), *arguments(TINY), *more]
        cli.main(args=given, standalone_mode=False)
        return capfd.readouterr().out

    command = [sys.executable, "-m", "gridscribe", "train", "timf", "--data", str(scenes), "--pretrained", f"rgb={mit}"]
    command += ["--work-dir", str(tmp_path / "work"), "--steps", "2", "--threads", "1", "--json"]
    trained = subprocess.run(
        [*command, *arguments({**TINY, "default_hooks.checkpoint.interval": 2})],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    checkpoint = tmp_path / "work" / "iter_2.pth"
    with pytest.raises(ModelError, match=r"mean=.*123\.675, 116\.28, 103\.53.*, here \(112") as refused:
        package()  # timf's own normalisation is not what these weights were trained behind
    assert not (tmp_path / "model").exists()
    printed = package(*shlex.split(str(refused.value).split("; say ")[1]), "--json")
    made, wanted = load_package(tmp_path / "model"), load_package(tmp_path / "work" / "package")
    assert json.loads(printed)["digest"] == made.digest
    assert made.weights == wanted.weights
    assert made.architecture == wanted.architecture
    assert made.classes == wanted.classes
    assert made.training["checkpoint"]["file"] == "iter_2.pth"
    assert wanted.training["initial_weights"][0]["file"] == "mit_b0.pth"
    with pytest.raises(UsageError, match="holds a model package already"):
        package()


def test_checkpoints_of_another_network_are_named_and_not_packaged(mit: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mit_b0\.pth: lacks \d+ weights, such as 'backbone\.fusions"):
        package_checkpoint("timf", mit, tmp_path / "model", cfg_options=TINY)
    network = build_network(package_of(tmp_path))
    state = {**network.state_dict(), "decode_head.conv_seg.bias": torch.zeros(9)}
    file = runner_file(tmp_path / "nine.pth", state)
    with pytest.raises(ModelError, match=r"conv_seg\.bias has shape \(9,\), the architecture needs \(7,\)"):
        package_checkpoint("timf", file, tmp_path / "model", cfg_options=TINY)
    assert not (tmp_path / "model").exists()


def test_mmsegmentations_own_segmentor_becomes_a_package_of_rgb(tmp_path: Path) -> None:
    theirs = stock_segmentor(7)
    for name, parameter in theirs.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
        elif name.endswith("weight"):
            torch.nn.init.ones_(parameter)  # norms let through what came before
    text = CONFIG.format(bgr_to_rgb=True, owned="x")
    file = runner_file(tmp_path / "segformer.pth", theirs.state_dict(), text)
    options = {f"model.backbone.encoder.{key}": value for key, value in {**MIT, "num_layers": (1, 2, 1, 1)}.items()}
    options |= {"model.decode_head.in_channels": (8, 8, 16, 16), "model.decode_head.channels": 16}
    options |= {f"model.data_preprocessor.{key}": tuple(value) for key, value in IMAGENET.items()}
    package = package_checkpoint("rgb", file, tmp_path / "model", cfg_options=options)
    bare = save(
        theirs.state_dict(), tmp_path / "bare.pth"
    )  # says nothing of its inputs, which are ImageNet's all the same
    unlike = {key: value for key, value in options.items() if "preprocessor" not in key}
    with pytest.raises(ModelError, match="another preprocessor than the config's: mean="):
        package_checkpoint("rgb", bare, tmp_path / "bare", cfg_options=unlike)
    raw = torch.rand(1, 4, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3) * 255
    mean, std = (torch.tensor(IMAGENET[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits = theirs.decode_head(theirs.backbone((raw[:, :3] - mean) / std))
        wanted = torch.nn.functional.interpolate(logits, size=(64, 64), mode="bilinear").softmax(1)
        found = Predictor(build_network(package))(raw)
    torch.testing.assert_close(found, wanted, atol=1e-2, rtol=0)  # the package is float16
    assert (wanted.amax((2, 3)) - wanted.amin((2, 3))).max() > 0.1  # ten times what float16 may change, and more


def package_of(tmp_path: Path) -> Any:
    """Of random weights, through a bare checkpoint."""
    from gridscribe.models.segmentor import build_segmentor

    made = load_config("timf", data=tmp_path, work_dir=tmp_path, cfg_options=TINY)
    network = lively(build_segmentor(made.model.to_dict()))
    package = package_checkpoint(
        "timf", save(network.state_dict(), tmp_path / "bare.pth"), tmp_path / "bare", cfg_options=TINY
    )
    for name, tensor in build_network(package).state_dict().items():
        if not name.endswith("num_batches_tracked"):
            wanted = network.state_dict()[name].numpy()
            assert np.array_equal(tensor.numpy(), wanted.astype(np.float16) if wanted.ndim > 1 else wanted), name
    return package
