"""The towers in training: losses switched as configured, teachers, the package that comes out, runs that are stopped."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gridscribe.cli.train import command
from gridscribe.errors import ModelError, UsageError
from gridscribe.ingest.scenes import write_scenes
from gridscribe.models.clip.aligner import Aligner
from gridscribe.models.clip.losses import region_contrast, roi_vectors
from gridscribe.models.clip.package import load_alignment
from gridscribe.models.clip.text import TextEncoder
from gridscribe.models.clip.towers import build_image_tower
from gridscribe.models.engines import malloc_environment
from gridscribe.pipelines.alignment.dataset import AlignmentViews, collate_views
from gridscribe.pipelines.alignment.training import load_alignment_config, start_from, train_alignment
from gridscribe.pipelines.precision import attention_for
from gridscribe.pipelines.training import CheckedRunner

VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8, "mlp_ratio": 2.0}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1, "mlp_ratio": 2.0}
ARCHITECTURE = {"embed_dim": 16, "quick_gelu": False, "vision_cfg": VISION, "text_cfg": TEXT}
SMALL = {
    "train_dataloader.batch_size": 6,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "train_dataloader.collate_fn.context": 24,
    "train_dataloader.dataset.side": 32,
    "train_dataloader.dataset.pixels": (40, 120),
    "optim_wrapper.precision": "float32",
    "default_hooks.logger.interval": 1,
    **{f"model.architecture.vision_cfg.{key}": value for key, value in VISION.items()},
    **{f"model.architecture.text_cfg.{key}": value for key, value in TEXT.items()},
    "model.architecture.embed_dim": 16,
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 2, 5, 256, 0.2)
    return folder


def train(
    config: str, work_dir: Path, scenes: Path, steps: int = 3, changes: dict[str, Any] | None = None, **options: Any
) -> Any:
    changed = {**SMALL, **(changes or {})}
    return train_alignment(
        config, work_dir, data=scenes, steps=steps, seed=0, threads=1, cfg_options=changed, **options
    )


def aligner(seed: int = 0, **options: Any) -> Aligner:
    torch.manual_seed(seed)
    settings = {"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2), "weights": {"contrast": 1.0, "distil": 0.1}, **options}
    return Aligner(ARCHITECTURE, **settings)


def batch(scenes: Path, crops: str = "objects", first: int = 0) -> dict[str, torch.Tensor]:
    views = AlignmentViews(str(scenes), 32, crops=crops, count=2, pixels=(40, 120))
    return collate_views([views[k] for k in range(first, first + 6)], context=24)


def test_the_stages_one_after_another_make_a_package_that_loads(scenes: Path, tmp_path: Path) -> None:
    crops = train("crops", tmp_path / "crops", scenes)
    zeroth = train("stage0", tmp_path / "zero", scenes, pretrained=tmp_path / "crops" / "package")
    first = train("stage1", tmp_path / "one", scenes, pretrained=tmp_path / "zero" / "package")
    second = train("stage2", tmp_path / "two", scenes, pretrained=tmp_path / "one" / "package")
    assert crops.source["training"]["initial_weights"] == "random"
    assert crops.source["training"]["weights"] == {"region": 1.0}
    assert zeroth.source["training"]["initial_weights"] == {"name": "align-crops", "digest": crops.digest}
    assert first.source["training"]["initial_weights"] == {"name": "align-stage0", "digest": zeroth.digest}
    assert second.source["training"]["initial_weights"] == {"name": "align-stage1", "digest": first.digest}
    assert second.source["training"]["weights"] == {"contrast": 1.0, "region": 1.0, "roi": 1.0}
    third = train("surroundings", tmp_path / "three", scenes, pretrained=tmp_path / "two" / "package")
    assert third.source["training"]["initial_weights"] == {"name": "align-stage2", "digest": second.digest}
    loaded = load_alignment(tmp_path / "three" / "package")
    assert loaded.digest == third.digest
    assert (loaded.name, loaded.gsd, loaded.window, loaded.patch) == ("align", (0.15, 0.45), 32, 8)
    assert TextEncoder(loaded).embed(["swimming pool"]).shape == (1, 16)
    assert build_image_tower(loaded)(torch.zeros(1, 3, 32, 32)).shape == (1, 16)
    assert (tmp_path / "two" / "curve.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UsageError, match="choose another work_dir"):
        train("stage2", tmp_path / "two", scenes)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(scenes: Path, tmp_path: Path) -> None:
    whole = train("stage1", tmp_path / "whole", scenes, 4)
    stop = {**SMALL, "default_hooks.checkpoint.interval": 2}
    config = load_alignment_config(
        "stage1", data=scenes, work_dir=tmp_path / "parts", steps=4, seed=0, cfg_options=stop
    )
    torch.set_num_threads(1)
    runner = CheckedRunner.from_cfg(config)
    runner.train_loop._max_iters = 2  # stopped after its second step, its schedule that of four
    with attention_for("cpu"):
        runner.train()
    parts = train("stage1", tmp_path / "parts", scenes, 4)
    for one, other in ((whole.image, parts.image), (whole.text, parts.text)):
        assert one == other


@pytest.mark.parametrize(
    ("weights", "crops", "losses"),
    [
        ({"contrast": 1.0}, "objects", {"loss_contrast"}),
        ({"contrast": 1.0, "region": 1.0}, "objects", {"loss_contrast", "loss_region"}),
        ({"contrast": 1.0, "roi": 1.0}, "objects", {"loss_contrast", "loss_roi"}),
        ({"region": 1.0}, "objects", {"loss_region"}),
        ({"contrast": 0.0, "distil": 1.0}, "random", {"loss_contrast", "loss_distil"}),
    ],
)
def test_losses_are_those_that_have_a_weight(
    scenes: Path, weights: dict[str, float], crops: str, losses: set[str]
) -> None:
    found = aligner(weights=weights)(**batch(scenes, crops))
    assert set(found) == losses
    for name, value in found.items():
        assert torch.isfinite(value)
        assert (float(value.detach()) > 0) == (weights.get(name[5:], 0) > 0)


def test_distillation_begins_when_the_contrast_is_above_chance(scenes: Path) -> None:
    model, given = aligner().train(), batch(scenes, "random")
    assert "loss_distil" not in model(**given)
    for _ in range(80):  # the contrast as good as solved
        model._follow(torch.tensor(0.1), 6)
    assert "loss_distil" in model(**given)
    for _ in range(80):  # once begun it stays
        model._follow(torch.tensor(5.0), 6)
    assert "loss_distil" in model(**given)
    fresh = aligner()
    fresh.load_state_dict(model.state_dict())
    assert "loss_distil" in fresh(**given)


def test_teachers(scenes: Path) -> None:
    given = batch(scenes, "random")
    active = aligner(weights={"distil": 1.0})
    assert active.guide is None
    mean = aligner(weights={"contrast": 1.0, "distil": 1.0}, teacher="ema").train()
    frozen = aligner(weights={"distil": 1.0}, teacher="frozen").train()
    for model in (mean, frozen):
        with torch.no_grad():
            for weight in model.dense.parameters():
                weight.add_(1.0)
        before = [weight.clone() for weight in model.guide.parameters()]
        model(**given)
        moved = [float((new - old).mean()) for new, old in zip(model.guide.parameters(), before, strict=True)]
        assert moved == pytest.approx([0.01 if model is mean else 0.0] * len(moved), abs=1e-4)
        assert not any(weight.requires_grad for weight in model.guide.parameters())


def test_the_active_teacher_learns_and_the_others_do_not(scenes: Path) -> None:
    """With the network itself as teacher a gradient comes through the crops too."""
    given = batch(scenes, "random")

    def reached(model: Aligner) -> bool:
        model.distilling.fill_(True)
        crops = given["crops"].clone().requires_grad_()
        model(**{**given, "crops": crops})["loss_distil"].backward()
        return crops.grad is not None and bool(crops.grad.any())

    assert reached(aligner())
    assert not reached(aligner(teacher="ema"))


def test_the_target_is_patches_or_the_class_vector(scenes: Path) -> None:
    given = batch(scenes, "random")
    found = {}
    for target in ("patches", "cls", "both"):
        model = aligner(target=target)
        model.distilling.fill_(True)
        found[target] = float(model(**given)["loss_distil"].detach())
    assert found["patches"] != pytest.approx(found["cls"], rel=1e-3)
    assert found["both"] == pytest.approx((found["patches"] + found["cls"]) / 2, rel=1e-4)


def test_views_without_objects_teach_by_their_captions_alone(scenes: Path) -> None:
    given = batch(scenes)
    none = {
        **given,
        "crops": given["crops"][:0], "boxes": given["boxes"][:0], "owner": given["owner"][:0],
        "drawn": given["drawn"][:0], "phrases": given["phrases"][:0], "truth": given["truth"][:0, :0],
    }  # fmt: skip
    found = aligner(weights={"contrast": 1.0, "region": 1.0, "roi": 1.0, "distil": 0.1})(**none)
    assert float(found["loss_region"].detach()) == float(found["loss_roi"].detach()) == 0
    sum(found.values()).backward()


def test_the_scale_stays_within_its_bounds(scenes: Path) -> None:
    model = aligner()
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model(**batch(scenes, "random"))
    assert float(model.logit_scale.detach()) == pytest.approx(math.log(100))


def test_shuffled_captions_are_those_of_other_views(scenes: Path) -> None:
    plain = AlignmentViews(str(scenes), 32, pixels=(40, 120))
    mixed = AlignmentViews(str(scenes), 32, pixels=(40, 120), shuffled=True)
    same = [plain[k].text == mixed[k].text for k in range(30)]
    assert sum(same) < 6
    for k in range(30):
        view = mixed[k]
        np.testing.assert_array_equal(view.image, plain[k].image)
        assert len(view.crops) == len(view.boxes) == len(view.phrases) == len(view.regions)


def test_texts_are_encoded_as_by_the_stock_tower(scenes: Path) -> None:
    model, given = aligner().eval(), batch(scenes)
    with torch.no_grad():
        for texts in (given["texts"], given["phrases"], given["phrases"][:0]):
            torch.testing.assert_close(model.encode_text(texts), model.text(texts), rtol=1e-4, atol=1e-5)


def test_boxes_are_named_without_crops(scenes: Path) -> None:
    """The loss of RoI vectors needs no picture of a box, and reaches the image tower by the tokens of the view."""
    given = batch(scenes)
    none = {**given, "crops": given["crops"][:0], "drawn": given["drawn"][:0]}
    model = aligner(weights={"roi": 1.0, "contrast": 0.0})
    with torch.no_grad():
        _, tokens = model.dense(given["views"])
        pooled = roi_vectors(tokens, given["boxes"], given["owner"])
        wanted = region_contrast(pooled, model.text(given["phrases"]), given["truth"], model.logit_scale.exp())
    found = model(**none)["loss_roi"]
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-4, atol=1e-5)
    found.backward()
    assert model.dense.visual.conv1.weight.grad.abs().sum() > 0


def test_random_crops_are_named_by_nothing(scenes: Path) -> None:
    given = batch(scenes, "random")
    assert not given["truth"].any()
    assert len(given["crops"]) == len(given["phrases"]) == 12
    assert given["owner"].tolist() == [k // 2 for k in range(12)]


def test_what_cannot_be_trained_is_refused(scenes: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"teacher": "twin"}, "teacher='twin'"),
        ({"target": "crop"}, "target='crop'"),
        ({"weights": {"itc": 1.0}}, "weights="),
        ({"teacher": "frozen"}, "allows no contrast beside it"),
    ):
        with pytest.raises(UsageError, match=message):
            aligner(**options)
    other = aligner()
    package = train("stage1", tmp_path / "w", scenes, 2, changes={"model.architecture.vision_cfg.layers": 1})
    with pytest.raises(ModelError, match="lacks"):
        start_from(other, load_alignment(package.uri))
    with pytest.raises(UsageError, match="kind='coco'"):
        train("stage1", tmp_path / "k", scenes, kind="coco")


def test_the_command(scenes: Path, tmp_path: Path) -> None:
    given = [part for key, value in SMALL.items() for part in ("--cfg-options", f"{key}={value!r}")]
    arguments = ["--data", str(scenes), "--work-dir", str(tmp_path / "w"), "--steps", "2", "--threads", "1", *given]
    runner = CliRunner(env=malloc_environment())
    done = runner.invoke(command, ["alignment/stage2", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["digest"] == load_alignment(tmp_path / "w" / "package").digest
    for wrong, message in (
        (["--encoder", "mit-b0"], "--encoder: not for"),
        (["--pretrained", "rgb=x"], "takes one all="),
    ):
        with pytest.raises(UsageError, match=message):
            runner.invoke(command, ["alignment/stage2", *arguments, *wrong], catch_exceptions=False)
