"""Dense tokens: equal to open_clip's own forward where they must be, else to formulas written the slow way; on every engine."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from open_clip.model import resize_pos_embed

from gridscribe.errors import EngineError, ModelError, UsageError
from gridscribe.models.clip.converting import package_clip
from gridscribe.models.clip.dense import DenseTower, Normalise
from gridscribe.models.clip.encoder import VARIANTS, DenseSpec, open_encoder, resolve_encoder
from gridscribe.models.clip.package import AlignmentPackage
from gridscribe.models.clip.towers import build_image_tower
from gridscribe.models.engines.openvino_engine import has_bfloat16
from tests.tiny_clip import pictures, tiny_clip

torch.set_num_threads(1)
Float64 = NDArray[np.float64]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_clip()


@pytest.fixture(scope="module")
def package(model: Any, tmp_path_factory: pytest.TempPathFactory) -> AlignmentPackage:
    folder = tmp_path_factory.mktemp("dense")
    torch.save(model.state_dict(), folder / "tiny.pt")
    return package_clip(folder / "tiny.pt", folder / "package", quick_gelu=True)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRIDSCRIBE_CACHE", str(folder))
        yield folder


def windows(count: int, side: int = 32, seed: int = 0) -> NDArray[np.float32]:
    return pictures(count, side, seed).astype(np.float32)


def spec(name: str = "torch", variant: str = "segearth", window: int = 32, batch: int = 2, **more: Any) -> DenseSpec:
    return DenseSpec(name, "cpu", more.get("precision", "float32"), batch, window, more.get("threads"), variant)  # type: ignore[arg-type]


def softmax(x: Float64) -> Float64:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x: Float64, norm: Any) -> Float64:
    weight, bias = norm.weight.double().numpy(), norm.bias.double().numpy()
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.eps) * weight + bias


def slow_last_block(hidden: Float64, visual: Any, variant: str) -> Float64:
    """One image's [1 + N, width] through the last block, ln_post and projection: token by token, head by head, float64."""
    block = visual.transformer.resblocks[-1]
    attn, heads = block.attn, block.attn.num_heads
    width = hidden.shape[1]
    size = width // heads
    q, k, v = np.split(
        layer_norm(hidden, block.ln_1) @ attn.in_proj_weight.double().numpy().T + attn.in_proj_bias.double().numpy(),
        3,
        axis=1,
    )
    attended = np.zeros_like(hidden)
    for h in range(heads):
        one = slice(h * size, (h + 1) * size)
        for token in range(len(hidden)):

            def weights(a: Float64, b: Float64, one: slice = one, token: int = token) -> Float64:
                return softmax(b[:, one] @ a[token, one] / math.sqrt(size))

            if variant == "vanilla":
                row = weights(q, k)
            elif variant == "maskclip":
                row = np.eye(len(hidden))[token]
            elif variant == "sclip":
                row = weights(q, q) + weights(k, k)
            elif variant == "clearclip":
                row = weights(q, q)
            else:
                row = weights(q, q) + weights(k, k) + weights(v, v)
            attended[token, one] = row @ v[:, one]
    out = attended @ attn.out_proj.weight.double().numpy().T + attn.out_proj.bias.double().numpy()
    if variant in ("vanilla", "maskclip", "sclip"):
        out = hidden + out
        fc, proj = block.mlp.c_fc, block.mlp.c_proj
        inner = layer_norm(out, block.ln_2) @ fc.weight.double().numpy().T + fc.bias.double().numpy()
        inner = inner / (1 + np.exp(-1.702 * inner))
        out = out + inner @ proj.weight.double().numpy().T + proj.bias.double().numpy()
    return layer_norm(out, visual.ln_post) @ visual.proj.double().numpy()


def normalised(raw: NDArray[np.float32], package: AlignmentPackage) -> torch.Tensor:
    mean, std = (np.array(x)[:, None, None] for x in (package.mean, package.std))
    return torch.from_numpy(((raw / 255.0 - mean) / std).astype(np.float32))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_each_variant_equals_its_formula(variant: str, package: AlignmentPackage) -> None:
    raw = windows(3)
    visual = build_image_tower(package)
    hidden = visual._embeds(normalised(raw, package))
    hidden = visual.transformer.resblocks[0](hidden).double().numpy()
    cls, tokens = DenseTower(visual, variant, package.mean, package.std)(torch.from_numpy(raw))
    assert (cls.shape, tokens.shape) == ((3, 24), (3, 4, 4, 24))
    for k in range(3):
        wanted = slow_last_block(hidden[k], visual, variant)
        np.testing.assert_allclose(tokens[k].reshape(16, 24).numpy(), wanted[1:], atol=2e-5)
        np.testing.assert_allclose(cls[k].numpy(), slow_last_block(hidden[k], visual, "vanilla")[0], atol=2e-5)


def test_variants_differ(package: AlignmentPackage) -> None:
    raw = torch.from_numpy(windows(1))
    visual = build_image_tower(package)
    with torch.no_grad():
        found = [DenseTower(visual, v, package.mean, package.std)(raw)[1] for v in VARIANTS]
    assert all((a - b).abs().max() > 0.05 for k, a in enumerate(found) for b in found[:k])


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_vanilla_tokens_and_every_class_vector_are_open_clips(
    variant: str, model: Any, package: AlignmentPackage
) -> None:
    raw = windows(3, seed=4)
    pixels = normalised(raw, package)
    cls, tokens = DenseTower(build_image_tower(package), variant, package.mean, package.std)(torch.from_numpy(raw))
    torch.testing.assert_close(cls, model.encode_image(pixels), atol=2e-5, rtol=1e-5)
    model.visual.output_tokens = True
    _, stock = model.visual(pixels)
    model.visual.output_tokens = False
    if variant == "vanilla":
        torch.testing.assert_close(tokens.flatten(1, 2), stock @ model.visual.proj, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(48, 64), (24, 24), (8, 40)])
@torch.no_grad()
def test_other_windows_equal_open_clips_own_resizing(size: tuple[int, int], package: AlignmentPackage) -> None:
    """open_clip resizes the table of positions when weights are loaded into a tower of another size."""
    stock = tiny_clip(seed=3, vision={"image_size": size})
    state = {f"visual.{n}": t.clone() for n, t in build_image_tower(package).state_dict().items()}
    resize_pos_embed(state, stock)
    stock.visual.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in state.items()})
    rng = np.random.default_rng(1)
    raw = rng.uniform(0, 255, (2, 3, *size)).astype(np.float32)
    stock.visual.output_tokens = True
    cls, tokens = stock.visual(normalised(raw, package))
    found_cls, found = DenseTower(build_image_tower(package), "vanilla", package.mean, package.std)(
        torch.from_numpy(raw)
    )
    assert found.shape == (2, size[0] // 8, size[1] // 8, 24)
    torch.testing.assert_close(found_cls, cls, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.flatten(1, 2), tokens @ stock.visual.proj, atol=2e-5, rtol=1e-5)


def test_positions_are_resized_once_a_grid_and_follow_the_weights(
    package: AlignmentPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gridscribe.models.clip.dense as dense

    calls: list[Any] = []
    real = dense._resized
    monkeypatch.setattr(dense, "_resized", lambda *a: calls.append(a[2]) or real(*a))
    tower = DenseTower(build_image_tower(package), "segearth")
    with torch.inference_mode():
        for side in (32, 48, 48, 24, 48):
            tower(torch.zeros(1, 3, side, side))
    assert calls == [(6, 6), (3, 3)]
    before = tower.positions(6, 6).clone()
    with torch.no_grad():
        tower.visual.positional_embedding += 1
    torch.testing.assert_close(tower.positions(6, 6), before + 1)
    tower.visual.positional_embedding.requires_grad_(True)
    tower.positions(6, 6).sum().backward()
    assert tower.visual.positional_embedding.grad is not None


def test_towers_of_another_build_are_refused(package: AlignmentPackage) -> None:
    for more in ({"ls_init_value": 0.1}, {"pool_type": "avg"}, {"qk_norm": True}, {"attentional_pool": True}):
        with pytest.raises(ModelError, match="dense tokens need open_clip's VisionTransformer"):
            DenseTower(tiny_clip(vision=more).visual, "segearth")
    visual = build_image_tower(package)
    with pytest.raises(UsageError, match="variant='naclip': must be one of vanilla"):
        DenseTower(visual, "naclip")
    with pytest.raises(UsageError, match="window is 36 x 32"):
        DenseTower(visual, "vanilla")(torch.zeros(1, 3, 36, 32))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("window", [32, 48])
def test_openvino_agrees_with_the_reference(variant: str, window: int, package: AlignmentPackage) -> None:
    raw = windows(2, window)
    wanted = open_encoder(spec(variant=variant, window=window, threads=1), package).encode(raw)
    encoder = open_encoder(spec("openvino", variant, window), package, cores=1)
    found = encoder.encode(raw)
    assert (encoder.embed_dim, encoder.grid) == (24, window // 8)
    for one, other, shape in zip(found, wanted, ((2, 24), (2, window // 8, window // 8, 24)), strict=True):
        assert one.shape == other.shape == shape
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_bits_do_not_depend_on_place_or_neighbours(name: str, package: AlignmentPackage) -> None:
    many = windows(4)
    encoder = open_encoder(spec(name, batch=3, threads=1), package)
    wanted = [encoder.encode(many[k : k + 1]) for k in range(4)]
    for order in ([0, 1, 2], [3, 1, 0], [2, 2], [1]):
        cls, tokens = encoder.encode(many[order])
        for at, k in enumerate(order):
            assert np.array_equal(cls[at], wanted[k][0][0])
            assert np.array_equal(tokens[at], wanted[k][1][0])


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_other_shapes_and_closed_encoders_are_refused(name: str, package: AlignmentPackage) -> None:
    encoder = open_encoder(spec(name, threads=1), package)
    good = windows(2)
    for bad in (good[:0], windows(3), good[:, :2], good[..., :16], good[0], good.astype(np.float64)):
        with pytest.raises(EngineError, match=r"float32 of 1 to 2 windows \(3, 32, 32\)"):
            encoder.encode(bad)
    encoder.close()
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoder.encode(good)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def assert_near(found: Any, wanted: Any) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == np.float32
        assert cosines(one, other).min() > 0.99


def test_bfloat16_on_torch_agrees(package: AlignmentPackage) -> None:
    raw = windows(2)
    wanted = open_encoder(spec(threads=1), package).encode(raw)
    found = open_encoder(spec(threads=1, precision="bfloat16"), package).encode(raw)
    assert_near(found, wanted)
    assert not np.array_equal(found[1], wanted[1])


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_bfloat16_on_openvino_agrees(package: AlignmentPackage) -> None:
    raw = windows(2)
    wanted = open_encoder(spec(threads=1), package).encode(raw)
    assert_near(open_encoder(spec("openvino", precision="bfloat16"), package).encode(raw), wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_bfloat16_on_cuda_agrees(package: AlignmentPackage) -> None:
    raw = windows(2)
    wanted = open_encoder(spec(threads=1), package).encode(raw)
    cuda = DenseSpec("torch", "cuda", "bfloat16", 2, 32, None, "segearth")
    assert_near(open_encoder(cuda, package).encode(raw), wanted)


def test_encoders_are_resolved_once(package: AlignmentPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    import gridscribe.models.engines as engines

    monkeypatch.setattr(engines, "_torch_device", lambda: "cpu")
    found = resolve_encoder("auto", package)
    assert (found.name, found.window, found.variant) == ("openvino", 32, "segearth")
    assert DenseSpec(**found.to_json()) == found
    assert resolve_encoder("torch", package, window=64, variant="sclip").threads == 2
    monkeypatch.setattr(engines, "_torch_device", lambda: "cuda")
    assert resolve_encoder("auto", package).precision == "bfloat16"
    for options, message in (
        ({"variant": "gem"}, "variant='gem'"),
        ({"window": 36}, r"window=36: .* patch \(8\)"),
        ({"window": 8 * 257}, "at most 256 patches"),
    ):
        with pytest.raises(UsageError, match=message):
            resolve_encoder("torch", package, **options)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="unknown variant"):
        open_encoder(spec(variant="gem"), package)
    with pytest.raises(EngineError, match="fixed number of threads"):
        open_encoder(spec(), package)


def test_a_cached_graph_starts_without_torch(package: AlignmentPackage, cache: Path) -> None:
    wanted = open_encoder(spec("openvino", "segearth"), package, cores=1).encode(windows(1))
    code = f"""
import sys
import numpy as np
from gridscribe.models.clip.encoder import DenseSpec, open_encoder
from gridscribe.models.clip.package import load_alignment
encoder = open_encoder(DenseSpec("openvino", "cpu", "float32", 2, 32, None, "segearth"), load_alignment({package.uri!r}), cores=1)
np.save(sys.argv[2], encoder.encode(np.load(sys.argv[1]))[1])
sys.exit(3 * ("torch" in sys.modules or "open_clip" in sys.modules))
"""
    np.save(cache / "in.npy", windows(1))
    done = subprocess.run([sys.executable, "-c", code, cache / "in.npy", cache / "out.npy"], check=False, timeout=60)
    assert done.returncode == 0
    assert np.array_equal(np.load(cache / "out.npy"), wanted[1])


def test_normalising_is_in_the_graph(package: AlignmentPackage) -> None:
    raw = windows(1)
    torch.testing.assert_close(
        Normalise(package.mean, package.std)(torch.from_numpy(raw)), normalised(raw, package), atol=1e-5, rtol=0
    )
