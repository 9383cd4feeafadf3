"""What the page encoder's layers tell of its patches: by the slow way, and at its place on the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gridscribe.errors import UsageError
from gridscribe.models.document.encoder import LookingEncoder, looks_inside, open_page_encoder, resolve_page_engine
from gridscribe.models.document.network import PageEncoder
from gridscribe.models.document.package import DocumentPackage, build_page_encoder, load_document_model
from gridscribe.models.document.rotary import rotate, turns
from gridscribe.models.document.signals import patch_signals, skipping, transition
from gridscribe.models.pruning import pruner_from_json
from gridscribe.models.pruning.correlation import CorrelationGuided
from gridscribe.models.pruning.simple import KeepAll
from gridscribe.models.pruning.skip import SkipTokens
from gridscribe.models.pruning.text_prior import TextPrior
from gridscribe.pipelines.documents.encoding import PageEmbedder
from gridscribe.pipelines.documents.options import pages_job
from gridscribe.pipelines.stages import Deadline
from tests.tiny_document import letter, tiny_document


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> DocumentPackage:
    folder = tmp_path_factory.mktemp("document")
    tiny_document(folder, classifier=True)
    return load_document_model(folder)


@pytest.fixture(scope="module")
def encoder(package: DocumentPackage) -> Any:
    opened = open_page_encoder(
        resolve_page_engine("auto", package, precision="float32", threads=1, inside=True), package
    )
    assert opened.spec.name == "torch"
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def network(package: DocumentPackage) -> PageEncoder:
    made = build_page_encoder(package)
    torch.manual_seed(3)
    with torch.no_grad():
        for p in made.parameters():  # away from the small beginnings, at which attention is almost flat
            p.add_(torch.randn(p.shape) * 0.1)
    return made


def some(network: PageEncoder, count: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(1)
    patches = torch.randn(1, count, 3 * network.arch.patch**2, generator=made)
    return patches, torch.randint(0, 8, (1, count, 2), generator=made)


def crop(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)


@torch.no_grad()
def test_signals_by_the_slow_way(network: PageEncoder) -> None:
    patches, position = some(network)
    tokens, signals = patch_signals(network, patches, position)
    torch.testing.assert_close(tokens, network.tokens(patches, position), atol=1e-5, rtol=1e-5)
    head = network.arch.width // network.arch.heads
    cos, sin = (t[0] for t in turns(position, head))
    x, moved, received = network.embed(patches)[0], torch.zeros(11), []
    layers = len(network.blocks)
    for number, block in enumerate(network.blocks):
        made = block.qkv(block.norm1(x))
        q, k, v = made.split(network.arch.width, dim=1)
        got, answers = torch.zeros(11), []
        for h in range(network.arch.heads):
            part = slice(h * head, (h + 1) * head)
            weights = (rotate(q[:, part], cos, sin) @ rotate(k[:, part], cos, sin).T / head**0.5).softmax(dim=1)
            got += weights.sum(dim=0) / network.arch.heads
            answers.append(weights @ v[:, part])
        middle = x + block.out(torch.cat(answers, dim=1))
        out = middle + block.mlp(block.norm2(middle))
        if layers // 4 <= number < layers - layers // 4:
            for a, b in ((x, middle), (middle, out)):
                turned = [1 - float(a[i] @ b[i] / (a[i].norm() * b[i].norm())) for i in range(11)]
                soft = np.exp(turned) / np.exp(turned).sum()
                moved += torch.tensor([soft[i] * float(b[i].norm() / a[i].norm()) for i in range(11)]).float()
        received.append(got)
        x, keys = out, k
    torch.testing.assert_close(signals.attention, received[-1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(signals.shallow, received[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(signals.keys, keys, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(signals.transition, moved * 11, atol=1e-4, rtol=1e-4)
    assert float(signals.attention.mean()) == pytest.approx(1, abs=1e-4)  # what is given is received


def test_what_does_not_move_has_the_least_transition() -> None:
    before = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    after = before.clone()
    after[1:] = -before[1:]
    found = transition(before, after)
    assert int(found.argmin()) == 0


@torch.no_grad()
def test_skipped_tokens_pass_the_layers_by(network: PageEncoder) -> None:
    patches, position = some(network)
    layers = len(network.blocks)
    through = np.array([1, 4, 5, 9])
    asked: list[np.ndarray] = []

    def choose(attention: np.ndarray) -> np.ndarray:
        asked.append(attention)
        return through

    found = skipping(network, patches, position, 1, layers, choose)
    head = network.arch.width // network.arch.heads
    x = network.blocks[0](network.embed(patches), turns(position, head), None)
    alone = x[:, through]
    for block in network.blocks[1:]:
        alone = block(alone, turns(position[:, through], head), None)
    torch.testing.assert_close(found[:, through], network.norm(alone), atol=1e-5, rtol=1e-5)
    others = np.setdiff1d(np.arange(11), through)
    torch.testing.assert_close(found[:, others], network.norm(x[:, others]), atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match="are to be passed by"):
        skipping(network, patches, position, 1, layers + 1, choose)
    whole = skipping(network, patches, position, 1, layers, lambda a: np.arange(len(a)))
    torch.testing.assert_close(whole, network.tokens(patches, position), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.4, 0.0])
def test_a_look_gives_the_same_vectors_and_every_signal_at_its_place(encoder: LookingEncoder, share: float) -> None:
    kept = np.random.default_rng(1).random((8, 8)) < share
    wanted = ["attention", "shallow", "transition", "keys", "sensitivity"]
    vectors, found = encoder.look(crop(), kept, wanted, "page")
    np.testing.assert_allclose(vectors, encoder.encode(crop(), kept), atol=1e-5)
    fine = kept.repeat(2, axis=0).repeat(2, axis=1)
    for name in wanted:
        assert found[name].shape[:2] == (16, 16)
        assert found[name].dtype == np.float32
        assert (found[name][~fine] == 0).all()
        assert not kept.any() or (found[name][fine] != 0).any()
        if name != "sensitivity":
            np.testing.assert_array_equal(found[name][::2, ::2].repeat(2, axis=0).repeat(2, axis=1), found[name])
    np.testing.assert_allclose(encoder.skip(crop(), kept, SkipTokens(keep=1.0, first=1, last=2)), vectors, atol=1e-5)


@pytest.mark.parametrize("method", ["transition", "correlation", "zeroth-order", "pyramid"])
def test_methods_that_look_inside_prune_pages(encoder: LookingEncoder, package: DocumentPackage, method: str) -> None:
    page = np.asarray(letter("one line\nand another", (220, 224)))
    pruner = pruner_from_json({"method": method, "block": 16})
    assert looks_inside(pruner)
    for before in (False, True):
        one = PageEmbedder(package, encoder, pruner, "float16", 64, before=before).embed(page, "page", Deadline(60))
        two = PageEmbedder(package, encoder, pruner, "float16", 64, before=before).embed(page, "page", Deadline(60))
        every = PageEmbedder(package, encoder, KeepAll(), "float16", 64, before=before).embed(
            page, "page", Deadline(60)
        )
        assert one.grid == two.grid
        assert 0 < len(one.grid) < len(every.grid)
        if one.grid.parent is None:
            np.testing.assert_allclose(
                one.grid.dense(), every.grid.dense()[np.isin(every.grid.index, one.grid.index)], atol=2e-3
            )


def test_skipping_leaves_the_grid_whole(encoder: LookingEncoder, package: DocumentPackage) -> None:
    page = np.asarray(letter("one line\nand another", (220, 224)))
    skip = SkipTokens(keep=0.3, first=1, last=2)
    found = PageEmbedder(package, encoder, KeepAll(), "float16", 64, within=skip).embed(page, "page", Deadline(60))
    assert len(found.grid) == 32 * 32


@pytest.mark.parametrize("method", ["pixelprune", "duplicates", "nodata", "random"])
def test_pixels_or_lots_say_what_is_computed(encoder: LookingEncoder, package: DocumentPackage, method: str) -> None:
    """Against the method itself on the patches of the whole (resampled) page."""
    from gridscribe.models.pruning import Candidates
    from gridscribe.tokens import TokenFrame

    page = np.asarray(letter("one line\nand another", (224, 224)))
    settings = {"nodata": 255.0, "placement": "before"} if method == "nodata" else {"placement": "before"}
    pruner = pruner_from_json({"method": method, **settings})
    tokens = PageEmbedder(package, encoder, KeepAll(), "float16", 64, before=pruner).embed(page, "page", Deadline(60))
    chosen = pruner.select(Candidates(TokenFrame(16, 16, 14), pixels=page, digest="page")).grid.index
    held = np.zeros(256, np.bool_)
    held[chosen] = True
    assert 0 < held.sum() < 256
    fine = held.reshape(16, 16).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(tokens.grid.index, np.flatnonzero(fine))


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ({"pruner": {"method": "events"}}, "works before the encoder"), ({"pruner": {"method": "skip"}}, "works within the"),
        ({"patches": {"method": "ward"}}, "works after the encoder"), ({"patches": {"method": "events"}}, "works on earlier"),
        ({"before": "yes"}, "must be True or False"), ({"patches": 3}, "None or a dict with a method"),
        ({"within": 3}, "must be None or a dict"),
        ({"within": {"method": "ward"}}, "the method there is 'skip'"), ({"within": {"keep": 2}}, "keep is 2"),
        ({"within": {}, "pruner": {"method": "transition"}}, "so none may pass them by"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(tokens: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        pages_job({"tokens": tokens})


def test_what_needs_torch_says_so(package: DocumentPackage) -> None:
    job = pages_job({"tokens": {"pruner": {"method": "transition"}, "patches": {"method": "pixelprune", "tau": 3}}})
    assert job.tokens.inside
    assert job.settings()["tokens"]["patches"]["tau"] == 3
    assert not pages_job({}).tokens.inside
    assert pages_job({"tokens": {"within": {"keep": 0.5}}}).tokens.inside
    with pytest.raises(UsageError, match="use torch"):
        resolve_page_engine("openvino", package, inside=True)
    assert not looks_inside(TextPrior())
    assert looks_inside(CorrelationGuided()) == {"keys", "shallow", "attention"}
