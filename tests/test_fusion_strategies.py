"""Each strategy's formula, written the slow way; and what all strategies have in common."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from gridscribe.errors import UsageError
from gridscribe.fusion import depth_attention
from gridscribe.fusion.base import StageFusion, StageShape
from gridscribe.fusion.bottleneck import BottleneckFusion
from gridscribe.fusion.cmx import CMXFusion
from gridscribe.fusion.cross import CrossFusion
from gridscribe.fusion.depth_attention import DepthAwareAttention
from gridscribe.fusion.feature import FeatureFusion
from gridscribe.fusion.geometry import GeometryAttention
from gridscribe.fusion.token_exchange import SPARSITY, TokenExchange
from gridscribe.models.architecture import check_architecture, inference_architecture
from gridscribe.models.inference import Predictor
from gridscribe.models.segmentor import build_segmentor
from gridscribe.pipelines.precision import AutocastOptimWrapper
from gridscribe.pipelines.recipes import config_path, with_encoders

torch.set_num_threads(1)
CHANNELS, ROWS, COLS = 8, 3, 4
FUSIONS = (
    BottleneckFusion,
    CMXFusion,
    CrossFusion,
    DepthAwareAttention,
    FeatureFusion,
    GeometryAttention,
    TokenExchange,
)
STRATEGIES = (
    "rgb", "height", "early", "feature", "late", "cross", "timf", "cmx", "edft", "cmnext", "tokenfusion", "dformer",
)  # fmt: skip


def stage(index: int = 3, heads: int = 2) -> StageShape:
    return StageShape(index, CHANNELS, CHANNELS, heads, None)


def maps(rows: int = ROWS, cols: int = COLS, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, CHANNELS, rows, cols)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def lively(module: StageFusion, seed: int = 1) -> StageFusion:
    """Every parameter random, so that gates that start shut are open; norms keep their statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return module.eval()


def pixels(x: Tensor) -> Tensor:
    return torch.stack([x[:, :, r, c] for r in range(x.shape[2]) for c in range(x.shape[3])], dim=1)


def as_map(x: Tensor, rows: int = ROWS, cols: int = COLS) -> Tensor:
    return torch.stack([x[:, n] for n in range(rows * cols)], dim=-1).unflatten(-1, (rows, cols))


def softmax(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum()


@pytest.mark.parametrize("kind", FUSIONS)
@pytest.mark.parametrize("index", [0, 3])
def test_shapes_batches_and_odd_sizes(kind: type[StageFusion], index: int) -> None:
    module = lively(kind(stage(index)))
    for rows, cols in ((3, 5), (1, 1), (8, 2)):
        rgb, height = maps(rows, cols)
        found = module(rgb, height, None)
        assert found.rgb.shape == found.height.shape == found.fused.shape == rgb.shape
        assert all(torch.isfinite(x).all() for x in found[:3])
        alone = module(rgb[1:], height[1:], None)
        for together, single in zip(found[:3], alone[:3], strict=True):
            torch.testing.assert_close(together[1:], single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", FUSIONS)
def test_height_matters_and_everything_learns(kind: type[StageFusion]) -> None:
    module = lively(kind(stage())).train()
    rgb, height = (x.requires_grad_() for x in maps())
    changed = module(rgb, height.roll(1, -1) * 2, None).fused
    found = module(rgb, height, None)
    assert not torch.allclose(found.fused, changed)
    (found.fused.square().mean() + found.rgb.square().mean() + found.height.square().mean()).backward()
    still = {name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    # a term that is equal for all keys cancels in a softmax; a bias before a batch norm is taken off by it
    assert all(name.endswith("bias") for name in still), still


def test_feature_fusion_by_hand() -> None:
    rgb, height = maps()
    found = FeatureFusion(stage())(rgb, height, None)
    assert torch.equal(found.fused, rgb + height)
    assert found.rgb is rgb
    assert found.height is height
    module = lively(FeatureFusion(stage(), mode="concat"))
    wanted = torch.einsum("oc,bchw->bohw", module.join.weight[:, :, 0, 0], torch.cat([rgb, height], 1))
    torch.testing.assert_close(module(rgb, height, None).fused, wanted + module.join.bias[:, None, None])
    with pytest.raises(UsageError, match="mode='max': must be one of sum, concat"):
        FeatureFusion(stage(), mode="max")


def test_cross_fusion_swaps_the_queries() -> None:
    module = lively(CrossFusion(stage(index=3)))
    rgb, height = maps()

    def read(attention: nn.Module, asking: Tensor, answering: Tensor) -> Tensor:
        query = attention.query(attention.norm_asking(pixels(asking)))
        key, value = attention.key_value(attention.norm_answering(pixels(answering))).chunk(2, -1)
        out = torch.zeros_like(query)
        width = CHANNELS // attention.heads
        for b in range(2):
            for h in range(attention.heads):
                part = slice(h * width, (h + 1) * width)
                for n in range(ROWS * COLS):
                    weights = softmax(torch.stack([query[b, n, part] @ k / math.sqrt(width) for k in key[b, :, part]]))
                    out[b, n, part] = weights @ value[b, :, part]
        return as_map(attention.out(out))

    found = module(rgb, height, None)
    wanted_rgb, wanted_height = (
        rgb + read(module.rgb_reads, rgb, height),
        height + read(module.height_reads, height, rgb),
    )
    torch.testing.assert_close(found.rgb, wanted_rgb, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.height, wanted_height, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.fused, wanted_rgb + wanted_height, atol=1e-5, rtol=1e-5)


def test_cmx_by_its_equations() -> None:
    module = lively(CMXFusion(stage(heads=2)))
    rgb, height = maps()
    both = torch.cat([rgb, height], 1)
    pooled = torch.cat([both.flatten(2).mean(2), both.flatten(2).max(2).values], 1)
    channel = module.rectify.channel(pooled)
    spatial = module.rectify.spatial(both)
    one, two = torch.empty_like(rgb), torch.empty_like(rgb)
    for c in range(CHANNELS):  # equation 6
        wc_rgb, wc_height = channel[:, c, None, None], channel[:, CHANNELS + c, None, None]
        one[:, c] = rgb[:, c] + 0.5 * wc_height * height[:, c] + 0.5 * spatial[:, 1] * height[:, c]
        two[:, c] = height[:, c] + 0.5 * wc_rgb * rgb[:, c] + 0.5 * spatial[:, 0] * rgb[:, c]
    found = module(rgb, height, None)
    torch.testing.assert_close(found.rgb, one, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.height, two, atol=1e-5, rtol=1e-5)

    exchange, width = module.exchange, CHANNELS // 2
    kept, queries, contexts = [], [], []
    for k, x in enumerate((pixels(one), pixels(two))):
        residual, interactive = torch.relu(exchange.project[k](x)).chunk(2, -1)
        key, value = exchange.key_value[k](interactive).chunk(2, -1)
        kept.append(residual)
        queries.append(interactive)
        context = torch.zeros(2, 2, width, width)
        for b in range(2):
            for h in range(2):
                part = slice(h * width, (h + 1) * width)
                raw = key[b, :, part].T @ value[b, :, part] / math.sqrt(width)
                for column in range(width):
                    context[b, h, :, column] = softmax(raw[:, column])
        contexts.append(context)
    out = []
    for k, x in enumerate((pixels(one), pixels(two))):
        read = torch.zeros_like(x)
        for h in range(2):
            part = slice(h * width, (h + 1) * width)
            read[..., part] = torch.stack([queries[k][b, :, part] @ contexts[1 - k][b, h] for b in range(2)])
        out.append(exchange.norm[k](x + exchange.out[k](torch.cat([kept[k], read], -1))))
    wanted = module.merge(torch.cat([as_map(out[0]), as_map(out[1])], 1))
    torch.testing.assert_close(found.fused, wanted, atol=1e-5, rtol=1e-5)


def test_depth_aware_attention_by_its_formula_and_in_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    module = lively(DepthAwareAttention(StageShape(0, CHANNELS, 5, 1, None)))
    rgb, _ = maps()
    height = torch.randn(2, 5, ROWS, COLS, generator=torch.Generator().manual_seed(3))
    depth = pixels(module.depth(height))[..., 0]
    query, key, value = (pixels(f(rgb)) for f in (module.query, module.key, module.value))
    read = torch.zeros_like(value)
    for b in range(2):
        for i in range(ROWS * COLS):
            scores = [query[b, i] @ key[b, j] - 0.5 * abs(depth[b, i] - depth[b, j]) for j in range(ROWS * COLS)]
            read[b, i] = softmax(torch.stack(scores) / math.sqrt(CHANNELS)) @ value[b]
    wanted = as_map(module.norm(module.gamma * read + pixels(rgb)))
    for chunk in (1, 5, 1024):
        monkeypatch.setattr(depth_attention, "CHUNK", chunk)
        found = module(rgb, height, None)
        torch.testing.assert_close(found.fused, wanted, atol=1e-5, rtol=1e-5)
        assert found.height is height


@pytest.mark.parametrize("index", [0, 3])
def test_geometry_attention_by_its_formula(index: int) -> None:
    module = lively(GeometryAttention(StageShape(index, CHANNELS, 2, 2, None)))
    rgb, _ = maps()
    height = torch.randn(2, 2, ROWS, COLS, generator=torch.Generator().manual_seed(3))
    x = rgb.permute(0, 2, 3, 1)
    query, key, value = module.query_key_value(module.norm(x)).chunk(3, -1)
    w_height, w_place = nn.functional.softplus(module.weights)
    width = CHANNELS // 2

    def attend(value: Tensor, b: int, spot: tuple[int, int], others: list[tuple[int, int]]) -> Tensor:
        r, c = spot
        out = []
        for h in range(2):
            part = slice(h * width, (h + 1) * width)
            beta = 1 - 2.0 ** -(2.0 + 4.0 * h)
            scores = torch.stack([query[b, r, c, part] @ key[b, i, j, part] / math.sqrt(width) for i, j in others])
            prior = torch.stack(
                [
                    beta
                    ** (w_height * abs(height[b, 0, r, c] - height[b, 0, i, j]) + w_place * (abs(r - i) + abs(c - j)))
                    for i, j in others
                ]
            )
            weights = scores.exp() * prior
            weights = weights / weights.sum()
            out.append(sum(w * value[b, i, j, part] for w, (i, j) in zip(weights, others, strict=True)))
        return torch.cat(out)

    spots = [(r, c) for r in range(ROWS) for c in range(COLS)]
    read = torch.zeros_like(value)
    if index == 3:
        for b in range(2):
            for r, c in spots:
                read[b, r, c] = attend(value, b, (r, c), spots)
    else:
        along = torch.zeros_like(value)
        for b in range(2):
            for r, c in spots:
                along[b, r, c] = attend(value, b, (r, c), [(r, j) for j in range(COLS)])
        for b in range(2):
            for r, c in spots:
                read[b, r, c] = attend(along, b, (r, c), [(i, c) for i in range(ROWS)])
    local = module.local(value.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    y = x + module.out(read + local)
    wanted = (y + module.feed(y)).permute(0, 3, 1, 2)
    torch.testing.assert_close(module(rgb, height, None).fused, wanted, atol=1e-5, rtol=1e-5)


def test_tokens_are_exchanged_below_the_threshold_and_scores_are_pushed_down() -> None:
    module = lively(TokenExchange(stage()))
    rgb, height = maps()
    with torch.no_grad():
        module.scores[0][3].bias.copy_(
            -(module.scores[0][:3](pixels(rgb)) @ module.scores[0][3].weight.T).median() - 3.9
        )  # some of RGB's scores fall below 0.02
    scores = [score(pixels(x)) for score, x in zip(module.scores, (rgb, height), strict=True)]
    low = scores[0][..., 0] < 0.02
    assert 0 < low.sum() < low.numel()
    found = pixels(module(rgb, height, None).rgb)
    for b in range(2):
        for n in range(ROWS * COLS):
            source = 1 if low[b, n] else 0
            wanted = scores[source][b, n] * pixels((rgb, height)[source])[b, n]
            torch.testing.assert_close(found[b, n], wanted)
    # the penalty: with a loss that is zero, the gradient is that of the scores' sum
    module.train()
    (module(rgb, height, None).fused * 0).sum().backward()
    got = module.scores[1][3].bias.grad.clone()
    module.zero_grad()
    (SPARSITY / 2 * module.scores[1](pixels(height)).sum()).backward()
    torch.testing.assert_close(got, module.scores[1][3].bias.grad)


def test_adaptive_bottleneck_starts_as_the_plain_one_and_then_weighs() -> None:
    rgb, height = maps()
    torch.manual_seed(0)
    plain, adaptive = BottleneckFusion(stage()), BottleneckFusion(stage(), adaptive=True)
    adaptive.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(adaptive(rgb, height, None).fused, plain(rgb, height, None).fused)
    with torch.no_grad():
        adaptive.trust_pixels.bias.fill_(50.0)  # trust RGB alone
    found = adaptive(rgb, height, None)
    wanted = adaptive.join(torch.cat([2 * found.rgb, 0 * found.height], 1))
    torch.testing.assert_close(found.fused, wanted, atol=1e-5, rtol=1e-5)


def small(name: str, *encoders: str) -> Config:
    config = Config.fromfile(str(config_path(name)))
    if encoders:
        with_encoders(config, *encoders)
    return config


@pytest.mark.parametrize("encoders", [(), ("resnet18",), ("resnet18", "mit-b0"), ("mit-b0", "resnet18")])
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_builds_with_every_kind_of_encoder(name: str, encoders: tuple[str, ...]) -> None:
    if len(encoders) == 2 and name in ("rgb", "height", "early"):
        with pytest.raises(UsageError, match="this strategy has one encoder"):
            small(name, *encoders)
        return
    config = small(name, *encoders)
    if len(encoders) == 2 and name == "tokenfusion":
        with pytest.raises(UsageError, match="two encoders of one kind"):
            build_segmentor(config.model.to_dict())
        return
    architecture = inference_architecture(config.model.to_dict())
    check_architecture(architecture, "test")  # so that it can be shipped as a package
    network = build_segmentor(architecture).eval()
    raw = torch.rand(1, 4, 64, 96) * 200
    with torch.no_grad():
        found = Predictor(network)(raw)
    assert found.shape == (1, 7, 64, 96)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 64, 96))


def test_baselines_see_only_their_modality() -> None:
    raw = torch.rand(1, 4, 64, 64) * 200
    for name, blind in (("rgb", slice(3, 4)), ("height", slice(0, 3))):
        torch.manual_seed(0)
        network = build_segmentor(inference_architecture(small(name).model.to_dict())).eval()
        other = raw.clone()
        other[:, blind] = 5.0
        with torch.no_grad():
            assert torch.equal(Predictor(network)(raw), Predictor(network)(other)), name


def test_shared_weights_are_one_and_norms_are_two() -> None:
    network = build_segmentor(inference_architecture(small("tokenfusion").model.to_dict())).backbone
    rgb, height = network.rgb, network.height
    assert rgb.layers[1][1][0].ffn.layers[0].weight is height.layers[1][1][0].ffn.layers[0].weight
    assert rgb.layers[0][0].projection.weight is not height.layers[0][0].projection.weight
    assert rgb.layers[1][2].weight is not height.layers[1][2].weight


def test_attention_with_a_geometry_prior_has_one_scale_at_every_size() -> None:
    module = lively(GeometryAttention(StageShape(0, CHANNELS, 2, 2, None)))
    ones = torch.ones(1, 4, 64, CHANNELS)
    read = module._attend(torch.zeros_like(ones), torch.zeros_like(ones), ones, torch.zeros(1, 4, 64))
    torch.testing.assert_close(read, ones)


def test_unknown_encoders_and_strategies_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="encoder 'vgg16': must be one of mit-b0"):
        small("timf", "vgg16")
    with pytest.raises(UsageError, match=r"neither a \.py file nor one of cmnext, cmx"):
        config_path(tmp_path / "nothing")


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_optimizer_has_every_parameter_once(name: str) -> None:
    config = small(name)
    network = build_segmentor(inference_architecture(config.model.to_dict()))
    wrapper = build_optim_wrapper(network, config.optim_wrapper)
    assert isinstance(wrapper, AutocastOptimWrapper)
    held = [id(p) for group in wrapper.optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted({id(p) for p in network.parameters()})
