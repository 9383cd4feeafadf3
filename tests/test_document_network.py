"""The document encoder: positions, pruning before the encoder, pages of a batch, the finer grid, the three losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gridscribe.errors import UsageError
from gridscribe.models.document.architecture import PageArchitecture
from gridscribe.models.document.losses import distance, mask_means, pairwise_sigmoid, similarity
from gridscribe.models.document.neighbours import laid, neighbours, positions
from gridscribe.models.document.network import FinerGrid, PageEncoder
from gridscribe.models.document.rotary import rotate, turns

SMALL = PageArchitecture(patch=8, width=32, layers=3, heads=2, head_width=12, embed_dim=10)
ROWS, COLS = 5, 7


@pytest.fixture(scope="module")
def encoder() -> PageEncoder:
    torch.manual_seed(0)
    net = PageEncoder(SMALL).eval()
    with torch.no_grad():
        for p in net.parameters():  # away from the small beginnings, at which attention is almost flat
            p.add_(torch.randn(p.shape) * 0.1)
    return net


def page(seed: int, rows: int = ROWS, cols: int = COLS) -> torch.Tensor:
    return torch.rand(1, 3, rows * 8, cols * 8, generator=torch.Generator().manual_seed(seed))


def test_a_turn_is_a_complex_product_of_row_and_column() -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    position = torch.tensor([[0, 0], [1, 0], [0, 1], [13, 29]])
    found = rotate(x, *turns(position, 8, theta=100.0))
    for token, (row, col) in enumerate(position.tolist()):
        for pair in range(4):
            speed = 100.0 ** (-(pair % 2) / 2)
            angle = (row if pair < 2 else col) * speed
            value = complex(*x[token, 2 * pair : 2 * pair + 2].tolist()) * complex(math.cos(angle), math.sin(angle))
            assert found[token, 2 * pair : 2 * pair + 2].tolist() == pytest.approx([value.real, value.imag], abs=1e-5)
    with pytest.raises(ValueError, match="multiple of 4"):
        turns(position, 6)


def test_only_differences_of_positions_count() -> None:
    q, k = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(2))
    position = torch.randint(0, 40, (6, 2), generator=torch.Generator().manual_seed(3))

    def scores(shift: int) -> torch.Tensor:
        turn = turns(position + shift, 16)
        return rotate(q, *turn) @ rotate(k, *turn).T

    torch.testing.assert_close(scores(0), scores(17), atol=1e-4, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 7), cols=st.integers(1, 9), seed=st.integers(0, 999),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
)  # fmt: skip
@torch.no_grad()
def test_dropping_patches_equals_masking_their_keys(
    encoder: PageEncoder, rows: int, cols: int, seed: int, share: float
) -> None:
    """On any grid, one patch and none among them: dropped before the encoder is what nothing attends to, to 1e-5."""
    pixels = page(seed, rows, cols)
    kept = torch.rand(1, rows, cols, generator=torch.Generator().manual_seed(seed)) < share
    full = torch.cartesian_prod(torch.arange(rows), torch.arange(cols)).reshape(1, -1, 2)
    found = encoder(pixels, kept)
    cells = kept.repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert (found[~cells] == 0).all()
    if not kept.any():
        return
    masked = encoder.tokens(encoder.patches(pixels), full, kept.reshape(1, -1))
    wanted = encoder.head(masked.transpose(1, 2).reshape(1, -1, rows, cols), kept)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert (found[cells] != 0).any(dim=1).all()
    if kept.all():
        torch.testing.assert_close(found, encoder(pixels), atol=0, rtol=0)  # keep-all is no pruning, bit for bit
    index = kept.reshape(-1).nonzero()[:, 0]
    some = encoder.tokens(encoder.patches(pixels)[:, index], full[:, index])
    torch.testing.assert_close(some, masked[:, index], atol=1e-5, rtol=1e-5)
    if len(index) > 4 and share < 1 and int(index[-1]) > len(index):
        renumbered = encoder.tokens(encoder.patches(pixels)[:, index], full[:, : len(index)])
        assert (renumbered - some).abs().max() > 1e-3


@torch.no_grad()
def test_the_order_of_tokens_means_nothing(encoder: PageEncoder) -> None:
    patches, full = encoder.patches(page(6)), torch.cartesian_prod(torch.arange(ROWS), torch.arange(COLS))[None]
    order = torch.randperm(ROWS * COLS, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(
        encoder.tokens(patches[:, order], full[:, order]), encoder.tokens(patches, full)[:, order], atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_pages_of_a_batch_do_not_know_of_each_other(encoder: PageEncoder) -> None:
    pixels = torch.cat([page(8), page(9), page(10)])
    kept = (
        torch.rand(3, ROWS, COLS, generator=torch.Generator().manual_seed(11))
        < torch.tensor([0.2, 0.0, 0.8])[:, None, None]
    )
    together = encoder(pixels, kept)
    for b in range(3):
        torch.testing.assert_close(together[b], encoder(pixels[b : b + 1], kept[b : b + 1])[0], atol=1e-5, rtol=1e-5)
    assert (together[1] == 0).all()  # nothing of it was kept
    other = encoder(torch.cat([page(8), page(12), page(13)]), kept)
    torch.testing.assert_close(other[0], together[0], atol=0, rtol=0)


@torch.no_grad()
def test_empty_grid_around_a_page_changes_nothing(encoder: PageEncoder) -> None:
    small = page(14, 3, 4)
    padded = F.pad(small, (0, 24, 0, 16), value=0.5)
    kept = torch.zeros(1, 5, 7, dtype=torch.bool)
    kept[:, :3, :4] = True
    torch.testing.assert_close(encoder(padded, kept)[:, :12, :16], encoder(small), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_patches_are_rows_of_their_own_pixels(encoder: PageEncoder) -> None:
    pixels = page(15)
    patches = encoder.patches(pixels)
    for row, col in ((0, 0), (2, 3), (4, 6)):
        wanted = pixels[0, :, row * 8 : row * 8 + 8, col * 8 : col * 8 + 8].reshape(-1)
        assert torch.equal(patches[0, row * COLS + col], wanted)
    with pytest.raises(UsageError, match="whole patches of 8"):
        encoder.patches(torch.zeros(1, 3, 12, 16))


def test_architectures_are_checked() -> None:
    assert PageArchitecture.from_json(SMALL.to_json()) == SMALL
    assert SMALL.cell == 2
    for changes, words in (
        ({"width": 30}, "multiple of 4"),
        ({"doublings": 4}, "whole pixels"),
        ({"layers": 0}, "layers is 0"),
        ({"depth": 3}, "no 'depth'"),
    ):
        with pytest.raises(UsageError, match=words):
            PageArchitecture.from_json({**SMALL.to_json(), **changes})
    assert len(FinerGrid(PageArchitecture(doublings=0)).up) == 0


def test_losses_equal_their_formulas() -> None:
    made = torch.Generator().manual_seed(16)
    features, weights = torch.randn(2, 4, 5, 6, generator=made), torch.rand(7, 4, 5, generator=made)
    weights[weights < 0.4] = 0
    owner = torch.tensor([1, 0, 1, 1, 0, 0, 1])
    found = mask_means(features, weights, owner)
    for k in range(7):
        cells = [(i, j) for i in range(4) for j in range(5)]
        top = torch.stack([features[owner[k], i, j] * weights[k, i, j] for i, j in cells]).sum(dim=0)
        torch.testing.assert_close(found[k], top / weights[k].sum())
    wanted = torch.randn(7, 6, generator=made)
    cosines = [float(found[k] @ wanted[k] / found[k].norm() / wanted[k].norm()) for k in range(7)]
    assert float(similarity(found, wanted)) == pytest.approx(1 - math.fsum(cosines) / 7, abs=1e-6)
    l1 = [math.fsum((found[k] - wanted[k]).abs().tolist()) for k in range(7)]
    assert float(distance(found, wanted)) == pytest.approx(math.fsum(l1) / 7, rel=1e-6)
    same = torch.rand(7, 3, generator=made) < 0.5
    loss = 0.0
    for i in range(7):
        for j in range(3):
            cosine = float(found[i] @ wanted[j] / found[i].norm() / wanted[j].norm())
            loss += math.log1p(math.exp(-(1 if same[i, j] else -1) * (cosine * 10 - 2.7)))
    assert float(pairwise_sigmoid(found, wanted[:3], same, torch.tensor(10.0), torch.tensor(-2.7))) == pytest.approx(
        loss / 7, rel=1e-5
    )
    with pytest.raises(UsageError, match="mask 2 of 7"):
        mask_means(features, weights * (torch.arange(7) != 2)[:, None, None], owner)
    none = torch.zeros(0, 6, requires_grad=True)
    for value in (
        distance(none, none),
        similarity(none, none),
        pairwise_sigmoid(none, wanted, same[:0, :1].expand(0, 7), none.sum(), none.sum()),
    ):
        assert float(value.detach()) == 0
        assert value.requires_grad


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
@pytest.mark.parametrize("share", [1.0, 0.4, 0.05])
@torch.no_grad()
def test_the_head_on_kept_cells_is_the_dense_head(doublings: int, share: float) -> None:
    torch.manual_seed(doublings)
    arch = PageArchitecture(patch=8, width=32, layers=1, heads=2, head_width=12, embed_dim=10, doublings=doublings)
    head = FinerGrid(arch).double().eval()
    for p in head.parameters():
        p.add_(torch.randn(p.shape, dtype=torch.float64) * 0.1)
    held = np.random.default_rng(3).random((ROWS, COLS)) < share
    held[2, 3] = True
    tokens = torch.randn(int(held.sum()), 32, dtype=torch.float64)
    grid = torch.zeros(1, 32, ROWS * COLS, dtype=torch.float64)
    grid[0, :, np.flatnonzero(held)] = tokens.T
    wanted = head(grid.reshape(1, 32, ROWS, COLS), torch.from_numpy(held[None]))[0]
    near = [torch.from_numpy(one) for one in neighbours(held, doublings)]
    found = laid(head.kept(tokens, near).numpy(), held, doublings)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_neighbours_are_those_of_the_grid() -> None:
    held = np.random.default_rng(1).random((4, 6)) < 0.5
    for level, around in enumerate(neighbours(held, 3)):
        fine = held.repeat(2**level, axis=0).repeat(2**level, axis=1)
        at = [tuple(one) for one in positions(held, level).tolist()]
        assert sorted(at) == [tuple(one) for one in np.argwhere(fine).tolist()]
        number = {place: k for k, place in enumerate(at)}
        for k, (row, col) in enumerate(at):
            wanted = [number.get((row + r, col + c), len(at)) for r in (-1, 0, 1) for c in (-1, 0, 1)]
            assert around[k].tolist() == wanted
