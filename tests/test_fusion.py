"""Fusion modules against slow references written the obvious way."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gridscribe.fusion.base import StageShape
from gridscribe.fusion.bottleneck import BottleneckFusion
from gridscribe.fusion.tokens import GatherAttention, SpreadAttention

torch.set_num_threads(1)


def slow_attention(module: nn.Module, asking: Tensor, answering: Tensor) -> Tensor:
    """Multi-head attention by the formula, one head and one query at a time (Vaswani et al. 2017, section 3.2)."""
    query, key, value = module.query(asking), module.key(answering), module.value(answering)
    width = query.shape[-1] // module.heads
    out = torch.zeros_like(query)
    for b in range(query.shape[0]):
        for head in range(module.heads):
            part = slice(head * width, (head + 1) * width)
            for n in range(query.shape[1]):
                scores = torch.stack([query[b, n, part] @ k / math.sqrt(width) for k in key[b, :, part]])
                weights = scores.exp() / scores.exp().sum()
                out[b, n, part] = sum(w * v for w, v in zip(weights, value[b, :, part], strict=True))
    return module.out(out)


@settings(deadline=None, max_examples=12)
@given(
    heads=st.integers(1, 3),
    width=st.integers(1, 3),
    channels=st.integers(1, 7),
    tokens=st.integers(1, 4),
    pixels=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_token_attention_equals_the_formula(
    heads: int, width: int, channels: int, tokens: int, pixels: int, seed: int
) -> None:
    torch.manual_seed(seed)
    few, many = torch.randn(2, tokens, channels), torch.randn(2, pixels, channels)
    gather = GatherAttention(channels, width * heads, heads)
    torch.testing.assert_close(gather(few, many), slow_attention(gather, few, many), atol=1e-5, rtol=1e-5)
    spread = SpreadAttention(channels, width * heads, heads)
    torch.testing.assert_close(spread(many, few), slow_attention(spread, many, few), atol=1e-5, rtol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 10 and 3 heads"):
        GatherAttention(8, 10, 3)


def lively(stage: StageShape, tokens: int = 3) -> BottleneckFusion:
    torch.manual_seed(1)
    module = BottleneckFusion(stage, tokens=tokens, width=8)
    nn.init.normal_(module.gate_rgb)
    nn.init.normal_(module.gate_height)
    return module


def maps(channels: int = 12, rows: int = 3, cols: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(2, channels, rows, cols), torch.randn(2, channels, rows, cols)


def test_untrained_bottleneck_leaves_both_streams_alone() -> None:
    rgb, height = maps()
    module = BottleneckFusion(StageShape(0, 12, 12, 1, None))
    found = module(rgb, height, None)
    torch.testing.assert_close(found.rgb, rgb)
    torch.testing.assert_close(found.height, height)
    torch.testing.assert_close(found.fused, module.join(torch.cat([rgb, height], 1)))
    assert found.shared is not None
    assert found.shared.shape == (2, 8, 12)


def test_bottleneck_equals_its_description() -> None:
    rgb, height = maps()
    module = lively(StageShape(1, 12, 12, 2, 6))
    carried = torch.randn(2, 3, 6)
    found = module(rgb, height, carried)

    def pixels(x: Tensor) -> Tensor:
        return torch.stack([x[:, :, r, c] for r in range(3) for c in range(5)], dim=1)

    tokens = module.tokens + carried @ module.carry.weight.T + module.carry.bias  # point 1
    asked = module.token_norm(tokens)
    read = [slow_attention(g, asked, pixels(x)) for g, x in ((module.gather_rgb, rgb), (module.gather_height, height))]
    shared = module.shared_norm(tokens + (read[0] + read[1]) / 2)  # point 2
    torch.testing.assert_close(found.shared, shared, atol=1e-5, rtol=1e-5)
    for got, x, spread, gate in (
        (found.rgb, rgb, module.spread_rgb, module.gate_rgb),
        (found.height, height, module.spread_height, module.gate_height),
    ):
        wanted = pixels(x) + gate * slow_attention(spread, pixels(x), shared)  # point 3
        torch.testing.assert_close(pixels(got), wanted, atol=1e-5, rtol=1e-5)
    both = torch.cat([found.rgb, found.height], dim=1)
    weight = module.join.weight[:, :, 0, 0]
    wanted = torch.einsum("oc,bchw->bohw", weight, both) + module.join.bias[:, None, None]  # point 4
    torch.testing.assert_close(found.fused, wanted, atol=1e-5, rtol=1e-5)


def test_tokens_are_the_only_way_between_streams() -> None:
    rgb, height = maps()
    module = lively(StageShape(0, 12, 12, 1, None))
    with torch.no_grad():
        module.gather_height.value.weight.zero_()
        module.gather_height.value.bias.zero_()
    torch.testing.assert_close(module(rgb, height, None).rgb, module(rgb, height.flip(-1) * 3, None).rgb)
    assert not torch.allclose(
        lively(StageShape(0, 12, 12, 1, None))(rgb, height, None).rgb, module(rgb, height, None).rgb
    )


def test_one_window_does_not_see_another_of_its_batch() -> None:
    rgb, height = maps()
    module = lively(StageShape(0, 12, 12, 1, None))
    together, alone = module(rgb, height, None), module(rgb[1:], height[1:], None)
    torch.testing.assert_close(together.fused[1:], alone.fused, atol=1e-6, rtol=1e-6)


def test_all_of_the_bottleneck_learns_once_its_gates_are_open() -> None:
    rgb, height = maps()
    module = lively(StageShape(0, 12, 12, 1, None))
    module(rgb, height, None).fused.square().mean().backward()
    still = {n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    # a key's bias shifts all scores of a query alike: it cannot matter in either attention's softmax over keys
    assert still <= {"gather_rgb.key.bias", "gather_height.key.bias", "spread_rgb.key.bias", "spread_height.key.bias"}
