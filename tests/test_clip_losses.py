"""Losses of the alignment against the slow, obvious way: loops over numpy, one pair at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import UsageError
from gridscribe.models.clip.losses import distillation, global_contrast, region_contrast, roi_vectors


def vectors(rng: np.random.Generator, count: int, dim: int = 6) -> np.ndarray:
    return rng.standard_normal((count, dim)) * rng.uniform(0.1, 9, (count, 1))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def soft_cross_entropy(scores: list[float], right: list[float]) -> float:
    total = sum(math.exp(s) for s in scores)
    return -sum(r * (s - math.log(total)) for s, r in zip(scores, right, strict=True))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1.0, 14.3, 100.0]))
def test_global_contrast(count: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    image, text = vectors(rng, count), vectors(rng, count)
    slow = 0.0
    for k in range(count):
        right = [float(j == k) for j in range(count)]
        slow += soft_cross_entropy([scale * cosine(image[k], text[j]) for j in range(count)], right)
        slow += soft_cross_entropy([scale * cosine(image[j], text[k]) for j in range(count)], right)
    found = global_contrast(*tensors(image, text), torch.tensor(scale))
    assert float(found) == pytest.approx(slow / (2 * count), rel=1e-4, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(regions=st.integers(1, 8), texts=st.integers(1, 8), seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_region_contrast(regions: int, texts: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    region, text, truth = vectors(rng, regions), vectors(rng, texts), rng.random((regions, texts)) < share
    named = [i for i in range(regions) if any(truth[i])]
    true = [j for j in range(texts) if any(truth[:, j])]
    cosines = [[7 * cosine(region[i], text[j]) for j in range(texts)] for i in range(regions)]
    of_regions = [
        soft_cross_entropy([cosines[i][j] for j in true], [truth[i, j] / sum(truth[i]) for j in true]) for i in named
    ]
    of_texts = [
        soft_cross_entropy([cosines[i][j] for i in named], [truth[i, j] / sum(truth[:, j]) for i in named])
        for j in true
    ]
    slow = (np.mean(of_regions) + np.mean(of_texts)) / 2 if named else 0.0
    found = region_contrast(*tensors(region, text, truth), torch.tensor(7.0))
    assert float(found) == pytest.approx(slow, rel=1e-4, abs=1e-5)


def test_texts_of_categories_make_the_loss_of_farslip() -> None:
    """As released: text k is of the category of region k, targets are spread over equal categories, the same both ways."""
    rng, category = np.random.default_rng(6), [0, 1, 0, 2, 2, 2]
    region, text = vectors(rng, 6), vectors(rng, 6)
    slow = 0.0
    for k in range(6):
        right = [(category[j] == category[k]) / category.count(category[k]) for j in range(6)]
        slow += soft_cross_entropy([7 * cosine(region[k], text[j]) for j in range(6)], right)
        slow += soft_cross_entropy([7 * cosine(region[j], text[k]) for j in range(6)], right)
    same = np.equal.outer(category, category)
    assert float(region_contrast(*tensors(region, text, same), torch.tensor(7.0))) == pytest.approx(slow / 12, rel=1e-4)


def test_one_positive_each_makes_both_contrasts_equal() -> None:
    region, text = tensors(*(vectors(np.random.default_rng(k), 7) for k in (1, 2)))
    scale = torch.tensor(20.0)
    torch.testing.assert_close(
        region_contrast(region, text, torch.eye(7, dtype=torch.bool), scale), global_contrast(region, text, scale)
    )


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 7), cols=st.integers(1, 7), data=st.data())
def test_vectors_of_boxes(rows: int, cols: int, data: st.DataObject) -> None:
    tokens = torch.from_numpy(np.random.default_rng(rows * 8 + cols).standard_normal((2, rows, cols, 3)))
    (x0, x1), (y0, y1) = (
        sorted(
            data.draw(
                st.tuples(
                    *[st.sampled_from(range(32))] * 2,
                ),
                label=n,
            )
        )
        for n in "xy"
    )
    box = torch.tensor([[x0 / 32, y0 / 32, (x1 + 1) / 33, (y1 + 1) / 33]])
    for image in (0, 1):
        (found,) = roi_vectors(tokens, box, torch.tensor([image]))
        wanted = slow_roi(tokens[image].numpy(), box[0].numpy())
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_a_box_without_area_has_no_vector() -> None:
    tokens = torch.ones(1, 3, 3, 2)
    boxes = torch.tensor([[0.2, 0.5, 0.6, 0.5], [1.0, 1.0, 1.0, 1.0]])
    assert roi_vectors(tokens, boxes, torch.zeros(2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def slow_roi(tokens: np.ndarray, box: np.ndarray) -> np.ndarray:
    """RoI alignment as the paper has it: bilinear samples, as many to an output cell as it is wide in patches."""
    rows, cols, dim = tokens.shape
    x0, y0, x1, y1 = box * np.array([cols, rows, cols, rows]) - 0.5
    tall, wide = (y1 - y0) / rows, (x1 - x0) / cols
    down, across = max(1, math.ceil(tall - 1e-6)), max(1, math.ceil(wide - 1e-6))
    total = np.zeros(dim)
    for i in range(rows * down):
        for j in range(cols * across):
            total += bilinear(tokens, y0 + (i + 0.5) * tall / down, x0 + (j + 0.5) * wide / across)
    return total / (rows * down * cols * across)


def bilinear(tokens: np.ndarray, y: float, x: float) -> np.ndarray:
    rows, cols, dim = tokens.shape
    if not (-1 <= y <= rows and -1 <= x <= cols):
        return np.zeros(dim)
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), cols - 1)
    low_y, low_x = int(y), int(x)
    high_y, high_x = min(low_y + 1, rows - 1), min(low_x + 1, cols - 1)
    down, across = y - low_y, x - low_x
    upper = tokens[low_y, low_x] * (1 - across) + tokens[low_y, high_x] * across
    lower = tokens[high_y, low_x] * (1 - across) + tokens[high_y, high_x] * across
    result: np.ndarray = upper * (1 - down) + lower * down
    return result


def test_distillation_is_one_less_the_mean_cosine_and_reaches_the_tokens() -> None:
    region, teacher = vectors(np.random.default_rng(3), 5), vectors(np.random.default_rng(4), 5)
    slow = 1 - np.mean([cosine(a, b) for a, b in zip(region, teacher, strict=True)])
    assert float(distillation(*tensors(region, teacher))) == pytest.approx(slow, rel=1e-5)

    tokens = torch.randn(1, 4, 4, 6, requires_grad=True)
    box = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    distillation(roi_vectors(tokens, box, torch.tensor([0])), torch.randn(1, 6)).backward()
    moved = tokens.grad.abs().sum(-1)[0] > 0  # type: ignore[union-attr]
    assert moved[:2, :2].all()
    assert not moved[3].any()
    assert not moved[:, 3].any()


def test_nothing_to_learn_from_is_zero_and_harmless() -> None:
    none = torch.randn(0, 4, requires_grad=True)
    distillation(none, none).backward()
    region = torch.randn(3, 4, requires_grad=True)
    loss = region_contrast(region, torch.randn(3, 4), torch.zeros(3, 3, dtype=torch.bool), torch.tensor(1.0))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not region.grad.any()  # type: ignore[union-attr]


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"images are \(2, 4\), texts \(3, 4\)"):
        global_contrast(torch.randn(2, 4), torch.randn(3, 4), torch.tensor(1.0))
    for text, truth in ((torch.randn(3, 4), torch.ones(2, 2)), (torch.randn(2, 5), torch.ones(2, 2))):
        with pytest.raises(UsageError, match="a truth for each pair"):
            region_contrast(torch.randn(2, 4), text, truth.bool(), torch.tensor(1.0))
    with pytest.raises(UsageError, match="teachers"):
        distillation(torch.randn(2, 4), torch.randn(1, 4))
