"""The network's pieces against numbers by hand and against MMSegmentation's own modules."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from mmseg.models import MixVisionTransformer, SegformerHead

from gridscribe.models.architecture import plain_architecture
from gridscribe.models.head import LateralSegformerHead
from gridscribe.models.inference import Predictor
from gridscribe.models.mit import run_stage, run_stage_plainly
from gridscribe.models.preprocess import RGBHPreprocessor
from gridscribe.models.segmentor import build_segmentor
from tests.tiny import ARCHITECTURE, ENCODER

torch.set_num_threads(1)
NAN = float("nan")


def preprocessor(**options: object) -> RGBHPreprocessor:
    return RGBHPreprocessor(
        mean=(100, 110, 120), std=(50, 40, 20), height_mean=4, height_std=5, height_range=(-2, 60), **options
    )


def raw(red: float, green: float, blue: float, height: float) -> torch.Tensor:
    return torch.tensor([red, green, blue, height]).view(1, 4, 1, 1)


def test_preprocessor_by_hand() -> None:
    found = preprocessor().normalise(raw(150, 110, 0, 14))
    assert found.shape == (1, 5, 1, 1)
    assert found.flatten().tolist() == [1, 0, -6, 2, 1]


@pytest.mark.parametrize(
    ("height", "wanted"),
    [(-10, (-6 / 5, 1)), (200, (56 / 5, 1)), (math.inf, (56 / 5, 1)), (-math.inf, (-6 / 5, 1)), (NAN, (0, -1))],
)
def test_height_is_clamped_and_missing_is_told_apart(height: float, wanted: tuple[float, float]) -> None:
    found = preprocessor().normalise(raw(100, 110, 120, height)).flatten()
    assert found[:3].tolist() == [0, 0, 0]
    assert found[3:].tolist() == pytest.approx(wanted)


def test_missing_height_takes_the_stated_value() -> None:
    assert preprocessor(height_missing=-3.0).normalise(raw(0, 0, 0, NAN)).flatten()[3:].tolist() == [-3, -1]


def test_modalities_are_left_out_as_stated() -> None:
    one, other = raw(10, 20, 30, 5), raw(200, 100, 0, 5)
    height_only = preprocessor(use=("height",))
    assert torch.equal(height_only.normalise(one), height_only.normalise(other))
    assert height_only.normalise(one).flatten()[:3].tolist() == [-2, -2.75, -6]  # black
    rgb_only = preprocessor(use=("rgb",))
    assert rgb_only.normalise(one).flatten()[3:].tolist() == [0, -1]
    assert torch.equal(rgb_only.normalise(one), preprocessor().normalise(raw(10, 20, 30, NAN)))


def test_channels_are_never_swapped_and_inputs_are_stacked() -> None:
    batch = [torch.full((4, 2, 3), 100.0), torch.zeros(4, 2, 3)]
    batch[0][0] = 150
    found = preprocessor()({"inputs": batch, "data_samples": ["a", "b"]})
    assert found["inputs"].shape == (2, 5, 2, 3)
    assert found["inputs"][0, 0].unique().tolist() == [1]
    assert found["data_samples"] == ["a", "b"]
    with pytest.raises(ValueError, match=r"\(1, 3, 2, 2\)"):
        preprocessor()({"inputs": [torch.zeros(3, 2, 2)]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"std": (1, 0, 1)}, "positive"),
        ({"mean": (1, 2)}, "3 means"),
        ({"height_std": 0}, "positive"),
        ({"height_range": (5, 5)}, "rise"),
        ({"use": ("depth",)}, "depth"),
        ({"use": ()}, "one or both"),
    ],
)
def test_preprocessor_refuses(options: dict, message: str) -> None:
    given = {"mean": (1, 2, 3), "std": (1, 1, 1), "height_mean": 0, "height_std": 1, **options}
    with pytest.raises(ValueError, match=message):
        RGBHPreprocessor(**given)


def test_fast_stages_equal_mmsegmentation() -> None:
    torch.manual_seed(0)
    encoder = MixVisionTransformer(
        in_channels=3, embed_dims=16, num_stages=4, num_layers=[1, 2, 1, 1], num_heads=[1, 2, 3, 4]
    )
    encoder.init_weights()
    encoder.eval()
    x = torch.randn(2, 3, 72, 104)  # sides that strides do not divide
    wanted = encoder(x)
    for run in (run_stage, run_stage_plainly):
        y = x
        for stage, expected in zip(encoder.layers, wanted, strict=True):
            y = run(stage, y)
            torch.testing.assert_close(y, expected, atol=2e-5, rtol=2e-5)


def test_fast_stages_learn_alike() -> None:
    torch.manual_seed(0)
    encoder = MixVisionTransformer(
        in_channels=2, embed_dims=8, num_stages=4, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]
    )
    x = torch.randn(2, 2, 64, 64)
    gradients = []
    for run in (run_stage, run_stage_plainly):
        y = x
        for stage in encoder.layers:
            y = run(stage, y)
        encoder.zero_grad()
        y.square().mean().backward()
        gradients.append({n: p.grad.clone() for n, p in encoder.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-5, rtol=1e-3, msg=name)


def test_lateral_head_equals_segformer_head() -> None:
    torch.manual_seed(0)
    options = {
        "in_channels": [4, 6],
        "in_index": [0, 1],
        "channels": 8,
        "num_classes": 3,
        "norm_cfg": {"type": "BN"},
        "dropout_ratio": 0.0,
        "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
    }
    ours, theirs = LateralSegformerHead(**options), SegformerHead(**options)
    theirs.load_state_dict(ours.state_dict())
    for training in (True, False):  # the first pass moves the norms' statistics, too
        ours.train(training)
        theirs.train(training)
        maps = [torch.randn(2, 4, 9, 14), torch.randn(2, 6, 5, 7)]
        torch.testing.assert_close(ours(maps), theirs(maps), atol=1e-5, rtol=1e-5)


def network(architecture: dict = ARCHITECTURE, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = build_segmentor(architecture)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # the gates of the fusion, too
    return model.eval()


def window(size: int = 64, batch: int = 2) -> torch.Tensor:
    torch.manual_seed(5)
    x = torch.rand(batch, 4, size, size) * 255
    x[:, 3] = x[:, 3] / 10 - 3
    x[:, 3, 10:20, 30:] = NAN
    return x


EARLY = deepcopy(ARCHITECTURE)
EARLY["backbone"] = {"type": "SingleStream", "encoder": ENCODER}


@pytest.mark.parametrize("architecture", [ARCHITECTURE, EARLY], ids=["timf", "early"])
def test_whole_network_equals_plain_mmsegmentation(architecture: dict) -> None:
    ours, plain = network(architecture), build_segmentor(plain_architecture(architecture)).eval()
    plain.load_state_dict(ours.state_dict())
    x = window()
    with torch.no_grad():
        ready = plain.data_preprocessor({"inputs": list(x)})["inputs"]
        logits = plain.encode_decode(ready, [{"img_shape": x.shape[2:]}])  # MMSegmentation's own path to full size
        found = Predictor(ours)(x)
    torch.testing.assert_close(found, logits.softmax(1), atol=2e-5, rtol=2e-5)
    assert found.shape == (2, 4, 64, 64)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 64, 64))


def test_both_modalities_reach_the_answer() -> None:
    model, x = network(), window(batch=1)
    with torch.no_grad():
        found = Predictor(model)(x)
        for channel in range(4):
            changed = x.clone()
            changed[:, channel] = changed[:, channel] * 0.5 + 1
            assert (Predictor(model)(changed) - found).abs().max() > 1e-3, channel


def test_missing_height_is_finite_everywhere() -> None:
    x = window(batch=1)
    x[:, 3] = NAN
    with torch.no_grad():
        assert torch.isfinite(Predictor(network())(x)).all()
